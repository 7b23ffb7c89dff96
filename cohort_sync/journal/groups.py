"""Group commit: records that arrive while a sync runs are written together by the next one, in one thread."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foundation.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cohort_sync.journal.pen import Parts

log = logging.getLogger(__name__)

_MOST_RECORDS = 512


@dataclass(frozen=True, slots=True)
class _Waiting:
    parts: Parts
    future: asyncio.Future[Exception | None]


@dataclass(frozen=True, slots=True)
class _Order:
    """Something else to be done between two groups. None: the end."""

    run: Callable[[], None] | None
    future: asyncio.Future[Exception | None]


class Groups:
    """`write` is called in the thread, with one group at a time; its `OSError` reaches everyone in the group.

    For use from one event loop.
    """

    def __init__(self, write: Callable[[Sequence[Parts]], None], *, group_bytes: int) -> None:
        self.last_error: str | None = None
        self.failing = False
        self._write = write
        self._group_bytes = group_bytes
        self._queue: queue.SimpleQueue[_Waiting | _Order] = queue.SimpleQueue()
        self._closed = False
        # A daemon: a program that ends without closing the journal must not hang on it.
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._thread.start()

    async def append(self, parts: Parts) -> None:
        """Written when this returns. Raises `UnavailableError`.

        The record of a caller that is cancelled may be written or not.
        """
        future: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._enqueue(_Waiting(parts, future))
        error = await future
        if isinstance(error, OSError):
            raise UnavailableError(
                f"the journal can't be written: {error.strerror or error}; send this again later",
                reason="journal_unavailable",
            ) from error
        if error is not None:
            raise error

    async def run(self, order: Callable[[], None]) -> None:
        """Call `order` in the thread when all records that came before are written or refused."""
        future: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._enqueue(_Order(order, future))
        error = await future
        if error is not None:
            raise error

    async def aclose(self) -> None:
        """Write what waits; then no more. Done when the thread has ended."""
        if not self._closed:
            self._enqueue(_Order(None, asyncio.get_running_loop().create_future()))
            self._closed = True
        await asyncio.to_thread(self._thread.join)

    def _enqueue(self, item: _Waiting | _Order) -> None:
        if self._closed:
            raise UnavailableError("the journal is closed; send this again later", reason="journal_unavailable")
        self._queue.put(item)

    def _serve(self) -> None:
        held: _Waiting | _Order | None = None
        while True:
            item = held if held is not None else self._queue.get()
            held = None
            if isinstance(item, _Waiting):
                group, held = self._group_from(item)
                _settle([waiting.future for waiting in group], self._written(group))
            else:
                _settle([item.future], _outcome(item.run) if item.run is not None else None)
                if item.run is None:
                    return

    def _group_from(self, first: _Waiting) -> tuple[list[_Waiting], _Waiting | _Order | None]:
        """The group that begins with `first`, and what was taken from the queue besides."""
        group: list[_Waiting] = []
        size = 0
        item: _Waiting | _Order = first
        while isinstance(item, _Waiting):
            if not item.future.cancelled():
                size += sum(map(len, item.parts))
                group.append(item)
            if size >= self._group_bytes or len(group) >= _MOST_RECORDS:
                return group, None
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, None
        return group, item

    def _written(self, group: list[_Waiting]) -> Exception | None:
        if not group:
            return None
        error = _outcome(lambda: self._write([waiting.parts for waiting in group]))
        if error is not None:
            self.last_error = str((isinstance(error, OSError) and error.strerror) or error)
        if self.failing != (error is not None):
            self.failing = error is not None
            if self.failing:
                log.error("the journal can't be written: %s; pushes are refused until it can", self.last_error)
            else:
                log.info("the journal can be written again")
        return error


def _outcome(call: Callable[[], None]) -> Exception | None:
    try:
        call()
    except OSError as error:
        return error
    except Exception as error:
        # A mistake of ours must reach who waits for the record, and not end the thread that all others wait for.
        log.exception("the journal's thread met an error of the program")
        return error
    return None


def _settle(futures: list[asyncio.Future[Exception | None]], error: Exception | None) -> None:
    if not futures:
        return
    try:
        futures[0].get_loop().call_soon_threadsafe(_tell, futures, error)
    except RuntimeError:
        log.debug("the event loop ended before its records were written")


def _tell(futures: list[asyncio.Future[Exception | None]], error: Exception | None) -> None:
    for future in futures:
        if not future.done():
            future.set_result(error)
