"""What changed in a list from one version to the newest: the members that facts in between name, each resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from cohort_sync.truth.database.prepared import Prepared
from cohort_sync.truth.fold import Resolved, Step, fold
from cohort_sync.truth.state.views import resolve_scanning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection

    from attribute_lists.bodies import Names
    from attribute_lists.projection.truth import Version
    from cohort_sync.truth.fold import Erased
    from cohort_sync.truth.order import Place
    from cohort_sync.truth.state.views import View
    from cohort_sync.truth.window import ListRecord, Task, Window

_CHAIN = Prepared(text("SELECT chain FROM facts WHERE list = :list AND version = :version"))
_FACTS = Prepared(text(
    "SELECT version, kind, task, place, adds, removes, body IS NOT NULL FROM facts "
    "WHERE list = :list AND version > :version ORDER BY version"
))  # fmt: skip
_TASK = text("SELECT mode, state FROM tasks WHERE id = :task")
_OLD_PLACE = text("SELECT MIN(place) FROM facts WHERE list = :list AND task = :task AND version <= :version")
_LAST_END = text("SELECT MAX(version) FROM facts WHERE list = :list AND task = :task AND kind IN ('end', 'task')")
_PERSONS = text("SELECT person, at FROM erasures WHERE number > :erasure")


class _Fact(NamedTuple):
    version: int
    kind: str
    task: int | None
    place: int | None
    adds: int
    removes: int
    has_body: int


@dataclass(frozen=True, slots=True)
class NamedSince:
    """The pages whose members may have changed, by task: `(task, versions of pages)` in the order of places."""

    pages: Sequence[tuple[Task, Sequence[int]]]
    named: int


def was_written(connection: Connection, record: ListRecord, version: Version) -> bool:
    """Whether this database ever gave the list that version."""
    if version.number > record.version:
        return False
    if version.number == record.version:
        return version.chain == record.chain
    if version.number == 0:
        return version.chain == b""
    found: tuple[bytes] | None = _CHAIN.run(connection, {"list": record.row, "version": version.number}).fetchone()
    return found is not None and found[0] == version.chain


def named_since(connection: Connection, window: Window, since: int) -> NamedSince | None:
    """Where the members stand that may have changed after version `since`. None: it may be any member."""
    if since == window.version:
        return NamedSince([], 0)
    by_task = _facts_by_task(connection, window, since)
    tasks = _counting_tasks(connection, window, by_task, since) if by_task is not None else None
    if by_task is None or tasks is None:
        return None
    moved = _moved(connection, window, tasks, by_task, since)
    floor = window.floor if window.is_between_rounds else None
    pages: list[tuple[Task, Sequence[int]]] = []
    named = 0
    for task in sorted(tasks.values(), key=lambda task: task.place):
        if task.id in moved and _passed(window, task, moved):
            if task.is_floor:
                return None
            pages.append((task, [page.version for page in task.pages]))
            named += task.named
        elif floor is None or task.place >= floor.place:
            theirs = [fact for fact in by_task[task.id] if fact.has_body]
            if theirs:
                pages.append((task, [fact.version for fact in theirs]))
                named += sum(fact.adds + fact.removes for fact in theirs)
    return NamedSince(pages, named)


def only_page(view: View, since: NamedSince, erased: Erased, read: Callable[[int], Names]) -> Names | None:
    """The one page that says all there is to say, as it is: most updates are one. None: it takes `resolve_named`."""
    if len(since.pages) != 1 or len(since.pages[0][1]) != 1 or erased.unfinished or erased.unknown:
        return None
    if not _say_it_themselves(view.known_window, since):
        return None
    names = read(since.pages[0][1][0])
    return names if not names.add or not names.remove else None


def resolve_named(
    connection: Connection, view: View, since: NamedSince, erased: Erased, read: Callable[[int], Names]
) -> Resolved:
    """What the newest fact says of the members that `since` names."""
    if not since.pages:
        return Resolved(set(), set(), set())
    window = view.known_window
    if _say_it_themselves(window, since):
        steps = (Step(task.place, is_floor=False, pages=map(read, versions)) for task, versions in since.pages)
        word = fold(steps, erased)
        return Resolved(word.added, word.removed, set())
    members: set[bytes] = set()
    for _, versions in since.pages:
        for names in map(read, versions):
            members.update(names.add, names.remove)
    return view.resolve_from(connection, members, erased, read, low=since.pages[0][0].place)


def resolve_erased(
    connection: Connection, view: View, erasure: int, erased: Erased, read: Callable[[int], Names]
) -> Resolved | None:
    """Of the persons erased after the erasure numbered `erasure`, who is in again. None: not all are known by id."""
    window = view.known_window
    persons: dict[bytes, int] = {}
    if window.erasure > erasure:
        for found in connection.execute(_PERSONS, {"erasure": erasure}):
            if found.person is None:
                return None
            persons[bytes(found.person)] = max(found.at, persons.get(bytes(found.person), -1))
    if not persons:
        return Resolved(set(), set(), set())
    # What is placed before an erasure can't bring the person back, so it is not read.
    earliest = min(persons.values())
    tasks = [task for task in window.counting if task.place.at > earliest]
    return resolve_scanning(connection, view, tasks, persons, erased, read)


def _facts_by_task(connection: Connection, window: Window, since: int) -> dict[int, list[_Fact]] | None:
    """Those newer than version `since` that belong to a task. None: some are forgotten."""
    facts = list(map(_Fact._make, _FACTS.run(connection, {"list": window.row, "version": since})))
    if len(facts) < window.version - since:
        return None
    by_task: dict[int, list[_Fact]] = {}
    for fact in facts:
        if fact.task is not None:
            by_task.setdefault(fact.task, []).append(fact)
    return by_task


def _counting_tasks(
    connection: Connection, window: Window, by_task: dict[int, list[_Fact]], since: int
) -> dict[int, Task] | None:
    """Those of the tasks that say something. None: what one of them changed is not known by page."""
    tasks: dict[int, Task] = {}
    for task_id, facts in by_task.items():
        task = window.tasks.get(task_id)
        if task is None or any(fact.kind == "page" and not fact.has_body for fact in facts):
            # Folded since; its bodies are gone.
            if task.counts if task is not None else _counts(connection, task_id):
                return None
        elif task.counts:
            if task.is_floor and _is_whole_change(connection, window, task, since):
                return None
            tasks[task_id] = task
    return tasks


def _counts(connection: Connection, task_id: int) -> bool:
    found = connection.execute(_TASK, {"task": task_id}).one_or_none()
    return found is None or found.mode == "delta" or found.state in ("complete", "accepted")


def _is_whole_change(connection: Connection, window: Window, task: Task, since: int) -> bool:
    """Whether `task`, a floor, began to count after `since` and is the newest one, or is in the base already."""
    if window.floor is not None and task.place < window.floor.place and window.is_between_rounds:
        return False
    end = connection.execute(_LAST_END, {"list": window.row, "task": task.id}).scalar_one_or_none()
    return end is None or end > since


def _moved(
    connection: Connection, window: Window, tasks: dict[int, Task], by_task: dict[int, list[_Fact]], since: int
) -> dict[int, Place]:
    """The places as of `since` of those of `tasks` that have moved."""
    moved: dict[int, Place] = {}
    for task_id, task in tasks.items():
        if not any(fact.place is not None and fact.place <= task.place.at for fact in by_task[task_id]):
            continue  # a page that was there before has the smallest signed time
        parameters = {"list": window.row, "task": task_id, "version": since}
        old = connection.execute(_OLD_PLACE, parameters).scalar_one_or_none()
        if old is not None and old > task.place.at:
            moved[task_id] = task.place._replace(at=old)
    return moved


def _passed(window: Window, task: Task, moved: dict[int, Place]) -> bool:
    """Whether `task` may have passed another one that counts."""
    new, old = task.place, moved[task.id]
    return any(
        other is not task and other.place < old and moved.get(other.id, other.place) > new for other in window.counting
    )


def _say_it_themselves(window: Window, since: NamedSince) -> bool:
    """Whether nothing but the pages in question says anything of the members that they name."""
    if not window.is_between_rounds:
        return False
    there = {task.id: frozenset(versions) for task, versions in since.pages}
    lowest = since.pages[0][0]
    if window.floor is not None and lowest.place < window.floor.place:
        return False
    if any(task.is_in(window.settled, version) for task, versions in since.pages for version in versions):
        return False
    for task in _newest_down_to(window.ordered, lowest.place):
        if not task.counts:
            continue
        if task.id not in there:
            return False
        versions = there[task.id]
        others = [page for page in task.pages if page.version not in versions]
        if others and (task is not lowest or any(page.removes for page in others)):
            return False
    return True


def _newest_down_to(tasks: Sequence[Task], place: Place) -> Iterable[Task]:
    for task in reversed(tasks):
        if task.place < place:
            return
        yield task
