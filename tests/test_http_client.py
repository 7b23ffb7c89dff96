"""Answers of servers of others, read within bounds whatever they are."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from h11 import _abnf, _readers
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import NoAnswerError
from foundation.header_patterns import make_linear
from foundation.http_client import HttpClient, fetch, seconds_to_wait
from foundation.tasks import end
from tests.support import bad_servers
from tests.support.bad_servers import HEAD, bad_server, dripping
from tests.support.faulty_server import Answer, FaultyServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.bad_servers import Behaviour


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    server = FaultyServer()
    with server.serving():
        yield server


async def asked(address: str, *, most: int = 1000, seconds: float = 20) -> str:
    """Why there was no answer."""
    async with HttpClient(silence=seconds, whole=seconds) as client:
        with pytest.raises(NoAnswerError) as caught:
            await client.request("GET", f"{address}/secret", most=most)
    assert "secret" not in str(caught.value)
    return f"{caught.value.reason}: {caught.value}"


BAD: list[tuple[Behaviour, str]] = [
    (bad_servers.gzip_bomb, "answer_encoded: its answer is compressed, which was not asked for"),
    (bad_servers.endless, "answer_too_large: its answer has more than 1,000 bytes"),
    (bad_servers.endless_line, "answer_too_large: its answer has more than 1,000 bytes"),
    (bad_servers.endless_head, "answer_too_large: the head of its answer is too large"),
    (bad_servers.many_headers, "answer_too_large: the head of its answer is too large"),
    (bad_servers.blanks, "unreachable: it can't be reached (RemoteProtocolError)"),
    (bad_servers.blanks_of_a_chunk, "unreachable: it can't be reached (RemoteProtocolError)"),
    (bad_servers.rubbish, "unreachable: it can't be reached (RemoteProtocolError)"),
    (bad_servers.closes, "unreachable: it can't be reached (RemoteProtocolError)"),
]


@pytest.mark.parametrize(("behave", "said"), BAD)
async def test_a_bad_answer_is_given_up_at_once_and_the_error_says_why(behave: Behaviour, said: str) -> None:
    began = time.monotonic()
    with bad_server(behave) as address:
        assert await asked(address) == said
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "behave",
    [
        bad_servers.silent,
        bad_servers.half_an_answer,
        dripping(HEAD % 1000, 0.01),
        dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", 0.01),
        dripping(b"HTTP/1.1 103 Hints\r\n\r\n" * 1000, 0.001),
    ],
)
async def test_a_slow_answer_is_given_up_though_no_silence_is_long(behave: Behaviour) -> None:
    with bad_server(behave) as address:
        assert await asked(address, seconds=0.5) == "timeout: no answer in time"


@pytest.mark.parametrize(
    ("behave", "least"), [(bad_servers.endless, 50), (bad_servers.tiny_chunks, 50), (bad_servers.endless_hints, 3)]
)
async def test_others_have_their_turns_while_much_arrives(behave: Behaviour, least: int) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    counting = asyncio.create_task(count())
    with bad_server(behave) as address:
        assert await asked(address, most=1 << 40, seconds=1) == "timeout: no answer in time"
    await end(counting)
    assert turns >= least


async def test_compression_is_not_asked_for_and_cookies_are_not_kept(server: FaultyServer) -> None:
    server.fault = lambda _: Answer(200, b"{}", {"Set-Cookie": "visit=1"})
    async with HttpClient(silence=5, whole=5) as client:
        for _ in range(2):
            answer = await client.request("GET", server.address, most=10)
    assert (answer.status, answer.body, answer.headers["set-cookie"]) == (200, b"{}", "visit=1")
    for request in server.requests:
        assert request.headers["accept-encoding"] == "identity"
        assert "cookie" not in request.headers


async def test_an_answer_of_just_as_much_as_may_be_is_whole(server: FaultyServer) -> None:
    server.fault = lambda _: Answer(200, b"x" * 1000, {"Content-Encoding": "Identity"})
    async with HttpClient(silence=5, whole=5) as client:
        assert (await client.request("GET", server.address, most=1000)).body == b"x" * 1000


def test_programs_without_an_event_loop_have_the_same_bounds(server: FaultyServer) -> None:
    server.fault = lambda _: Answer(200, b"x" * 1000)
    assert fetch("GET", server.address, silence=5, whole=5, most=1000).body == b"x" * 1000
    with pytest.raises(NoAnswerError, match="more than 999 bytes"):
        fetch("GET", server.address, silence=5, whole=5, most=999)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "gzip, identity", "x"])
async def test_any_coding_is_one_too_many_where_there_is_a_body(server: FaultyServer, coding: str) -> None:
    server.fault = lambda request: Answer(200, b"{}" if request.path == "/body" else b"", {"Content-Encoding": coding})
    async with HttpClient(silence=5, whole=5) as client:
        assert (await client.request("GET", f"{server.address}/none", most=10)).body == b""
        with pytest.raises(NoAnswerError, match="compressed"):
            await client.request("GET", f"{server.address}/body", most=10)
        async with client.stream("GET", f"{server.address}/body") as incoming:
            assert [chunk async for chunk in incoming.chunks(10, encoded=True)] == [b"{}"]


PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets variables, of which no others are there."""

    def choose(**variables: str) -> None:
        for name in PROXY_VARIABLES:
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return choose


