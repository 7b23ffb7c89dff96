"""Folding one list, partition by partition: reads the database, and asks another to write."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from sqlalchemy import text

from cohort_sync.truth import bases
from cohort_sync.truth.bases import DamagedError, partitions_for
from cohort_sync.truth.erased import ErasedPersons
from cohort_sync.truth.fold import apply, fold
from cohort_sync.truth.folding.messages import BeginRound, Damaged, DropPages, PutPartition, Sound
from cohort_sync.truth.folding.rounds import next_round
from cohort_sync.truth.page_partitions import PagePartitions
from cohort_sync.truth.window import (
    ChangedError,
    Window,
    partitions_at_once,
    read_list,
    read_page,
    read_partition_body,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from attribute_lists.bodies import Names
    from cohort_sync.truth.bases import Partition
    from cohort_sync.truth.fold import Erased
    from cohort_sync.truth.folding.messages import Message
    from cohort_sync.truth.folding.rounds import FoldRules, Round

Result = TypeVar("Result")

_ATTEMPTS = 20  # of a list, where others accept or rewrite meanwhile what the round needs

_CANDIDATES = text(
    "SELECT DISTINCT t.list, l.source, t.last_page_at <= :before AS is_old FROM tasks AS t "
    "JOIN lists AS l ON l.id = t.list WHERE t.round = 0 ORDER BY t.list"
)
_UNFINISHED = text(
    "SELECT t.list FROM (SELECT list, MAX(round) AS newest FROM tasks GROUP BY list) AS t "
    "LEFT JOIN (SELECT list, MIN(round) AS settled, SUM(1.0 / partitions) AS part FROM bases GROUP BY list) AS b "
    "ON b.list = t.list WHERE t.newest > 0 AND (b.settled IS NULL OR b.settled < t.newest OR b.part < 1)"
)
_UNDROPPED = text(
    "SELECT DISTINCT f.list FROM facts AS f JOIN tasks AS t ON t.id = f.task WHERE f.body IS NOT NULL AND t.round > 0"
)


def lists_to_fold(connection: Connection, rules: FoldRules, now: int) -> list[int]:
    """The lists where there may be something to fold."""
    found = {row.list for row in connection.execute(_UNFINISHED)} | {row.list for row in connection.execute(_UNDROPPED)}
    found |= {
        row.list
        for row in connection.execute(_CANDIDATES, {"before": now - rules.window})
        if row.is_old or row.source in rules.by_arrival
    }
    return sorted(found)


class Reads(Protocol):
    """Who runs queries, in a transaction that sees the database as of its first statement."""

    def read(self, work: Callable[[Connection], Result]) -> Result: ...


class ListFolder:
    """`tell`: has something written, and says whether it was."""

    def __init__(self, database: Reads, tell: Callable[[Message], bool], rules: FoldRules) -> None:
        self._read = database.read
        self._tell = tell
        self._rules = rules
        self._erased = ErasedPersons()

    def fold(self, row: int, now: int) -> bool:
        """Run the rounds of a list that are due. False: others were faster each time, or it is damaged."""
        named = 0
        try:
            for _ in range(_ATTEMPTS):
                window = self._read(functools.partial(_window, row))
                if window is None:
                    return True
                if window.droppable:
                    self._tell(DropPages(row))
                    continue
                due = next_round(window, self._rules, now)
                if due is None:
                    self._tell(Sound(row, named))
                    return True
                try:
                    named += self._run(window, due)
                except ChangedError:
                    continue
        except DamagedError as error:
            self._tell(Damaged(row, error.what))
        return False

    def _run(self, window: Window, due: Round) -> int:
        """How many members the pages named. Raises `ChangedError` where it has to be gone on with."""
        if due.tasks:
            begin = BeginRound(window.row, due.number, list(due.tasks), due.place, window.version)
            if not self._tell(begin):
                raise ChangedError
            for task in due.tasks:
                window.tasks[task].round = due.number
        tasks = [task for task in window.counting if task.round]
        named = sum(task.named for task in tasks)
        if not window.members_in_base:
            window.cut(partitions_for(named))
        erased = self._read(self._erased.get)
        if erased.number != window.erasure:
            raise ChangedError
        rows = window.partitions.rows
        left = [index for index, row in enumerate(rows) if row.round < due.number]
        at_once = partitions_at_once(len(rows), named, self._rules.most_at_once)
        for start in range(0, len(left), at_once):
            wanted = left[start : start + at_once]
            pages = PagePartitions(window, tasks, wanted)
            for task, version in pages.wanted():
                pages.add(task, version, self._read(functools.partial(_page, window.row, version)))
            for index in wanted:
                self._put(window, rows[index], due, pages, index, erased)
        self._tell(DropPages(window.row))
        return named

    def _put(
        self, window: Window, row: Partition, due: Round, pages: PagePartitions, index: int, erased: Erased
    ) -> None:
        body = b""
        if row.digest:
            body = self._read(lambda connection: read_partition_body(connection, window.row, row))
        header = replace(row, place=due.place, round=due.number, version=window.version)
        steps = list(pages.steps(index))
        if body and not steps and not erased.unfinished and not erased.unknown:
            if not bases.is_sound(row, body):
                raise DamagedError(window.row, bases.name_of(window.row, row))
            parts = [(bases.reseal(header, body), body)]
        else:
            members = bases.unseal(window.row, row, body) if body else []
            members = apply(members, row.place, fold(steps, erased), erased)
            parts = [bases.seal(part, theirs) for part, theirs in bases.split(header, members)]
        message = PutPartition(window.row, row.number, row.digest, due.place, window.version, window.erasure, parts)
        if not self._tell(message):
            raise ChangedError


def _window(row: int, connection: Connection) -> Window | None:
    record = read_list(connection, row)
    return None if record is None else Window.read(connection, record)


def _page(row: int, version: int, connection: Connection) -> Names:
    return read_page(connection, row, version)
