"""Delivers the events of a stream: at least once, in order for each place that they go to, bad ones set aside.

Each place has a lane of its own: while one is being tried again, others go on, as far as memory allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from event_stream.isolation import Isolation
from event_stream.patience import any_of, until_told
from event_stream.scripts import MOST_BYTES
from event_stream.spells import Spell
from foundation.background import keep_running
from foundation.pauses import Pauses
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from event_stream.consumer import Consumer
    from event_stream.stream import Record
    from event_stream.writer import Count

log = logging.getLogger(__name__)

_IDLE_SECONDS = 0.2  # between looks for new events
_LAST_SECONDS = 0.5  # for what is under way when the delivery ends
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_TRIES_TOGETHER = 4  # of a batch, before its events are tried apart
_LONGEST_WISH = 600.0  # seconds that whoever takes the events may ask us to wait
_TAKEN_AT_ONCE = 100
_MOST_BYTES = 1024 * 1024  # of the events that are sent at once: more would hold up everybody else


@dataclass(frozen=True, slots=True)
class Delivered:
    """All of them arrived, but for those in `refused`: by their ids, why each will never be taken."""

    refused: Mapping[bytes, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Again:
    """None may have arrived: send them again, not before `after` seconds where that is said.

    `because_of_some`: perhaps because of a few of them only, such as one that the other side's program stumbles over.
    """

    reason: str
    after: float = 0.0
    because_of_some: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """They will never be taken as they are. `because_of_some`: perhaps because of a few of them only."""

    reason: str
    because_of_some: bool


Verdict = Delivered | Again | Refused


class Delivery:
    """`send` gets a place and events for it, up to `most_at_once`, and tells what came of it.

    What it raises is a fault of ours: its events are tried again, and it `is_at_fault` until they are through.

    What comes waits up to `linger` seconds for more to go with it. `most_in_hand` bounds what is in memory. `count` is
    told of events `delivered`, `retried` (each time), `dead`, `dead_dropped`, and `repeated`: others had finished them
    before, so they may have arrived twice.
    """

    def __init__(
        self,
        consumer: Consumer,
        send: Callable[[str, Sequence[Record]], Awaitable[Verdict]],
        *,
        most_at_once: int,
        linger: float,
        count: Count,
        most_in_hand: int | None = None,
        longest_pause: float = _LONGEST_PAUSE,
    ) -> None:
        self._consumer = consumer
        self._send = send
        self.most_at_once = most_at_once
        self.linger = linger
        self._count = count
        self._most_in_hand = most_in_hand or max(2000, 4 * most_at_once)
        self._longest_pause = longest_pause
        self._in_hand: set[bytes] = set()
        self._lanes: dict[str, _Lane] = {}
        self._at_fault: set[str] = set()  # places
        self._is_stopping = asyncio.Event()
        self._deaths = Spell(f"stream {consumer.stream.name}: events are refused and become dead letters")
        self._forgotten = Spell(f"stream {consumer.stream.name}: old dead letters go for new ones")

    @property
    def is_at_fault(self) -> bool:
        """Whether events wait because of a fault of ours, which the log names."""
        return bool(self._at_fault)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver while the block runs."""
        self._is_stopping.clear()
        name = self._consumer.stream.name
        at_work = [
            keep_running(f"delivery of {name}", self._take_all),
            keep_running(f"sign of life to {name}", self._keep_touching),
        ]
        try:
            yield
        finally:
            self._is_stopping.set()
            await end(*at_work)
            under_way = [lane.task for lane in self._lanes.values()]
            if under_way:
                await asyncio.wait(under_way, timeout=_LAST_SECONDS)
            await end(*under_way)
            with contextlib.suppress(TimeoutError, *STORE_ERRORS):
                await asyncio.wait_for(self._consumer.leave(list(self._in_hand)), _LAST_SECONDS)
            self._deaths.close()
            self._forgotten.close()

    async def _take_all(self) -> None:
        while True:
            room = min(self._most_in_hand - len(self._in_hand), self.most_at_once, _TAKEN_AT_ONCE)
            taken = await until_told(partial(self._consumer.take, room)) if room > 0 else []
            for record in taken:
                if record.id not in self._in_hand:  # else: taken over from ourselves, after a long standstill
                    self._in_hand.add(record.id)
                    self._put(record)
            if not taken or (len(taken) < room and sum(len(record.body) for record in taken) < MOST_BYTES):
                await asyncio.sleep(min(_IDLE_SECONDS, self.linger))

    def _put(self, record: Record) -> None:
        lane = self._lanes.get(record.to)
        if lane is None:
            lane = self._lanes[record.to] = _Lane()
            lane.task = asyncio.create_task(self._empty(record.to, lane))
        lane.put(record)
        if self._is_much(lane):
            lane.has_many.set()

    async def _empty(self, place: str, lane: _Lane) -> None:
        """Deliver what is in a lane until nothing is."""
        try:
            while lane.waiting and not self._is_stopping.is_set():
                if not self._is_much(lane):
                    await any_of(self.linger, lane.has_many, self._is_stopping)
                some = lane.next(self.most_at_once)
                lane.has_many.clear()
                try:
                    await self._deliver(place, lane, some)
                except Exception:
                    log.exception("delivery failed; its events are taken again")
                    self._in_hand.difference_update(record.id for record in some)
        finally:
            del self._lanes[place]
            self._at_fault.discard(place)

    def _is_much(self, lane: _Lane) -> bool:
        """Whether more would not go with it."""
        return len(lane.waiting) >= self.most_at_once or lane.bytes >= _MOST_BYTES

    async def _deliver(self, place: str, lane: _Lane, records: Sequence[Record]) -> None:
        """In order. What is refused is halved until those are found that are to blame."""
        parts = deque([records])
        while parts:
            part = parts.popleft()
            verdict = await self._send_together(place, part)
            if verdict is None:
                return
            if isinstance(verdict, Again):
                await self._send_apart(place, lane, chain(part, *parts))
                return
            if isinstance(verdict, Refused) and verdict.because_of_some and len(part) > 1:
                half = len(part) // 2
                parts.extendleft((part[half:], part[:half]))
            else:
                await self._settle(part, verdict)

    async def _send_together(self, place: str, part: Sequence[Record]) -> Verdict | None:
        """The verdict: `Again` only where events may be to blame for it. None: the delivery ends first."""
        pauses = Pauses(_FIRST_PAUSE, self._longest_pause)
        tries = 0
        while part and not self._is_stopping.is_set():
            verdict = await self._send_once(place, part)
            if not isinstance(verdict, Again):
                if tries:
                    log.info("events arrive again, after %d tries", tries)
                return verdict
            tries += 1
            if tries == 1:
                log.warning("events don't arrive (%s) and are tried again", verdict.reason)
            if verdict.because_of_some and tries >= _TRIES_TOGETHER:
                return verdict
            await self._pause(pauses, verdict)
            present = await self._still_there([record.id for record in part])
            part = [record for record in part if record.id in present]
        return None if part else Delivered()

    async def _send_apart(self, place: str, lane: _Lane, records: Iterable[Record]) -> None:
        """Deliver what fails together. Where that can't be told otherwise, what came later goes along."""
        apart = Isolation(records, most_at_once=self.most_at_once)
        log.warning("events fail together: %d are tried apart", len(apart))
        pauses = Pauses(_FIRST_PAUSE, self._longest_pause)
        while len(apart) and not self._is_stopping.is_set():
            if apart.wants_company:
                apart.add(lane.next(self.most_at_once))
            part = apart.next()
            verdict = await self._send_once(place, part)
            if isinstance(verdict, Delivered):
                await self._settle(part, verdict)
                apart.were_taken(part)
                pauses = Pauses(_FIRST_PAUSE, self._longest_pause)
            elif len(part) > 1:
                apart.failed_together(part)
            elif isinstance(verdict, Refused) or apart.failed_alone(part[0], may_be_to_blame=verdict.because_of_some):
                await self._bury(part, verdict.reason)
                apart.are_done(part)
            else:
                await self._pause(pauses, verdict)
                apart.keep(await self._still_there(apart.ids))

    async def _send_once(self, place: str, part: Sequence[Record]) -> Verdict:
        try:
            verdict = await self._send(place, part)
        except Exception:
            log.exception("events could not be sent, which is a fault of ours; they are tried again")
            self._at_fault.add(place)
            verdict = Again("internal", because_of_some=True)
        else:
            self._at_fault.discard(place)
        if isinstance(verdict, Again):
            self._count("retried", len(part), verdict.reason)
        return verdict

    async def _pause(self, pauses: Pauses, verdict: Again) -> None:
        await any_of(max(pauses.next(), min(verdict.after, _LONGEST_WISH)), self._is_stopping)

    async def _still_there(self, ids: Sequence[bytes]) -> set[bytes]:
        """Without those that an operator took out meanwhile."""
        present = await until_told(partial(self._consumer.stream.present, ids))
        self._in_hand.difference_update(set(ids) - present)
        return present

    async def _settle(self, part: Sequence[Record], verdict: Delivered | Refused) -> None:
        if isinstance(verdict, Refused):
            await self._bury(part, verdict.reason)
            return
        await self._finish([record for record in part if record.id not in verdict.refused])
        for reason in dict.fromkeys(verdict.refused.values()):
            await self._bury([record for record in part if verdict.refused.get(record.id) == reason], reason)

    async def _finish(self, part: Sequence[Record]) -> None:
        if not part:
            return
        ids = [record.id for record in part]
        finished = await until_told(partial(self._consumer.stream.finish, ids))
        self._in_hand.difference_update(ids)
        self._count("delivered", len(ids))
        if finished < len(ids):
            self._count("repeated", len(ids) - finished)

    async def _bury(self, part: Sequence[Record], reason: str) -> None:
        ids = [record.id for record in part]
        died, gone = await until_told(partial(self._consumer.stream.bury, ids, reason))
        self._in_hand.difference_update(ids)
        self._count("dead", died, reason)
        if died:
            self._deaths.add(died, reason)
        if gone:
            self._count("dead_dropped", gone)
            self._forgotten.add(gone, "DEAD_EVENTS")

    async def _keep_touching(self) -> None:
        while True:
            await asyncio.sleep(self._consumer.claim_after / 3)
            try:
                await self._consumer.touch(list(self._in_hand))
            except STORE_ERRORS as error:
                log.debug("the store does not hear that this consumer lives: %s", explain(error))
            except Exception:
                log.exception("the store can't be told that this consumer lives")


class _Lane:
    """Events for one place."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.waiting: deque[Record] = deque()
        self.bytes = 0
        self.has_many = asyncio.Event()

    def put(self, record: Record) -> None:
        self.waiting.append(record)
        self.bytes += len(record.body)

    def next(self, most: int) -> list[Record]:
        """The first ones, one at least, no more than go at once."""
        some: list[Record] = []
        size = 0
        while self.waiting and len(some) < most and size < _MOST_BYTES:
            some.append(self.waiting.popleft())
            size += len(some[-1].body)
        self.bytes -= size
        return some