async def way_to(url: str, proxy: FaultyServer) -> str:
    """Of a request to a host that there is not: only a proxy answers."""
    before = len(proxy.requests)
    async with HttpClient(silence=20, whole=20) as client:
        with contextlib.suppress(NoAnswerError):
            await client.request("GET", url, most=100_000)
    return "proxy" if len(proxy.requests) > before else "direct"


@pytest.mark.parametrize(
    "odd", ["fd00::/8", "[::1]", "[fe80::1]:80", "fe80::/10,10.0.0.0/8", "a b", "x:port", "::", "%"]
)
async def test_an_entry_of_no_proxy_that_is_no_host_keeps_nobody_from_asking(
    server: FaultyServer, proxies: Callable[..., None], odd: str
) -> None:
    proxies(NO_PROXY=f"localhost,{odd}, .own.invalid")
    async with HttpClient(silence=20, whole=20) as client:
        await client.request("GET", server.address, most=100_000)
    assert len(server.requests) == 1
    proxies(HTTP_PROXY=server.address, NO_PROXY=f"localhost,{odd}, .own.invalid")
    assert await way_to("http://vwo.invalid/", server) == "proxy"
    assert await way_to("http://a.own.invalid/", server) == "direct"


@pytest.mark.parametrize(
    ("variables", "url", "way"),
    [
        ({"http_proxy": "{}"}, "http://vwo.invalid/", "proxy"),
        ({"ALL_PROXY": "{}"}, "http://vwo.invalid/", "proxy"),
        ({"HTTP_PROXY": "{}\n"}, "http://vwo.invalid/", "proxy"),
        ({"HTTPS_PROXY": "{}"}, "http://vwo.invalid/", "direct"),
        ({"HTTP_PROXY": "{}", "NO_PROXY": "*"}, "http://vwo.invalid/", "direct"),
        ({"HTTP_PROXY": "{}", "NO_PROXY": "vwo.invalid"}, "http://vwo.invalid/", "direct"),
        ({"HTTP_PROXY": "{}", "NO_PROXY": "vwo.invalid"}, "http://a.vwo.invalid/", "direct"),
        ({"HTTP_PROXY": "{}", "NO_PROXY": "vwo.invalid"}, "http://othervwo.invalid/", "proxy"),
        ({"HTTP_PROXY": "{}", "NO_PROXY": "192.0.2.1"}, "http://192.0.2.2/", "proxy"),
        ({"HTTP_PROXY": "{}", "NO_PROXY": "[2001:db8::1]"}, "http://[2001:db8::2]/", "proxy"),
        ({"HTTP_PROXY": "{}", "NO_PROXY": "http://vwo.invalid"}, "http://vwo.invalid/", "direct"),
    ],
)
async def test_proxies_of_the_environment_are_taken(
    server: FaultyServer, proxies: Callable[..., None], variables: dict[str, str], url: str, way: str
) -> None:
    proxies(**{name: value.replace("{}", server.address) for name, value in variables.items()})
    assert await way_to(url, server) == way


