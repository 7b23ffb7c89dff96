"""Naive model of one list: everything that was acknowledged, whole tasks sorted by place, applied one after the other.

It knows no ledger, version, base, journal or database. Three things depend on the order of arrival, because a receiver
decides them when a page comes, and the model decides them there, too: which run of a task id a page belongs to, which
mode a run has, and whether a snapshot is held.

Not knowable, hence refused here (`UnknowableError`) and never part of a history that is compared:

- a new body of a task id that began anew, signed over an hour before the present run: nothing tells what it belongs to;
- what comes between the newest time seen and the true time of an operator's command: callers sign nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Mode = Literal["delta", "snapshot"]
State = Literal["open", "complete", "held", "accepted"]

HOUR_MS = 3_600_000

_SENDER, _OPERATOR = 0, 1


class UnknowableError(AssertionError):
    """What was delivered has no outcome that any receiver could know of."""


class Place(NamedTuple):
    """A point in the order of a list: milliseconds, the operator's after all others of the same time, name, run."""

    at: int
    rank: int
    name: str
    run: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """The body of a page. Two deliveries of equal pages are deliveries of one body."""

    task: str
    number: int
    total: int
    add: frozenset[str]
    remove: frozenset[str]

    @property
    def slot(self) -> tuple[int, bool, bool]:
        """Its number and kind: a task has one body for each, add pages and remove pages may be numbered apart."""
        return (self.number, bool(self.add), bool(self.remove))


@dataclass(slots=True)
class Run:
    """One life of a task id. `signed`: per page, the times with which it was delivered."""

    task: str
    index: int
    mode: Mode
    signed: dict[Page, list[int]] = field(default_factory=dict)
    state: State = "open"

    @property
    def place(self) -> Place:
        return Place(min(min(times) for times in self.signed.values()), _SENDER, self.task, self.index)

    @property
    def newest(self) -> int:
        return max(max(times) for times in self.signed.values())

    @property
    def total(self) -> int:
        return max(page.total for page in self.signed)

    @property
    def counts(self) -> bool:
        return self.mode == "delta" or self.state in ("complete", "accepted")

    @property
    def removed(self) -> set[str]:
        return set().union(*(page.remove for page in self.signed))

    @property
    def added(self) -> set[str]:
        """Within a task remove wins, whatever the pages."""
        return set().union(*(page.add for page in self.signed)) - self.removed

    def covers(self, *, with_add: bool) -> bool:
        numbers = {page.number for page in self.signed if page.add or not with_add}
        return numbers >= set(range(1, self.total + 1))

    def distance(self, at: int) -> int:
        """From `at` to the nearest time with which one of its pages was signed."""
        return min(abs(at - time) for times in self.signed.values() for time in times)


@dataclass(frozen=True, slots=True)
class Point:
    """What is no task of the sender's: it empties the list (`keeps` is False), removes and adds members."""

    keeps: bool
    add: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()


