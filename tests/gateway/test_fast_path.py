"""Whatever an SDK writes, raw or encoded: the fast path answers, and as the plain route does to the byte."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fuzz.check_fast_path import compare
from tests.fuzz.check_requests import COLON_LIST, LIST, put_lists
from tests.gateway.conftest import ACCOUNT
from tests.gateway.http_cases import LAST, request
from tests.support.raw_http import Answer, connection, read_all, read_answer, split_answers, without_date

if TYPE_CHECKING:
    from tests.support.processes import Program, StoreServer

QUESTIONS = 3000  # scripts/check_fast_path asks more


@pytest.fixture(scope="module", autouse=True)
def _lists(emptied_store: StoreServer) -> None:
    with emptied_store.client() as client:
        put_lists(client)


def ask(gateway: Program, *requests: bytes) -> list[Answer]:
    """The answers to `requests`, sent in one write."""
    with connection(gateway.address) as peer:
        peer.sendall(b"".join(requests) + LAST)
        *answers, last = split_answers(read_all(peer))
    assert last.body == b'{"status":"ok"}'
    return answers


def check(value: bytes, list_id: str = LIST) -> bytes:
    parameters = b"&listId=%b&accountId=%b" % (list_id.encode(), ACCOUNT.encode())
    return request(target=b"/check-attribute?attribute=" + value + parameters)


def test_random_questions_are_answered_as_by_the_plain_route(gateway: Program) -> None:
    tally = asyncio.run(compare(gateway.address, seed=2, start=0, count=QUESTIONS))
    assert tally.differences == []
    assert tally.questions == QUESTIONS
    assert {"in", "not_in", "unknown_list", "inactive_list", "incomplete", "404"} <= tally.states.keys()


RAW = {
    b"Jos\xe9": "in",  # Latin-1, as Node's http sends it
    "José".encode(): "in",
    b"Jos%C3%A9": "in",
    b"a+b@x.com": "in",
    b"a&b": "in",
    b"a#b": "in",
    b"a%23b": "in",
    b"a&listId=other": "in",
    b"a&accountId=999": "in",
    b"100%": "in",
    b"%2541": "in",
    b"\xe9" * 1000: "in",
    b"%C3%A9" * 1000: "in",
    b"x" * 8192: "not_in",
    b"\xe9" * 8192: "not_in",
    b"#": "not_in",
    b"\xff": "not_in",
    b"": "incomplete",
}


@pytest.mark.parametrize("value", RAW, ids=lambda value: value.decode("latin-1")[:20])
@pytest.mark.parametrize("list_id", [LIST, COLON_LIST])
def test_raw_values_find_their_members(gateway: Program, value: bytes, list_id: str) -> None:
    (answer,) = ask(gateway, check(value, list_id))
    assert (answer.status, answer.headers["x-membership"]) == (200, RAW[value])


def test_raw_values_in_a_row(gateway: Program) -> None:
    answers = ask(gateway, *(check(value) for value in RAW))
    assert [answer.headers["x-membership"] for answer in answers] == list(RAW.values())


def test_raw_values_that_are_asked_again_and_again(gateway: Program) -> None:
    """From its second time on a request is known by what stands behind its value, whoever sends it."""
    members = [value for value in RAW if RAW[value] == "in"]
    strangers = [value + b"&listId=" + LIST.encode() for value in (b"alice", b"a", b"100")]
    for _ in range(2):
        with connection(gateway.address) as peer:
            for value in [*members, *strangers, *members]:
                peer.sendall(check(value))
                answer = read_answer(peer)
                assert answer is not None
                assert answer.headers["x-membership"] == ("in" if value in members else "not_in"), value


@pytest.mark.parametrize("other", [request(target=b"/readyz"), request(method=b"HEAD")], ids=["ok", "HEAD"])
def test_a_raw_value_behind_another_request(gateway: Program, other: bytes) -> None:
    sent = other + check(b"Jos\xe9") + check(b"a#b") + LAST
    with connection(gateway.address) as peer:
        peer.sendall(sent)
        found = split_answers(read_all(peer), bodiless={0} if other.startswith(b"HEAD") else ())
    assert [answer.headers.get("x-membership", "ok") for answer in found[1:]] == ["in", "in", "ok"]


def test_the_plain_route_is_there_for_who_asks(gateway: Program) -> None:
    """What it alone does shows that it was asked: it reads `#` as the end, as its framework does."""
    target = b"/check-attribute?attribute=alice&listId=" + LIST.encode()
    fast, plain, by_another_name = ask(
        gateway,
        request(target=target),
        request(b"X-Route: plain", target=target),
        request(b"x-route: 1", target=target),
    )
    assert without_date(fast.raw) == without_date(plain.raw) == without_date(by_another_name.raw)
    assert fast.body == b"true"


def test_both_ways_count_alike(gateway: Program) -> None:
    def counted() -> float:
        text = httpx.get(gateway.address + "/metrics").text
        lines = [line for line in text.splitlines() if line.startswith('cohort_gateway_checks_total{state="in"}')]
        return float(lines[0].split()[-1]) if lines else 0.0

    before = counted()
    target = b"/check-attribute?attribute=alice&listId=" + LIST.encode()
    ask(gateway, *[request(target=target)] * 3, *[request(b"X-Route: plain", target=target)] * 2)
    assert counted() == before + 5
