"""The steps that changes of a list are made of, on the ledger that they are planned on."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import AskError, TryAgainError

from attribute_lists import keys
from attribute_lists.bodies import Names
from attribute_lists.filling import Changed, slices
from attribute_lists.ledgers import fields_of
from attribute_lists.scripts import ConflictingChangeError, Notes, Stepped
from attribute_lists.settling import Settling, in_turns

if TYPE_CHECKING:
    from attribute_lists.filling import Filling
    from attribute_lists.order import Ledger, Task
    from attribute_lists.scripts import ListScripts
    from attribute_lists.settling import Bodies

ListName = tuple[str, str]

_NOTED = frozenset(("ledger", "about", "counts", "erased", "body", "body_seconds"))
_MOST_FENCES = 100  # that one step looks at
_REBUILD_SECONDS = 3600  # lifetime of what a rebuild that was cut short leaves
REMEMBERED_SECONDS = 30 * 86400  # how long an applied body is known: longer than any signature is accepted


@dataclass(frozen=True, slots=True)
class Ordering:
    """How long tasks are kept in order and their bodies for it (seconds), and what else a change depends on.

    `most_shrink`: the largest share that a snapshot may take from a list unasked. `tag_key`: the key of erasures.
    """

    window: float = 2 * 86400
    bodies: float = 4 * 86400
    most_shrink: float = 0.5
    tag_key: bytes = b""


class Work:
    """One attempt at a change. Any step may find that somebody else was faster (`ConflictingChangeError`).

    `spoilt`: the ledger in memory is not what the store has, though nothing failed. `changed`: what was done to the
    live set in slices, by earlier attempts as well; nobody has noted it yet.
    """

    def __init__(
        self,
        name: ListName,
        ledger: Ledger,
        ordering: Ordering,
        changed: Changed,
        *,
        scripts: ListScripts,
        bodies: Bodies,
        filling: Filling,
    ) -> None:
        self.name = name
        self.ledger = ledger
        self.ordering = ordering
        self.settling = Settling(name, ledger, bodies, ordering.tag_key)
        self.now = int(time.time() * 1000)
        self.spoilt = False
        self.changed = changed
        self._scripts = scripts
        self._bodies = bodies
        self._filling = filling
        self._fences: list[str] = []  # behind what was filled since the last step that changed the ledger

    async def note(self, *, mark: str = "", unless_marked: str = "", **what: Any) -> Stepped:
        """One step that changes the ledger, so that whoever planned on the old one plans again.

        `what`: fields of `Notes`, and what `ListScripts.step` takes.
        """
        noted = {name: what.pop(name) for name in list(what) if name in _NOTED}
        expected, self.ledger.version = self.ledger.version, secrets.token_hex(8)
        notes = self._notes(expected, mark=mark, **noted)
        done = await self._scripts.step(notes, unless_marked=unless_marked, **what)
        self._fences.clear()
        return done

    async def confirm(self, *, mark: str) -> None:
        """Make sure that the store still has this ledger, and `mark`: it may have lost both since they were read."""
        await self._scripts.step(self._notes(mark=mark))

    async def fill(self, target: str | None, names: Names, *, lifetime: int = 0) -> None:
        """Add and remove in slices, with room for others in between.

        `target`: another set than the live one, which then lives for `lifetime` seconds; what changes there is not
        counted in `changed`.
        """
        changed = self.changed if target is None else Changed()
        target = target or keys.members(*self.name)
        try:
            self._fences += await self._filling.fill(
                self.name, target, names, changed, version=self.ledger.version, lifetime=lifetime
            )
            if len(self._fences) >= _MOST_FENCES:
                await self.note()
        except (AskError, TryAgainError):  # the list's slot moves to another node: redis-py knows how to follow
            parts: list[dict[str, Any]] = [{"add": part} for part in slices(names.add)]
            parts += [{"remove": part} for part in slices(names.remove)]
            for part in parts:
                done = await self.note(target=target, lifetime=lifetime, **part)
                changed.added += done.added
                changed.removed += done.removed

    async def rebuild(self) -> None:
        """Build the list again from its base: in a set of its own, which then goes live in one step."""
        staging = keys.rebuilding(*self.name, secrets.token_hex(4))
        try:
            await self._gather(staging)
            self.ledger.dirty = False
            await self._swap(staging, tasks=[])
        except ConflictingChangeError:
            await self._scripts.discard(staging)
            raise

    async def _gather(self, staging: str) -> None:
        for task in reversed(self.ledger.counting()):
            removed: set[bytes] = set()
            for digest, page in task.pages.items():
                if page.removes:
                    removed.update((await self._bodies.get(*self.name, digest)).remove)
            for digest in task.pages:
                async for part in in_turns((await self._bodies.get(*self.name, digest)).add):
                    add = [member for member in self.settling.allowed(part, task) if member not in removed]
                    await self.fill(staging, Names(add, []), lifetime=_REBUILD_SECONDS)
            async for part in in_turns(list(removed)):
                await self.fill(staging, Names([], self.settling.allowed(part, task)), lifetime=_REBUILD_SECONDS)

    async def erase_from_bodies(self, member: bytes) -> None:
        """Take `member` out of the bodies that are kept of this list's pages."""
        for task in self.ledger.tasks.values():
            for digest in task.pages:
                await self._bodies.erase(*self.name, digest, member)

    async def forget_description(self) -> None:
        await self._scripts.forget(int(self.ordering.window), REMEMBERED_SECONDS)

    async def swap_if_complete(self, task: Task) -> None:
        """A snapshot whose pages are all here goes live, unless that would shrink the list too much."""
        ledger = self.ledger
        if task.mode != "snapshot" or task.swapped or not task.is_complete(self.now):
            return
        staging = keys.staging(*self.name, task.id)
        if ledger.is_void(task):  # what it would replace is newer
            task.swapped, task.held = True, False
            await self.note(ledger=fields_of(ledger, tasks=[task]), about={"held": ""}, target=staging, clear=True)
            return
        live, staged = await self._scripts.sizes(staging)
        if not task.accepted and live > 0 and (live - staged) / live > self.ordering.most_shrink:
            task.held = True
            await self._scripts.extend(staging, REMEMBERED_SECONDS)
            await self.note(ledger=fields_of(ledger, tasks=[task]), about={"held": f"{live} {staged}"})
            return
        # Tasks placed after the snapshot count on top of it: where there are some, the swap alone would lose them.
        ledger.dirty = any(other.place > task.place for other in ledger.counting())
        ledger.swap(task)
        if ledger.dirty:
            await self.note(ledger=fields_of(ledger, tasks=[task]), about={"held": ""})
            await self.rebuild()
            await self._scripts.discard(staging)
        else:
            await self._swap(staging, tasks=[task])

    async def _swap(self, staging: str, *, tasks: list[Task]) -> None:
        expected, self.ledger.version = self.ledger.version, secrets.token_hex(8)
        notes = self._notes(expected, ledger=fields_of(self.ledger, tasks=tasks), about={"held": ""})
        await self._scripts.swap(notes, staging=staging)
        self._fences.clear()

    def _notes(self, expected: str | None = None, **noted: Any) -> Notes:
        """Notes on the ledger as it is (`expected`: as it was before this step); they change nothing by themselves."""
        version = self.ledger.version
        since = self.now - REMEMBERED_SECONDS * 1000
        fences = () if expected is None else tuple(self._fences)
        return Notes(
            version if expected is None else expected,
            version,
            now=self.now,
            forget_marks_before=since,
            fences=fences,
            **noted,
        )
