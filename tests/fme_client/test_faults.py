"""Whatever the gateway does, `get_flag` returns within its deadline, every time, and never raises for it."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from fme_client.breaker import FAILURES, FIRST_PAUSE
from tests.fme_client.sample import LIST, feature, member, member_of, rollout, sample_settings, settings
from tests.gateway.conftest import Lists
from tests.support import bad_servers, processes
from tests.support.bad_servers import HEAD, bad_server
from tests.support.ports import free_ports
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis

    from fme_client import Client, Flag
    from tests.fme_client.conftest import Connect
    from tests.support.recording_server import RecordingServer

DEADLINE = 0.3  # seconds, so that the tests are over soon
SLACK = 0.7  # for a machine that is busy with other things
CALLS = 8  # more than it takes until a silent gateway is left alone

FAULTS = {
    "refuses to connect": None,
    "is silent": bad_servers.silent,
    "closes without an answer": bad_servers.closes,
    "answers rubbish": bad_servers.rubbish,
    "stops within an answer": bad_servers.half_an_answer,
    "answers without an end": bad_servers.endless,
    "drips the head": bad_servers.dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", 0.02),
    "drips the body": bad_servers.dripping(HEAD % 1000, 0.002),
    "drips line by line": bad_servers.dripping(b"\r\n" * 1000, 0.02),
}


def timed(call: Callable[[], Flag]) -> tuple[Flag, float]:
    started = time.monotonic()
    flag = call()
    return flag, time.monotonic() - started


def assert_off_in_time(client: Client, calls: int = CALLS) -> None:
    for _ in range(calls):
        flag, took = timed(lambda: client.get_flag("premium", member("alice")))
        assert not flag.is_enabled()
        assert took < DEADLINE + SLACK


def lonely(connect: Connect, address: str, **options: Any) -> Client:
    """A client that has its settings, and whose gateway is at `address`."""
    return connect(address, settings=sample_settings(), deadline=DEADLINE * 1000, **options)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_flag_comes_in_time_from_a_gateway_that(fault: str, connect: Connect, said: list[str]) -> None:
    behave = FAULTS[fault]
    if behave is None:
        (port,) = free_ports(1)
        assert_off_in_time(lonely(connect, f"http://127.0.0.1:{port}"))
    else:
        with bad_server(behave) as address:
            assert_off_in_time(lonely(connect, address))
    assert [line for line in said if "did not tell about a list" in line] != []


@pytest.mark.parametrize("fault", FAULTS)
def test_calls_that_ask_for_an_alias_come_in_time_from_a_gateway_that(
    fault: str, connect: Connect, said: list[str]
) -> None:
    """And after a few of them nobody waits any more."""
    behave = FAULTS[fault]
    with contextlib.ExitStack() as running:
        address = (
            f"http://127.0.0.1:{free_ports(1)[0]}" if behave is None else running.enter_context(bad_server(behave))
        )
        client = lonely(connect, address, is_aliasing_enabled=True)
        started = time.monotonic()
        for _ in range(CALLS):
            assert not client.get_flag("open", member("alice"))
            assert client.track_event("open_used", member("alice")) == {"open_used": False}
        assert time.monotonic() - started < CALLS * DEADLINE
    for call in ("get_flag", "track_event"):
        assert [line for line in said if line.startswith(f"error: {call}: ")] != []


def test_a_flag_comes_in_time_where_nobody_takes_the_connection(connect: Connect) -> None:
    """A full backlog: the kernel answers nothing at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for peer in waiting:
            peer.setblocking(False)
            peer.connect_ex(address)
        try:
            assert_off_in_time(lonely(connect, f"http://127.0.0.1:{address[1]}"))
        finally:
            for peer in waiting:
                peer.close()


