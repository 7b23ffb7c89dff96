"""Background threads: none holds up the end of the program, and none ends before its client does."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from fme_client.failures import unforeseen

if TYPE_CHECKING:
    from collections.abc import Callable

    from fme_client.logs import Log

PAUSE_SECONDS = 1.0


def start(run: Callable[[], object], *, name: str) -> threading.Thread | None:
    """A thread that runs `run`; none where the system has no room for one, or the interpreter ends."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def keep_going(step: Callable[[], bool], *, what: str, log: Log, pause: Callable[[float], object]) -> None:
    """Repeat `step` until it returns False; where it raises, the log says so, and after a pause it goes on."""
    while True:
        try:
            if not step():
                return
        except BaseException as error:  # noqa: BLE001 - the application's callbacks and logger may raise anything
            with contextlib.suppress(BaseException):
                log.complain(what, f"{what}: {unforeseen(error)}; going on in {PAUSE_SECONDS:g} s")
            pause(PAUSE_SECONDS)
