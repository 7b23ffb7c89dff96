"""The projector: keeps the lists in the store as the truth says they are, whatever happens to the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from attribute_lists.projection.list_projection import ListProjection
from attribute_lists.projection.looks import LISTS_SECONDS, Looks
from attribute_lists.projection.registry_projection import RegistryProjection
from attribute_lists.projection.scrubber import ROUND_SECONDS, Scrubber
from attribute_lists.projection.store_state import StoreState
from foundation.background import keep_running
from foundation.errors import UnavailableError
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from attribute_lists.projection.truth import Truth, Version
    from foundation.store import Store

log = logging.getLogger(__name__)

_READ_AGAIN_SECONDS = 60.0  # after which a commit that nobody told of is found
_DATABASE_SECONDS = 0.5  # between attempts to read it
_MOST_SAID = 10  # lists that readiness says the trouble of
_BEHIND_SECONDS = 2.0  # from which on it is more than a page on its way


ListName = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """`away`: why the store can't be reached; `refusal`: why it refuses changes. `behind`: seconds, by list.

    `ahead`: versions found that this database never wrote, by list; `registry_ahead`: the same of the store as a whole.
    `mending`: lists that are compared or built anew. `mended`: members set right so far that nobody had named.
    `unreadable`: why the truth can't tell what is to be in them, by list.
    """

    away: str | None
    away_seconds: float
    refusal: str | None
    behind: Mapping[ListName, float]
    ahead: Mapping[ListName, str]
    registry_ahead: str | None
    mending: Sequence[ListName]
    mended: int
    unreadable: Mapping[ListName, UnavailableError]

    @property
    def is_ahead(self) -> bool:
        return bool(self.ahead) or self.registry_ahead is not None

    def reasons(self) -> list[str]:
        """What readiness says."""
        late = [seconds for seconds in self.behind.values() if seconds > _BEHIND_SECONDS]
        found = []
        if self.away is not None:
            found.append(f"store_away: {self.away}")
        if self.refusal is not None:
            found.append(f"store_refuses: {self.refusal}")
        if self.registry_ahead is not None:
            found.append(f"store_ahead: its registry is {self.registry_ahead}")
        if self.ahead:
            found.append(f"store_ahead: {len(self.ahead)} lists")
        if self.mending:
            found.append(f"rebuilding: {len(self.mending)} lists")
        if late:
            found.append(f"behind: {len(late)} lists, for {max(late):.0f} s")
        troubles = sorted({f"{error.reason}: {error}" for error in self.unreadable.values()})
        found += troubles[:_MOST_SAID]
        if len(troubles) > _MOST_SAID:
            found.append(f"unreadable: {len(self.unreadable)} lists")
        return found


class Projector:
    """Projects one truth into one store while `running`.

    `on_ahead(list, version)` is called for each list whose set was never written by this database; it is left alone
    until `release`. `ahead`: those that an earlier process told of. `other_reasons`: what else gateways shall hear of
    the receiver. `look_seconds`: between looks at all lists; `scrub_seconds`: for a round over all members.
    """

    def __init__(
        self,
        store: Store,
        truth: Truth,
        *,
        on_ahead: Callable[[ListName, str], object] = lambda _, __: None,
        ahead: Mapping[ListName, str] | None = None,
        other_reasons: Callable[[], Sequence[str]] = tuple,
        look_seconds: float = LISTS_SECONDS,
        scrub_seconds: float = ROUND_SECONDS,
    ) -> None:
        self._truth = truth
        self._on_ahead = on_ahead
        self._were_ahead = dict(ahead or {})
        self._other_reasons = other_reasons
        self._database = b""
        self._lists: dict[ListName, ListProjection] = {}
        self._read_at: float | None = None
        self._mended_before = 0  # members of lists that are gone
        self._state = StoreState(store)
        self._registry = RegistryProjection(self._state, truth, on_stray=self.wake)
        self._looks = Looks(self._state, self._registry, self, lists_seconds=look_seconds)
        self._scrubber = Scrubber(self._state, truth, self._registry, self.lists, round_seconds=scrub_seconds)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Project while the block runs. It begins at once, whether store and database answer or not."""
        with contextlib.suppress(UnavailableError):  # before anything is accepted: that is not in any set yet
            await self._read_truth()
        tasks = [
            keep_running("projection looks", self._looks.run),
            keep_running("projection scrub", self._scrubber.run),
        ]
        try:
            yield
        finally:
            await end(*tasks)
            while alive := self._alive():  # the end of one may have begun another
                await end(*alive)
            await self._state.aclose()

    def wake(self, name: ListName) -> None:
        """The truth has something new of that list: call it after each commit, of a list's deletion, too."""
        if name not in self._lists:
            self._add(name)
            self._registry.wake()
        self._lists[name].wake()

    def wake_registry(self) -> None:
        """Lists or aliases came or went."""
        self._registry.wake()

    def wake_all(self) -> None:
        """Something concerns every list, such as an erasure."""
        self._read_at = None
        self._state.doubted.set()

    async def caught_up(self, name: ListName, version: Version, *, seconds: float = 2.0) -> bool:
        """Whether the list's set shows `version`, now or within so long; nobody waits for a store that is away.

        `wake` comes before it: of a list that is not known, nothing is left in the store.
        """
        projected = self._lists.get(name)
        return projected is None or await projected.caught_up(version, seconds)

    async def registry_caught_up(self, number: int, *, seconds: float = 2.0) -> bool:
        """Whether the store's registry is of that number, now or within so long."""
        return await self._registry.caught_up(number, seconds)

    def release(self, name: ListName) -> None:
        """An operator has decided: whatever the store has of that list is replaced."""
        if name not in self._lists:
            self.wake(name)
        self._were_ahead.pop(name, None)
        self._lists[name].release()

    def release_registry(self) -> None:
        """An operator has decided: the store as a whole is ours, though not yet each list that is ahead."""
        self._registry.release()
        for projected in self._lists.values():
            if projected.is_held:
                projected.wake()

    @property
    def ahead(self) -> dict[ListName, str]:
        """The lists that wait for an operator, each with the version that the store shows."""
        return {name: projected.ahead for name, projected in self._lists.items() if projected.ahead is not None}

    def not_cleansed(self, erasure: int) -> list[ListName]:
        """The lists whose sets may still hold who was erased up to that number."""
        return [name for name, one in self._lists.items() if one.head is None or one.head.erasure < erasure]

    def status(self) -> ProjectionStatus:
        now, lists = time.monotonic(), self._lists.values()
        away_since = self._state.away_since
        return ProjectionStatus(
            away=self._state.trouble,
            away_seconds=0.0 if away_since is None else now - away_since,
            refusal=self._state.refusal,
            behind={one.name: now - one.behind_since for one in lists if one.behind_since is not None},
            ahead=self.ahead,
            registry_ahead=self._registry.ahead,
            mending=[one.name for one in lists if one.is_mending],
            mended=self._mended_before + sum(one.mended for one in lists),
            unreadable={one.name: one.unreadable for one in lists if one.unreadable is not None},
        )

    # What its parts ask and tell.

    @property
    def database(self) -> bytes:
        return self._database

    def lists(self) -> list[ListProjection]:
        return list(self._lists.values())

    def beat(self) -> bytes:
        """What the receiver tells gateways of itself (JSON): `state`, `reasons`, and `at`, its clock (Unix ms)."""
        reasons = [*self._other_reasons(), *self.status().reasons()]
        state = "degraded" if reasons else "ok"
        return msgspec.json.encode({"state": state, "reasons": reasons, "at": int(time.time() * 1000)})

    async def read_truth(self) -> None:
        """Which lists there are: at the start, and now and then, should a commit have gone untold."""
        while self._read_at is None or time.monotonic() - self._read_at > _READ_AGAIN_SECONDS:
            try:
                await self._read_truth()
            except UnavailableError as error:
                if self._database:
                    return
                log.warning("the database can't be read: %s; the projection waits", error)
                await asyncio.sleep(_DATABASE_SECONDS)

    async def _read_truth(self) -> None:
        is_first, self._read_at = not self._database, time.monotonic()
        try:
            registry, heads = await self._truth.registry(), await self._truth.heads()
        except BaseException:
            self._read_at = None
            raise
        self._database = registry.database.encode()
        for head in heads:
            name = (head.account, head.list_id)
            if is_first and name not in self._lists:
                self._add(name)
            elif name not in self._lists:
                self.wake(name)
            self._lists[name].heard(head, at_start=is_first)
        if registry.number > self._registry.number and not is_first:
            self._registry.wake()

    def _add(self, name: ListName) -> None:
        projected = self._lists[name] = ListProjection(self._state, self._truth, self, name)
        if name in self._were_ahead:
            projected.hold_as_ahead(self._were_ahead[name])

    def _alive(self) -> list[asyncio.Task[None]]:
        tasks = [self._registry.task, *(projected.task for projected in self._lists.values())]
        return [task for task in tasks if task is not None and not task.done()]

    @property
    def registry_seems_ours(self) -> bool:
        return self._registry.ahead is None

    async def registry_is_ours(self) -> bool:
        return await self._registry.is_ours()

    def noticed_ahead(self, projected: ListProjection) -> None:
        if projected.ahead is not None:
            self._on_ahead(projected.name, projected.ahead)

    def was_removed(self, projected: ListProjection) -> None:
        if self._lists.get(projected.name) is projected:
            del self._lists[projected.name]
            self._mended_before += projected.mended
        self._registry.wake()
