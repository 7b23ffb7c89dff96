"""Whether the store says in time what names and aliases stand for: counted, and told in `/readyz` and the log."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from attribute_lists.states import State
    from gateway.metrics import Metrics

log = logging.getLogger(__name__)

_TOLD_SECONDS = 60.0  # for which a failure shows, where nobody has asked again since


class Note(Protocol):
    """Is told what stood against answering `number` questions of a kind; None: nothing."""

    def __call__(self, kind: str, against: State | None, number: int, /) -> object: ...


class LookupHealth:
    """What became of look-ups of late."""

    def __init__(self, metrics: Metrics) -> None:
        self._counter = metrics.lookups_failed
        self._failed_at: dict[str, float] = {}  # by kind, where the last one failed

    def note(self, kind: str, against: State | None, number: int) -> None:
        """A `Note`."""
        if against is None:
            if self._failed_at and self._failed_at.pop(kind, None) is not None:
                log.info("look-ups of kind %s succeed again", kind)
            return
        self._counter.labels(kind, against).inc(number)
        if kind not in self._failed_at:
            log.warning("look-ups of kind %s fail: %s; cohort_gateway_lookups_failed counts them", kind, against)
        self._failed_at[kind] = time.monotonic()

    @property
    def trouble(self) -> list[str]:
        """What is wrong, in the words of `/readyz`."""
        since = time.monotonic() - _TOLD_SECONDS
        return ["lookups_failed"] if any(at > since for at in self._failed_at.values()) else []
