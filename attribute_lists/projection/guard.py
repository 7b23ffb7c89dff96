"""Guarded changes of one list's keys: each happens only where `about` shows the version that it was planned on.

Members go by plain `SADD` and `SREM`: through a script, each of them would cost the store three times as much. The
guard leaves in the same write: `WATCH`, a script that compares, `MULTI`, the change, `EXEC`. Where the script finds
something else, it touches a watched key of its own, so that `EXEC` does nothing.

The script goes as text (`EVAL`), not by its digest: a store that has forgotten it would answer `NOSCRIPT`, and carry
out the transaction that follows. Where the guard says anything but yes and `EXEC` went through, that is an error of its
own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import RedisError

from attribute_lists.projection.about import Shown, about_fields
from foundation.tasks import end
from foundation.wire import pack, pack_many

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from attribute_lists.projection.truth import ListHead
    from foundation.shared_wire import SharedWire

SLICE = 500  # members, so that no check waits behind one for long

LIGHT = 10  # members that take as long as what is done about a list whatever its size

_REFUSED_SECONDS = "60"
_STAGING_SECONDS = "3600"  # after its last slice: longer than any pause of a build

# KEYS about, refused; ARGV the fields of a `Shown`, how long the refusal is kept.
_COMPARE = """
local shown = redis.pcall('HMGET', KEYS[1], 'database', 'version', 'erasure', 'staging')
local same = not shown.err
for i = 1, 4 do same = same and (shown[i] or '') == ARGV[i] end
if same then return 'yes' end
redis.call('SET', KEYS[2], '', 'EX', ARGV[5])
return 'no'
"""

# KEYS about, members; ARGV the fields of `about`. Answers the size, and the size that `about` said before.
_CLOSE = """
local size, before = redis.call('SCARD', KEYS[2]), redis.call('HGET', KEYS[1], 'size')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'size', size, unpack(ARGV))
return {size, before}
"""

# KEYS about, members, staging, discarded; ARGV the size of the staging set, then the fields of `about`. Renaming over a
# live key would free it on the spot; under another name it is freed in the background.
_SWAP = """
if redis.call('SCARD', KEYS[3]) ~= tonumber(ARGV[1]) then return 'no' end
redis.call('UNLINK', KEYS[4])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[4]) end
redis.call('UNLINK', KEYS[4])
if redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('RENAME', KEYS[3], KEYS[2])
  redis.call('PERSIST', KEYS[2])
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'size', unpack(ARGV))
return 'yes'
"""

_MULTI, _EXEC = pack("MULTI"), pack("EXEC")


class Filled(NamedTuple):
    """How many members were added and removed, and the replies to what went with the last slice."""

    added: int
    removed: int
    replies: list[Any]

    @property
    def growth(self) -> int:
        return self.added - self.removed


class VersionConflictError(Exception):
    """`about` shows something else than the change was planned on, so nothing was changed: read it again."""


class UnguardedError(Exception):
    """A change went through though its guard did not say yes: nobody knows what it was made on."""


class Guard:
    """Guarded changes over one connection. Raises the store's errors."""

    def __init__(self, wire: SharedWire, about: str, refused: str) -> None:
        self._wire = wire
        self._about = about
        self._refused = refused
        self._watch = pack("WATCH", about, refused)
        self._begun: tuple[Shown | None, bytes] = (None, b"")

    async def ask(self, commands: bytes, replies: int, *, weight: int = LIGHT) -> list[Any]:
        """The replies to plain commands, errors among them. `weight`: about how many members they concern."""
        return await self._wire.ask(commands, replies, weight=weight)

    async def change(self, shown: Shown, *commands: bytes, weight: int = LIGHT) -> list[Any]:
        """The replies to `commands`, carried out in one transaction. `weight`: about how many members they concern.

        Raises `VersionConflictError` and `UnguardedError`.
        """
        asked = self._begin(shown) + b"".join(commands) + _EXEC
        replies = await self._wire.ask(asked, len(commands) + 4, weight=weight)
        verdict, outcome = replies[1], replies[-1]
        if verdict != b"yes" and isinstance(outcome, list):
            raise UnguardedError from (verdict if isinstance(verdict, RedisError) else None)
        _raise_first_error(replies)
        if verdict != b"yes" or outcome is None:
            raise VersionConflictError
        _raise_first_error(outcome)
        return list(outcome)

    async def fill(
        self,
        shown: Shown,
        target: str,
        add: Sequence[bytes],
        remove: Sequence[bytes],
        *last: bytes,
        is_staging: bool = False,
    ) -> Filled:
        """Add and remove members slice by slice; `last` are commands that go with the last one."""
        extra = (pack("EXPIRE", target, _STAGING_SECONDS),) if is_staging else ()
        counts = {"SADD": 0, "SREM": 0}
        weight = LIGHT + min(SLICE, len(add) + len(remove))
        final: tuple[str, bytes] | None = None
        sent: deque[tuple[str, asyncio.Task[list[Any]]]] = deque()
        try:
            for part in _slices(target, add, remove):
                if final is not None:
                    # While the store is at one, the next is packed and waits for its turn.
                    name, command = final
                    sent.append((name, asyncio.create_task(self.change(shown, command, *extra, weight=SLICE))))
                    if len(sent) > 1:
                        await _count(sent, counts)
                final = part
            while sent:
                await _count(sent, counts)
        finally:
            await end(*(task for _, task in sent))
        replies: list[Any] = []
        if final is not None:
            name, command = final
            count, *replies = await self.change(shown, command, *extra, *last, weight=weight)
            counts[name] += count
        elif last:
            replies = await self.change(shown, *last)
        return Filled(counts["SADD"], counts["SREM"], replies[-len(last) :] if last else [])

    def _begin(self, shown: Shown) -> bytes:
        if self._begun[0] != shown:
            compare = pack("EVAL", _COMPARE, "2", self._about, self._refused, *shown, _REFUSED_SECONDS)
            self._begun = (shown, self._watch + compare + _MULTI)
        return self._begun[1]


def close_command(about: str, members: str, database: bytes, head: ListHead) -> bytes:
    """Let a set show that it is as `head` says. The reply: its size, and the size that it showed before."""
    return pack("EVAL", _CLOSE, "2", about, members, *about_fields(database, head))


def swap_command(names: tuple[str, str, str, str], size: int, database: bytes, head: ListHead) -> bytes:
    """Make a staging set of `size` members the live one. `names`: about, members, staging, discarded."""
    return pack("EVAL", _SWAP, "4", *names, str(size), *about_fields(database, head))


def _slices(target: str, add: Sequence[bytes], remove: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """Commands, each with its name."""
    for name, members in (("SADD", add), ("SREM", remove)):
        for start in range(0, len(members), SLICE):
            yield name, pack_many(name, target, members[start : start + SLICE])


async def _count(sent: deque[tuple[str, asyncio.Task[list[Any]]]], counts: dict[str, int]) -> None:
    name, task = sent[0]
    counts[name] += (await task)[0]
    sent.popleft()


def _raise_first_error(replies: list[Any]) -> None:
    for reply in replies:
        if isinstance(reply, RedisError):
            raise reply
