"""Batches over HTTP, to whoever takes events."""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
from typing import TYPE_CHECKING, Any

import httpx

from event_stream.delivery import Again, Delivered, Refused

if TYPE_CHECKING:
    from event_stream.delivery import Verdict

BECAUSE_OF_SOME = frozenset((400, 413, 422))  # statuses for which a part of the batch may be to blame

# The other side's program failed, perhaps over one event; it does not say that it is away.
_STUMBLED = frozenset((500, 501, 502, 504, 505, 507, 508, 520))


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
            return Again("timeout", because_of_some=True)
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


def verdict_of(answer: httpx.Response) -> Verdict:
    """What an answer says of a batch, by HTTP's own meaning of its status."""
    reason = f"http_{answer.status_code}"
    if answer.is_success:
        return Delivered()
    if answer.status_code in BECAUSE_OF_SOME:
        return Refused(reason, because_of_some=True)
    return Again(reason, after=_wish(answer), because_of_some=answer.status_code in _STUMBLED)


def _wish(answer: httpx.Response) -> float:
    """`Retry-After` in seconds from now, which HTTP has as a number or as a date."""
    wish = answer.headers.get("Retry-After", "")
    if wish.isdigit():
        return float(wish)
    try:
        moment = email.utils.parsedate_to_datetime(wish)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds())
