"""Write lists into an archive, beside everything else that goes on.

The order of reading is what makes an archive and a replay of all changes that it has no mark of give the right lists;
docs/archive-format.md has the argument. In short: marks before everything that they stand for, the ledger before the
members, names and erasures last.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from attribute_lists.archive.contents import Progress, Summary
from attribute_lists.archive.format import (
    ArchiveWriter,
    Begins,
    Body,
    CommonMarks,
    Definition,
    Ends,
    Erased,
    Extra,
    ListBegins,
    ListEnds,
    ListVoid,
    Marks,
    Members,
    State,
)
from attribute_lists.definitions import Definitions
from foundation.errors import NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
    from typing import BinaryIO

    from attribute_lists.work import ListName
    from foundation.store import Store

RESTORED = b"restored"  # a mark that says where a list came from; it stands for no change, and is not archived

_AT_ONCE = 1000  # a scan of so many holds others up for 1.3 ms
_ATTEMPTS = 5
_CALM_ATTEMPTS = 3  # after so many, a list that is replaced all the time is taken as it is: a replay mends it

# KEYS ledger, about, erased
_STATE = """
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]),
        redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')}
"""

# KEYS ledger. The server's run, and what changes when the set of members is replaced. An account that may not ask for
# the run gets none.
_MOMENT = """
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
return {run, redis.call('HMGET', KEYS[1], 'base', 'drained', 'dirty')}
"""


async def write_archive(
    store: Store,
    file: BinaryIO,
    *,
    lists: Collection[ListName] | None = None,
    with_bookkeeping: bool = True,
    extra: Callable[[], Awaitable[Iterable[bytes]]] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Write `lists` (None: all) whole; memory stays bounded. Syncing the file to disk is up to the caller.

    Members that were in a list all the time are in the archive; those that came or went meanwhile may be. `extra` gives
    records that are kept as they are; it is asked after the marks of changes that belong to no list were read, so that
    what a mark stands for is in it.

    Raises `NotFoundError` for a list that isn't there, the store's errors, and `UnavailableError` when the store was
    replaced by another again and again. A store that was emptied looks like one without lists: callers that keep only
    the last archives must see to it that this didn't happen.
    """
    writer = _Writer(store, file, with_bookkeeping=with_bookkeeping, progress=progress)
    return await writer.write_all(lists, extra)


