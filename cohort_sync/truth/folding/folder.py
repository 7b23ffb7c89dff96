"""The receiver's side of folding: starts the process that folds, and writes what it asks for."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from cohort_sync.truth.folding.messages import NO, YES, Damaged, DropPages, Message, PutPartition, Sound, receive
from cohort_sync.truth.folding.rounds import FoldRules
from cohort_sync.truth.folding.writing import drop_pages, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_PASS_SECONDS = 600.0


class Writes(Protocol):
    """Who runs works in the thread that writes, each in a transaction that is on the disk afterwards."""

    @property
    def path(self) -> Path: ...

    async def write(self, work: Callable[[Connection], Result], *, size: int = 0) -> Result: ...


@dataclass(slots=True)
class FoldReport:
    """What a pass over all lists did.

    `named`: members in the pages that were folded, by list. `refused`: writes that came too late, since something was
    accepted meanwhile.
    """

    named: dict[int, int] = field(default_factory=dict)
    partitions: int = 0
    dropped: int = 0
    refused: int = 0


class Folder:
    """`damaged`: what can't be read, by the row of its list; nothing of these lists is folded."""

    def __init__(self, database: Writes, rules: FoldRules | None = None) -> None:
        self.damaged: dict[int, str] = {}
        self._database = database
        self._rules = rules or FoldRules()

    async def run(self, *, pause: float = _PASS_SECONDS) -> None:
        """Pass over all lists again and again, `pause` seconds between; for `foundation.background.keep_running`."""
        while True:
            await self.fold()
            await asyncio.sleep(pause)

    async def fold(self) -> FoldReport:
        """One pass over all lists. Raises `UnavailableError` where nothing can be written."""
        report = FoldReport()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cohort_sync.truth.folding.process",
            str(self._database.path),
            msgspec.json.encode(self._rules).decode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None  # noqa: S101 - they were asked for
        assert process.stdout is not None  # noqa: S101
        is_over = False
        try:
            while True:
                try:
                    message = await receive(process.stdout)
                except asyncio.IncompleteReadError:
                    break
                process.stdin.write(YES if await self._write(message, report) else NO)
                await process.stdin.drain()
            is_over = True
        finally:
            if not is_over:
                process.kill()
            process.stdin.close()
            status = await process.wait()
        if status:
            raise RuntimeError(f"the process that folds ended with {status}")
        return report

    async def _write(self, message: Message, report: FoldReport) -> bool:
        match message:
            case Damaged():
                if self.damaged.get(message.row) != message.what:
                    log.error(
                        "%s is damaged: its list is not folded until `cohort-sync adopt` or a full sync", message.what
                    )
                self.damaged[message.row] = message.what
                return True
            case Sound():
                self.damaged.pop(message.row, None)
                if message.folded:
                    report.named[message.row] = report.named.get(message.row, 0) + message.folded
                return True
            case DropPages():
                return await self._drop(message.row, report)
            case _:
                size = sum(len(body) for _, body in message.parts) if isinstance(message, PutPartition) else 0
                done = await self._database.write(lambda connection: write(connection, message), size=size)
                report.partitions += isinstance(message, PutPartition) and done
                report.refused += not done
                return done

    async def _drop(self, row: int, report: FoldReport) -> bool:
        dropped = -1
        while dropped:
            dropped = await self._database.write(lambda connection: drop_pages(connection, row))
            report.dropped += dropped
        return True