@dataclass
class Model:
    """One list. `most_shrink`: the share that a snapshot may take away unasked."""

    most_shrink: float = 1.0
    mode: Mode = "delta"
    is_active: bool = True
    aliases: frozenset[str] = frozenset()
    own_alias: str = ""
    _runs: dict[str, list[Run]] = field(default_factory=dict)
    _points: dict[Place, Point] = field(default_factory=dict)
    _deletions: list[Place] = field(default_factory=list)
    _newest: int = 0
    _commands: int = 0

    def deliver(self, page: Page, signed: int) -> None:
        """A page was acknowledged; `signed`: the time in its signature."""
        existed = self.exists
        self._newest = max(self._newest, signed)
        run = self._run_of(page, signed)
        run.signed.setdefault(page, []).append(signed)
        if run.mode == "snapshot" and run.state == "open" and run.covers(with_add=True):
            run.state = "held" if self._is_too_small(run) else "complete"
        if self.exists and not existed:
            self.aliases |= {self.own_alias} if self.own_alias else set()

    def drain_of_sender(self, signed: int) -> None:
        """Two with one time are one; an older one voids nothing that a newer one does not."""
        self._newest = max(self._newest, signed)
        self._points[Place(signed, _SENDER, "")] = Point(keeps=False)

    def drain(self) -> None:
        self._points[self._now()] = Point(keeps=False)

    def delete(self) -> None:
        """The list is gone with its aliases until a page comes that is placed later."""
        place = self._now()
        self._points[place] = Point(keeps=False)
        self._deletions.append(place)
        self.aliases = frozenset()

    def erase(self, person: str) -> None:
        """Whatever a task placed before says of the person is void; a later one may bring them again."""
        self._points[self._now()] = Point(keeps=True, remove=frozenset((person,)))

    def bring(self, members: frozenset[str], *, replace: bool = False) -> None:
        """Import: a task of the operator's, which replaces the list or is added to it."""
        self._points[self._now()] = Point(keeps=not replace, add=members)

    def accept(self) -> None:
        """Every snapshot that waits counts from now on, at its own place."""
        for run in self.held:
            run.state = "accepted"

    @property
    def held(self) -> list[Run]:
        """Snapshots that wait for the operator and are not void."""
        floor = self._floor()
        return [run for runs in self._runs.values() for run in runs if run.state == "held" and run.place > floor]

    @property
    def exists(self) -> bool:
        """Whether a page is placed after the last deletion."""
        gone = max(self._deletions, default=Place(-1, _SENDER, ""))
        return any(run.place > gone for runs in self._runs.values() for run in runs)

    def members(self) -> frozenset[str]:
        members: set[str] = set()
        for _, what in sorted(self._in_order(), key=lambda pair: pair[0]):
            match what:
                case Point():
                    members = (members - what.remove if what.keeps else set()) | what.add
                case Run(mode="snapshot"):
                    members = what.added
                case Run():
                    members = (members - what.removed) | what.added
        return frozenset(members)

    def knows(self, page: Page) -> bool:
        """Whether this body was delivered in the present run of its task: it may then be signed anew at any time."""
        runs = self._runs.get(page.task)
        return bool(runs and page in runs[-1].signed)

    def told_of(self, member: str) -> str:
        """Who named `member`, in the order of places, for people who look into a failure."""
        found = []
        for place, what in sorted(self._in_order(), key=lambda pair: pair[0]):
            match what:
                case Point():
                    word = "emptied" if not what.keeps else "+" if member in what.add else "-"
                    if not what.keeps or member in what.add | what.remove:
                        found.append(f"{word} at {place.at} by rank {place.rank}")
                case Run():
                    word = "+" if member in what.added else "-" if member in what.removed else "replaced"
                    if word != "replaced" or what.mode == "snapshot":
                        found.append(f"{word} {what.task} run {what.index} ({what.mode}) at {place.at}")
        return "; ".join(found)

    def _in_order(self) -> list[tuple[Place, Run | Point]]:
        found: list[tuple[Place, Run | Point]] = list(self._points.items())
        found += [(run.place, run) for runs in self._runs.values() for run in runs if run.counts]
        return found

    def _floor(self) -> Place:
        points = [place for place, point in self._points.items() if not point.keeps]
        runs = [run for runs in self._runs.values() for run in runs if run.mode == "snapshot" and run.counts]
        return max([*points, *(run.place for run in runs)], default=Place(-1, _SENDER, ""))

    def _now(self) -> Place:
        """The place of an operator's command: after all that was seen."""
        self._commands += 1
        return Place(self._newest, _OPERATOR, f"{self._commands:09}")

    def _run_of(self, page: Page, signed: int) -> Run:
        """The run that a delivery belongs to; a new one begins here.

        A body that is known belongs to the run that it came with, that with the nearest times where it came with
        several. It is a new page only if it is none of the present run's and signed more than an hour after that.
        An unknown body begins a run where it is signed more than an hour after the present run and that has a body
        for its number and kind already, or has all its pages.
        """
        runs = self._runs.setdefault(page.task, [])
        if not runs:
            return self._begin(page.task)
        present = runs[-1]
        is_later = signed > present.newest + HOUR_MS
        if knowing := [run for run in runs if page in run.signed]:
            if is_later and present not in knowing:
                return self._begin(page.task)
            return min(knowing, key=lambda run: run.distance(signed))
        taken = {known.slot for known in present.signed}
        if is_later and (page.slot in taken or present.covers(with_add=False)):
            return self._begin(page.task)
        if len(runs) > 1 and signed < present.place.at - HOUR_MS:
            raise UnknowableError(f"{page} signed {signed}: long before the present run of its task")
        return present

    def _begin(self, task: str) -> Run:
        runs = self._runs[task]
        runs.append(Run(task, len(runs), self.mode))
        return runs[-1]

    def _is_too_small(self, run: Run) -> bool:
        if run.place <= self._floor():
            return False  # void: there is nothing to decide
        live, snapshot = len(self.members()), len(run.added)
        return live > 0 and (live - snapshot) / live > self.most_shrink
