"""One list in the store, brought to what the truth says of it, one step at a time.

A step asks the truth what changed since the version that the set shows, sets each member that is named, and lets the
set show the newer version. Where that is not enough the set is compared in place, member by member, or built anew
beside the live one. A version that this database never wrote stays, and with it all but what was accepted since.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Protocol

from attribute_lists import keys
from attribute_lists.projection import about as shows
from attribute_lists.projection.about import Beside, Found, Shown
from attribute_lists.projection.guard import Guard, UnguardedError, VersionConflictError
from attribute_lists.projection.list_set import ListSet, Step
from attribute_lists.projection.truth import NOTHING, StaleHeadError
from foundation.errors import UnavailableError
from foundation.pauses import Pauses
from foundation.store import STORE_ERRORS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from attribute_lists.projection.store_state import StoreState
    from attribute_lists.projection.truth import ListHead, Truth, Update, Version

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 5.0  # seconds between attempts


class Surroundings(Protocol):
    """What a list asks of the whole, and tells it."""

    @property
    def database(self) -> bytes: ...

    @property
    def registry_seems_ours(self) -> bool:
        """Whether the last look found that this database wrote the store's registry."""

    async def registry_is_ours(self) -> bool:
        """Whether this database wrote the store's registry, as of a moment ago; written first where it was lost."""

    def noticed_ahead(self, projected: ListProjection) -> None: ...

    def was_removed(self, projected: ListProjection) -> None: ...


