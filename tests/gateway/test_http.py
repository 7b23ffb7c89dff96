"""The gateway's own HTTP protocol against plain uvicorn: what it takes over it must do as well, the rest alike."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest

from tests.gateway.conftest import Lists
from tests.gateway.http_cases import (
    CASES,
    CHECK,
    CHUNKED,
    IN_CHUNKS,
    LAST,
    LIST,
    MEMBER,
    NOTHING,
    READY,
    TARGET,
    Case,
    request,
)
from tests.support.gateways import Both, both
from tests.support.raw_http import Answer, bystander, connection, read_all, read_answer, split_answers, without_date

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.processes import StoreServer


@pytest.fixture(scope="module")
def servers(emptied_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with emptied_store.client() as client:
        Lists(client).put(LIST, MEMBER)
    with both(tmp_path_factory.mktemp("gateways"), emptied_store.url) as running:
        yield running


@pytest.fixture(params=["ours", "plain"])
def server(request: pytest.FixtureRequest, servers: Both) -> str:
    """The address of each in turn: what is promised of ours and can be had of uvicorn must be true of both."""
    return str(getattr(servers, request.param))


def exchange(address: str, sent: bytes) -> list[Answer]:
    """All answers until the server closes."""
    with connection(address) as peer:
        peer.sendall(sent)
        return answers_to(sent, read_all(peer))


def answers_to(sent: bytes, received: bytes) -> list[Answer]:
    methods = re.findall(rb"^([A-Z]+) \S+ HTTP", sent, re.MULTILINE)
    return split_answers(received, bodiless={at for at, method in enumerate(methods) if method == b"HEAD"})


def settled(answer: Answer) -> bytes:
    """Its bytes, whatever the clock says, and whether a busy store was late."""
    return without_date(answer.raw).replace(b"x-membership: stale_", b"x-membership: ")


def summary(answers: list[Answer]) -> str:
    """The notation of `Case.answers`."""
    return " ".join(
        answer.headers.get("x-membership", "ok").removeprefix("stale_") if answer.status == 200 else str(answer.status)
        for answer in answers
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_connection_goes_on_or_ends_as_stated_and_as_with_uvicorn(servers: Both, case: Case) -> None:
    ours, plain = (exchange(address, case.sent + LAST) for address in servers)
    assert (summary(ours), summary(plain)) == (case.answers, case.answers)
    for one, other in zip(ours, plain, strict=True):
        if one.status != 400:  # ours has a body that every SDK reads as false
            assert settled(one) == settled(other)


@pytest.mark.parametrize("middle", [READY, NOTHING, request(method=b"HEAD"), CHECK], ids=["ok", "404", "HEAD", "in"])
def test_answers_come_in_the_order_of_the_requests(servers: Both, middle: bytes) -> None:
    """Each request is recognised by its answer: checks of other values, mixed with what takes longer or shorter."""
    values = [MEMBER if number % 3 else f"nobody-{number}" for number in range(20)]
    checks = [CHECK.replace(MEMBER.encode(), value.encode()) for value in values]
    sent = middle.join(checks) + LAST
    ours, plain = (exchange(address, sent) for address in servers)
    assert summary(ours[::2]) == " ".join("in" if value == MEMBER else "not_in" for value in values)
    assert [settled(answer) for answer in ours] == [settled(answer) for answer in plain]


def test_garbage_behind_a_check_ends_the_connection(server: str) -> None:
    """The check may be answered before; never after."""
    found = summary(exchange(server, CHECK + b"garbage\r\n\r\n" + CHECK + LAST))
    assert found in ("400", "in 400")


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_nothing_is_upgraded(server: str, protocol: bytes) -> None:
    with connection(server) as peer:
        peer.sendall(request(b"Connection: Upgrade", b"Upgrade: " + protocol))
        answer = read_answer(peer)
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"true")


@pytest.mark.parametrize("size", [1000, 60_000])
def test_large_headers_are_taken(server: str, size: int) -> None:
    assert summary(exchange(server, request(b"Cookie: " + b"a" * size) + LAST)) == "in ok"


@pytest.mark.parametrize(
    "sent",
    [
        request(b"Cookie: " + b"a" * 400_000),
        b"GET " + TARGET + b" HTTP/1.1\r\nCookie: " + b"a" * 1_000_000,
        request(*(b"X-%d: %s" % (number, b"a" * 1000) for number in range(400))),
        request(target=TARGET.replace(MEMBER.encode(), b"a" * 400_000)),
        b"GET /check-attribute?attribute=" + b"a" * 1_000_000,
        b"G" * 1_000_000,
    ],
    ids=["header", "endless header", "many headers", "request line", "endless request line", "endless method"],
)
def test_headers_without_end_are_refused(servers: Both, sent: bytes) -> None:
    """Beyond 64 KiB and what one read takes: an error and the end, while others are served."""
    with bystander(servers.ours) as turn, connection(servers.ours) as peer:
        with contextlib.suppress(ConnectionError):  # it was closed meanwhile
            peer.sendall(sent)
        found = [answer.status for answer in split_answers(read_all(peer))]
        turn()
    assert found in ([431], [414], [400])


def drip(address: str, pieces: list[bytes], turn: Callable[[], None]) -> bytes:
    """Send each piece after the server has read the one before."""
    with connection(address) as peer:
        with contextlib.suppress(ConnectionError):  # it was closed meanwhile
            for piece in pieces:
                peer.sendall(piece)
                turn()
        return read_all(peer)


SPLIT = [
    Case("a check", CHECK, "in ok"),
    Case("a raw value", request(target=b"/check-attribute?attribute=Jos\xe9#a&listId=" + LIST.encode()), "not_in ok"),
    Case("a prefix and headers", request(b"Accept: */*", b"X-A: b", target=b"/as01" + TARGET), "in ok"),
    Case("two checks", CHECK + CHECK, "in in ok"),
    Case("a body", request(b"Content-Length: %d" % len(CHECK), target=b"/healthz") + CHECK, "ok ok"),
    Case("chunks", request(CHUNKED) + IN_CHUNKS, "in ok"),
    Case("another request, a check", READY + CHECK, "ok in ok"),
    Case("HTTP/1.0", request(version=b"HTTP/1.0"), "in"),
    Case("line breaks between", CHECK + b"\r\n\r\n" + CHECK, "in in ok"),
    Case("a POST and its body", request(b"Content-Length: 4", method=b"POST") + b"GET " + CHECK, "405 in ok"),
    Case("a raw value to HEAD", request(method=b"HEAD", target=TARGET.replace(b"alice", b"Jos\xe9")), "not_in ok"),
    Case("close", CHECK + request(b"Connection: close") + CHECK, "in in"),
]


@pytest.mark.parametrize("case", SPLIT, ids=lambda case: case.name)
def test_where_reads_end_makes_no_difference(servers: Both, case: Case) -> None:
    """Cut in two at every byte, and sent byte by byte."""
    sent = case.sent + LAST
    whole = exchange(servers.ours, sent)
    assert summary(whole) == case.answers
    cuts = [[sent[:at], sent[at:]] for at in range(1, len(case.sent))]
    with bystander(servers.ours) as turn:
        for pieces in [*cuts, [bytes([byte]) for byte in sent]]:
            answers = answers_to(sent, drip(servers.ours, pieces, turn))
            assert [settled(answer) for answer in answers] == [settled(answer) for answer in whole]


@pytest.mark.parametrize("place", [b"as01", b"check", b"alice", b"listId", b"heap", b"1234", b"other"])
def test_a_raw_control_byte_in_a_target_is_refused(servers: Both, place: bytes) -> None:
    """A server in front that takes it for the end of a line, or drops it, would see other requests than we do.

    But for a tab in the query: Java's SDK sends it as it is.
    """
    target = b"/as01" + TARGET + b"&accountId=123456&other=1"
    found = {}
    for byte in (*range(0x20), 0x7F):
        raw = request(target=target.replace(place, place[:2] + bytes([byte]) + place[2:], 1))
        found[byte] = summary(exchange(servers.ours, raw + LAST))
    tab = found.pop(0x09)
    assert tab == "400" if place in (b"as01", b"check") else tab.endswith(" ok")
    assert {byte: answers for byte, answers in found.items() if answers != "400"} == {}


def test_a_raw_blank_in_a_value_is_part_of_it_or_refused(servers: Both) -> None:
    raw = request(target=TARGET.replace(b"alice", b"al ice"))
    assert summary(exchange(servers.ours, raw + LAST)) in ("not_in ok", "400")