class _Writer:
    def __init__(
        self, store: Store, file: BinaryIO, *, with_bookkeeping: bool, progress: Callable[[Progress], None] | None
    ) -> None:
        self._store = store
        self._out = ArchiveWriter(file)
        self._bookkeeping = with_bookkeeping
        self._progress = progress
        self._summary = Summary(int(time.time() * 1000), with_bookkeeping)
        self._written = 0
        self._expected = 0

    async def write_all(
        self, lists: Collection[ListName] | None, extra: Callable[[], Awaitable[Iterable[bytes]]] | None
    ) -> Summary:
        out, summary = self._out, self._summary
        await out.write(Begins(summary.created, self._bookkeeping))
        if self._bookkeeping:
            async for marks in self._scan("ZSCAN", keys.REGISTRY_APPLIED):
                await out.write(CommonMarks(_timed(marks)))
        for data in await extra() if extra is not None else ():
            summary.extra.append(data)
            await out.write(Extra(data))
        chosen = await self._chosen(lists)
        self._expected = sum([await self._store.execute_command("SCARD", keys.members(*name)) for name in chosen])
        for name in chosen:
            members = await self._write_list(name)
            if members is not None:
                summary.lists[name] = members
        async for erased in self._scan("ZSCAN", keys.REGISTRY_ERASED):
            await out.write(Erased([(tag.decode(), at) for tag, at in _timed(erased)]))
        ended = Ends(len(summary.lists), summary.members)
        await self._define()
        await out.write(ended)
        await out.flush()
        return summary

    async def _chosen(self, lists: Collection[ListName] | None) -> list[ListName]:
        known = await Definitions(self._store).lists()
        if lists is None:
            return known
        for name in lists:
            if name not in known:
                raise NotFoundError(f"account {name[0]} has no list {name[1]}", reason="unknown_list")
        return sorted(set(lists))

    async def _write_list(self, name: ListName) -> int | None:
        """How many members were written; None for a list that was deleted meanwhile."""
        for attempt in range(_ATTEMPTS):
            before = await self._moment(name)
            written = self._written
            members = await self._write_once(name)
            if not await self._store.execute_command("SISMEMBER", keys.REGISTRY_LISTS, keys.qualified(*name)):
                await self._out.write(ListVoid())
                return None
            run, points = await self._moment(name)
            # Another run of the server has another order of scanning, and may lack the last writes.
            if run == before[0] and (points == before[1] or attempt + 1 >= _CALM_ATTEMPTS):
                await self._out.write(ListEnds(members))
                return members
            await self._out.write(ListVoid())
            self._written = written
        raise UnavailableError(
            f"the store changed {_ATTEMPTS} times while list {name[1]} was read; try again later",
            reason="store_changed",
        )

    async def _write_once(self, name: ListName) -> int:
        out, members = self._out, 0
        await out.write(ListBegins(*name))
        if self._bookkeeping:
            async for marks in self._scan("ZSCAN", keys.applied(*name)):
                await out.write(Marks([mark for mark in _timed(marks) if mark[0] != RESTORED]))
        state = await self._state(name)
        await out.write(state)
        async for names in self._scan("SSCAN", keys.members(*name)):
            await out.write(Members(names))
            members += len(names)
            self._written += len(names)
            self._report()
        for field in state.ledger or ():
            if field.startswith("p:"):
                await self._write_body(name, field[2:])
        return members

    async def _write_body(self, name: ListName, digest: str) -> None:
        key = keys.body(*name, digest)
        now = int(time.time() * 1000)
        left: int = await self._store.execute_command("PTTL", key)
        packed: bytes | None = await self._store.execute_command("GET", key)
        if packed is not None:
            await self._out.write(Body(digest, now + max(left, 0), packed))

    async def _state(self, name: ListName) -> State:
        names = [keys.ledger(*name), keys.about(*name), keys.erased(*name)]
        ledger, about, erased = await self._store.execute_command("EVAL", _STATE, len(names), *names)
        tags = dict(zip(erased[::2], erased[1::2], strict=True))
        return State(
            _texts(about),
            _texts(ledger) if self._bookkeeping else None,
            {tag.decode(): int(float(at)) for tag, at in tags.items()},
        )

    async def _moment(self, name: ListName) -> tuple[bytes, list[bytes | None]]:
        run, points = await self._store.execute_command("EVAL", _MOMENT, 1, keys.ledger(*name))
        return run, points

    async def _define(self) -> None:
        aliases = await Definitions(self._store).aliases()
        segments: dict[ListName, list[str]] = {}
        table: dict[bytes, bytes] = await self._store.execute_command("HGETALL", keys.REGISTRY_SEGMENTS)
        for field, list_id in sorted(table.items()):
            account, _, segment = field.decode().partition(":")
            segments.setdefault((account, list_id.decode()), []).append(segment)
        known = set(await Definitions(self._store).lists())
        for name in list(self._summary.lists):
            if name in known:
                await self._out.write(Definition(*name, segments.get(name, []), aliases.get(name, [])))
            else:
                del self._summary.lists[name]

    async def _scan(self, command: str, key: str) -> AsyncIterator[list[Any]]:
        cursor = 0
        while True:
            cursor, found = await self._store.execute_command(command, key, cursor, "COUNT", _AT_ONCE)
            if found:
                yield found
            if cursor == 0:
                return

    def _report(self) -> None:
        if self._progress is not None:
            fraction = min(self._written / max(self._expected, 1), 1.0)
            self._progress(Progress("writing", len(self._summary.lists), self._written, fraction))


def _texts(pairs: list[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(pairs[::2], pairs[1::2], strict=True)}


def _timed(scored: Iterable[tuple[bytes, float]]) -> list[tuple[bytes, int]]:
    return [(name, int(score)) for name, score in scored]
