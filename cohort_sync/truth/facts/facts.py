"""The write path of the truth: everything that is accepted goes through here, checked once and for good."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import func, select

from attribute_lists.bodies import Names, pack
from cohort_sync.truth import connections
from cohort_sync.truth.facts import commands, erasures, pages, snapshots
from cohort_sync.truth.facts.commands import Command
from cohort_sync.truth.facts.heap_clock import HeapClock
from cohort_sync.truth.facts.incoming import check_members
from cohort_sync.truth.facts.lists import list_of_id
from cohort_sync.truth.facts.log import digest_of_body, forget_audit, forget_facts
from cohort_sync.truth.facts.pages import Accepted, ErasedSinceError, PackedPage, Surroundings
from cohort_sync.truth.facts.tasks import forget_tasks
from cohort_sync.truth.tables import LISTS
from foundation.errors import BadRequestError, CohortGatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Any

    from sqlalchemy import Connection as DatabaseConnection

    from cohort_sync.truth.connections import Connection
    from cohort_sync.truth.database import Database
    from cohort_sync.truth.facts.erasures import Erasure
    from cohort_sync.truth.facts.incoming import Drain, Page
    from cohort_sync.truth.order import Mode

    SizeOf = Callable[[int], Awaitable[int]]

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_PACKED_AT_ONCE = 2000  # members: up to here packing takes less than a turn of a thread
_IMPORTED_AT_ONCE = 50_000  # members of a page that an import is cut into
_MOST_AHEAD_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Rules:
    """`max_shrink`: the largest share that a snapshot may take from a list unasked. `is_active`: of a new list."""

    max_shrink: float = 0.5
    is_active: bool = True


class Facts:
    """Made by `open_facts`. Every method may raise `UnavailableError` with the reason that the database has.

    `size_of`: how many members the list with this row id has; `size_of_snapshot`: how many the task with this row id
    would leave in it. What a page or a command has changed is on the disk when its method returns.
    """

    def __init__(
        self,
        database: Database,
        clock: HeapClock,
        rules: Rules,
        *,
        size_of: SizeOf,
        size_of_snapshot: SizeOf,
        latest_erasure: int,
        accounts: dict[bytes, str],
    ) -> None:
        self.clock = clock
        self._database = database
        self._rules = rules
        self._size_of = size_of
        self._size_of_snapshot = size_of_snapshot
        self._latest_erasure = latest_erasure
        self._accounts = accounts
        self._tag_key = database.installation.tag_key

    # Senders

    async def accept_page(self, page: Page) -> Accepted:
        """Accept a page; one that is known writes nothing, unless it is signed earlier than its task's place.

        Raises `BadRequestError` for one that is signed more than a day ahead of this machine's clock: whatever else it
        may be, it would void what operators do.
        """
        self._see(page.signed_at)
        place = self.clock.lower_bound() if page.signed_at is None else page.signed_at
        while True:
            packed = await self._packed(page, place)

            def accept(connection: DatabaseConnection, packed: PackedPage = packed) -> tuple[Accepted, int | None]:
                return pages.accept_page(connection, packed, self._surroundings)

            try:
                accepted, snapshot = await self._database.write(accept, size=len(packed.body))
            except ErasedSinceError as erased:
                place = erased.place
                continue
            if snapshot is None:
                return accepted
            return await self._decided(snapshot, accepted)

    async def accept_drain(self, drain: Drain) -> Accepted:
        self._see(drain.signed_at)
        return await self._database.write(lambda connection: pages.accept_drain(connection, drain, self._surroundings))

    def account_of(self, id_token: str) -> str | None:
        """The account that pushes with this id token belong to; None where no connection has it."""
        return self._accounts.get(connections.tag_of_id_token(id_token, self._tag_key))

    # Operators

    async def set_mode(self, account: str, name: str, mode: Mode, *, actor: str) -> Accepted:
        return await self._command(account, name, actor, commands.set_mode, mode)

    async def set_active(self, account: str, name: str, active: bool, *, actor: str) -> Accepted:
        return await self._command(account, name, actor, commands.set_active, active)

    async def set_aliases(self, account: str, name: str, aliases: Sequence[str], *, actor: str) -> Accepted:
        """Make `aliases` the list's aliases, all of them. Raises `ConflictError` for one that names another list."""
        return await self._command(account, name, actor, commands.replace_aliases, aliases)

    async def drain(self, account: str, name: str, *, actor: str) -> Accepted:
        """Empty the list: what the sender signed before now is void."""
        return await self._command(account, name, actor, commands.drain, self.clock.lower_bound())

    async def delete(self, account: str, name: str, *, actor: str) -> Accepted:
        """As `drain`, and there is no such list until the sender signs something later."""
        return await self._command(account, name, actor, commands.delete, self.clock.lower_bound())

    async def accept_snapshot(self, account: str, name: str, *, actor: str) -> Accepted:
        """Let a held snapshot count from its place on. Raises `NotFoundError` where none waits."""
        return await self._database.write(
            lambda connection: commands.decide_held(connection, self._of(account, name, actor), accept=True)
        )

    async def refuse_snapshot(self, account: str, name: str, *, actor: str) -> Accepted:
        """Let a held snapshot never count. Raises `NotFoundError` where none waits."""
        return await self._database.write(
            lambda connection: commands.decide_held(connection, self._of(account, name, actor), accept=False)
        )

    async def import_members(
        self,
        account: str,
        name: str,
        members: Sequence[bytes],
        *,
        actor: str,
        replace: bool = False,
        place: int | None = None,
        include_erased: bool = False,
    ) -> Accepted:
        """Add `members` to the list, or make them the list (`replace`), at once in the latter case.

        `place` (ms): of the export that they are from; None: now. Nobody who was ever erased is taken, unless
        `include_erased`: then the import is placed after their erasures, and after what the sender signed meanwhile.
        """
        if place is not None:
            self._check_place(place, "place")
        while True:
            number, erased = await self._erased_since(0)
            bodies, latest = await asyncio.to_thread(self._packed_import, members, erased, include_erased)
            begin = partial(self._begin_import, number, self._of(account, name, actor), replace, place, latest)
            try:
                row, task, at = await self._database.write(begin)
                break
            except ErasedSinceError:
                continue
        now = self.clock.wall()
        for number, (body, adds) in enumerate(bodies, 1):
            part = commands.ImportedPage(number, body, adds)
            work = partial(commands.import_page, row_id=row, task=task, page=part, at=at, now=now)
            await self._database.write(work, size=len(body))
        return await self._database.write(
            lambda connection: commands.end_import(connection, row, task, now=self.clock.wall())
        )

    async def erase(self, person: bytes, *, actor: str) -> Erasure:
        """Accept that a person is erased from all that is placed before; what names them is rewritten afterwards."""
        if not person:
            raise BadRequestError("id: the person's id as the sender sends it, not empty", reason="bad_shape")
        check_members([person])
        tag = erasures.tag_of(person, self._tag_key)

        def work(connection: DatabaseConnection) -> Erasure:
            at = self.clock.place_of_erasure()
            erased = erasures.erase(connection, person, tag, at=at, actor=actor, now=self.clock.wall())
            # Known to the pages behind it in this commit; one that fails has a few looked at for nothing.
            self._latest_erasure = max(erased.at, self._latest_erasure)
            return erased

        return await self._database.write_from_reserve(work)

    # Connections

    async def connect(
        self, account: str, *, env_id: str, id_token: str, detail: Mapping[str, Any], actor: str
    ) -> Connection:
        """Connect an account, or renew its id token. Raises `ConflictError` where either has another one."""
        tag = connections.tag_of_id_token(id_token, self._tag_key)
        new = connections.Connection(account, env_id, tag, self.clock.wall(), detail)
        await self._database.write(lambda connection: connections.put(connection, new, actor=actor))
        await self._read_accounts()
        return new

    async def disconnect(self, account: str, *, actor: str) -> Connection:
        """The connection that was ended. Raises `NotFoundError`."""
        ended = await self._database.write(
            lambda connection: connections.remove(connection, account, actor=actor, now=self.clock.wall())
        )
        await self._read_accounts()
        return ended

    async def connections(self) -> list[Connection]:
        return await self._database.read(connections.connections)

    # Upkeep

    async def finish_quiet_snapshots(self, now: int | None = None) -> list[Accepted]:
        """Decide what time has brought about, as of `now` (Unix milliseconds); the lists that changed by it."""
        now = self.clock.wall() if now is None else now
        due = await self._database.read(lambda connection: snapshots.due(connection, now))
        ended = [await self._try_to_decide(task) for task in due.undecided]
        for task in due.refused:
            log.warning("a snapshot that was held for 30 days is refused (task %d)", task)
            ended.append(await self._end(task, "refused", of=("held",)))
        for task in due.given_up:
            log.warning("a snapshot that was never complete is given up (task %d)", task)
            ended.append(await self._end(task, "given_up", of=("open",)))
        return [accepted for accepted in ended if accepted is not None]

    async def forget(self, now: int | None = None) -> int:
        """Forget pages and versions that were known for 30 days, then tasks and audit that nothing needs; how many."""
        now = self.clock.wall() if now is None else now
        total = 0
        for forget in (partial(forget_facts, now=now), partial(forget_tasks, now=now), forget_audit):
            while rows := await self._database.write(forget):
                total += rows
        return total

    def _see(self, signed_at: int | None) -> None:
        if signed_at is not None:
            self._check_place(signed_at, "signed time")
            self.clock.see(signed_at)

    def _check_place(self, place: int, field: str) -> None:
        if place > max(self.clock.wall(), self.clock.lower_bound()) + _MOST_AHEAD_MS:
            raise BadRequestError(f"{field}: more than a day ahead of this machine's clock", reason="signed_ahead")

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            bound=self.clock.lower_bound(),
            latest_erasure=self._latest_erasure,
            is_active=self._rules.is_active,
            now=self.clock.wall(),
        )

    async def _packed(self, page: Page, place: int) -> PackedPage:
        """The page without those erased at `place` or later, in a thread where that takes a while."""
        number: int | None = None
        erased: dict[bytes, int] = {}
        if self._latest_erasure >= place:
            number, erased = await self._erased_since(place)

        def work() -> PackedPage:
            check_members(page.names.add)
            check_members(page.names.remove)
            body = pack(erasures.without(page.names, erased, self._tag_key))
            return PackedPage(page, body, digest_of_body(body), number, place)

        large = len(page.names.add) + len(page.names.remove) > _PACKED_AT_ONCE
        return await asyncio.to_thread(work) if large else work()

    async def _erased_since(self, place: int) -> tuple[int, dict[bytes, int]]:
        """Who is erased at `place` (ms) or later, and the number of the newest erasure that this knows of."""

        def read(connection: DatabaseConnection) -> tuple[int, dict[bytes, int]]:
            return erasures.erasures_so_far(connection), erasures.erased_since(connection, place)

        return await self._database.read(read)

    def _packed_import(
        self, members: Sequence[bytes], erased: Mapping[bytes, int], include_erased: bool
    ) -> tuple[list[tuple[bytes, int]], int | None]:
        """The packed pages with their numbers of members, and the latest erasure of one who is taken all the same."""
        check_members(members)
        latest: int | None = None
        if erased and include_erased:
            places = (erased.get(erasures.tag_of(member, self._tag_key)) for member in members)
            latest = max((place for place in places if place is not None), default=None)
        elif erased:
            members = erasures.without(Names(list(members), []), erased, self._tag_key).add
        starts = range(0, len(members), _IMPORTED_AT_ONCE)
        slices = (list(members[start : start + _IMPORTED_AT_ONCE]) for start in starts)
        return [(pack(Names(part, [])), len(part)) for part in slices], latest

    def _begin_import(
        self,
        erasures_seen: int,
        command: Command,
        replace: bool,
        place: int | None,
        latest: int | None,
        connection: DatabaseConnection,
    ) -> tuple[int, int, int]:
        if erasures.erasures_so_far(connection) != erasures_seen:
            raise ErasedSinceError(0)
        bound = self.clock.lower_bound()
        if latest is not None:
            place = max(latest + 1, bound if place is None else place)
        return commands.begin_import(connection, command, replace=replace, bound=bound, place=place)

    def _of(self, account: str, name: str, actor: str) -> Command:
        return Command(account, name, actor, self.clock.wall())

    async def _command(
        self,
        account: str,
        name: str,
        actor: str,
        change: Callable[[DatabaseConnection, Command, Result], Accepted],
        value: Result,
    ) -> Accepted:
        command = self._of(account, name, actor)
        return await self._database.write(lambda connection: change(connection, command, value))

    async def _decided(self, task: int, accepted: Accepted) -> Accepted:
        """Decide a snapshot whose last page was accepted; a failure leaves that to `finish_quiet_snapshots`."""
        return await self._try_to_decide(task) or accepted

    async def _try_to_decide(self, task: int) -> Accepted | None:
        try:
            return await self._decide(task)
        except CohortGatewayError as error:
            log.warning("a complete snapshot waits, task %d: %s", task, error)
        except Exception:
            log.exception("a complete snapshot waits, task %d", task)
        return None

    async def _decide(self, task: int) -> Accepted | None:
        found = await self._database.read(lambda connection: snapshots.undecided(connection, task))
        if found is None:
            return None
        if found.is_void:
            return await self._end(task, "complete", of=("open",))
        live = await self._size_of(found.row)
        staged = await self._size_of_snapshot(task) if live else 0
        shrinks = live > 0 and (live - staged) / live > self._rules.max_shrink
        sizes = (live, staged) if live else None
        return await self._end(task, "held" if shrinks else "complete", of=("open",), sizes=sizes)

    async def _end(
        self, task: int, state: snapshots.End, *, of: tuple[str, ...], sizes: tuple[int, int] | None = None
    ) -> Accepted | None:
        def work(connection: DatabaseConnection) -> Accepted | None:
            ended = snapshots.end(connection, task, state, of=of, now=self.clock.wall(), sizes=sizes)
            if ended is None:
                return None
            row = list_of_id(connection, ended[0])
            return Accepted(row.id, row.account, row.name, row.shown_version, is_deleted=row.is_deleted)

        return await self._database.write(work)

    async def _read_accounts(self) -> None:
        self._accounts = await self._database.read(accounts_by_tag)


def accounts_by_tag(connection: DatabaseConnection) -> dict[bytes, str]:
    return {found.id_token_tag: found.account for found in connections.connections(connection)}


async def open_facts(
    database: Database,
    *,
    size_of: SizeOf,
    size_of_snapshot: SizeOf,
    rules: Rules | None = None,
    clock: Callable[[int], HeapClock] = HeapClock,
) -> Facts:
    """The write path over `database`. `clock`: makes the clock from the newest place of a task in the database."""

    def read(connection: DatabaseConnection) -> tuple[int, int, dict[bytes, str]]:
        newest = max(0, connection.execute(select(func.max(LISTS.c.newest_place))).scalar() or 0)
        return newest, erasures.latest_erasure(connection), accounts_by_tag(connection)

    newest, latest_erasure, accounts = await database.read(read)
    return Facts(
        database,
        clock(newest),
        rules or Rules(),
        size_of=size_of,
        size_of_snapshot=size_of_snapshot,
        latest_erasure=latest_erasure,
        accounts=accounts,
    )
