"""Exposures for heap-export: every `vwo_variationShown`, with the user's id where it is known, into their stream."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import Counter, Gauge

from event_stream.stream import Event
from event_stream.writer import Writer
from fme_client.identity import get_uuid
from foundation.errors import BadRequestError
from gateway.decisions_requests import HALF_PAIR, parse_json, to_json
from gateway.event_bodies import visitor_in
from gateway.event_forwarding import account_of
from gateway.event_queue import PATIENCE, RECENT_SECONDS
from published.exposures import Shown, close_shown, exposure_stream

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from event_stream.writer import Fate
    from foundation.store import Store
    from foundation.turns import Turns
    from gateway.metrics import Metrics


class Beside:
    """Users whose ids came with exposures, by their visitor ids."""

    def __init__(self, users: Collection[str]) -> None:
        self._users = users
        self._known: dict[str, dict[str, str]] = {}

    def of(self, account: str) -> Generator[None, None, dict[str, str]]:
        """In short steps; they are worked out for each account once."""
        known = self._known.get(account)
        if known is None:
            known = self._known[account] = {}
            for pair in _by_visitor(account, self._users):
                known.update([pair])
                yield
        return known


class Exposures:
    """The stream's writer in this process. `most`: how many may wait there for heap-export."""

    def __init__(self, store: Store, metrics: Metrics, turns: Turns, *, most: int) -> None:
        self._turns = turns
        self._writer = Writer(exposure_stream(store, most=most), patience=PATIENCE, count=self._count)
        self._lost_at: float | None = None
        self._counters = {
            what: Counter(f"cohort_gateway_exposures_{what}", text, registry=metrics.registry)
            for what, text in (
                ("stored", "Exposures that Redis has for heap-export"),
                ("buffered", "Exposures whose sender was answered before Redis had them; in memory until it has"),
            )
        }
        self._dropped = Counter(
            "cohort_gateway_exposures_dropped",
            "Exposures that heap-export will not get, by reason: stream_full, buffer_full, stopped, internal",
            ["reason"],
            registry=metrics.registry,
        )
        self._in_memory = Gauge(
            "cohort_gateway_exposures_in_memory",
            "Exposures that are in memory alone, since Redis does not take them",
            registry=metrics.registry,
            multiprocess_mode="livesum",
        )

    async def put(self, events: Sequence[Event], beside: Beside) -> Fate:
        """Take exposures. It never raises for a sick store."""

        def steps() -> Generator[None, None, list[Event]]:
            shown = []
            for event in events:
                account = account_of(event.to)
                known = yield from beside.of(account)
                shown.append(Event(event.to, _shown(event.body, account, known)))
                yield
            return shown

        fate = await self._writer.write(await self._turns.drive(steps()))
        self._in_memory.set(self._writer.waiting)
        return fate

    def running(self) -> AbstractAsyncContextManager[None]:
        """Store them while the block runs."""
        return self._writer.running()

    @property
    def trouble(self) -> list[str]:
        """What is wrong with exposures, in the words of `/readyz`."""
        found = ["exposures_in_memory"] if self._writer.is_behind else []
        if self._lost_at is not None and time.monotonic() - self._lost_at < RECENT_SECONDS:
            found.append("exposures_dropped")
        return found

    def _count(self, what: str, number: int, reason: str = "") -> None:
        if what == "dropped":
            self._lost_at = time.monotonic()
            self._dropped.labels(reason).inc(number)
        else:
            self._counters[what].inc(number)
        self._in_memory.set(self._writer.waiting)


def _shown(body: bytes, account: str, known: dict[str, str]) -> bytes:
    visitor, texts = visitor_in(body)
    user = known.get(visitor)
    if user is None:
        # An application may have the SDK send the user's id as an attribute: the visitor id proves which one it is.
        user = dict(_by_visitor(account, texts)).get(visitor)
    return close_shown(Shown(msgspec.Raw(_readable(body)), user))


def _readable(body: bytes) -> bytes:
    """The same without half surrogate pairs, which no strict reader takes: they become `?`."""
    if HALF_PAIR not in body.lower():
        return body
    with contextlib.suppress(ValueError, BadRequestError):
        return to_json(parse_json(body))
    return body


def _by_visitor(account: str, users: Iterable[str]) -> Iterable[tuple[str, str]]:
    for user in users:
        try:
            yield get_uuid(user, account), user
        except UnicodeEncodeError:  # half a surrogate pair is nobody's id
            continue
