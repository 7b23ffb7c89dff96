"""The thread of a `DecisionListener`: takes decisions as they come, and has a sender deliver them."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from foundation.pauses import Pauses
from heap_export.optimizely_decisions import Decision
from heap_export.records import RefusedError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

log = logging.getLogger("heap_export.optimizely")

Item = TypeVar("Item")  # a decision as a sender has it

LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for
_FIRST_PAUSE = 0.5


class Outcome(NamedTuple, Generic[Item]):
    """What came of some items: those to send again, why, and after how many seconds at the earliest.

    `refused` has a reason for each that is refused for good.
    """

    again: Sequence[Item] = ()
    reason: str = ""
    after: float = 0.0
    refused: Sequence[str] = ()


class Sender(Protocol[Item]):
    """Delivers decisions, each made an item of its own first."""

    def prepare(self, decision: Decision) -> Item:
        """Raises `RefusedError`."""

    def send(self, items: Sequence[Item]) -> Outcome[Item]:
        """Try once. It never raises."""

    def start_over(self) -> None:
        """In a forked child: share no connection with the parent."""


class Sending(Generic[Item]):
    """Delivers what `waiting` holds. `deque` needs no lock, so that nobody who puts something there ever waits."""

    def __init__(
        self, waiting: deque[tuple[Any, ...]], sender: Sender[Item], *, batch: int, every: float, keep_trying: float
    ) -> None:
        self._waiting = waiting
        self._sender = sender
        self._batch = batch
        self._every = every
        self._keep_trying = keep_trying
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()  # guards the counts, too
        self._woken = threading.Event()
        self._hurried = threading.Event()  # somebody flushes: no pause goes on
        self._thread: threading.Thread | None = None
        self._closed = False
        self._in_hand = 0
        self.delivered, self.dropped, self.refused, self.ignored = 0, 0, 0, 0
        self._told: set[str] = set()  # what the log was told of
        self._dropped_told = 0

    def start_over(self) -> None:
        """In a forked child, which has no thread, and may have locks that nobody will ever release."""
        self._waiting.clear()
        self._sender.start_over()
        self._begin()

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    @property
    def waiting(self) -> int:
        return len(self._waiting) + self._in_hand

    def start(self) -> None:
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="heap-export-decisions", daemon=True)
                with contextlib.suppress(RuntimeError):  # the interpreter ends and starts no more threads
                    thread.start()
                    self._thread = thread

    def wake(self) -> None:
        self._woken.set()

    def count_dropped(self, number: int) -> None:
        with self._changed:
            self.dropped += number

    def count_ignored(self) -> None:
        with self._changed:
            self.ignored += 1
            first = self.ignored == 1
        if first:
            log.warning("decisions of calls before `decide`, such as is_feature_enabled, are not exported")

    def flush(self, timeout: float) -> bool:
        """Deliver now; whether nothing waits any more after `timeout` seconds at most."""
        with self._changed:
            self._hurry()
            return self._changed.wait_for(lambda: not self.waiting, timeout)

    def close(self, timeout: float) -> bool:
        """`flush`, and end. What is left is dropped."""
        done = self.flush(timeout)
        with self._changed:
            self._closed = True
            self._hurry()
            self.dropped += len(self._waiting)
            self._waiting.clear()
        return done

    def _hurry(self) -> None:
        self._hurried.set()
        self._woken.set()

    def _run(self) -> None:
        while not self._closed:
            self._woken.wait(self._every)
            self._woken.clear()
            while taken := self._take():
                try:
                    self._deliver(taken)
                except Exception:  # a thread that ended would lose all that comes, and nobody would notice
                    self.count_dropped(len(taken))
                    log.exception("decisions are lost")
                with self._changed:
                    self._in_hand = 0
                    self._changed.notify_all()
            self._hurried.clear()

    def _take(self) -> list[tuple[Any, ...]]:
        with self._changed:
            taken = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
            self._in_hand = len(taken)
            return taken

    def _deliver(self, taken: Sequence[tuple[Any, ...]]) -> None:
        """Send, and send again what failed, until it is sent, refused or given up."""
        items: Sequence[Item]
        items, refused = self._prepared(taken)
        delivered = len(taken) - len(items) - len(refused)  # the same as others of these
        pauses = Pauses(_FIRST_PAUSE, LONGEST_PAUSE)
        give_up = time.monotonic() + self._keep_trying
        while items:
            outcome = self._sender.send(items)
            refused += outcome.refused
            delivered += len(items) - len(outcome.again) - len(outcome.refused)
            if len(outcome.again) < len(items):
                pauses = Pauses(_FIRST_PAUSE, LONGEST_PAUSE)
            items = outcome.again
            self._tell(outcome.reason)
            pause = max(pauses.next(), min(outcome.after, LONGEST_PAUSE))
            if items and (self._closed or time.monotonic() + pause > give_up):
                break
            if items:
                self._hurried.wait(pause)
                self._hurried.clear()
        with self._changed:
            self.delivered += delivered
            self.refused += len(refused)
            self.dropped += len(items)
        if refused:
            self._say_once("refused", "exposures are refused: " + ", ".join(sorted(set(refused))))
        self._tell_drops()

    def _prepared(self, taken: Sequence[tuple[Any, ...]]) -> tuple[list[Item], list[str]]:
        """What was shown to somebody again in the same second is left out: it counts once however that is set up.

        And the reasons for which others are refused, one each.
        """
        found: dict[tuple[Any, ...], Item] = {}
        refused: list[str] = []
        for values in taken:
            decision = Decision._make(values)
            try:
                same = (
                    decision.user_id,
                    decision.flag_key,
                    decision.variation_key,
                    decision.enabled,
                    int(decision.time),
                )
                if same not in found:
                    found[same] = self._sender.prepare(decision)
            except RefusedError as error:
                refused.append(error.reason)
            except TypeError:  # somebody else than the SDK tells what is no text
                refused.append("malformed")
        return list(found.values()), refused

    def _tell(self, trouble: str) -> None:
        """Trouble and its end are told once each."""
        if trouble:
            self._say_once("trouble", f"exposures can't be delivered now, and wait: {trouble}")
        elif "trouble" in self._told:
            self._told -= {"trouble", "dropped"}
            log.info("exposures are delivered again")
        self._tell_drops()

    def _tell_drops(self) -> None:
        if self.dropped > self._dropped_told:
            self._dropped_told = self.dropped
            self._say_once("dropped", f"decisions are lost, {self.dropped} so far: too many wait, or wait for too long")

    def _say_once(self, kind: str, message: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            log.warning("%s", message)
