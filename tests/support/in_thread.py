"""Applications served over real HTTP from a thread of the test's own process, where the test can reach into them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator

    from fastapi import FastAPI

THREAD = "served-by-the-test"


@contextlib.contextmanager
def served(apps: list[tuple[FastAPI, socket.socket]], *, close: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Each application on its bound socket, all on one event loop; `close` is awaited there at the end."""
    servers = [
        (uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")), bound)
        for app, bound in apps
    ]

    async def run() -> None:
        try:
            await asyncio.gather(*(server.serve(sockets=[bound]) for server, bound in servers))
        finally:
            await close()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name=THREAD)
    thread.start()
    try:
        yield
    finally:
        for server, _ in servers:
            server.should_exit = True
        thread.join()
