"""Clients that were not destroyed: they are closed when the program ends, and start over in a forked child."""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from typing import Protocol

EXIT_SECONDS = 2.0  # that the events of all clients get when the program ends


class _Client(Protocol):
    def flush(self, timeout: float) -> bool: ...

    def destroy(self, timeout: float) -> bool: ...

    def after_fork(self) -> None: ...


_clients: set[_Client] = set()


def add(client: _Client) -> None:
    _clients.add(client)


def remove(client: _Client) -> None:
    _clients.discard(client)


def _end() -> None:
    """All send at the same time what they have: a dead server of one takes no time from the others."""
    until = time.monotonic() + EXIT_SECONDS
    for client in list(_clients):
        with contextlib.suppress(Exception):  # the other clients have events too
            client.flush(0)
    for client in list(_clients):
        with contextlib.suppress(Exception):
            client.destroy(max(until - time.monotonic(), 0))


def _start_over() -> None:
    for client in list(_clients):
        with contextlib.suppress(Exception):  # the others are used in the child too
            client.after_fork()


atexit.register(_end)
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_start_over)
