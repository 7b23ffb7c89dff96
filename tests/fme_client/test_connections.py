"""Connections that nobody waits for any more are not made, and none is left open."""

from __future__ import annotations

import contextlib
import gc
import socket
import struct
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fme_client.connections import BoundedAdapter, _Socket
from tests.fme_client.sample import LIST, feature, member, member_of, rollout, settings
from tests.support import bad_servers
from tests.support.bad_servers import HEAD, bad_server
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fme_client import Client
    from tests.fme_client.conftest import Connect

DEADLINE = 200  # milliseconds
CALLERS = 40  # more than there are threads that connect
RULE = rollout(1, "premium", member_of(LIST))
NO_EVENTS = settings([feature(1, "premium", RULE)], [RULE], sdkMetaInfo={"wasInitializedEarlier": True})


class LookUps:
    """Name look-ups that hang until `end`; then every name has these addresses."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self._addresses = addresses
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.under_way = 0

    def __call__(self, *_: Any, **__: Any) -> list[Any]:
        with self._lock:
            self.under_way += 1
        self._over.wait()
        with self._lock:
            self.under_way -= 1
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in self._addresses]

    def end(self) -> None:
        self._over.set()


class Answering:
    """Says `true` to all that comes, and counts the connections on which it may."""

    def __init__(self) -> None:
        self.taken = 0

    def __call__(self, peer: socket.socket, over: threading.Event) -> None:
        self.taken += 1
        peer.settimeout(0.05)
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                if not peer.recv(65536):
                    return
                peer.sendall(HEAD % 4 + b"true")


@contextlib.contextmanager
def full_listener() -> Iterator[tuple[str, int]]:
    """The address of a listener whose backlog is full: the kernel answers nothing at all."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            peer = waiting.enter_context(socket.socket())
            peer.setblocking(False)
            peer.connect_ex(listener.getsockname())
        yield listener.getsockname()


def ask_at_once(client: Client) -> None:
    with ThreadPoolExecutor(CALLERS) as callers:
        flags = list(callers.map(lambda _: client.get_flag("premium", member("alice")).is_enabled(), range(CALLERS)))
    assert not any(flags)


def open_sockets() -> int:
    """How many this process has."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed since
            found += str(descriptor.readlink()).startswith("socket:")
    return found


def address_of(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def test_connects_that_timed_out_are_not_made_later(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs and comes back must not let the dead ones in first: the living would wait behind them."""
    with bad_server(gateway := Answering(), reads=False) as address:
        looked_up = LookUps(address_of(address))
        monkeypatch.setattr(socket, "getaddrinfo", looked_up)
        client = connect("http://gateway.invalid:8000", settings=NO_EVENTS, deadline=DEADLINE)
        ask_at_once(client)
        looked_up.end()
        until(lambda: client.get_flag("premium", member("alice")).is_enabled(), what="the gateway")
        client.flush()
        assert gateway.taken < CALLERS / 4  # of the call that went through, and of its events


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts what Linux tells of a process")
def test_a_connect_is_over_at_the_deadline_however_many_addresses_a_name_has(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each address would have its own time-out."""
    with full_listener() as address:
        looked_up = LookUps(*[address] * 100)
        looked_up.end()
        monkeypatch.setattr(socket, "getaddrinfo", looked_up)
        client = connect("http://gateway.invalid:8000", settings=NO_EVENTS, deadline=DEADLINE)
        before = open_sockets()
        ask_at_once(client)
        until(lambda: open_sockets() <= before, seconds=3, what="the sockets to be closed")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts what Linux tells of a process")
@pytest.mark.parametrize("fault", ["nobody takes the connection", "silent", "half an answer"])
def test_no_socket_is_left_open_by_calls_that_timed_out(connect: Connect, fault: str) -> None:
    faults = {"silent": bad_servers.silent, "half an answer": bad_servers.half_an_answer}
    with contextlib.ExitStack() as running:
        if fault in faults:
            address = running.enter_context(bad_server(faults[fault]))
        else:
            host, port = running.enter_context(full_listener())
            address = f"http://{host}:{port}"
        before = open_sockets()
        for _ in range(3):
            client = connect(address, settings=NO_EVENTS, deadline=DEADLINE)
            ask_at_once(client)
            client.destroy(timeout=0.01)
    until(lambda: open_sockets() <= before, what="the sockets to be closed")


def test_a_server_that_resets_before_tls_begins_leaves_no_socket_open() -> None:
    context = BoundedAdapter(1, None)._context

    def reset() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            ours = _Socket()
            ours.connect(server.getsockname())
            peer, _ = server.accept()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            with pytest.raises(ConnectionResetError):
                context.wrap_socket(ours, server_hostname="gateway")

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        reset()
        gc.collect()
    assert not told
