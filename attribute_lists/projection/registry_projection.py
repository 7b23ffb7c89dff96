"""The registry in the store: which lists and aliases there are, and whose the store is.

Written like a list: under a guard on the database and number that it shows, the identity last, so that a gateway keeps
what it knew of a store that was emptied until all of it is there. Entries of lists that this database does not have are
taken out once their sets are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import RedisError

from attribute_lists import keys
from attribute_lists.projection.about import Shown, is_wrong_type, version_text
from attribute_lists.projection.guard import SLICE, Guard, UnguardedError, VersionConflictError
from attribute_lists.projection.truth import NOTHING, Version
from foundation.errors import UnavailableError
from foundation.pauses import Pauses
from foundation.store import STORE_ERRORS
from foundation.wire import pack, pack_many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from attribute_lists.projection.store_state import StoreState
    from attribute_lists.projection.truth import RegistryState, Truth

log = logging.getLogger(__name__)

_FRESH_SECONDS = 1.0  # for which a look is believed
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0

_LOOK = (
    pack("GET", keys.REGISTRY_IDENTITY)
    + pack("HMGET", keys.REGISTRY_ABOUT, "database", "version")
    + pack("SCARD", keys.REGISTRY_LISTS)
    + pack("HLEN", keys.REGISTRY_ALIASES)
)


class _Look(NamedTuple):
    """Enough of the registry to see that something is missing."""

    identity: bytes | None
    database: bytes | None
    version: bytes | None
    lists: int | None
    aliases: int | None


@dataclass(frozen=True, slots=True)
class _Content:
    """All of the registry, as the store has it. `broken`: keys of another type."""

    identity: bytes | None
    shown: Shown
    lists: set[bytes]
    aliases: dict[bytes, bytes]
    broken: list[str]


class RegistryProjection:
    """`on_stray` is told of each list of the store that the truth does not have.

    `ahead`: what the store shows that this database never wrote, None where it is ours. `number`: of the registry that
    the store shows.
    """

    def __init__(self, state: StoreState, truth: Truth, *, on_stray: Callable[[tuple[str, str]], None]) -> None:
        self.ahead: str | None = None
        self.number = -1
        self._state = state
        self._truth = truth
        self._on_stray = on_stray
        self._expected: _Look | None = None
        self._looked_at = float("-inf")
        self._is_released = False
        self._lock = asyncio.Lock()
        self._is_dirty = False
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()

    @property
    def task(self) -> asyncio.Task[None] | None:
        return self._task

    def wake(self) -> None:
        """The truth has another registry."""
        self._is_dirty = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._catch_up())

    def release(self) -> None:
        """An operator has decided: whatever the store has is ours to replace."""
        self._is_released = True
        self.wake()

    async def caught_up(self, number: int, seconds: float) -> bool:
        """Whether the store shows that registry or a later one, at once or within so long."""
        if self.number >= number:
            return True
        if self.ahead is not None or self._state.trouble is not None:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.number >= number)
        return self.number >= number

    async def is_ours(self) -> bool:
        """Whether this database wrote what the store has, as of a moment ago; written first where it was lost."""
        if time.monotonic() - self._looked_at > _FRESH_SECONDS:
            await self.look()
        return self.ahead is None

    async def look(self) -> bool:
        """Whether the registry is as it was left; where not, it is written. Raises the store's errors."""
        async with self._lock:
            guard = await self._state.guard(keys.REGISTRY_ABOUT, keys.REGISTRY_REFUSED)
            look = _look_of(await guard.ask(_LOOK, 4))
            is_as_left = look == self._expected
            if not is_as_left:
                await self._project(guard)
            self._looked_at = time.monotonic()  # not before it is known whose it is
            return is_as_left

    async def check(self) -> None:
        """Compare all of it, also what a look does not see. Raises the store's errors."""
        async with self._lock:
            await self._project(await self._state.guard(keys.REGISTRY_ABOUT, keys.REGISTRY_REFUSED))

    async def _catch_up(self) -> None:
        pauses = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        while self._is_dirty:
            await self._state.answers.wait()
            self._is_dirty = False
            try:
                await self.check()
            except Exception as error:
                self._is_dirty = True
                if isinstance(error, STORE_ERRORS):
                    self._state.failed(error)
                elif not isinstance(error, (VersionConflictError, UnguardedError, UnavailableError)):
                    log.exception("the registry could not be projected; again", exc_info=error)
                await asyncio.sleep(pauses.next())

    async def _project(self, guard: Guard) -> None:
        self._expected = None
        state = await self._truth.registry()
        content = await self._read(guard)
        ahead = None if self._is_released else await self._ahead(content, state)
        if ahead is not None:
            if self.ahead != ahead:
                log.error("the store is ahead: its registry is %s; nothing is built or deleted in it", ahead)
            self.ahead = ahead
            self._expected = _look_at(content)
            return
        await self._write(guard, content, state)
        self.ahead = None
        self._is_released = False
        async with self._changed:
            self.number = state.number
            self._changed.notify_all()

    async def _ahead(self, content: _Content, state: RegistryState) -> str | None:
        """What stands in the store that this database never wrote; None where it may write there."""
        shown, database = content.shown, state.database.encode()
        if not shown.is_nothing:
            version = shown.version_of(database)
            is_ours = version is not None and (version == NOTHING or await self._truth.wrote_registry(version))
            return None if is_ours else shown.text()
        if content.identity is not None:
            return None if content.identity == database else f"of store {content.identity.decode(errors='replace')}"
        if self.number >= 0:  # it was ours a moment ago, and has lost its name
            return None
        others = content.lists - {keys.qualified(*name).encode() for name in state.lists}
        return f"of nobody, with {len(others)} lists that this database does not have" if others else None

    async def _write(self, guard: Guard, content: _Content, state: RegistryState) -> None:
        lists = {keys.qualified(*name).encode() for name in state.lists}
        aliases = {alias.encode(): list_id.encode() for alias, list_id in state.aliases.items()}
        strays = await self._strays(content.lists - lists)
        lists |= strays
        for alias, list_id in content.aliases.items():
            if alias.partition(b":")[0] + b":" + list_id in strays:
                aliases.setdefault(alias, list_id)
        shown, database = content.shown, state.database.encode()
        version = version_text(Version(state.number, state.token))
        wanted = Shown(database, version)
        changes = [pack("UNLINK", key) for key in content.broken]
        changes += _in_slices("SADD", keys.REGISTRY_LISTS, lists - content.lists)
        changes += _in_slices("SREM", keys.REGISTRY_LISTS, content.lists - lists)
        changes += _in_slices("HDEL", keys.REGISTRY_ALIASES, content.aliases.keys() - aliases.keys())
        changes += _pairs_in_slices(keys.REGISTRY_ALIASES, dict(aliases.items() - content.aliases.items()))
        if changes or shown != wanted or content.identity != database:
            if keys.REGISTRY_ABOUT in content.broken:
                await guard.ask(pack("UNLINK", keys.REGISTRY_ABOUT), 1)
            if changes and shown.is_nothing:
                # First of all whose it is: this may be all that is written, and a list be deleted meanwhile.
                begun = Shown(database, version_text(NOTHING))
                await guard.change(
                    shown, pack("HSET", keys.REGISTRY_ABOUT, "database", database, "version", begun.version)
                )
                shown = begun
            for change in changes:
                await guard.change(shown, change, weight=SLICE)
            await guard.change(
                shown,
                pack("HSET", keys.REGISTRY_ABOUT, "database", database, "version", version),
                pack("HDEL", keys.REGISTRY_ABOUT, "erasure", "staging"),
                pack("SET", keys.REGISTRY_IDENTITY, database),
                pack("PUBLISH", keys.CHANGES, "lists"),
            )
        self._expected = _Look(database, database, version, len(lists), len(aliases))

    async def _strays(self, names: Iterable[bytes]) -> set[bytes]:
        """Those of `names` that there still is a set or a description of."""
        found = set()
        for name in names:
            account, _, list_id = name.decode(errors="replace").partition(":")
            list_keys = (keys.about(account, list_id), keys.members(account, list_id))
            if await self._state.store.execute_command("EXISTS", *list_keys):
                found.add(name)
                self._on_stray((account, list_id))
        return found

    async def _read(self, guard: Guard) -> _Content:
        commands = _LOOK + pack("SMEMBERS", keys.REGISTRY_LISTS) + pack("HGETALL", keys.REGISTRY_ALIASES)
        identity, about, *_, lists, aliases = await guard.ask(commands, 6, weight=SLICE)
        broken = []
        for key, reply in (
            (keys.REGISTRY_IDENTITY, identity),
            (keys.REGISTRY_ABOUT, about),
            (keys.REGISTRY_LISTS, lists),
            (keys.REGISTRY_ALIASES, aliases),
        ):
            if is_wrong_type(reply):
                broken.append(key)
            elif isinstance(reply, RedisError):
                raise reply
        database, version = (field or b"" for field in about) if keys.REGISTRY_ABOUT not in broken else (b"", b"")
        if isinstance(aliases, list):  # before RESP3
            aliases = dict(zip(aliases[::2], aliases[1::2], strict=True))
        return _Content(
            None if keys.REGISTRY_IDENTITY in broken else identity,
            Shown(database, version),
            set() if keys.REGISTRY_LISTS in broken else set(lists),
            {} if keys.REGISTRY_ALIASES in broken else aliases,
            broken,
        )


def _look_of(replies: Sequence[Any]) -> _Look:
    for reply in replies:
        if isinstance(reply, RedisError) and not is_wrong_type(reply):
            raise reply
    identity, about, lists, aliases = (None if isinstance(reply, RedisError) else reply for reply in replies)
    database, version = about or (None, None)
    return _Look(identity, database, version, lists, aliases)


def _look_at(content: _Content) -> _Look:
    """The look that finds `content` as it is."""
    shown, broken = content.shown, content.broken
    return _Look(
        content.identity,
        shown.database or None,
        shown.version or None,
        None if keys.REGISTRY_LISTS in broken else len(content.lists),
        None if keys.REGISTRY_ALIASES in broken else len(content.aliases),
    )


def _in_slices(command: str, key: str, values: Iterable[bytes]) -> list[bytes]:
    ordered = sorted(values)
    return [pack_many(command, key, ordered[start : start + SLICE]) for start in range(0, len(ordered), SLICE)]


def _pairs_in_slices(key: str, pairs: Mapping[bytes, bytes]) -> list[bytes]:
    ordered = sorted(pairs.items())
    return [
        pack_many("HSET", key, list(chain.from_iterable(ordered[start : start + SLICE])))
        for start in range(0, len(ordered), SLICE)
    ]
