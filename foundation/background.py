"""Background tasks for the life of a service: one that fails is logged, shown in readiness and started again."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, NoReturn

from foundation.pauses import Pauses

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_SHOWN_SECONDS = 60.0  # for which a failure shows; who fails again and again shows all the time

_failed_at: dict[str, float] = {}  # of this process, by the task's name


def keep_running(name: str, work: Callable[[], Coroutine[Any, Any, object]]) -> asyncio.Task[NoReturn]:
    """Run `work`, which is not meant to end, until the task is cancelled."""
    return asyncio.create_task(_run(name, work), name=name)


def failed_tasks() -> list[str]:
    """The tasks that failed lately, in the words of `/readyz`."""
    now = time.monotonic()
    return [f"task_failed: {name}" for name, at in _failed_at.items() if now - at < _SHOWN_SECONDS]


async def _run(name: str, work: Callable[[], Coroutine[Any, Any, object]]) -> NoReturn:
    pauses = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
    while True:
        began = time.monotonic()
        try:
            await work()
            log.error("background task %s ended; it starts again", name)
        except Exception:
            log.exception("background task %s failed; it starts again", name)
        _failed_at[name] = time.monotonic()
        if _failed_at[name] - began > _SHOWN_SECONDS:
            pauses = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        await asyncio.sleep(pauses.next())
