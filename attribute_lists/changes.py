"""Apply changes to lists: pages of sync tasks, drains, modes, so that every order of arrival ends in the same list.

A change is planned on the list's ledger and made in guarded steps. Up to `ONE_TRANSACTION` members go in one step. A
larger page is entered first (with its body, so that other receivers reckon with it), applied in slices, and marked as
applied at the end: cut short, it is completed by applying it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from attribute_lists import keys
from attribute_lists.bodies import pack
from attribute_lists.filling import Changed, Filling
from attribute_lists.ledgers import Ledgers, fields_of
from attribute_lists.order import PageNote
from attribute_lists.scripts import ConflictingChangeError, ListScripts
from attribute_lists.settling import Bodies
from attribute_lists.work import ListName, Ordering, Work
from foundation.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from attribute_lists.bodies import Names
    from attribute_lists.order import Mode, Task
    from foundation.store import Store

ONE_TRANSACTION = 1000  # members; what a page may hold to be applied in one go
_MOST_CONFLICTS = 200


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a sync task. `digest` stands for its body; `signed_at`: Unix milliseconds; `skipped`: bad members.

    `packed`: the names as `bodies.pack` gives them, where the caller has them already. `mode`: that of its task, should
    it be the first page of one; None: that of the list.
    """

    task: str
    number: int
    total: int
    names: Names
    skipped: int
    digest: str
    signed_at: int
    packed: bytes | None = None
    mode: Mode | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change did. `repeated`: the same change was there before, so that nothing happened now."""

    repeated: bool = False
    added: int = 0
    removed: int = 0


class Changes:
    """Every change of lists goes through here. All methods may raise the store's errors and `UnavailableError`.

    `mark`, where a method takes one, is remembered together with the change, so that it is known to be applied.
    """

    def __init__(self, store: Store, ordering: Ordering | None = None) -> None:
        self._store = store
        self._ordering = ordering or Ordering()
        self._ledgers = Ledgers()
        self._bodies = Bodies(store)
        self._filling = Filling(store)
        self._turns: WeakValueDictionary[ListName, asyncio.Lock] = WeakValueDictionary()

    async def apply_page(self, name: ListName, page: Page) -> Outcome:
        """Apply `page`, wholly when this returns; what was applied before has no effect again."""
        return await self._planned(name, lambda work: _apply_page(work, page))

    async def drain(self, name: ListName, *, at: int, mark: str) -> Outcome:
        """Empty the list as of `at` (ms): tasks placed before it are void. The same or an older drain is a repeat."""
        return await self._planned(name, lambda work: _drain(work, at, mark))

    async def set_mode(self, name: ListName, mode: Mode, *, mark: str = "") -> None:
        """Tasks that begin from now on have this mode; those under way keep theirs."""

        async def change(work: Work) -> Outcome:
            work.ledger.mode = mode
            await work.note(about={"mode": mode}, mark=mark)
            return Outcome()

        await self._planned(name, change)

    async def describe(self, name: ListName, about: dict[str, str], *, mark: str = "") -> None:
        """Set fields of the list's description."""

        async def change(work: Work) -> Outcome:
            await work.note(about=about, mark=mark)
            return Outcome()

        await self._planned(name, change)

    async def accept_snapshot(self, name: ListName, *, mark: str = "") -> bool:
        """Let the snapshot that waits for the operator go live, however much it shrinks the list. False: none waits."""
        held = False

        async def change(work: Work) -> Outcome:
            nonlocal held
            waiting = [task for task in work.ledger.tasks.values() if task.held]
            held = held or bool(waiting)
            for task in sorted(waiting, key=lambda task: task.place):
                task.accepted = True
                await work.note(ledger=fields_of(work.ledger, tasks=[task]))
                await work.swap_if_complete(task)
            await work.note(mark=mark)
            return Outcome()

        await self._planned(name, change)
        return held

    async def erase(self, name: ListName, member: bytes | None, *, tag: bytes, at: int, mark: str = "") -> bool:
        """Take a person out of the list for good: whatever a task placed before `at` (ms) says of them is void.

        `tag`: `tag_of` the person. `member` may be None when only the tag is left of them (a replay): what names them
        is then left out as it is applied. True: they were a member.
        """
        found = False

        async def change(work: Work) -> Outcome:
            nonlocal found
            work.ledger.erased[tag] = max(at, work.ledger.erased.get(tag, 0))
            done = await work.note(erased={tag: at}, remove=[member] if member else [], mark=mark)
            found = found or done.removed > 0
            if member is not None:
                await work.erase_from_bodies(member)
            return Outcome(removed=done.removed)

        await self._planned(name, change)
        return found

    async def delete(self, name: ListName, *, at: int, mark: str = "") -> None:
        """Empty the list and forget its description. What came before `at` (ms) stays void, should it come again."""

        async def change(work: Work) -> Outcome:
            work.ledger.drain(at)
            work.ledger.dirty = False
            forgotten = work.ledger.prune(at + 1)
            await work.note(ledger=fields_of(work.ledger, forgotten=forgotten), mark=mark, clear=True)
            await work.forget_description()
            return Outcome()

        await self._planned(name, change)

    async def tend(self, name: ListName) -> None:
        """Finish what was left: a rebuild cut short, a snapshot whose pages are complete after a quiet time."""

        async def change(work: Work) -> Outcome:
            if work.ledger.dirty:
                await work.rebuild()
            for task in list(work.ledger.tasks.values()):
                if not task.held or work.ledger.is_void(task):
                    await work.swap_if_complete(task)
            return Outcome()

        await self._planned(name, change)

    async def newest_timestamp(self, name: ListName) -> int:
        """The latest place (ms) in the list's order, -1 where it is empty: no operator's drain may come before it."""
        newest = -1

        async def look(work: Work) -> Outcome:
            nonlocal newest
            ledger = work.ledger
            newest = max([ledger.drained_at, ledger.base_at, *(task.at for task in ledger.tasks.values())])
            return Outcome()

        # A step of its own is not needed: one that is planned on an old ledger is refused when it comes.
        await self._planned(name, look)
        return newest

    async def _planned(self, name: ListName, make: Callable[[Work], Awaitable[Outcome]]) -> Outcome:
        """Make a change, planned again whenever somebody else was faster; one at a time for a list in this process."""
        lock = self._turns.setdefault(name, asyncio.Lock())
        async with lock:
            scripts, changed = ListScripts(self._store, *name), Changed()
            for _ in range(_MOST_CONFLICTS):
                ledger = await self._ledgers.take(name, scripts)
                work = Work(
                    *(name, ledger, self._ordering, changed),
                    scripts=scripts,
                    bodies=self._bodies,
                    filling=self._filling,
                )
                try:
                    outcome = await make(work)
                except ConflictingChangeError:
                    continue
                if not work.spoilt:
                    self._ledgers.keep(name, ledger)
                return outcome
        raise UnavailableError("too many changes of this list at once; send this again later", reason="contended")


