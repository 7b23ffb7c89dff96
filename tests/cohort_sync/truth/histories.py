"""Random histories of one list in the database, and what whole tasks, one after the other, make of it.

The model keeps every page that was ever accepted and knows nothing of bases, rounds, windows or versions.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hypothesis import strategies as st

from cohort_sync.truth.erasing import erase_from_lists
from cohort_sync.truth.folding import FoldRules
from cohort_sync.truth.folding.lists import ListFolder
from cohort_sync.truth.folding.messages import DropPages
from cohort_sync.truth.folding.writing import drop_pages, write
from cohort_sync.truth.state import DatabaseTruth
from tests.cohort_sync.truth.rows import ACCOUNT, ListRows, Rows, erase, finish_erasure

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from attribute_lists.projection.truth import Version
    from cohort_sync.truth.folding.messages import Message
    from tests.cohort_sync.truth.rows import Result

PEOPLE = [b"%d" % number for number in range(12)]


@dataclass(frozen=True)
class SendPage:
    """A page arrives, signed `at` ticks ago or so; its task has `mode` if it begins with it."""

    task: int
    add: frozenset[bytes]
    remove: frozenset[bytes]
    back: int
    mode: Literal["delta", "snapshot"] = "delta"


@dataclass(frozen=True)
class Move:
    task: int
    back: int


@dataclass(frozen=True)
class End:
    """What becomes of a snapshot, where its state lets it."""

    task: int
    state: Literal["complete", "held", "accepted", "refused", "given_up"]


@dataclass(frozen=True)
class Drain:
    back: int


@dataclass(frozen=True)
class Erase:
    person: bytes
    ahead: int


@dataclass(frozen=True)
class FinishErasing:
    pass


@dataclass(frozen=True)
class Fold:
    """`window`: ticks for which a task is left alone. `messages`: after so many the process is killed.

    `meanwhile`: a page or an erasure that is accepted before the message of that number.
    """

    window: int
    messages: int
    meanwhile: tuple[int, SendPage | Erase] | None = None


@dataclass(frozen=True)
class Sync:
    """A copy of the list is brought up to date, as the set in Redis is."""

    replica: int


Event = SendPage | Move | End | Drain | Erase | FinishErasing | Fold | Sync


def histories(*, folds: bool = True, most: int = 30) -> st.SearchStrategy[list[Event]]:
    """On few people and tasks, so that they meet."""
    tasks = st.integers(0, 4)
    people = st.frozensets(st.sampled_from(PEOPLE), max_size=4)
    back = st.integers(0, 12)
    pages = st.builds(SendPage, tasks, people, people, back, st.just("delta"))
    snapshots = st.builds(SendPage, tasks, people, people, back, st.just("snapshot"))
    ends = st.sampled_from(["complete", "complete", "held", "accepted", "refused", "given_up"])
    kinds: list[st.SearchStrategy[Event]] = [
        *[pages] * 4,
        snapshots,
        st.builds(End, tasks, ends),
        st.builds(End, tasks, st.just("complete")),
        st.builds(Move, tasks, back),
        st.builds(Drain, st.integers(0, 6)),
        st.builds(Erase, st.sampled_from(PEOPLE), st.integers(0, 3)),
        *[st.builds(Sync, st.integers(0, 1))] * 3,
    ]
    if folds:
        between = st.tuples(st.integers(1, 6), st.one_of(pages, st.builds(Erase, st.sampled_from(PEOPLE), st.just(0))))
        fold = st.builds(Fold, st.integers(0, 6), st.integers(1, 12), st.one_of(st.none(), between))
        kinds += [*[fold] * 3, st.just(FinishErasing())]
    return st.lists(st.one_of(kinds), min_size=1, max_size=most)


@dataclass
class Model:
    """Pages by the row of their task; places and states are those that were accepted."""

    list_rows: ListRows
    pages: dict[int, list[tuple[frozenset[bytes], frozenset[bytes]]]] = field(default_factory=dict)
    erasures: list[tuple[int, bytes]] = field(default_factory=list)

    def members(self) -> set[bytes]:
        tasks = self.list_rows.rows.run(
            "SELECT at, rank, name, run, id, mode, state FROM tasks WHERE list = :row", row=self.list_rows.row
        )
        events = [(tuple(task[:4]), task[4], task[5], task[6]) for task in tasks]
        events += [((at, 9, "", 0), person, "", "") for at, person in self.erasures]
        members: set[bytes] = set()
        for _, what, mode, state in sorted(events, key=lambda event: event[0]):
            if isinstance(what, bytes):
                members.discard(what)
                continue
            if mode == "snapshot":
                if state not in ("complete", "accepted"):
                    continue
                members = set()
            pages = self.pages.get(what, [])  # type: ignore[call-overload] # the row of a task
            added = set().union(*(add for add, _ in pages))
            removed = set().union(*(remove for _, remove in pages))
            members = (members - removed) | (added - removed)
        return members


@dataclass
class Replica:
    """A copy of the list: members, and version and erasure up to which it has them."""

    members: set[bytes] = field(default_factory=set)
    version: Version | None = None
    erasure: int = 0
    wholes: int = 0


class _KilledError(Exception):
    pass


class Player:
    """Plays events and compares what the truth says with the model."""

    def __init__(self, rows: Rows, truth: DatabaseTruth | None = None) -> None:
        self.rows = rows
        self.list = ListRows(rows)
        self.model = Model(self.list)
        self.truth = truth or DatabaseTruth(rows)
        self.replicas = [Replica(version=self.list.version) for _ in range(2)]
        self.tick = 100
        self._tasks: dict[int, int] = {}
        self._runs: dict[int, int] = {}

    async def play(self, events: list[Event]) -> None:
        for event in events:
            self.tick += 1
            await self._play(event)
            await self.check()
        for replica in self.replicas:
            await self.sync(replica)

    async def check(self) -> None:
        expected = self.model.members()
        head = await self.truth.head(ACCOUNT, self.list.name)
        assert head is not None
        slices = [slice_ async for slice_ in self.truth.members(head)]
        assert sorted(member for slice_ in slices for member in slice_) == sorted(expected)
        assert await self.truth.holds(ACCOUNT, self.list.name, PEOPLE) == [member in expected for member in PEOPLE]
        assert await self.truth.size_of(self.list.row) == len(expected)

    async def sync(self, replica: Replica) -> None:
        assert replica.version is not None
        update = await self.truth.update(ACCOUNT, self.list.name, replica.version, replica.erasure)
        assert update is not None
        if update.is_whole:
            assert not set(update.add) & set(update.remove)
            replica.members |= set(update.add)
            replica.members -= set(update.remove)
        else:
            replica.wholes += 1
            replica.members = {member async for slice_ in self.truth.members(update.head) for member in slice_}
        replica.version, replica.erasure = update.head.version, update.head.erasure
        assert replica.members == self.model.members()

    async def _play(self, event: Event) -> None:
        match event:
            case SendPage():
                self._send(event)
            case Move():
                self._move(event)
            case End():
                self._end(event)
            case Drain():
                at = self.tick - event.back
                if at > self.list.folded_to:
                    self.list.empty(at, now=self.tick)
            case Erase():
                self._erase(event)
            case FinishErasing():
                await finish_erasures(self.rows)
            case Fold():
                self.fold(event)
            case Sync():
                await self.sync(self.replicas[event.replica])

    def fold(self, event: Fold) -> None:
        """As the process that folds does; it is killed before its last message is answered."""
        told = 0

        def tell(message: Message) -> bool:
            nonlocal told
            told += 1
            if event.meanwhile is not None and told == event.meanwhile[0]:
                between = event.meanwhile[1]
                self._send(between) if isinstance(between, SendPage) else self._erase(between)
            if told > event.messages:
                raise _KilledError
            if isinstance(message, DropPages):
                while self.rows.write_now(lambda connection: drop_pages(connection, message.row)):
                    pass
                return True
            return self.rows.write_now(lambda connection: write(connection, message))

        rules = FoldRules(window=event.window, least=0, share=0, most_at_once=3)
        with contextlib.suppress(_KilledError):
            ListFolder(Now(self.rows), tell, rules).fold(self.list.row, self.tick)

    def _send(self, event: SendPage) -> None:
        task = self._tasks.get(event.task)
        at = self.tick - event.back
        if task is None or self.list.place(task) <= self.list.folded_to:
            run = self._runs[event.task] = self._runs.get(event.task, -1) + 1
            place = max(at, self.list.folded_to + 1)
            name = f"task-{event.task}"
            task = self._tasks[event.task] = self.list.task(name, place, mode=event.mode, run=run, now=self.tick)
        self.list.page(task, event.add, event.remove, at=at, now=self.tick)
        self.model.pages.setdefault(task, []).append((event.add, event.remove))

    def _erase(self, event: Erase) -> None:
        at = max(self.rows.number("SELECT MAX(at) FROM tasks"), self.tick) + event.ahead
        erase(self.rows, event.person, at)
        self.model.erasures.append((at, event.person))

    def _move(self, event: Move) -> None:
        task = self._tasks.get(event.task)
        at = max(self.tick - event.back, self.list.folded_to + 1)
        if task is not None and self.list.folded_to < self.list.place(task) > at:
            self.list.move(task, at)

    def _end(self, event: End) -> None:
        task = self._tasks.get(event.task)
        found = self.rows.run("SELECT mode, state FROM tasks WHERE id = :task", task=task)
        if task is None or not found:
            return
        mode, state = found[0]
        allowed = {
            "open": ("complete", "held", "given_up"),
            "held": ("accepted", "refused"),
        }.get(str(state), ())
        if mode == "snapshot" and event.state in allowed:
            self.list.end(task, event.state)


async def finish_erasures(rows: Rows) -> None:
    """Rewrite what names those who are erased, and forget their ids."""
    for number, person, at in rows.run("SELECT number, person, at FROM erasures"):
        if isinstance(person, bytes) and isinstance(at, int) and isinstance(number, int):
            await erase_from_lists(rows, person, at)
            finish_erasure(rows, number)


@dataclass
class Now:
    """Reads of another process."""

    rows: Rows

    def read(self, work: Callable[[Connection], Result]) -> Result:
        return self.rows.read_now(work)