def _redirects(request: Request) -> Answer:
    number = int(request.path[1:] or 0)
    return Answer(302, b"{}", {"Location": f"/{number + 1}"}) if number < 3 else Answer(200, b"here")


@pytest.mark.parametrize(("most", "status"), [(0, 302), (2, 302), (3, 200), (9, 200)])
async def test_redirects_are_followed_as_far_as_wanted(server: FaultyServer, most: int, status: int) -> None:
    server.fault = _redirects
    async with HttpClient(silence=5, whole=5) as client:
        assert (await client.request("GET", server.address, most=10, redirects=most)).status == status


async def test_the_body_of_a_redirect_is_not_read() -> None:
    with bad_server(bad_servers.endless_redirect) as address:
        async with HttpClient(silence=5, whole=20) as client, client.stream("GET", address, redirects=5) as incoming:
            assert incoming.status == 302


@pytest.mark.parametrize("location", ["http://[", "//\x00", "gopher://x", "http://x:99999999", "x" * 70_000])
async def test_a_redirect_to_nowhere_is_an_error_of_ours(server: FaultyServer, location: str) -> None:
    server.fault = lambda _: Answer(302, b"", {"Location": location})
    assert (await asked_with_redirects(server.address)).reason in ("unreachable", "answer_too_large")


async def asked_with_redirects(address: str) -> NoAnswerError:
    async with HttpClient(silence=5, whole=5) as client:
        with pytest.raises(NoAnswerError) as caught:
            await client.request("GET", address, most=10, redirects=5)
    return caught.value


@pytest.mark.parametrize(
    ("wish", "least", "most"),
    [
        ("7", 7, 7),
        ("9" * 400, 86_400, 86_400),
        ("Fri, 31 Dec 2100 23:59:00 GMT", 86_400, 86_400),
        ("Fri, 31 Dec 2010 23:59:00 GMT", 0, 0),
        ("Fri, 31 Dec 99999999999999999999 23:59:00 GMT", 0, 0),
        ("Fri, 31 Dec 2100 23:59:00 +99999999999999999999", 0, 0),
        ("\xb2", 0, 0),
        ("-1", 0, 0),
        ("1e9", 0, 0),
        ("", 0, 0),
    ],
)
def test_a_wish_to_wait_is_bounded_and_never_an_error(wish: str, least: float, most: float) -> None:
    assert least <= seconds_to_wait(httpx.Headers([(b"Retry-After", wish.encode("latin-1"))])) <= most


LINES = st.lists(st.sampled_from([b"a", b"-", b":", b" ", b"\t", b";", b"5", b"\r", b"\n", b"\r\n", b"\0", b"\xff"]))


@given(LINES)
def test_the_patterns_match_what_those_of_h11_do(parts: list[bytes]) -> None:
    make_linear()
    line = b"".join(parts)
    for pattern, ours in (
        (_abnf.header_field, _readers.header_field_re),
        (_abnf.chunk_header, _readers.chunk_header_re),
    ):
        theirs = re.compile(pattern.encode("ascii")).fullmatch(line)
        found = ours.fullmatch(line)
        assert (theirs is None) == (found is None)
        if theirs and found:
            named = {name: value for name, value in found.groupdict().items() if name != "chunk_ext"}
            assert named == {name: value for name, value in theirs.groupdict().items() if name != "chunk_ext"}
