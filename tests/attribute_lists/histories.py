"""Random histories of one list, and what a plain model says that they must end in.

The model knows nothing of ledgers or steps: it takes all that was ever delivered, sorts whole tasks, and applies them.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from attribute_lists import keys
from attribute_lists.bodies import Names
from attribute_lists.changes import Changes, Page
from attribute_lists.work import Ordering

if TYPE_CHECKING:
    from attribute_lists.order import Mode
    from foundation.store import Store

NOW = 1_800_000_000_000
_lists = itertools.count()


@dataclass(frozen=True)
class Deliver:
    """One page arrives, signed `at` (it may be a retry, or late); `receiver`: which of two takes it."""

    task: int
    number: int
    total: int
    add: frozenset[int]
    remove: frozenset[int]
    at: int
    receiver: int = 0


@dataclass(frozen=True)
class Drain:
    at: int
    receiver: int = 0


@dataclass(frozen=True)
class SetMode:
    mode: Mode
    receiver: int = 0


@dataclass(frozen=True)
class Restart:
    receiver: int = 0


@dataclass(frozen=True)
class Together:
    """Pages that both receivers take at the same time."""

    pages: tuple[Deliver, ...]


Event = Deliver | Drain | SetMode | Restart | Together


@dataclass
class Model:
    """The list as whole tasks applied one after the other, in the order of their smallest timestamps, leave it."""

    mode: Mode = "delta"
    drains: list[int] = field(default_factory=list)
    modes: dict[int, Mode] = field(default_factory=dict)
    pages: dict[int, set[tuple[int, int, frozenset[int], frozenset[int]]]] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        match event:
            case Deliver():
                self.modes.setdefault(event.task, self.mode)
                self.places[event.task] = min(event.at, self.places.get(event.task, event.at))
                body = (event.number, event.total, event.add, event.remove)
                self.pages.setdefault(event.task, set()).add(body)
            case Drain():
                self.drains.append(event.at)
            case SetMode():
                self.mode = event.mode
            case Together():
                for page in event.pages:
                    self.take(page)
            case Restart():
                pass

    def members(self) -> set[int]:
        points: list[tuple[int, str, int | None]] = [(at, "", None) for at in self.drains]
        points += [(self.places[task], f"task-{task}", task) for task in self.pages]
        members: set[int] = set()
        for _, _, task in sorted(points, key=lambda point: point[:2]):
            if task is None:
                members = set()
                continue
            added = set().union(*(add for _, _, add, _ in self.pages[task]))
            removed = set().union(*(remove for _, _, _, remove in self.pages[task]))
            if self.modes[task] == "delta":
                members = (members - removed) | (added - removed)
            elif self._is_whole(task):
                members = added - removed
        return members

    def _is_whole(self, task: int) -> bool:
        carrying = {number for number, _, add, remove in self.pages[task] if add or not remove}
        total = max(total for _, total, _, _ in self.pages[task])
        return carrying >= set(range(1, total + 1))


def histories(people: int = 6, tasks: int = 4, times: int = 6) -> st.SearchStrategy[list[Event]]:
    """Up to a score of events on few people, tasks and moments, so that they meet."""
    persons = st.frozensets(st.integers(0, people - 1), max_size=4)
    pages = st.builds(
        Deliver,
        task=st.integers(0, tasks - 1),
        number=st.integers(1, 2),
        total=st.just(2),
        add=persons,
        remove=persons,
        at=st.integers(0, times),
        receiver=st.integers(0, 1),
    )
    events = st.one_of(
        pages,
        pages,
        pages,
        st.builds(Drain, at=st.integers(0, times), receiver=st.integers(0, 1)),
        st.builds(SetMode, mode=st.sampled_from(["delta", "snapshot"]), receiver=st.integers(0, 1)),
        st.builds(Restart, receiver=st.integers(0, 1)),
        st.builds(Together, pages=st.tuples(pages, pages, pages)),
    )
    return st.lists(events, min_size=1, max_size=20).map(_with_retries)


def _with_retries(events: list[Event]) -> list[Event]:
    """A page of one task and number has one body: what differs in a second delivery is when it was signed."""
    bodies: dict[tuple[int, int, int], Deliver] = {}

    def settled(page: Deliver) -> Deliver:
        # Three variants of a page, as where add pages and remove pages are numbered apart.
        first = bodies.setdefault((page.task, page.number, len(page.add) % 3), page)
        return Deliver(
            *(first.task, first.number, first.total, first.add, first.remove), at=page.at, receiver=page.receiver
        )

    found: list[Event] = []
    for event in events:
        match event:
            case Deliver():
                found.append(settled(event))
            case Together():
                found.append(Together(tuple(settled(page) for page in event.pages)))
            case _:
                found.append(event)
    return found


async def play(store: Store, events: list[Event], *, scale: int = 1) -> tuple[set[int], set[int]]:
    """What the list holds after `events`, and what the model says. `scale`: how many members stand for a person.

    More than a thousand members make pages go in slices, so that receivers meet half-way.
    """
    name = ("history", f"list{next(_lists)}")
    ordering = Ordering(most_shrink=1.0)
    receivers = [Changes(store, ordering), Changes(store, ordering)]
    model = Model()
    for event in events:
        match event:
            case Deliver():
                await receivers[event.receiver].apply_page(name, _page(event, scale))
            case Drain():
                await receivers[event.receiver].drain(name, at=NOW + event.at, mark=f"drain:{event.at}")
            case SetMode():
                await receivers[event.receiver].set_mode(name, event.mode)
            case Restart():
                receivers[event.receiver] = Changes(store, ordering)
            case Together():
                await asyncio.gather(
                    *(receivers[page.receiver].apply_page(name, _page(page, scale)) for page in event.pages)
                )
        model.take(event)
    held: set[bytes] = await store.execute_command("SMEMBERS", keys.members(*name))
    people = {int(member.partition(b".")[0]) for member in held}
    assert len(held) == len(people) * scale, "a person is there in part"
    return people, model.members()


def _page(event: Deliver, scale: int) -> Page:
    names = Names(_members(event.add, scale), _members(event.remove, scale))
    body = repr((event.task, event.number, event.total, sorted(event.add), sorted(event.remove)))
    return Page(
        task=f"task-{event.task}",
        number=event.number,
        total=event.total,
        names=names,
        skipped=0,
        digest=hashlib.blake2b(body.encode(), digest_size=16).hexdigest(),
        signed_at=NOW + event.at,
    )


def _members(people: frozenset[int], scale: int) -> list[bytes]:
    return [b"%d.%d" % (person, index) for person in sorted(people) for index in range(scale)]
