"""A store with a user who may do what docs/redis.md lists, and nothing else."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from tests.support.ports import free_ports
from tests.support.processes import ROOT
from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def documented_user(directory: Path) -> Iterator[str]:
    """The address of the store, with that user's name and password."""
    documented = re.search(r"ACL SETUSER cohort-gateway (.+)", (ROOT / "docs" / "redis.md").read_text())
    assert documented is not None
    server = Server(directory / "server", free_ports(1)[0])
    server.start("--appendonly", "yes")
    try:
        with server.client() as client:
            rules = documented.group(1).replace("a-long-password", "pass").split()
            client.execute_command("ACL", "SETUSER", "cohort-gateway", *rules)
        yield f"redis://cohort-gateway:pass@127.0.0.1:{server.port}"
    finally:
        server.kill()
