"""One reader of a stream among those of its group: takes events, and takes over what a reader that died had in hand."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from event_stream import scripts
from event_stream.stream import record_of
from foundation.scripts import run_script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from event_stream.stream import Record, Stream

_FROM_THE_START = b"0-0"


class Consumer:
    """What it takes is in its hand until it is finished or buried. Every call may raise the store's errors.

    After `claim_after` seconds without a `touch` (this process died, or stands still) another consumer takes it.
    """

    def __init__(self, stream: Stream, *, claim_after: float) -> None:
        self.stream = stream
        self.claim_after = claim_after
        self.name = secrets.token_hex(8)
        self._place = _FROM_THE_START
        self._looked = 0.0

    async def take(self, count: int) -> list[Record]:
        """Up to `count` events, those that somebody died with first; fewer where they are large."""
        now = time.monotonic()
        looks = self._place != _FROM_THE_START or now - self._looked > self.claim_after / 3
        if looks:
            self._looked = now
        claim_after = max(1, int(self.claim_after * 1000)) if looks else 0
        arguments = [self.stream.group, self.name, count, claim_after, self._place]
        self._place, rows = await run_script(self.stream.store, scripts.TAKE, [self.stream.entries], arguments)
        return [record_of(row) for row in rows]

    async def touch(self, ids: Iterable[bytes]) -> int:
        """Say that this consumer lives and has these in hand; how many of them it still has.

        What it was given without hearing of it, since the answer was lost, is not among them: that is taken again.
        """
        return await self._touch(0, ids)

    async def leave(self, ids: Iterable[bytes]) -> None:
        """Let go of these: others may take them at once."""
        await self._touch(int(self.claim_after * 1000) + 1, ids)
        await run_script(self.stream.store, scripts.LEAVE, [self.stream.entries], [self.stream.group, self.name])

    async def _touch(self, idle: int, ids: Iterable[bytes]) -> int:
        arguments = [self.stream.group, self.name, idle, *ids]
        held: int = await run_script(self.stream.store, scripts.TOUCH, [self.stream.entries], arguments)
        return held
