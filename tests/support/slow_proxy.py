"""A TCP proxy in front of a server, which can make what the server says come late."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self

_CHUNK = 64 * 1024


class SlowProxy:
    """Listens on `port` of loopback, in a thread of its own, while the block runs.

    `delay`: seconds by which everything that the server at `target` says from now on is late.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.delay = 0.0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._pumps: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        pumps = list(self._pumps)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                await asyncio.gather(self._pass_on(reader, server_writer), self._say_later(server_reader, writer))
            finally:
                server_writer.transport.abort()
        writer.transport.abort()
        self._pumps.discard(task)

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
            if not chunk:
                writer.close()
                return
            writer.write(chunk)
