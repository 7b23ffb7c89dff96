"""Run ASGI applications on their addresses until a signal asks to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn

from foundation.errors import ConfigurationError
from foundation.logs import say
from foundation.web import head_as_get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

_GRACE_SECONDS = 1
_BACKLOG = 2048


@dataclass(frozen=True)
class Listener:
    """An application and the address it is served on. `options` go to uvicorn."""

    app: FastAPI
    host: str
    port: int
    options: dict[str, Any] = field(default_factory=dict)


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the signals to `serve`, since one process may hold several servers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int, *, setting: str) -> socket.socket:
    """A listening socket: who connects from now on is answered as soon as `serve` runs.

    Raises `ConfigurationError` naming `setting` when the address can't be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # before this, Linux lets a second process bind the same address
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"can't listen on {host}:{port}: {error.strerror or error}; is another copy running? "
            f"{setting} chooses another port"
        ) from error
    return listener


def claim(host: str, port: int, *, setting: str) -> socket.socket:
    """An address for several processes: as long as this socket is open, only sockets of `join` can be there too.

    Nobody is answered through the socket itself. Raises `ConfigurationError` like `bind`.
    """
    # SO_REUSEPORT alone would let a second copy of the service in. A plain bind finds whoever is there, and from then
    # on one of the two sockets turns away another's plain bind.
    with bind(host, port, setting=setting) as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        claimed = join(first)
        claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # Linux asks for it on both sides
    return claimed


def join(claimed: socket.socket) -> socket.socket:
    """A further socket on a claimed address. Linux shares out new connections among those that are being served."""
    joined = socket.socket(claimed.family, socket.SOCK_STREAM)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        joined.setsockopt(socket.SOL_SOCKET, option, 1)
    joined.bind(claimed.getsockname())
    return joined


def address(bound: socket.socket) -> str:
    """Where a bound socket is, as a URL; the port is the real one where 0 was asked for."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def reachable_host(host: str) -> str:
    """The host part of a URL that reaches a listener on `host` from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host


def _calm_the_collector() -> None:
    """What start-up made stays for good, and what is in work is not to be visited all the time: 10 ms a visit."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1000)


async def serve_with_administration(
    name: str, public: Listener, administration: Listener, *, setting: str, store: str
) -> None:
    """Serve a program's two ports, of the settings `<setting>_PORT` and `<setting>_ADMIN_PORT`; say where they are."""
    bound = [
        (public, bind(public.host, public.port, setting=f"{setting}_PORT")),
        (administration, bind(administration.host, administration.port, setting=f"{setting}_ADMIN_PORT")),
    ]
    public_address, admin_address = (address(listening) for _, listening in bound)
    await serve(bound, tell=f"{name} listening on {public_address}, administration on {admin_address}, store {store}")


async def serve(listeners: list[tuple[Listener, socket.socket]], *, tell: str = "") -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests under way and return.

    `tell` is said when a signal finds us ready for it.
    """
    servers: list[_Server] = []
    for listener, _ in listeners:
        options: dict[str, Any] = {
            "log_config": None,
            "access_log": False,
            "server_header": False,
            "proxy_headers": False,
            "timeout_graceful_shutdown": _GRACE_SECONDS,
            "backlog": _BACKLOG,
        }
        servers.append(_Server(uvicorn.Config(head_as_get(listener.app), **(options | listener.options))))

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    if tell:
        say(tell)
    _calm_the_collector()

    async def run(server: _Server, bound: socket.socket) -> None:
        try:
            await server.serve(sockets=[bound])
        finally:
            stop()  # one server that ends takes the others along: half a service is worse than a restart

    await asyncio.gather(*(run(server, bound) for server, (_, bound) in zip(servers, listeners, strict=True)))