async def _apply_page(work: Work, page: Page) -> Outcome:
    ledger = work.ledger
    if ledger.dirty:
        await work.rebuild()
    known = ledger.note_of(page.digest)
    if known is not None and known.done and page.signed_at >= ledger.tasks[known.task].at:
        await work.confirm(mark=page.digest)
        return Outcome(repeated=True)
    forgotten = ledger.prune(work.now - int(work.ordering.window * 1000))
    known_task = ledger.tasks.get(page.task)
    moved = known_task is not None and page.signed_at < known_task.at
    note = PageNote(page.task, page.number, len(page.names.add), len(page.names.remove))
    task = ledger.enter(page.digest, note, total=page.total, signed_at=page.signed_at, now=work.now, mode=page.mode)
    planned = await work.settling.page(task, page.names, page.digest)
    counts = {} if known_task else {"tasks": 1}
    skipped = {} if known else {"skipped": page.skipped}
    entering: dict[str, Any] = {
        "counts": counts,
        "digest": page.digest,
        "body": pack(page.names) if page.packed is None else page.packed,
        "body_seconds": int(work.ordering.bodies),
        # One that is not in the ledger may still have been applied, longer ago than the ledger reaches.
        "unless_marked": "" if known else page.digest,
    }
    in_one = len(planned.add) + len(planned.remove) <= ONE_TRANSACTION
    if in_one and task.names_members and not task.resettle and not ledger.dirty:
        note.done = True
        entering["counts"] = counts | skipped
        fields = fields_of(ledger, tasks=[task], pages=[page.digest], forgotten=forgotten)
        done = await work.note(
            **(entering | {"ledger": fields, "about": _about(work, task), "mark": page.digest}),
            add=planned.add,
            remove=planned.remove,
        )
        work.spoilt = done.repeated
        return Outcome(done.repeated, done.added, done.removed)
    if known is None or moved:  # else it stands there already, and entering it again would only disturb others
        fields = fields_of(ledger, tasks=[task], pages=[page.digest], forgotten=forgotten)
        if (await work.note(ledger=fields, **entering)).repeated:
            work.spoilt = True
            return Outcome(repeated=True)
    staging = None if task.names_members else keys.staging(*work.name, task.id)
    await work.fill(staging, planned, lifetime=int(work.ordering.window) if staging else 0)
    if ledger.dirty:
        await work.rebuild()
    note.done, task.resettle = True, False
    await work.swap_if_complete(task)
    await work.note(
        ledger=fields_of(ledger, tasks=[task], pages=[page.digest]),
        about=_about(work, task),
        counts=skipped | {"added": work.changed.added, "removed": work.changed.removed},
        mark=page.digest,
    )
    return Outcome(added=work.changed.added, removed=work.changed.removed)


def _about(work: Work, task: Task) -> dict[str, str]:
    """What the page changes in the list's description: the newest task is the one that is shown."""
    shown = {"last_page": str(work.now)}
    if task is work.ledger.newest():
        shown |= {
            "task": task.id,
            "task_at": str(task.at),
            "task_pages": str(len(task.numbers())),
            "task_total": str(task.total),
        }
    return shown


async def _drain(work: Work, at: int, mark: str) -> Outcome:
    ledger = work.ledger
    if ledger.dirty:
        await work.rebuild()
    if not ledger.drain(at):
        await work.note(mark=mark)
        return Outcome(repeated=True)
    about = {"drained": str(at)}
    if ledger.dirty and not ledger.counting():
        ledger.dirty = False
        done = await work.note(ledger=fields_of(ledger), about=about, mark=mark, clear=True)
        return Outcome(removed=done.removed)
    await work.note(ledger=fields_of(ledger), about=about)
    if ledger.dirty:
        await work.rebuild()
    await work.note(mark=mark)
    return Outcome()
