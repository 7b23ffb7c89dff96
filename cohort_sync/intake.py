"""Take pushes in: within a budget of memory, verified as they came, answered in time."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cohort_sync.pushes import parse_push_in_turns
from foundation.errors import CohortGatewayError, UnavailableError
from foundation.memory import Memory
from foundation.request_bodies import BodyLimits, BodyReader
from foundation.tasks import end
from foundation.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from cohort_sync.pushes import DrainPush, SyncPush
    from cohort_sync.settings import CohortSyncSettings
    from cohort_sync.signature import SignatureCheck
    from foundation.request_bodies import Body

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verified:
    """A push whose signature was right: `digest` stands for its body, `signed_at` is in Unix milliseconds."""

    push: SyncPush | DrainPush
    digest: str
    signed_at: int


class Intake:
    """Takes the requests of one process. `apply`: what is done with a verified push; whether the store has it then."""

    def __init__(self, settings: CohortSyncSettings, apply: Callable[[Verified], Awaitable[bool]]) -> None:
        self.memory = Memory(settings.webhook_memory)
        self._settings = settings
        self._apply = apply
        self._turns = Turns()
        limits = BodyLimits(settings.max_webhook_bytes, "MAX_WEBHOOK_BYTES allows more")
        self._bodies = BodyReader(self.memory, self._turns, limits)
        self._under_way: set[asyncio.Task[bool]] = set()

    async def take(self, request: Request, check: SignatureCheck) -> bool:
        """Read the body, verify it and have it applied; what `apply` says.

        Signature and digest are over the bytes as they came, and hashed as they arrive, so that no large body is hashed
        in one go. Nothing is unpacked before it is verified.

        Raises what reading, `check`, unpacking, parsing and applying raise, and `UnavailableError` when applying takes
        too long: it goes on then, and the sender's retry finds it done. Were it stopped, a page that takes longer than
        senders wait would never be applied.
        """
        digest = hashlib.blake2b(digest_size=16)

        def hash_piece(piece: bytes) -> None:
            check.feed(piece)
            digest.update(piece)

        with contextlib.ExitStack() as holding:
            body = holding.enter_context(self._bodies.body_of(request))
            await body.receive(watch=hash_piece)
            check.verify(tolerance=self._settings.heap_timestamp_tolerance)
            work = asyncio.create_task(self._work(body, digest.hexdigest(), check.signed_at, holding.pop_all()))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        done, _ = await asyncio.wait((work,), timeout=self._settings.webhook_answer_seconds)
        if not done:
            work.add_done_callback(_say_how_it_ended)
            raise UnavailableError("this is still being applied; send it again later", reason="slow")
        return await work

    async def aclose(self) -> None:
        """Stop what is under way; none of it was answered 200."""
        await end(*self._under_way)

    async def _work(self, body: Body, digest: str, signed_at: int, holding: contextlib.ExitStack) -> bool:
        with holding:
            content = await body.content()
            push = await parse_push_in_turns(content, self._turns)
            content = b""  # its room is for what was made of it
            return await self._apply(Verified(push, digest, signed_at))


def _say_how_it_ended(work: asyncio.Task[bool]) -> None:
    if work.cancelled():
        return
    error = work.exception()
    if error is None:
        log.info("a push that was answered 503 for its slowness is applied now")
    elif isinstance(error, CohortGatewayError):
        log.warning("a push that was answered 503 for its slowness failed: %s (%s)", error, error.reason)
    else:
        log.error("a push that was answered 503 for its slowness failed", exc_info=error)
