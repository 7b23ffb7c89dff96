"""Ports of loopback that nobody listens on."""

from __future__ import annotations

import contextlib
import os
import random
import socket

# Below those that outgoing connections get, so that a server that was killed finds its port free again.
# Runs beside each other (pytest-xdist) take different ones.
_RANGE = range(20000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 16, 32000, 16)


def free_ports(count: int) -> list[int]:
    """`count` different ports, free a moment ago."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            port = random.SystemRandom().choice(_RANGE)
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    return found
