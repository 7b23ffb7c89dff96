"""What came in one request, taken in slices; and what became of it, as the sender is told."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import Response

from heap_export.bodies import items_of, read_item
from heap_export.intake import Fate, Taken
from heap_export.records import RefusedError, checked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from heap_export.intake import Intake
    from heap_export.metrics import Metrics
    from heap_export.records import Record, Source

log = logging.getLogger(__name__)

_AT_ONCE = 250  # records that go to the store together


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

    def response(self) -> Response:
        return Response(msgspec.json.encode(self), media_type="application/json")

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

    async def take(self, body: bytes, names: Sequence[str], *, integration: str | None) -> tuple[Report, bool]:
        """Store what `body` brings, perhaps under one of `names`; and whether that is a single record.

        Raises what `items_of` and `Intake.take` do.
        """
        items, is_single = await self._intake.turns.drive(items_of(body, *names))
        report, rest = Report(), enumerate(items)
        for _ in range(0, len(items), _AT_ONCE):
            records = await self._intake.turns.drive(self._read_some(islice(rest, _AT_ONCE), report))
            fates = await self._intake.take([record for _, record in records], integration=integration)
            for (index, _), fate in zip(records, fates, strict=True):
                report.add(index, fate)
        if report.refused:
            reasons = Counter(refused["reason"] for refused in report.refused)
            told = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
            log.warning("%s: %d of %d records are refused: %s", self._source, len(report.refused), len(items), told)
        return report, is_single

    def _read_some(
        self, items: Iterable[tuple[int, bytes]], report: Report
    ) -> Generator[None, None, list[tuple[int, Record]]]:
        """The valid records, each with its place in the request; what is none goes into the report.

        A record that is not valid may be made of many objects: they are let go at once, not all together.
        """
        records = []
        for index, text in items:
            source = self._source
            try:
                record = self._read(read_item(text))
                if isinstance(record, Skip):
                    self._metrics.skipped.labels(source, record).inc()
                    report.skipped += 1
                else:
                    source = record.source
                    records.append((index, checked(record)))
            except RefusedError as error:
                self._metrics.took(source, Fate.REFUSED, error.reason)
                report.add(index, Taken(Fate.REFUSED, str(error), error.reason))
            yield
        return records