class ListProjection:
    """One list. `wake` makes it catch up; most else is for those who look at the store.

    `head`: what the set shows, or was given the changes of. `size`: when it was last seen. `steps` changes with each
    attempt. `behind_since`: `time.monotonic`, None where nothing is missing. `ahead`: the version found that this
    database never wrote. `is_held`: it waits for an operator. `is_mending`: it is compared or built, or waits for its
    turn; `is_being_built`: so large that nobody should wait. `is_doubtful`: the next to be scrubbed. `mended`: members
    set right that nobody had named. `unreadable`: why the truth could not say what is to be in it, at the last attempt.
    """

    def __init__(self, state: StoreState, truth: Truth, surroundings: Surroundings, name: tuple[str, str]) -> None:
        self.name = name
        self.set = ListSet(truth, name)
        self.head: ListHead | None = None
        self.size = 0
        self.steps = 0
        self.behind_since: float | None = None
        self.ahead: str | None = None
        self.is_held = False
        self.is_mending = self.is_being_built = False
        self.is_doubtful = False
        self.mended = 0
        self.unreadable: UnavailableError | None = None
        self.task: asyncio.Task[None] | None = None
        self._state = state
        self._truth = truth
        self._surroundings = surroundings
        self._refused = keys.refused(*name)
        self._newest: ListHead | None = None
        self._first_seen = Beside(NOTHING, 0)
        self._shown: Shown | None = None
        self._waiting: list[tuple[int, asyncio.Future[bool]]] = []
        self._is_dirty = False
        self._is_released = False
        self._is_after_failure = True  # nobody knows how the last process ended
        # What is wrong beyond versions that the set lacks.
        self._suspects: set[bytes] = set()
        self._must_build = self._must_compare = self._must_close = False
        self._is_lost = False  # most members are gone: until it is built, it answers for nobody

    @property
    def is_idle(self) -> bool:
        return self.task is None or self.task.done()

    @property
    def is_settled(self) -> bool:
        """Whether it is ours and as new as the truth, as far as is known."""
        return self.is_idle and self.head is not None and self.ahead is None and not self.is_held

    def wake(self) -> None:
        """The truth has something new, or the set is not what it should be."""
        self._is_dirty = True
        if self.behind_since is None:
            self.behind_since = time.monotonic()
        if self.is_idle:
            self.task = asyncio.create_task(self._catch_up())

    def is_at(self, version: Version) -> bool:
        """Whether the set shows `version` or a later one."""
        return self.head is not None and self.head.version.number >= version.number

    async def caught_up(self, version: Version, seconds: float) -> bool:
        """Whether the set shows `version`, at once or within so long. Nobody waits for what takes longer anyway."""
        if self.is_at(version):
            return True
        if self.is_being_built or self.is_held or self._state.trouble is not None:
            return False
        reached: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((version.number, reached))
        try:
            return await asyncio.wait_for(reached, seconds)
        except TimeoutError:
            return False

    def release(self) -> None:
        """An operator has decided: whatever the store has of this list is ours to replace."""
        self.ahead = self.head = self._shown = None
        self.is_held = False
        self._is_released = True
        self.wake()

    def hold_as_ahead(self, version: str) -> None:
        """It was found ahead by an earlier process, and no operator has decided since."""
        self.ahead = version

    def heard(self, head: ListHead, *, at_start: bool = False) -> None:
        """The truth's newest head. `at_start`: what a set that others wrote has already, if it has any of it."""
        self._newest = head
        if at_start:
            self._first_seen = Beside(head.version, head.erasure)
        if self.head is None:
            self._is_dirty |= not self.is_idle
        elif (self.head.version, self.head.erasure) != (head.version, head.erasure):
            self.wake()

    def looked(self, found: Found) -> None:
        """What a look found while nothing was going on."""
        if self.ahead is not None:
            return
        if self.is_held:
            if self._surroundings.registry_seems_ours:  # it is by now: it was lost, say
                self.wake()
            return
        expected = self.head or self._newest
        if expected is None or found.shown != shows.shown(self._surroundings.database, expected):
            self._shown = None
            self.wake()
            return
        self._shown = found.shown
        self.size = found.members or 0
        if found.is_right_size:
            self._is_after_failure = False
            self._is_now(expected)
            return
        log.warning("list %s:%s has another size in the store than it shows; it is mended", *self.name)
        self._must_build |= found.has_lost_set
        self._must_compare |= not found.has_lost_set
        self.wake()

    def suspect(self, members: Iterable[bytes] = ()) -> None:
        """These are perhaps not as the truth says, or `about` isn't."""
        self._suspects.update(members)
        self._must_close = True
        self.wake()

    async def _catch_up(self) -> None:
        pauses = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        while self._is_dirty:
            await self._state.answers.wait()
            self._is_dirty = False
            self.steps += 1
            try:
                await self._step()
            except Exception as error:  # noqa: BLE001 - the next attempt begins with what the store shows
                self._failed(error)
                await asyncio.sleep(pauses.next())
            else:
                pauses = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
                self._is_after_failure = False
                self.unreadable = None
                if not self.is_held:
                    self.behind_since = time.monotonic() if self._is_dirty else None
            finally:
                self.is_mending = self.is_being_built = False

    def _failed(self, error: Exception) -> None:
        self._is_dirty = self._is_after_failure = self.is_doubtful = True
        self._shown = None
        if isinstance(error, UnavailableError):
            self.unreadable = error
        if isinstance(error, UnguardedError):
            log.warning("list %s:%s was changed without a guard; it is compared", *self.name)
            self._must_compare = True
        elif isinstance(error, (VersionConflictError, StaleHeadError, UnavailableError)):
            log.info("list %s:%s: %s; again", *self.name, type(error).__name__)
        elif shows.is_wrong_type(error):
            log.warning("list %s:%s has a key of another type in the store; it is mended", *self.name)
        elif isinstance(error, STORE_ERRORS):
            self._state.failed(error)
        else:
            log.error("list %s:%s could not be projected; again", *self.name, exc_info=error)

    async def _step(self) -> None:
        self.is_held = False
        async with self._state.changes:
            shown = await self._append(await self._guard())
        if shown is None:
            return
        if not self._is_released and not await self._surroundings.registry_is_ours():
            self.is_held = True
            return
        self.is_mending = True
        async with self._state.repairs:
            guard = await self._guard()
            found = await self.set.read(guard)
            if found.shown != shown:
                raise VersionConflictError
            head = await self._truth.head(*self.name)
            if head is None:
                await self._remove(guard, found)
            else:
                await self._mend(guard, found, head)

    async def _append(self, guard: Guard) -> Shown | None:
        """Give the set what it lacks, where that can be told member by member. Else on what it must be mended."""
        is_right_size = True
        if self._shown is None:
            found = await self.set.read(guard)
            if self.ahead is not None and not self._is_released:
                await self._append_beside(guard, found)
                return None
            if self._is_released or (found.shown.is_nothing and await self._may_replace(found)):
                return found.shown
            if found.shown.version_of(self._surroundings.database) is None:
                await self._append_beside(guard, found)
                return None
            self._must_build |= found.has_lost_set
            is_right_size = found.is_right_size
            self._shown = found.shown
        shown = self._shown
        since = shown.version_of(self._surroundings.database)
        erasure = shown.erasure_number
        update = None if since is None else await self._truth.update(*self.name, since, erasure)
        if update is None or erasure > update.head.erasure:
            await self._not_ours(guard, shown)
            return None
        self._must_build |= not update.is_whole
        if not is_right_size:
            # Between two versions, a step that did not come to its end leaves another size, too.
            self._must_compare |= update.head.version == since
            self.is_doubtful = True
        if not self._must_build and not self._must_compare:
            await self._set_members(guard, shown, update)
        return self._shown if self._must_build or self._must_compare else None

    async def _may_replace(self, found: Found) -> bool:
        """Whether a list that shows no version is one that was lost, and not one of others."""
        return not found.is_there or await self._surroundings.registry_is_ours()

    async def _set_members(self, guard: Guard, shown: Shown, update: Update) -> None:
        suspects, grown = list(self._suspects), 0
        if suspects:
            filled = await self.set.set_right(guard, shown, suspects)
            self._note_mended(filled.added, filled.removed)
            grown = filled.growth
        database = self._surroundings.database
        is_news = update.add or update.remove or shown != shows.shown(database, update.head)
        if is_news or self._must_close:
            step = await self.set.append(guard, shown, update, database, grown=grown)
            if not step.is_as_left and not self._is_after_failure:
                what = "is lost for the most part; it is built" if step.is_lost else "was changed; it is compared"
                log.warning("list %s:%s %s", *self.name, what)
                self._is_lost = self._must_build = step.is_lost
                self._must_compare = not step.is_lost
            self._done(step)
        self._suspects.difference_update(suspects)
        self._must_close = False
        self._is_now(update.head)

    async def _not_ours(self, guard: Guard, shown: Shown) -> None:
        """The set shows what the truth can't tell anything of: the list was deleted, or it is ahead.

        Ahead is also a set that was cleansed of persons whose erasure this database never heard of: it would bring
        them back.
        """
        found = await self.set.read(guard)
        if found.shown != shown:
            raise VersionConflictError
        version = shown.version_of(self._surroundings.database)
        head = await self._truth.head(*self.name)
        if head is None:
            await self._remove(guard, found)
        elif (
            version is not None
            and shown.erasure_number <= head.erasure
            and await self._truth.wrote(*self.name, version)
        ):
            raise StaleHeadError  # it was deleted a moment ago, and is made again
        else:
            await self._append_beside(guard, found)

    async def _append_beside(self, guard: Guard, found: Found) -> None:
        """Give a set that another database wrote what was accepted since; it goes on showing what it showed."""
        self._shown = None
        if not found.is_there:  # it was ahead, and is gone
            self.is_held = True
            return
        self._note_ahead(found)
        database = self._surroundings.database
        since = shows.parse_beside(found.beside, database) or self._first_seen
        update = await self._truth.update(*self.name, *since)
        if update is None or not update.is_whole or found.members is None:
            self.is_held = True
            return
        beside = shows.beside_text(database, update.head)
        if beside != found.beside:
            await self.set.append_beside(guard, found.shown, update.add, update.remove, beside)
        self._is_now(update.head)

    async def _mend(self, guard: Guard, found: Found, head: ListHead) -> None:
        """Where there is a set it is mended in place; one that is missing, or is void as a whole, is built anew."""
        database = self._surroundings.database
        if self._must_build or self._is_released or not found.members:
            is_lost = self._is_lost or found.has_lost_set
            step = await self.set.build(guard, found, head, database, is_lost=is_lost, room=self._room_for_large)
            log.info("list %s:%s built: %d members", *self.name, step.size)
        else:
            step = await self.set.compare(guard, found, head, database)
            self._note_mended(step.added, step.removed)
        self._must_build = self._must_compare = self._must_close = self._is_released = self._is_lost = False
        self._done(step)

    async def _remove(self, guard: Guard, found: Found) -> None:
        """The list was deleted."""
        version = found.shown.version_of(self._surroundings.database)
        is_ours = version is not None and await self._truth.wrote(*self.name, version)
        if not (is_ours or self._is_released or found.shown.is_nothing):
            self._note_ahead(found)
        if self.ahead is not None or not await self._surroundings.registry_is_ours():
            self.is_held = True
            return
        await self.set.remove(guard, found)
        self.head = self._shown = None
        for _, reached in self._waiting:
            if not reached.done():
                reached.set_result(True)
        self._waiting.clear()
        if not self._is_dirty:  # it may have been made again
            self._surroundings.was_removed(self)

    def _note_ahead(self, found: Found) -> None:
        if self.ahead == found.shown.text():
            return
        self.ahead = found.shown.text()
        log.error("list %s:%s is ahead: the store has %s; it waits for an operator", *self.name, self.ahead)
        self._surroundings.noticed_ahead(self)

    def _note_mended(self, added: int, removed: int) -> None:
        self.mended += added + removed
        if added or removed:
            log.warning("list %s:%s mended: %d members added, %d removed", *self.name, added, removed)

    @contextlib.asynccontextmanager
    async def _room_for_large(self) -> AsyncIterator[None]:
        self.is_being_built = True
        async with self._state.large_builds:
            yield

    def _done(self, step: Step) -> None:
        self.size = step.size
        self._shown = shows.shown(self._surroundings.database, step.head)
        self._is_now(step.head)

    def _is_now(self, head: ListHead) -> None:
        self.head = head
        left = []
        for number, reached in self._waiting:
            if number > head.version.number:
                left.append((number, reached))
            elif not reached.done():
                reached.set_result(True)
        self._waiting = left

    async def _guard(self) -> Guard:
        return await self._state.guard(self.set.about, self._refused)
