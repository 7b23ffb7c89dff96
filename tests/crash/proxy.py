"""A TCP proxy in front of a store's unix socket: it can be pointed elsewhere, and hold back what the server says."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from typing import Any

_CHUNK = 64 * 1024


class Proxy:
    """Listens on `port` of loopback, in a thread of its own, while the block runs."""

    def __init__(self, target: Path) -> None:
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._call(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def point_at(self, target: Path) -> None:
        """Who connects from now on reaches `target`; the connections there are, and what was held back, are gone."""
        self._target = target
        self._call(self._cut)

    def hold(self) -> None:
        """Pass on nothing that the server says, until the connections are cut."""
        self._call(self._stop_flow)

    def _call(self, work: Callable[[], Coroutine[Any, Any, int]]) -> int:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)

    async def _listen(self) -> int:
        self._flowing.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> int:
        assert self._server is not None
        self._server.close()
        await self._cut()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return 0

    async def _stop_flow(self) -> int:
        self._flowing.clear()
        return 0

    async def _cut(self) -> int:
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0.01)  # those that wait to pass something on meet their aborted connections
        self._flowing.set()
        return 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(str(self._target))
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(server_writer)
        await asyncio.gather(
            self._pump(reader, server_writer, held=False), self._pump(server_reader, writer, held=True)
        )
        self._writers -= {writer, server_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if held:
                    await self._flowing.wait()
                if writer.transport.is_closing():
                    break
                writer.write(chunk)
                await writer.drain()
        writer.close()
