"""The set of one list in the store, and each way to change it: under a guard, by what the truth says of its members."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import RedisError

from attribute_lists import keys
from attribute_lists.projection import about as shows
from attribute_lists.projection.guard import LIGHT, SLICE, VersionConflictError, close_command, swap_command
from attribute_lists.projection.truth import ListHead, StaleHeadError
from foundation.wire import pack, pack_many

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from attribute_lists.projection.about import Found, Shown
    from attribute_lists.projection.guard import Filled, Guard
    from attribute_lists.projection.truth import Truth, Update

_ROUNDS = 20  # of bringing a staging set up to date, before it is swapped in as it is


class Step(NamedTuple):
    """What became of a set: what it shows now, its size, and how many members were added and removed."""

    head: ListHead
    size: int
    added: int = 0
    removed: int = 0
    expected: int | None = None  # the size that it should have by what it showed before; None where that is not known

    @property
    def is_as_left(self) -> bool:
        """Whether it had the size that it showed."""
        return self.size == self.expected

    @property
    def is_lost(self) -> bool:
        return self.expected is not None and shows.is_lost(self.size, self.expected)


class ListSet:
    """One list's keys. Everything raises the store's errors, the truth's, and those of `Guard.change`."""

    def __init__(self, truth: Truth, name: tuple[str, str]) -> None:
        self.about = keys.about(*name)
        self.members = keys.members(*name)
        self.read_commands = shows.read_commands(self.about, self.members)
        self._truth = truth
        self._name = name

    async def read(self, guard: Guard) -> Found:
        return shows.found(*await guard.ask(self.read_commands, 2))

    async def set_right(self, guard: Guard, shown: Shown, members: Sequence[bytes]) -> Filled:
        """Set members to what the truth says of them now. The set goes on showing what it showed."""
        held = await self._truth.holds(*self._name, members)
        add = [member for member, is_held in zip(members, held, strict=True) if is_held]
        remove = [member for member, is_held in zip(members, held, strict=True) if not is_held]
        return await guard.fill(shown, self.members, add, remove)

    async def append(self, guard: Guard, shown: Shown, update: Update, database: bytes, *, grown: int = 0) -> Step:
        """Set the members that `update` names. `grown`: by how much the set has since it showed its size."""
        last = [close_command(self.about, self.members, database, update.head)]
        if shown.staging:
            last.append(pack("UNLINK", *self._staging_of(shown)))
        filled = await guard.fill(shown, self.members, update.add, update.remove, *last)
        size, before = filled.replies[0]
        expected = None if before is None else int(before) + grown + filled.growth
        return Step(update.head, size, filled.added, filled.removed, expected)

    async def append_beside(
        self, guard: Guard, shown: Shown, add: Sequence[bytes], remove: Sequence[bytes], beside: bytes
    ) -> None:
        """The same for a set that goes on showing what another database wrote."""
        await guard.fill(shown, self.members, add, remove, pack("HSET", self.about, "beside", beside))

    async def compare(self, guard: Guard, found: Found, head: ListHead, database: bytes) -> Step:
        """Set each member that is not as the truth says, in the live set."""
        shown, added, removed = found.shown, 0, 0
        await self._drop_broken_about(guard, found)
        async with contextlib.aclosing(self._scan(guard)) as scan:
            async for some in scan:
                held = await self._truth.holds(*self._name, some)
                strangers = [member for member, is_held in zip(some, held, strict=True) if not is_held]
                removed += (await guard.fill(shown, self.members, (), strangers)).removed
        async with contextlib.aclosing(self._truth.members(head)) as stream:
            async for part in stream:
                for some in in_slices(part):
                    are_in = await _ask(guard, pack_many("SMISMEMBER", self.members, some))
                    missing = [member for member, is_in in zip(some, are_in, strict=True) if not is_in]
                    added += (await guard.fill(shown, self.members, missing, ())).added
        [(size, _)] = await guard.change(shown, close_command(self.about, self.members, database, head))
        return Step(head, size, added, removed)

    async def build(
        self,
        guard: Guard,
        found: Found,
        head: ListHead,
        database: bytes,
        *,
        is_lost: bool,
        room: Callable[[], contextlib.AbstractAsyncContextManager[None]],
    ) -> Step:
        """Build the set anew: a small one in one step, others beside the live one, when there is `room` for it.

        `is_lost`: what is there answers for nobody meanwhile.
        """
        await self._drop_broken_about(guard, found)
        async with contextlib.aclosing(self._truth.members(head)) as stream:
            first: list[bytes] = []
            async for part in stream:
                first += part
                if len(first) > SLICE:
                    async with room():
                        return await self._build_beside(guard, found, head, database, first, stream, is_lost=is_lost)
        shown = found.shown
        commands = [pack("UNLINK", self.members, *self._staging_of(shown))]
        if first:
            commands.append(pack_many("SADD", self.members, first))
        close = close_command(self.about, self.members, database, head)
        *_, (size, _) = await guard.change(shown, *commands, close, weight=LIGHT + len(first))
        return Step(head, size)

    async def remove(self, guard: Guard, found: Found) -> None:
        """All of the list."""
        await self._drop_broken_about(guard, found)
        await guard.change(found.shown, pack("UNLINK", self.about, self.members, *self._staging_of(found.shown)))

    async def _build_beside(
        self,
        guard: Guard,
        found: Found,
        head: ListHead,
        database: bytes,
        first: list[bytes],
        stream: AsyncGenerator[Sequence[bytes], None],
        *,
        is_lost: bool,
    ) -> Step:
        token = secrets.token_hex(8).encode()
        begin = [pack("HSET", self.about, "staging", token)]
        if is_lost:
            begin.append(pack("HDEL", self.about, "active"))  # it is lost, and an answer of "not in" would be wrong
        if found.shown.staging:
            begin.append(pack("UNLINK", *self._staging_of(found.shown)))
        await guard.change(found.shown, *begin)
        shown = found.shown._replace(staging=token)
        [staging] = self._staging_of(shown)
        size = (await guard.fill(shown, staging, first, (), is_staging=True)).added
        async for part in stream:
            size += (await guard.fill(shown, staging, part, (), is_staging=True)).added
        for _ in range(_ROUNDS):
            update = await self._truth.update(*self._name, head.version, head.erasure)
            if update is None or not update.is_whole:
                raise StaleHeadError
            size += (await guard.fill(shown, staging, update.add, update.remove, is_staging=True)).growth
            head = update.head
            if not update.add and not update.remove:
                break
        names = (self.about, self.members, staging, keys.discarded(*self._name))
        [done] = await guard.change(shown, swap_command(names, size, database, head))
        if done != b"yes":  # the staging set is not what was put into it
            raise VersionConflictError
        return Step(head, size)

    async def _scan(self, guard: Guard) -> AsyncGenerator[Sequence[bytes], None]:
        cursor = b"0"
        while True:
            cursor, some = await _ask(guard, pack("SSCAN", self.members, cursor, "COUNT", str(SLICE)))
            if some:
                yield some
            if cursor == b"0":
                return

    async def _drop_broken_about(self, guard: Guard, found: Found) -> None:
        if not found.has_about:
            await guard.ask(pack("UNLINK", self.about), 1)

    def _staging_of(self, shown: Shown) -> list[str]:
        return [keys.staging(*self._name, shown.staging.decode(errors="replace"))] if shown.staging else []


def in_slices(members: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [members[start : start + SLICE] for start in range(0, len(members), SLICE)]


async def _ask(guard: Guard, command: bytes) -> Any:
    """The reply to a command about a slice of members."""
    [reply] = await guard.ask(command, 1, weight=SLICE)
    if isinstance(reply, RedisError):
        raise reply
    return reply