def test_a_flag_comes_in_time_where_names_are_not_told(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name look-up can't be interrupted, and goes on as long as the resolver likes."""
    told = threading.Event()

    def look_up(*_: object, **__: object) -> Any:
        told.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        assert_off_in_time(lonely(connect, "http://gateway.invalid:8000"))
    finally:
        told.set()


def test_a_flag_comes_in_time_where_the_name_is_unknown(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    def look_up(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert_off_in_time(lonely(connect, "http://gateway.invalid:8000"))
    assert any("the server's name is not known" in line for line in said)


def test_many_at_once_come_in_time(connect: Connect) -> None:
    """Also where there are more callers than connections or threads to wait."""
    with bad_server(bad_servers.silent) as address, ThreadPoolExecutor(40) as callers:
        client = lonely(connect, address)
        asked = [
            callers.submit(timed, lambda: client.get_flags(["premium", "both", "tested"], member("alice"))["premium"])
            for _ in range(80)
        ]
        for flag, took in (each.result() for each in asked):
            assert not flag.is_enabled()
            assert took < DEADLINE + 2 * SLACK


def test_rules_that_ask_in_turn_share_one_deadline(connect: Connect) -> None:
    rules = [rollout(number, "premium", member_of(f"list-{number}")) for number in range(1, 20)]
    asking = settings([feature(1, "premium", *rules)], rules)

    def slow(peer: socket.socket, over: threading.Event) -> None:
        over.wait(DEADLINE / 4)
        peer.sendall(HEAD % 5 + b"false")

    with bad_server(slow) as address:
        client = connect(address, settings=asking, deadline=DEADLINE * 1000)
        assert_off_in_time(client, calls=3)


def test_a_gateway_that_is_silent_soon_costs_nothing_and_is_found_again(
    connect: Connect, server: RecordingServer, said: list[str]
) -> None:
    answered = threading.Event()

    def slow(_: object) -> tuple[int, bytes]:
        answered.wait()
        return 200, b"true"

    server.answers["/check-attribute"] = slow
    client = connect(deadline=50)
    begun = time.monotonic()
    assert_off_in_time(client, calls=FAILURES + 20)
    # One more after each pause, and each pause is twice as long as the one before.
    trials = int(math.log2(1 + (time.monotonic() - begun) / FIRST_PAUSE))
    assert len(server.to("/check-attribute")) <= FAILURES + trials
    assert any("is not asked for a moment" in line for line in said)
    answered.set()
    server.answers.clear()
    until(lambda: client.get_flag("premium", member("alice")).is_enabled(), what="the gateway to be asked again")


def test_user_details_leave_time_for_the_list(connect: Connect, server: RecordingServer) -> None:
    """Most rules need no user details, yet they are asked for first, as the Node SDK does."""
    over = threading.Event()

    def slow(_: object) -> tuple[int, bytes]:
        over.wait()
        return 200, b"{}"

    server.answers["/get-user-details"] = slow
    client = connect(deadline=DEADLINE * 1000)
    try:
        flag, took = timed(lambda: client.get_flag("premium", member("alice")))
        assert flag.is_enabled()
        assert took < DEADLINE
    finally:
        over.set()


def test_cookies_of_a_gateway_are_not_kept(connect: Connect, server: RecordingServer) -> None:
    """None is ever sent back, and a balancer may make up a new one with each answer."""
    client = connect()
    for at in range(3):
        server.headers = {"Set-Cookie": f"balancer-{at}={at}"}
        assert client.get_flag("premium", member("alice"))
    assert len(client._parts._transport._session.cookies) == 0


def test_a_connection_that_the_gateway_closed_is_no_fault(connect: Connect) -> None:
    """A kept connection may end at the very moment at which it is used again."""

    def once(peer: socket.socket, _: threading.Event) -> None:
        peer.sendall(HEAD % 4 + b"true")
        peer.shutdown(socket.SHUT_RDWR)

    with bad_server(once) as address:
        client = lonely(connect, address)
        for _ in range(CALLS):
            assert client.get_flag("premium", member("alice"))


def test_a_gateway_may_be_killed_paused_and_started_again(
    connect: Connect, store: redis.Redis, store_url: str, tmp_path: Path
) -> None:
    """The real program, under the client's feet."""
    Lists(store).put(LIST, "alice")
    (port,) = free_ports(1)
    options = {"REDIS_URL": store_url, "PORT": str(port)}

    def is_on() -> bool:
        return client.get_flag("premium", member("alice")).is_enabled()

    with processes.gateway(tmp_path, options) as program:
        client = lonely(connect, program.address)
        until(is_on, what="the first answer in time")
        os.kill(program.pid, signal.SIGSTOP)
        assert_off_in_time(client)
        os.kill(program.pid, signal.SIGCONT)
        until(is_on, what="the paused gateway")
        program.kill()
        assert_off_in_time(client)
    with processes.gateway(tmp_path, options):
        until(is_on, what="the gateway that was started again")
