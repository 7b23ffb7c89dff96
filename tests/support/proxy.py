"""A TCP proxy in front of a server: what the server says can come late or not at all, and it can be exchanged."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine

_CHUNK = 64 * 1024


class Proxy:
    """Listens on `port` of loopback, in a thread of its own, while the block runs.

    `target`: the server's unix socket, or its port of loopback. `delay`: seconds by which everything that the server
    says from now on is late.
    """

    def __init__(self, target: Path | int) -> None:
        self.port = 0
        self.delay = 0.0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._ends: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def point_at(self, target: Path | int) -> None:
        """Who connects from now on reaches `target`; the connections there are, and what was held back, are gone."""
        self._target = target
        self._call(self._cut())

    def hold(self) -> None:
        """Pass on nothing that the server says, until the connections are cut."""
        self._call(self._stop_flow())

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _stop_flow(self) -> None:
        self._flowing.clear()

    async def _cut(self) -> None:
        for end in self._ends:
            end.transport.abort()
        await asyncio.sleep(0.01)  # those that wait to pass something on meet their aborted connections
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        with contextlib.suppress(OSError, asyncio.CancelledError):
            server_reader, server_writer = await self._connect()
            ends.add(server_writer)
            self._ends |= ends
            await asyncio.gather(self._pass_on(reader, server_writer), self._say_later(server_reader, writer))
        for end in ends:
            end.transport.abort()
        self._ends -= ends

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(str(self._target))
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def _say_later(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        saying = self._loop.create_task(self._say(said, writer))
        try:
            while chunk := await reader.read(_CHUNK):
                said.put_nowait((self._loop.time() + self.delay, chunk))
            said.put_nowait((self._loop.time() + self.delay, b""))
            await saying
        finally:
            saying.cancel()

    async def _say(self, said: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        """In order, also where the delay has just ended; an empty piece is the end."""
        while True:
            due, chunk = await said.get()
            await asyncio.sleep(due - self._loop.time())
            await self._flowing.wait()
            if not chunk or writer.transport.is_closing():
                writer.close()
                return
            writer.write(chunk)
