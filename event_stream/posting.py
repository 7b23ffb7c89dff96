"""Batches over HTTP, to whoever takes events."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from event_stream.delivery import Again


class Poster:
    """`patience`: seconds for which the other side may be silent; `whole`: for a request and all of its answer.

    It connects on first use and keeps connections; `aclose` ends it.
    """

    def __init__(self, *, patience: float, whole: float) -> None:
        self._patience = patience
        self._whole = whole
        self._client: httpx.AsyncClient | None = None
        self._making = asyncio.Lock()

    async def post(self, address: str, body: bytes, **more: Any) -> httpx.Response | Again:
        """The answer to `body`, which is JSON, or why there was none. `more` goes to httpx."""
        client = await self._connected()
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        try:
            async with asyncio.timeout(self._whole):
                return await client.post(address, content=body, headers=headers, **more)
        except (httpx.TimeoutException, TimeoutError):
            return Again("timeout")
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            return Again("unreachable")

    async def _connected(self) -> httpx.AsyncClient:
        async with self._making:
            if self._client is None:
                # It reads the system's certificates, 20 ms in which nobody else should have to wait.
                self._client = await asyncio.to_thread(httpx.AsyncClient, timeout=self._patience)
        return self._client

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
