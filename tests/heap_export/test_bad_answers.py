"""Whatever Heap and the Agent answer, heap-export stays small, answers others meanwhile, and says what was wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from event_stream.delivery import Again
from heap_export.heap import Call, Heap
from heap_export.integrations import Integration
from heap_export.optimizely import DecisionListener
from heap_export.optimizely_posting import Poster
from tests.heap_export.decisions import decide
from tests.support import bad_servers, processes
from tests.support.bad_servers import HEAD, bad_server, dripping
from tests.support.beside import unharmed
from tests.support.faulty_server import Answer, behaves, times
from tests.support.waiting import until

if TYPE_CHECKING:
    import socket
    import threading
    from pathlib import Path

    from tests.heap_export.conftest import Service
    from tests.support.bad_servers import Behaviour
    from tests.support.fake_heap_api import FakeHeap

BAD: dict[str, tuple[Behaviour, str]] = {
    "compressed": (bad_servers.gzip_bomb, "answer_encoded"),
    "endless": (bad_servers.endless, "answer_too_large"),
    "endless head": (bad_servers.endless_head, "answer_too_large"),
    "many headers": (bad_servers.many_headers, "answer_too_large"),
    "blanks": (bad_servers.blanks, "unreachable"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_heap_answers_badly_to_is_sent_again(lasting: Service, ann: str, kind: str) -> None:
    behave, reason = BAD[kind]
    lasting.heap.fault = times(1, behaves(behave))
    before = lasting.counted(f'heap_export_retried_total{{integration="default",reason="{reason}"}}')
    with unharmed(lasting.program):
        assert lasting.post("/v1/events", {"type": "track", "event": "bought", "userId": ann}).status_code == 200
        assert len(lasting.sent(ann, 1)) == 1
    assert lasting.heap.requests[-1].headers["accept-encoding"] == "identity"
    assert lasting.counted(f'heap_export_retried_total{{integration="default",reason="{reason}"}}') == before + 1
    assert f"Heap takes nothing for default ({reason})" in lasting.program.log()


@pytest.mark.parametrize("text", [HEAD % 1000, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 103 Hints\r\n\r\n" * 1000])
async def test_a_heap_that_drips_is_given_up(text: bytes) -> None:
    with bad_server(dripping(text, 0.01)) as address:
        heap = Heap(patience=0.5)
        told = await heap.send(Integration(name="trial", app_id="1", base=address), Call.TRACK, [b"{}"])
        assert told.verdict == Again("timeout", because_of_some=True)
        await heap.aclose()


AGENTS: dict[str, tuple[Behaviour, str]] = {
    "many lines": (bad_servers.endless_lines, "more than 4,096 lines"),
    "a line without an end": (bad_servers.endless_line, "more than 262,144 bytes"),
    "compressed": (bad_servers.compressed_events, "compressed, which was not asked for"),
    "endless head": (bad_servers.endless_head, "the head of its answer is too large"),
    "blanks": (bad_servers.blanks, "it can't be reached"),
    "an endless page": (bad_servers.endless, "no stream of events"),
}


@pytest.mark.parametrize("kind", AGENTS)
def test_an_agent_that_tells_without_bounds_is_left_and_asked_again(tmp_path: Path, store_url: str, kind: str) -> None:
    behave, said = AGENTS[kind]
    came = []

    def counted(peer: socket.socket, over: threading.Event) -> None:
        came.append(time.monotonic())
        behave(peer, over)

    with bad_server(counted) as address:
        settings = {"REDIS_URL": store_url, "HEAP_APP_ID": "1", "DELIVER_HERE": "false"}
        agent = {"OPTIMIZELY_AGENT_URL": address, "OPTIMIZELY_SDK_KEYS": "secret-key"}
        with processes.heap_export(tmp_path, settings | agent) as program:
            with unharmed(program):
                until(lambda: len(came) >= 3 and said in program.log(), seconds=60, what=f"{said!r} in the log")
            assert program.log().count("Optimizely Agent (number 1") == 1
            assert "secret-key" not in program.log()
            program.kill()
    assert len(came) < 30, "pauses lie in between"


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (bad_servers.gzip_bomb, "compressed"),
        (bad_servers.endless, "more than 1,048,576 bytes"),
        (bad_servers.many_headers, "ended before the answer"),
        (dripping(HEAD % 1000, 0.01), "no answer came in time"),
        (dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", 0.01), "no answer came in time"),
        (dripping(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.01), "no answer came in time"),
    ],
    ids=["compressed", "endless", "many headers", "drips", "drips the head", "goes on and on"],
)
def test_a_listener_gets_over_a_bad_answer_in_time(behave: Behaviour, said: str) -> None:
    with bad_server(behave) as address:
        began = time.monotonic()
        answer = Poster(address, timeout=0.5, hints={}).post("/v1/exposures", [])
        assert (answer.status, said in answer.trouble) == (0, True), answer
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("wait", ["\xb2", "soon"])
def test_a_wish_that_is_no_time_loses_nothing(heap: FakeHeap, wait: str) -> None:
    heap.fault = times(1, lambda _: Answer(503, b"{}", {"Retry-After": wait}))
    listener = DecisionListener(app_id="123", base=heap.address, every=0.01, keep_trying=60)
    decide(listener, "ann")
    heap.wait_for_events(1, seconds=70)
    assert listener.close(5)
