"""A body that trickles in: it gets an end, and an answer that does no harm where an SDK sent it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support import processes
from tests.support.raw_http import Answer, bystander, connection, head, is_closed, read_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Program, StoreServer

SECONDS = "0.3"


@pytest.fixture(scope="module")
def gateway(emptied_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    settings = {"REDIS_URL": emptied_store.url, "BODY_SECONDS": SECONDS}
    with processes.gateway(tmp_path_factory.mktemp("gateway"), settings) as program:
        yield program


def begin(gateway: Program, path: str, sent: bytes, **headers: str) -> Answer:
    """The answer to a request whose body begins with `sent` and never ends; then the connection is closed."""
    with connection(gateway.address) as peer:
        peer.sendall(head(path, **headers) + sent)
        answer = read_answer(peer)
        assert answer is not None
        assert is_closed(peer)
        return answer


@pytest.mark.parametrize("path", ["/events/t", "/as01/server-side/batch-events-v2"])
def test_events_are_answered_200_and_dropped(gateway: Program, path: str) -> None:
    before = counted(gateway)
    answer = begin(gateway, path, b'{"d":', Content_Length="1000")
    assert (answer.status, answer.body, answer.headers["x-events"]) == (200, b"{}", "dropped")
    assert counted(gateway) == before + 1


@pytest.mark.parametrize(
    "path", ["/server-side/getFlag", "/user-alias/setUserAlias", "/ofrep/v1/evaluate/flags/premium_dashboard"]
)
def test_others_are_told_what_is_wrong(gateway: Program, path: str) -> None:
    for sent, headers in ((b"{", {"Content_Length": "1000"}), (b"1\r\n{\r\n", {"Transfer_Encoding": "chunked"})):
        answer = begin(gateway, path, sent, **headers)
        assert answer.status == 408
        told = json.loads(answer.body)
        assert f"{SECONDS} s (BODY_SECONDS)" in (told.get("error") or told["errorDetails"])


def test_a_body_that_comes_later_but_in_time_is_taken(gateway: Program) -> None:
    body = b'{"userId": "alice", "aliasId": "temporary"}'
    with connection(gateway.address) as peer, bystander(gateway.address) as let_it_read:
        peer.sendall(head("/user-alias/setUserAlias", Content_Length=str(len(body))) + body[:5])
        let_it_read()
        peer.sendall(body[5:])
        answer = read_answer(peer)
        assert answer is not None
        assert (answer.status, json.loads(answer.body)) == (200, {"isAliasSet": True})


def counted(gateway: Program) -> float:
    lines = httpx.get(f"{gateway.address}/metrics").text.splitlines()
    wanted = 'cohort_gateway_event_requests_total{outcome="too_slow"}'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))
