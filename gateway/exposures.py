"""Exposures for heap-export: every `vwo_variationShown`, with the user's id where it is known, into their stream."""

from __future__ import annotations

import asyncio
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
from gateway.event_queue import PATIENCE, RECENT_SECONDS
from published.exposures import Shown, close_shown, exposure_stream

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from event_stream.writer import Fate
    from foundation.store import Store
    from gateway.metrics import Metrics

_A_TURN = 200  # exposures that are written down in one turn of the event loop


class Exposures:
    """The stream's writer in this process. `most`: how many may wait there for heap-export."""

    def __init__(self, store: Store, metrics: Metrics, *, most: int) -> None:
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

    async def put(self, events: Sequence[Event], users: Collection[str]) -> Fate:
        """Take exposures; `users` are ids that came with them. It never raises for a sick store."""
        known: dict[str, dict[str, str]] = {}
        shown = []
        for number, event in enumerate(events, start=1):
            account = event.to.partition("/")[0]
            if account not in known:
                known[account] = dict(_by_visitor(account, users))
            shown.append(Event(event.to, _shown(event.body, account, known[account])))
            if number % _A_TURN == 0:
                await asyncio.sleep(0)
        fate = await self._writer.write(shown)
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
