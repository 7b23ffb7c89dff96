"""Members by the thousand: slices of plain commands, each of which happens only on the ledger that it was planned on.

A slice is a transaction under a WATCH of the ledger. A script would guard it as well, and costs the store three times
as much: each member passes through Lua first. One slice is executed at a time, whatever lists they are for, since a
check that comes meanwhile waits behind all that there are; while it is, the next one is sent and queued, so that the
store has work at hand when it is done.

Slices leave no trace in the ledger, so one may be lost unnoticed, in a failover or with the end of a log, before the
step that builds on them is made. So each connection writes a *fence* behind its slices: a store that has the fence has
what came before it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from attribute_lists import keys
from attribute_lists.scripts import ConflictingChangeError
from foundation.tasks import end
from foundation.wire import Turn, pack, pack_many, wire_to

if TYPE_CHECKING:
    from attribute_lists.bodies import Names
    from foundation.store import Store

SLICE = 350  # members, so that no check waits behind one for long

_LANES = 2
_FENCE_SECONDS = 3600  # longer than any attempt at a change

_EXEC = pack("EXEC")


@dataclass(slots=True)
class Changed:
    """How many members were added and removed."""

    added: int = 0
    removed: int = 0


class Filling:
    """Fills sets of members, of all lists of a store. Raises the store's errors."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = Turn()

    async def fill(
        self, name: tuple[str, str], target: str, names: Names, changed: Changed, *, version: str, lifetime: int = 0
    ) -> list[str]:
        """Add and remove, as long as the ledger has `version`; what was done is counted in `changed`.

        The fences, without which what was done may be lost. `lifetime`: seconds that `target` has from now on; 0: as
        long as ever. Raises `ConflictingChangeError`.
        """
        parts = [("SADD", part) for part in slices(names.add)] + [("SREM", part) for part in slices(names.remove)]
        expire = pack("EXPIRE", target, str(lifetime)) if lifetime else b""
        job = _Job(keys.ledger(*name), version.encode(), target, expire, deque(parts), changed)
        fences = [keys.fence(*name, secrets.token_hex(8)) for _ in range(min(_LANES, len(parts)))]
        lanes = [asyncio.create_task(self._lane(job, fence)) for fence in fences]
        try:
            await asyncio.gather(*lanes)
        finally:
            await end(*lanes)
        return fences

    async def _lane(self, job: _Job, fence: str) -> None:
        begin = pack("WATCH", job.ledger) + pack("HGET", job.ledger, "version") + pack("MULTI")
        async with wire_to(self._store, job.ledger) as wire:
            while job.slices:
                command, members = job.slices.popleft()
                queued = begin + job.expire + pack_many(command, job.target, members)
                _, version, *_ = _without_errors(await wire.ask(queued, 5 if job.expire else 4))
                if (version or b"") != job.version:
                    raise ConflictingChangeError
                done, *_ = _without_errors(await wire.ask(_EXEC, 1, turn=self._turn))
                if done is None:
                    raise ConflictingChangeError
                count = _without_errors(done)[-1]
                if command == "SADD":
                    job.changed.added += count
                else:
                    job.changed.removed += count
            _without_errors(await wire.ask(pack("SET", fence, "", "EX", str(_FENCE_SECONDS)), 1))


@dataclass(frozen=True, slots=True)
class _Job:
    """One set to fill: what its lanes share. `expire`: a packed command, or nothing."""

    ledger: str
    version: bytes
    target: str
    expire: bytes
    slices: deque[tuple[str, list[bytes]]]
    changed: Changed


def _without_errors(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, RedisError):
            raise reply
    return replies


def slices(members: list[bytes]) -> list[list[bytes]]:
    return [members[start : start + SLICE] for start in range(0, len(members), SLICE)]
