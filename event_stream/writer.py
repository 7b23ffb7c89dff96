"""Appends to a stream for many at once, and keeps events in memory, within bounds, while the store can't take them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from event_stream.spells import Spell
from foundation.background import keep_running
from foundation.pauses import Pauses
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from event_stream.stream import Event, Stream

log = logging.getLogger(__name__)

# Of one step: the store does nothing else meanwhile, nor do we while we put it together.
MOST_AT_ONCE = 100
MOST_BYTES_AT_ONCE = 128 * 1024  # packing more takes a millisecond, in which nobody else has a turn
_OVERHEAD = 300  # bytes that an event takes in memory beside its body
_MOST_FAULTS = 4  # of one append, before its events are given up
_LAST_SECONDS = 0.3  # for what is in memory when the writer ends


class Fate(StrEnum):
    """What became of events by the time their sender is told. `DROPPED`: at least one of them was."""

    STORED = "stored"
    BUFFERED = "buffered"
    DROPPED = "dropped"


class Count(Protocol):
    """Is told of `number` events that something happened to."""

    def __call__(self, what: str, number: int, reason: str = "") -> object: ...


class _Written:
    """Events that came together. `fate` is set once all of them were appended, or found no room."""

    def __init__(self, events: int) -> None:
        self.left = events
        self.dropped = 0
        self.fate: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()

    def settle(self, dropped: int, events: int) -> None:
        self.dropped += dropped
        self.left -= events
        if not self.left and not self.fate.done():
            self.fate.set_result(Fate.DROPPED if self.dropped else Fate.STORED)


class Writer:
    """What many write at the same time leaves in one step, in the order of writing.

    `patience`: seconds after which `write` answers in any case. `most_events`, `most_bytes`: what memory holds. `count`
    is told of events `stored`, `buffered` (their sender was answered before the store had them) and `dropped`.
    """

    def __init__(
        self, stream: Stream, *, patience: float, count: Count, most_events: int = 50_000, most_bytes: int = 64 << 20
    ) -> None:
        self._stream = stream
        self._patience = patience
        self._count = count
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._name = secrets.token_hex(8)
        self._number = 0
        self._waiting: deque[tuple[Event, _Written]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._lost = 0  # dropped here, and not yet counted in the store
        self._losses = Spell(f"stream {stream.name}: events are dropped")
        self._is_behind = False

    @property
    def waiting(self) -> int:
        """How many events are in memory alone."""
        return len(self._waiting)

    @property
    def is_behind(self) -> bool:
        """Whether the store fails to take events in time."""
        return self._is_behind

    async def write(self, events: Sequence[Event]) -> Fate:
        """Append `events`. It never raises for a sick store, and returns within `patience`."""
        size = sum(len(body) for _, body in events) + _OVERHEAD * len(events)
        if not events:
            return Fate.STORED
        if len(self._waiting) + len(events) > self._most_events or self._bytes + size > self._most_bytes:
            self._drop(len(events), "buffer_full")
            return Fate.DROPPED
        written = _Written(len(events))
        self._waiting += [(event, written) for event in events]
        self._bytes += size
        self._filled.set()
        self._emptied.clear()
        if not self._is_behind:
            done, _ = await asyncio.wait([written.fate], timeout=self._patience)
            if done:
                return written.fate.result()
            self._fall_behind("it is silent")
        self._count("buffered", len(events))
        return Fate.BUFFERED

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Append while the block runs. At its end what is in memory gets a last chance, then it is dropped."""
        appending = keep_running(f"writer of {self._stream.name}", self._append_all)
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), _LAST_SECONDS)
            await end(appending)
            if self._waiting:
                self._drop(len(self._waiting), "stopped")
            self._losses.close()

    async def _append_all(self) -> None:
        while True:
            await self._filled.wait()
            some = self._next()
            stored, reason = await self._append([event for event, _ in some])
            for at, (event, written) in enumerate(some):
                self._waiting.popleft()
                self._bytes -= len(event.body) + _OVERHEAD
                written.settle(at >= stored, 1)
            self._count("stored", stored)
            if stored < len(some):
                self._tell_of_loss(len(some) - stored, reason)
            if not self._waiting:
                self._filled.clear()
                self._emptied.set()

    def _next(self) -> list[tuple[Event, _Written]]:
        """What leaves in one step."""
        some: list[tuple[Event, _Written]] = []
        size = 0
        for item in self._waiting:
            size += len(item[0].body)
            if some and (len(some) == MOST_AT_ONCE or size > MOST_BYTES_AT_ONCE):
                break
            some.append(item)
        return some

    async def _append(self, events: Sequence[Event]) -> tuple[int, str]:
        """Append until the store says that it was done; how many it took, and why not the others."""
        self._number += 1
        lost = self._lost
        pauses = Pauses(0.05, 1.0)
        faults = 0  # of our own
        while True:
            try:
                stored = await self._stream.append(events, writer=self._name, number=self._number, lost=lost)
            except STORE_ERRORS as error:
                self._fall_behind(explain(error))
                await asyncio.sleep(pauses.next())
                continue
            except Exception:
                # Most likely of the moment: redis-py raises an AttributeError where another task ends its connection.
                faults += 1
                log.exception("events can't be appended (attempt %d of %d)", faults, _MOST_FAULTS)
                if faults == _MOST_FAULTS:
                    return 0, "internal"
                await asyncio.sleep(pauses.next())
                continue
            self._lost -= lost
            if self._is_behind:
                self._is_behind = False
                log.info("the store takes events again")
            return stored, "stream_full"

    def _fall_behind(self, why: str) -> None:
        if not self._is_behind:
            log.warning("the store takes no events: %s; they wait in memory, and would be lost with this process", why)
        self._is_behind = True

    def _drop(self, number: int, reason: str) -> None:
        self._lost += number
        self._tell_of_loss(number, reason)

    def _tell_of_loss(self, number: int, reason: str) -> None:
        self._count("dropped", number, reason)
        self._losses.add(number, reason)
