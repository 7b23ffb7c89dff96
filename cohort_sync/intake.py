"""Take bodies in: within a budget of memory, from senders that don't dawdle, answered in time."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cohort_sync.pushes import parse_push_in_turns
from foundation.errors import BadRequestError, CohortGatewayError, TooLargeError, TooSlowError, UnavailableError
from foundation.memory import Memory
from foundation.tasks import end
from foundation.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive

    from cohort_sync.pushes import DrainPush, SyncPush
    from cohort_sync.settings import CohortSyncSettings
    from cohort_sync.signature import SignatureCheck
    from foundation.memory import Booking

log = logging.getLogger(__name__)

_GRACE = 1 / 6  # share of the time in which nobody asks for the pace
_SLOWEST = 8 * 1024  # bytes a second
_HASHED_AT_ONCE = 16 * 1024  # bytes: up to here hashing is no heavy work


@dataclass(frozen=True, slots=True)
class Verified:
    """A push whose signature was right: `digest` stands for its body, `signed_at` is in Unix milliseconds."""

    push: SyncPush | DrainPush
    digest: str
    signed_at: int


@dataclass(slots=True)
class Body:
    """A raw body, and the hash that stands for it."""

    content: bytes
    digest: str


class Intake:
    """Takes the requests of one process. `apply`: what is done with a verified push."""

    def __init__(self, settings: CohortSyncSettings, apply: Callable[[Verified], Awaitable[None]]) -> None:
        self.memory = Memory(settings.webhook_memory)
        self._settings = settings
        self._apply = apply
        self._turns = Turns()
        self._under_way: set[asyncio.Task[None]] = set()

    async def take(self, receive: Receive, check: SignatureCheck, *, announced: str | None) -> None:
        """Read the body, verify it and have it applied. `announced`: its Content-Length, if there was one.

        Raises what reading, `check`, parsing and applying raise, and `UnavailableError` when applying takes too long:
        it goes on then, and the sender's retry finds it done. Were it stopped, a page that takes longer than senders
        wait would never be applied.
        """
        size = int(announced) if announced and announced.isdecimal() else 0
        limit = self._settings.max_webhook_bytes
        if size > limit:
            raise _too_large(limit)
        with contextlib.ExitStack() as holding:
            booking = holding.enter_context(self.memory.booking(size))
            reading = Reading(check, booking, self._turns, limit=limit, seconds=self._settings.webhook_seconds)
            body = await reading.read(receive)
            check.verify(tolerance=self._settings.heap_timestamp_tolerance)
            work = asyncio.create_task(self._work(body, check.signed_at, holding.pop_all()))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        del body
        done, _ = await asyncio.wait((work,), timeout=self._settings.webhook_answer_seconds)
        if not done:
            work.add_done_callback(_say_how_it_ended)
            raise UnavailableError("this is still being applied; send it again later", reason="slow")
        await work

    async def aclose(self) -> None:
        """Stop what is under way; none of it was answered 200."""
        await end(*self._under_way)

    async def _work(self, body: Body, signed_at: int, holding: contextlib.ExitStack) -> None:
        with holding:
            async with self.memory.work_on(len(body.content)):
                push = await parse_push_in_turns(body.content, self._turns)
                body.content = b""  # its room is for what was made of it
                await self._apply(Verified(push, body.digest, signed_at))


class Reading:
    """Reads one body of at most `limit` bytes, within `seconds` and at no less than some 8 KiB a second."""

    def __init__(self, check: SignatureCheck, booking: Booking, turns: Turns, *, limit: int, seconds: float) -> None:
        self._check = check
        self._booking = booking
        self._turns = turns
        self._limit = limit
        self._seconds = seconds
        self._content = bytearray()
        self._digest = hashlib.blake2b(digest_size=16)

    async def read(self, receive: Receive) -> Body:
        """The raw body, hashed as it arrives, so that no large body is hashed in one go.

        Raises `TooLargeError`, `TooSlowError`, `UnavailableError` without room for more, and `BadRequestError` when
        the sender hangs up.
        """
        start = asyncio.get_running_loop().time()
        more = True
        while more:
            patience = min(self._seconds, self._seconds * _GRACE + len(self._content) / _SLOWEST)
            try:
                async with asyncio.timeout_at(start + patience):
                    message = await receive()
            except TimeoutError:
                raise TooSlowError(f"the body must arrive within {self._seconds:g} s (WEBHOOK_SECONDS)") from None
            if message["type"] != "http.request":
                raise BadRequestError("the sender hung up half-way", reason="cut_short")
            more = message.get("more_body", False)
            await self._take(message.get("body", b""))
        return Body(bytes(self._content), self._digest.hexdigest())

    async def _take(self, chunk: bytes) -> None:
        if len(self._content) + len(chunk) > self._limit:
            raise _too_large(self._limit)
        self._booking.grow(len(chunk))
        async with self._turns.slice() if len(chunk) > _HASHED_AT_ONCE else contextlib.nullcontext():
            self._check.feed(chunk)
            self._digest.update(chunk)
            self._content += chunk


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than {limit} bytes (MAX_WEBHOOK_BYTES)")


def _say_how_it_ended(work: asyncio.Task[None]) -> None:
    if work.cancelled():
        return
    error = work.exception()
    if error is None:
        log.info("a push that was answered 503 for its slowness is applied now")
    elif isinstance(error, CohortGatewayError):
        log.warning("a push that was answered 503 for its slowness failed: %s (%s)", error, error.reason)
    else:
        log.error("a push that was answered 503 for its slowness failed", exc_info=error)
