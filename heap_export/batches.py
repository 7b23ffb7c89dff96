"""What came in one request, taken in slices; and what became of it, as the sender is told."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from heap_export.intake import Fate, Taken
from heap_export.records import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from heap_export.intake import Intake
    from heap_export.metrics import Metrics
    from heap_export.records import Record, Source

log = logging.getLogger(__name__)

_AT_ONCE = 250  # records: some ten milliseconds of work, in which the process does nothing else


class Skip(StrEnum):
    """Why something is passed over, though nothing is wrong with it."""

    ANONYMOUS = "anonymous"
    NOT_AN_EXPOSURE = "not_an_exposure"


@dataclass(slots=True)
class Report:
    """`refused`: each with its `index` in the request, `error` and `reason`."""

    accepted: int = 0
    repeated: int = 0
    skipped: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)

    def add(self, index: int, taken: Taken) -> None:
        match taken.fate:
            case Fate.STORED:
                self.accepted += 1
            case Fate.KNOWN:
                self.repeated += 1
            case Fate.UNWANTED:
                self.skipped += 1
            case Fate.REFUSED:
                self.refused.append({"index": index, "error": taken.error, "reason": taken.reason})


class Batches:
    """Takes what one source sends. `read` makes a record of each item; it raises `RefusedError`."""

    def __init__(self, source: Source, read: Callable[[Any], Record | Skip], intake: Intake, metrics: Metrics) -> None:
        self._source = source
        self._read = read
        self._intake = intake
        self._metrics = metrics

    async def take(self, items: Sequence[Any], *, integration: str | None) -> Report:
        """Store what `items` hold. Raises `UnavailableError` and `NotFoundError` as `Intake.take` does."""
        report = Report()
        for start in range(0, len(items), _AT_ONCE):
            await self._take_slice(start, items[start : start + _AT_ONCE], integration, report)
            await asyncio.sleep(0)
        if report.refused:
            reasons = Counter(refused["reason"] for refused in report.refused)
            told = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
            log.warning("%s: %d of %d records are refused: %s", self._source, len(report.refused), len(items), told)
        return report

    async def _take_slice(self, start: int, items: Sequence[Any], integration: str | None, report: Report) -> None:
        records: list[tuple[int, Record]] = []
        for index, item in enumerate(items, start):
            try:
                record = self._read(item)
            except RefusedError as error:
                self._metrics.took(self._source, Fate.REFUSED, error.reason)
                report.add(index, Taken(Fate.REFUSED, str(error), error.reason))
                continue
            if isinstance(record, Skip):
                self._metrics.skipped.labels(self._source, record).inc()
                report.skipped += 1
            else:
                records.append((index, record))
        taken = await self._intake.take([record for _, record in records], integration=integration)
        for (index, _), told in zip(records, taken, strict=True):
            report.add(index, told)
