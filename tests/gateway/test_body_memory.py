"""However many bodies arrive at the gateway: what they take is bounded, and who finds no room is told as suits them."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from foundation.settings import MEBIBYTE
from tests.gateway.conftest import ACCOUNT, Wire
from tests.support import http, processes
from tests.support.encodings import bomb
from tests.support.raw_http import bystander, connection, head, read_answer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Program, StoreServer

ONE, BATCH = "/events/t", "/server-side/batch-events-v2"
HALF = MEBIBYTE // 2
EVENT = json.dumps({"d": {"event": {"name": "bought", "props": {}}}}).encode().ljust(100_000)
USER: dict[str, Any] = {"userId": "user-1", "customVariables": {"note": "x" * 100_000}}
ASKED: dict[str, dict[str, Any]] = {
    "/server-side/getFlag": {"featureKey": "premium_dashboard"} | USER,
    "/server-side/getFlags": USER,
    "/as01/server-side/trackEvent": {"eventName": "nothing"} | USER,
    "/server-side/setAttribute": {"attributeKey": "plan", "attributeValue": "gold"} | USER,
    "/user-alias/setUserAlias": {"userId": "user-1", "aliasId": "visitor-1", "note": "x" * 50_000},
    "/ofrep/v1/evaluate/flags/premium_dashboard": {"context": {"targetingKey": "user-1", "note": "x" * 100_000}},
    "/ofrep/v1/evaluate/flags": {"context": {"targetingKey": "user-1", "note": "x" * 100_000}},
}


@pytest.fixture(scope="module")
def gateway(emptied_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    settings = {"REDIS_URL": emptied_store.url, "BODY_MEMORY": str(MEBIBYTE)}
    with processes.gateway(tmp_path_factory.mktemp("gateway"), settings) as program:
        yield program


def counted(gateway: Program, sample: str) -> float:
    lines = http.get(f"{gateway.address}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"cohort_gateway_{sample}"))


@contextlib.contextmanager
def hoarder(gateway: Program, path: str, size: int = HALF - 30_000) -> Iterator[None]:
    """Somebody whose body of `size` bytes and more stays unfinished."""
    with connection(gateway.address) as peer:
        peer.sendall(head(path, Content_Length=str(size + 1)) + bytes(size))
        until(lambda: counted(gateway, "body_bytes") >= size, what="the body to be counted")
        yield
    until(lambda: counted(gateway, "body_bytes") == 0, what="its room to be given back")


@pytest.fixture(params=[ONE, "/server-side/getFlag"])
def full(request: pytest.FixtureRequest, gateway: Program) -> Iterator[Program]:
    """A gateway whose memory is full."""
    with hoarder(gateway, request.param):
        yield gateway


@pytest.mark.parametrize("path", [ONE, "/as01" + ONE, BATCH])
@pytest.mark.parametrize("announced", [True, False], ids=["length", "chunks"])
def test_events_without_room_are_answered_200_and_read_to_their_end(full: Program, path: str, announced: bool) -> None:
    before = counted(full, 'event_requests_total{outcome="busy"}')
    with connection(full.address) as peer:
        if announced:
            peer.sendall(head(path, Content_Length=str(len(EVENT))) + EVENT)
        else:
            peer.sendall(head(path, Transfer_Encoding="chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT))
        answer = read_answer(peer)
        assert answer is not None
        assert (answer.status, answer.body, answer.headers["x-events"]) == (200, b"{}", "dropped")
        peer.sendall(head("/healthz", method="GET"))  # the connection goes on, behind the whole body
        answer = read_answer(peer)
        assert answer is not None
        assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert counted(full, 'event_requests_total{outcome="busy"}') == before + 1


@pytest.mark.parametrize("path", ASKED)
def test_others_without_room_are_asked_to_come_again(full: Program, path: str) -> None:
    body = json.dumps(ASKED[path]).encode()
    for headers in ({"Content_Length": str(len(body))}, {"Transfer_Encoding": "chunked"}):
        sent = body if "Content_Length" in headers else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        with connection(full.address) as peer:
            peer.sendall(head(f"{path}?accountId={ACCOUNT}", **headers) + sent)
            answer = read_answer(peer)
        assert answer is not None
        assert answer.status == 503, answer.body
        assert int(answer.headers["retry-after"]) > 0
        assert b"too much arrives at once" in answer.body


def test_what_is_unpacked_needs_room_too(full: Program) -> None:
    packed = bomb(100_000)  # some hundred bytes
    for path, status in ((ONE, 200), ("/server-side/getFlag", 503)):
        answer = http.post(full.address + path, content=packed, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == status


def test_checks_and_small_bodies_go_on(full: Program) -> None:
    assert Wire(full.address).check(f"attribute=alice&listId=nothing&accountId={ACCOUNT}").body == b"false"
    answer = http.post(full.address + ONE, json={"d": {"event": {"name": "bought", "props": {}}}})
    assert answer.headers["X-Events"] == "counted"


def test_an_announcement_alone_keeps_nobody_out(gateway: Program) -> None:
    with connection(gateway.address) as peer, bystander(gateway.address) as turn:
        peer.sendall(head(ONE, Content_Length="8000000"))
        turn()
        for path, asked in ASKED.items():
            answer = http.post(gateway.address + path, params={"accountId": ACCOUNT}, json=asked)
            assert answer.status_code == 200, path


def test_the_largest_body_has_room_when_it_is_alone(gateway: Program) -> None:
    answer = http.post(gateway.address + BATCH, content=(b'{"ev":[%b]}' % EVENT).ljust(8 * MEBIBYTE))
    assert answer.headers["X-Events"] == "counted"


def test_many_bodies_at_once_take_no_more_than_their_budget(emptied_store: StoreServer, tmp_path: Any) -> None:
    """40 senders of 6 MiB each, none of which ends."""
    settings = {"REDIS_URL": emptied_store.url, "BODY_MEMORY": str(16 * MEBIBYTE)}
    piece = bytes(MEBIBYTE)
    with processes.gateway(tmp_path, settings) as program, contextlib.ExitStack() as stack:
        turn = stack.enter_context(bystander(program.address))
        turn()
        before = program.resident
        for number in range(40):
            peer = stack.enter_context(connection(program.address))
            peer.sendall(head((ONE, BATCH)[number % 2], Content_Length=str(7 * MEBIBYTE)))
            for _ in range(6):
                peer.sendall(piece)
            turn()
        assert program.resident - before < 64 * MEBIBYTE


def test_an_explanation_wants_the_token_before_the_body(gateway: Program) -> None:
    with connection(gateway.address) as peer:
        peer.sendall(head("/server-side/explain", Content_Length="400000000", Expect="100-continue"))
        answer = read_answer(peer)
    assert answer is not None
    assert (answer.status, answer.reason) == (401, "unauthorized")
