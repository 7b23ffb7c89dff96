"""Decisions of Optimizely's Python SDK, exported to Heap. It needs `requests`, and of this project only light modules.

    listener = DecisionListener("http://127.0.0.1:8003", key="...")
    client.notification_center.add_notification_listener(enums.NotificationTypes.DECISION, listener)

docs/heap-optimizely.md has every option, and what happens when heap-export is away.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections import deque
from time import time
from typing import TYPE_CHECKING, Any

from foundation.errors import ConfigurationError
from heap_export.optimizely_decisions import FLAG
from heap_export.optimizely_direct import HeapDirect
from heap_export.optimizely_posting import HeapExport
from heap_export.optimizely_sending import Sending
from heap_export.shapes import HEAP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from heap_export.optimizely_sending import Sender

__all__ = ["DecisionListener"]

MOST_AT_ONCE = 1_000  # that Heap takes in one request
EXIT_SECONDS = 2.0  # that exposures get when the program ends


class DecisionListener:
    """Takes what each `decide` tells, and has a thread of its own deliver it.

    To heap-export at `service`, of whose keys `key` is one, for all its Heap environments or the one called
    `integration`. Or directly to Heap: to the environment `app_id` at `base`, where an exposure of a person to the same
    variation counts anew every `dedupe_seconds` (0: never, as far as this process remembers).

    `attributes` names those of the user's that are sent as properties; others stay here. `only_dispatched`: leave out
    decisions of which Optimizely is not told either. At most `most_waiting` decisions wait; what is delivered is at
    most `batch` of them, after `every` seconds or when there are so many. What can't be delivered is tried again for
    `keep_trying` seconds. A request takes `timeout` seconds at most. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        service: str | None = None,
        *,
        key: str | None = None,
        integration: str | None = None,
        app_id: str | None = None,
        base: str = HEAP,
        dedupe_seconds: int = 0,
        attributes: Sequence[str] = (),
        only_dispatched: bool = False,
        most_waiting: int = 10_000,
        batch: int = 500,
        every: float = 1.0,
        keep_trying: float = 3600.0,
        timeout: float = 10.0,
    ) -> None:
        if isinstance(attributes, str):
            raise ConfigurationError(f"attributes: give a list of names, such as ({attributes!r},)")
        if not 1 <= batch <= MOST_AT_ONCE:
            raise ConfigurationError(f"batch: give a number from 1 to {MOST_AT_ONCE}")
        if (service is None) == (app_id is None):
            raise ConfigurationError("give either service, the address of heap-export, or app_id of Heap")
        sender: Sender[Any]
        if app_id is not None:
            sender = HeapDirect(app_id, base, dedupe_seconds=dedupe_seconds, timeout=timeout)
        elif key:
            sender = HeapExport(str(service), key, integration=integration, timeout=timeout)
        else:
            raise ConfigurationError("key: give one of heap-export's EVENTS_API_KEY")
        self._attributes = tuple(attributes)
        self._only_dispatched = only_dispatched
        self._most = most_waiting
        self._batch = batch
        self._waiting: deque[tuple[Any, ...]] = deque()  # of what makes a `Decision`
        self._sending: Sending[Any] = Sending(self._waiting, sender, batch=batch, every=every, keep_trying=keep_trying)
        _living.add(self)

    def __call__(
        self, kind: str, user_id: str, attributes: Mapping[str, Any] | None, info: Mapping[str, Any], *_: object
    ) -> None:
        """What the SDK calls in the thread of each `decide`. It takes some microseconds, and never raises."""
        try:
            if kind != FLAG:
                self._sending.count_ignored()
                return
            if self._only_dispatched and not info.get("decision_event_dispatched"):
                return
            waiting = self._waiting
            if len(waiting) >= self._most:
                self._sending.count_dropped(1)
                return
            chosen = () if not self._attributes or not attributes else self._chosen(attributes)
            waiting.append(
                (
                    time(),
                    user_id,
                    info.get("flag_key"),
                    info.get("variation_key"),
                    info.get("rule_key"),
                    info.get("enabled"),
                    chosen,
                )
            )
            if not self._sending.is_running:
                self._sending.start()
            elif len(waiting) == self._batch:
                self._sending.wake()
        except Exception:  # noqa: BLE001 - a decision must never fail for it
            with contextlib.suppress(Exception):
                self._sending.count_dropped(1)

    @property
    def delivered(self) -> int:
        """Decisions that arrived, those that came to nothing new among them."""
        return self._sending.delivered

    @property
    def dropped(self) -> int:
        """Decisions that were lost: too many waited, or what took them was away for too long."""
        return self._sending.dropped

    @property
    def refused(self) -> int:
        """Decisions that Heap can't be sent, such as those of the user id `null`. The log says why."""
        return self._sending.refused

    @property
    def ignored(self) -> int:
        """Notifications that are no decisions of `decide`, but of the calls before it such as `is_feature_enabled`."""
        return self._sending.ignored

    @property
    def waiting(self) -> int:
        return self._sending.waiting

    def flush(self, timeout: float = 10.0) -> bool:
        """Deliver what waits, now; whether that was done within `timeout` seconds. What is left goes on waiting."""
        return self._sending.flush(timeout)

    def close(self, timeout: float = EXIT_SECONDS) -> bool:
        """`flush`, and take no more; whether everything was delivered. What is left is dropped."""
        _living.discard(self)
        self._most = 0
        return self._sending.close(timeout)

    def after_fork(self) -> None:
        """Start over in a forked child; called by itself. The parent delivers what waits."""
        self._sending.start_over()

    def _chosen(self, attributes: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        return tuple([(name, attributes[name]) for name in self._attributes if name in attributes])


_living: set[DecisionListener] = set()


def _close_all() -> None:
    for listener in list(_living):
        with contextlib.suppress(Exception):  # the others have exposures too
            listener.close()


def _start_over() -> None:
    for listener in list(_living):
        listener.after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_start_over)
