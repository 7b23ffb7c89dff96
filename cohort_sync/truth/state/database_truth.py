"""The truth as the projection asks for it, answered from the database."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import text

from attribute_lists import keys
from attribute_lists.projection.truth import ListHead, RegistryState, StaleHeadError, Update, Version
from cohort_sync.truth.database.prepared import Prepared
from cohort_sync.truth.erased import ErasedPersons
from cohort_sync.truth.state.changes import named_since, only_page, resolve_erased, resolve_named, was_written
from cohort_sync.truth.state.views import Views
from cohort_sync.truth.state.whole_lists import WholeList
from cohort_sync.truth.window import ChangedError, Window, read_list, read_list_named, read_page
from foundation.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from sqlalchemy import Connection

    from attribute_lists.bodies import Names
    from cohort_sync.truth.state.whole_lists import Part
    from cohort_sync.truth.window import Task

Result = TypeVar("Result")

_REGISTRY = text(
    "SELECT i.id, i.registry, c.token FROM installation AS i LEFT JOIN registry_changes AS c ON c.number = i.registry"
)
_REGISTRY_CHANGE = text("SELECT token FROM registry_changes WHERE number = :number")
_NAMES = text("SELECT account, name FROM lists WHERE is_deleted = 0 ORDER BY account, name")
_ALIASES = text(
    "SELECT a.account, a.alias, l.name FROM aliases AS a JOIN lists AS l ON l.id = a.list WHERE l.is_deleted = 0"
)
_HEAD = Prepared(text(
    "SELECT l.account, l.name, l.version, l.chain, l.source, l.segment_id, l.segment_name, l.mode, l.is_active, "
    "l.created_at, l.last_page_at, l.skipped, l.is_deleted, (SELECT erasure FROM installation) "
    "FROM lists AS l WHERE l.account = :account AND l.name = :name"
))  # fmt: skip
_HEADS = Prepared(text(
    "SELECT l.account, l.name, l.version, l.chain, l.source, l.segment_id, l.segment_name, l.mode, l.is_active, "
    "l.created_at, l.last_page_at, l.skipped, l.is_deleted, (SELECT erasure FROM installation), "
    "(SELECT COALESCE(SUM(members), 0) FROM bases WHERE list = l.id)"
    " + (SELECT COALESCE(SUM(adds), 0) FROM facts WHERE list = l.id AND body IS NOT NULL) AS size "
    "FROM lists AS l WHERE l.is_deleted = 0 ORDER BY size, l.id"
))  # fmt: skip
_LIST_OF_TASK = text("SELECT list FROM tasks WHERE id = :task")

_VIEW_BYTES = 192 * 1024 * 1024
_PARTITION_BYTES = 96 * 1024 * 1024
_MOST_NAMED = 1_000_000  # members that an update tells one by one
_MOST_AT_ONCE = 2_000_000  # members of pages in memory while a list is read
_PAGES_REMEMBERED = 128


class Reads(Protocol):
    """Who runs queries: in a thread, in a transaction that sees the database as of its first statement."""

    async def read(self, work: Callable[[Connection], Result]) -> Result: ...


class DatabaseTruth:
    """`Truth` over `database`.

    `view_bytes`: memory for what is known of lists between questions, `partition_bytes`: for partitions beside that.
    `most_named`: members that an update tells one by one; with more it tells to build the set anew. `most_at_once`:
    members of pages in memory while a list is read.
    """

    def __init__(
        self,
        database: Reads,
        *,
        view_bytes: int = _VIEW_BYTES,
        partition_bytes: int = _PARTITION_BYTES,
        most_named: int = _MOST_NAMED,
        most_at_once: int = _MOST_AT_ONCE,
    ) -> None:
        self._database = database
        self._views = Views(view_bytes, partition_bytes)
        self._most_named = most_named
        self._most_at_once = most_at_once
        self._erased = ErasedPersons()

    async def registry(self) -> RegistryState:
        def read(connection: Connection) -> RegistryState:
            installation = connection.execute(_REGISTRY).one()
            return RegistryState(
                database=installation.id,
                number=installation.registry,
                token=installation.token or b"",
                lists=[(found.account, found.name) for found in connection.execute(_NAMES)],
                aliases={
                    keys.qualified(found.account, found.alias): found.name for found in connection.execute(_ALIASES)
                },
            )

        return await self._database.read(read)

    async def registry_number(self) -> int:
        """How often the registry has changed."""
        return await self._database.read(lambda connection: int(connection.execute(_REGISTRY).one().registry))

    async def wrote_registry(self, version: Version) -> bool:
        def read(connection: Connection) -> bool:
            token = connection.execute(_REGISTRY_CHANGE, {"number": version.number}).scalar_one_or_none()
            return (token or b"") == version.chain

        return await self._database.read(read)

    async def heads(self) -> Sequence[ListHead]:
        return await self._database.read(lambda connection: [_head(found[:-1]) for found in _HEADS.run(connection, {})])

    async def head(self, account: str, list_id: str) -> ListHead | None:
        return await self._database.read(lambda connection: _read_head(connection, account, list_id))

    async def update(self, account: str, list_id: str, since: Version, erasure: int) -> Update | None:
        return await self._database.read(lambda connection: self._update(connection, account, list_id, since, erasure))

    async def wrote(self, account: str, list_id: str, version: Version) -> bool:
        def read(connection: Connection) -> bool:
            record = read_list_named(connection, account, list_id)
            return record is not None and was_written(connection, record, version)

        return await self._database.read(read)

    async def holds(self, account: str, list_id: str, members: Sequence[bytes]) -> Sequence[bool]:
        """Each call may read the whole base: the more members at once, the cheaper each."""

        def read(connection: Connection) -> Sequence[bool]:
            view = self._views.get(account, list_id)
            with view.lock:
                window = view.refresh(connection, account, list_id)
                if window is None:
                    return [False] * len(members)
                pages = _reader(connection, window)
                found = view.resolve(connection, members, self._erased.get(connection), pages).added
                self._views.note_size(account, list_id, view)
            return [member in found for member in members]

        return await self._database.read(read)

    async def members(self, head: ListHead) -> AsyncGenerator[Sequence[bytes], None]:
        """Partition by partition. What is accepted meanwhile is in it or not: `update` from `head` on tells it."""

        def read_window(connection: Connection) -> Window:
            record = read_list_named(connection, head.account, head.list_id)
            if record is None or not was_written(connection, record, head.version):
                raise StaleHeadError
            window = Window.read(connection, record)
            if named_since(connection, window, head.version.number) is None:
                raise StaleHeadError
            return window

        async with contextlib.aclosing(self._by_partition(read_window, _counting, WholeList.members)) as slices:
            async for slice_ in slices:
                yield slice_

    async def size_of(self, row: int) -> int:
        """How many members the list of this row has. It takes its time where pages are not folded yet."""
        sizes = self._by_partition(lambda connection: _window(connection, row), _counting, WholeList.size)
        return sum([size async for size in sizes])

    async def size_of_snapshot(self, task: int) -> int:
        """How many members the snapshot of this row would leave in its list."""

        def read_window(connection: Connection) -> Window:
            return _window(connection, connection.execute(_LIST_OF_TASK, {"task": task}).scalar_one_or_none())

        def tasks(window: Window) -> Iterable[Task]:
            return [window.tasks[task]] if task in window.tasks else []

        sizes = self._by_partition(read_window, tasks, WholeList.size_of_tasks)
        return sum([size async for size in sizes])

    def forget_persons(self) -> None:
        """Drop what is in memory of persons: for who has finished an erasure."""
        self._erased.forget()
        self._views.partitions.forget()

    async def _by_partition(
        self,
        read_window: Callable[[Connection], Window],
        tasks: Callable[[Window], Iterable[Task]],
        answer: Callable[[WholeList, Connection, Part, int], Result],
    ) -> AsyncGenerator[Result, None]:
        """What `answer` says of each partition, once."""
        whole = WholeList(self._erased, self._most_at_once)

        def begin(connection: Connection) -> tuple[Part, list[Result] | None]:
            part = whole.begin(read_window(connection), tasks)
            part.read_pages(connection)
            if part.is_last and part.is_small:
                return part, [answer(whole, connection, part, index) for index in part.wanted]
            return part, None

        is_over = False
        while not is_over:
            part, answers = await self._database.read(begin)
            if answers is not None:
                for one in answers:
                    yield one
                return
            try:
                while part.unread:
                    await self._database.read(part.read_pages)
                for index in part.wanted:
                    yield await self._database.read(functools.partial(_asked, answer, whole, part, index))
                    whole.note_done(part, index)
                is_over = part.is_last
            except ChangedError:
                pass  # it was folded into other partitions, or somebody was erased: the others are read anew

    def _update(
        self, connection: Connection, account: str, list_id: str, since: Version, erasure: int
    ) -> Update | None:
        view = self._views.get(account, list_id)
        with view.lock:
            window = view.refresh(connection, account, list_id)
            if window is None or window.record.is_deleted or not was_written(connection, window.record, since):
                return None
            head = _head(_HEAD.run(connection, {"account": account, "name": list_id}).fetchone())
            erased = self._erased.get(connection)
            named = named_since(connection, window, since.number)
            if named is None or named.named > self._most_named:
                return Update(head, is_whole=False)
            read = _remembering(_reader(connection, window))
            persons = resolve_erased(connection, view, erasure, erased, read)
            if persons is None:
                return Update(head, is_whole=False)
            if not persons.added and not persons.removed:
                names = only_page(view, named, erased, read)
                if names is not None:
                    return Update(head, add=names.add, remove=names.remove)
            found = resolve_named(connection, view, named, erased, read)
            self._views.note_size(account, list_id, view)
        add, remove = found.added | persons.added, found.removed | persons.removed
        return Update(head, add=list(add), remove=list(remove))


def _asked(
    answer: Callable[[WholeList, Connection, Part, int], Result],
    whole: WholeList,
    part: Part,
    index: int,
    connection: Connection,
) -> Result:
    return answer(whole, connection, part, index)


def _counting(window: Window) -> Iterable[Task]:
    return window.counting


def _window(connection: Connection, row: int | None) -> Window:
    record = None if row is None else read_list(connection, row)
    if record is None:
        raise NotFoundError("there is no such list", reason="unknown_list")
    return Window.read(connection, record)


def _reader(connection: Connection, window: Window) -> Callable[[int], Names]:
    return lambda version: read_page(connection, window.row, version)


def _remembering(read: Callable[[int], Names]) -> Callable[[int], Names]:
    """What one answer reads twice it decodes once."""
    return functools.lru_cache(_PAGES_REMEMBERED)(read)


def _read_head(connection: Connection, account: str, list_id: str) -> ListHead | None:
    found = _HEAD.run(connection, {"account": account, "name": list_id}).fetchone()
    return None if found is None or found[-2] else _head(found)


def _head(found: Sequence[Any]) -> ListHead:
    (account, name, version, chain, source, segment_id, segment_name, mode, is_active, *rest, _, erasure) = found
    created_at, last_page_at, skipped = rest
    description = {
        "source": source,
        "segment_id": segment_id,
        "segment_name": segment_name,
        "mode": mode,
        "active": "1" if is_active else "0",
        "created": str(created_at),
        "skipped": str(skipped),
    }
    if last_page_at is not None:
        description["last_page"] = str(last_page_at)
    return ListHead(account, name, Version(version, chain), erasure, description)
