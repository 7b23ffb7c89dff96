"""Clients that were not destroyed: they are closed when the program ends, and start over in a forked child."""

from __future__ import annotations

import atexit
import contextlib
import os
from typing import Protocol

EXIT_SECONDS = 2.0  # that events get when the program ends


class _Client(Protocol):
    def destroy(self, timeout: float) -> bool: ...

    def after_fork(self) -> None: ...


_clients: set[_Client] = set()


def add(client: _Client) -> None:
    _clients.add(client)


def remove(client: _Client) -> None:
    _clients.discard(client)


def _end() -> None:
    for client in list(_clients):
        with contextlib.suppress(Exception):  # the other clients have events too
            client.destroy(EXIT_SECONDS)


def _start_over() -> None:
    for client in list(_clients):
        client.after_fork()


atexit.register(_end)
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_start_over)
