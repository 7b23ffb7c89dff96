"""Threads that wait for the network, so that a caller can stop waiting.

Python can't interrupt a name look-up, and a socket's timeout starts anew with each byte that arrives. So a request runs
in a thread of its own, and the caller waits for its result as long as it likes. The threads are daemons: none of them
holds up the end of the program.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from fme_client.background import start

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")
_Task = tuple["Future[Any]", "Callable[[], Any]"]


class Workers:
    """Up to `most` threads, started when there is work that no idle one takes."""

    def __init__(self, most: int, *, name: str) -> None:
        self._most = most
        self._name = name
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0  # threads that wait and have no task coming
        self._backlog = 0  # tasks that no thread was there for

    def submit(self, work: Callable[[], _Result]) -> Future[_Result]:
        """`work` runs as soon as a thread is free, unless its future is cancelled before that."""
        future: Future[_Result] = Future()
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._threads < self._most and start(self._serve, name=self._name):
                self._threads += 1
            elif self._threads:
                self._backlog += 1
            else:  # the interpreter ends and starts no more threads
                _run(future, work)
                return future
        self._tasks.put((future, work))
        return future

    def close(self) -> None:
        """Idle threads end now, the others after their task."""
        with self._lock:
            for _ in range(self._threads):
                self._tasks.put(None)
            self._threads = self._idle = 0

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            _run(*task)
            del task  # a waiting thread keeps nothing of its last task
            with self._lock:
                if self._backlog:
                    self._backlog -= 1
                else:
                    self._idle += 1


def _run(future: Future[_Result], work: Callable[[], _Result]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised to whoever asks the future
        future.set_exception(error)
