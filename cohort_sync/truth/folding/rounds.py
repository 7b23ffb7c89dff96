"""Rounds of folding: which tasks of a list the next one takes, and up to which place.

A round takes tasks from the oldest on and stops before the first that may still change: a sender may send pages of it,
an operator may decide on it. It is begun once for the whole list and ends when all partitions went through it; one that
was broken off goes on where it stopped, with whatever was accepted at or below its place meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohort_sync.truth.order import Place
    from cohort_sync.truth.window import Task, Window

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class FoldRules:
    """When a list is folded. Times are milliseconds on this machine's clock, which decides nothing but that.

    `window`: for how long after its last page a task is left alone. `oldest`: age at which pages are folded, however
    few. `share` of the base that pages name, below which they are left; `least` members, and `most_pages`, whatever the
    base. `by_arrival`: sources that are placed by arrival, of which no page comes late. `most_at_once`: members of
    pages in memory.
    """

    window: int = 4 * DAY_MS
    oldest: int = 30 * DAY_MS
    share: float = 0.1
    least: int = 1000
    most_pages: int = 20_000
    by_arrival: frozenset[str] = frozenset()
    most_at_once: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Round:
    """`tasks`: those that it takes beside those that were marked before. `place`: up to where the base is then."""

    number: int
    tasks: Sequence[int]
    place: Place


def next_round(window: Window, rules: FoldRules, now: int) -> Round | None:
    """The round that is to be run, or to be gone on with; None: there is nothing to fold, or not yet."""
    running = max([task.round for task in window.tasks.values()] + [row.round for row in window.partitions.rows])
    if running > window.settled.round:
        return _going_on(window, running)
    taken = _takable(window, rules, now)
    new = [task for task in taken if not task.round]
    if not taken or not _is_worth_it(window, taken, rules, now):
        return None
    return Round(running + 1, [task.id for task in new], _place(window, taken))


def _going_on(window: Window, number: int) -> Round | None:
    marked = [task for task in window.ordered if task.round]
    place = _place(window, marked)
    late = [task for task in window.ordered if not task.round and task.place <= place]
    if any(_is_undecided(task) for task in late):
        return None  # an operator, or the sender, has the word
    return Round(number, [task.id for task in late], place)


def _takable(window: Window, rules: FoldRules, now: int) -> list[Task]:
    taken = []
    for task in window.ordered:
        if not task.round:
            by_arrival = task.kind == "sync" and window.record.source in rules.by_arrival
            if _is_undecided(task) or not (by_arrival or task.last_page_at <= now - rules.window):
                break
        taken.append(task)
    return taken


def _is_undecided(task: Task) -> bool:
    return task.mode == "snapshot" and task.state in ("open", "held")


def _is_worth_it(window: Window, taken: Sequence[Task], rules: FoldRules, now: int) -> bool:
    if any(task.last_page_at <= now - rules.oldest for task in taken):
        return True
    freed = sum(task.named for task in taken)
    if any(task.is_floor for task in taken):
        freed += window.members_in_base
    pages = sum(len(task.pages) for task in taken)
    return freed >= max(rules.least, rules.share * window.members_in_base) or pages >= rules.most_pages


def _place(window: Window, tasks: Sequence[Task]) -> Place:
    return max([row.place for row in window.partitions.rows] + [task.place for task in tasks])
