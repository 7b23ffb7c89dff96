"""Events on their way out: a bounded queue, and a thread that sends them when they are due."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING

from fme_client.background import keep_going, start
from fme_client.breaker import Breaker
from fme_client.errors import NetworkError
from fme_client.event_sender import Sent
from fme_client.failures import UNFORESEEN, unforeseen
from fme_client.options import LONGEST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fme_client.event_sender import EventSender
    from fme_client.options import Options
    from fme_client.payloads import Event


class EventQueue:
    """Takes events from any thread, never waits for the network, and keeps at most `max_queued_events`.

    Without batching an event is due at once, else with as many others as a batch holds, or when the oldest has waited
    for the interval. What can't be sent is tried again as `retry_config` says; a batch is kept even after that, as the
    Node SDK does, a single event is given up. What is lost is counted by reason in `dropped`.
    """

    def __init__(self, sender: EventSender, options: Options) -> None:
        self._sender = sender
        self._log = options.log
        self._retry = options.retry
        self._most = options.max_queued_events
        self._keeps = options.batch is not None
        self._interval = options.batch.request_time_interval if options.batch else 0.0
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._in_hand = 0  # events that are being sent, or that wait to be sent again
        self._oldest = 0.0  # when the first of `_events` was put
        self._not_before = 0.0  # when to go on after giving up
        self._hurry = False  # somebody flushes: everything is due, and nothing waits to be sent again
        self._failures = 0  # attempts that failed
        self._last_failure: NetworkError | None = None
        self._breaker = Breaker()  # of calls that wait for their events
        self._closed = False
        self._thread: threading.Thread | None = None
        self._dropped: Counter[str] = Counter()
        self._sent = 0

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many events were lost.

        `queue_full`, `undeliverable`, `refused` (by the server), `closed`, `unserialisable`.
        """
        with self._changed:
            return dict(self._dropped)

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def waiting(self) -> int:
        """Events that were put and neither sent nor dropped."""
        return len(self._events) + self._in_hand

    def start(self) -> None:
        """Have the thread that sends; a second call does nothing."""
        if self._thread is None:
            with self._changed:
                if self._thread is None and not self._closed:
                    self._thread = start(self._run, name="fme-client-events")

    def put(self, event: Event) -> None:
        with self._changed:
            if self._closed:
                self._drop("closed", 1)
                return
            if self.waiting >= self._most:
                self._drop("queue_full", 1)
                return
            if not self._events:
                self._oldest = time.monotonic()
            self._events.append(event)
            self.start()
            self._changed.notify_all()

    def drop_unserialisable(self, why: str) -> None:
        """Count an event that can't be made."""
        with self._changed:
            self._drop("unserialisable", 1, why)

    def flush(self, timeout: float) -> bool:
        """Send everything now. False where that failed or takes longer than `timeout` seconds; nothing is lost then."""
        try:
            self._flush(timeout)
        except NetworkError:
            return False
        return True

    def settle(self, timeout: float) -> None:
        """`flush`, for a call that waits for its events. Where such calls waited in vain lately it returns at once."""
        with contextlib.suppress(NetworkError):
            self._breaker.call(partial(self._flush, timeout))

    def close(self, timeout: float) -> bool:
        """`flush`, and take no more. What is left after `timeout` seconds is dropped."""
        done = self.flush(timeout)
        with self._changed:
            self._closed = True
            self._drop("closed", len(self._events))
            self._events.clear()
            self._changed.notify_all()
        return done

    def _flush(self, timeout: float) -> None:
        with self._changed:
            if not self.waiting:
                return
            failures = self._failures
            self._hurry = True
            self.start()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.waiting or self._failures > failures, timeout)
            if self.waiting:
                late = NetworkError("deadline", "the events were not sent in time")
                raise (self._last_failure if self._failures > failures else None) or late

    def _run(self) -> None:
        keep_going(self._send_next, what="events", log=self._log, pause=self._pause)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)

    def _send_next(self) -> bool:
        """Send what is due, as soon as it is; False where the queue was closed."""
        events = self._next()
        try:
            if events:
                self._deliver(events)
        finally:
            with self._changed:
                self._drop_in_hand("undeliverable")  # only where something unforeseen has ended it
                self._hurry = self._hurry and bool(self._events)
                self._changed.notify_all()
        return bool(events)

    def _next(self) -> list[Event]:
        """Waits until some are due; none where the queue was closed."""
        with self._changed:
            while not self._closed and not self._is_due():
                self._changed.wait(self._seconds_to_wait())
            count = min(len(self._events), self._sender.size)
            taken = [self._events.popleft() for _ in range(count)]
            self._in_hand = len(taken)
            self._oldest = time.monotonic()  # of the rest: a batch that was not full took all there was
            return taken

    def _is_due(self) -> bool:
        if not self._events:
            return False
        now = time.monotonic()
        return self._hurry or (
            now >= self._not_before and (len(self._events) >= self._sender.size or now >= self._oldest + self._interval)
        )

    def _seconds_to_wait(self) -> float | None:
        if not self._events:
            return None
        due = self._not_before if len(self._events) >= self._sender.size else self._oldest + self._interval
        return max(due, self._not_before) - time.monotonic()

    def _deliver(self, events: Sequence[Event]) -> None:
        """Send, and send again what failed, until that is sent or given up."""
        delay = self._retry.initial_delay
        for attempt in itertools.count():
            sent = self._try(events)
            with self._changed:
                self._count(sent, len(events))
                if not sent.again:
                    break
                self._failures += 1
                self._last_failure = sent.error
                self._hurry = False
                self._changed.notify_all()
                events = sent.again
                if not self._retry.should_retry or attempt >= self._retry.max_retries:
                    self._give_up(events, delay, sent.error)
                    break
                self._changed.wait_for(lambda: self._closed or self._hurry, delay)
                if self._closed:
                    self._drop_in_hand("closed")
                    break
            delay = min(delay * self._retry.backoff_multiplier, LONGEST_SECONDS)
        self._sender.tell(events, sent.error)

    def _try(self, events: Sequence[Event]) -> Sent:
        try:
            return self._sender.send(events)
        except Exception as error:  # noqa: BLE001 - as any other failure: the events wait, and are tried again
            return Sent(events, error=NetworkError(UNFORESEEN, unforeseen(error)))

    def _count(self, sent: Sent, given: int) -> None:
        self._sent += given - len(sent.again) - sent.refused
        self._in_hand = len(sent.again)
        self._drop("refused", sent.refused)
        if sent.error is not None:
            self._log.complain(f"events_{sent.error.kind}", f"events could not be sent: {sent.error}")

    def _give_up(self, events: Sequence[Event], delay: float, error: NetworkError | None) -> None:
        """What the events themselves may be the cause of must not hold up all others for ever."""
        if not self._keeps or (error is not None and error.kind == UNFORESEEN):
            self._drop_in_hand("undeliverable")
            return
        self._events.extendleft(reversed(events))
        self._in_hand = 0
        self._not_before = time.monotonic() + delay

    def _drop_in_hand(self, reason: str) -> None:
        self._drop(reason, self._in_hand)
        self._in_hand = 0

    def _drop(self, reason: str, count: int, why: str = "") -> None:
        if count:
            self._dropped[reason] += count
            self._log.complain(f"dropped_{reason}", f"events are lost: {reason}" + (why and f": {why}"))
