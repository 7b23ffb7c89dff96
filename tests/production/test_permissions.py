"""A user of the store who may do what docs/redis.md lists, and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.production.installation import installed, tour
from tests.support.ports import free_ports
from tests.support.processes import ROOT
from tests.support.servers import Server

if TYPE_CHECKING:
    from pathlib import Path


def test_the_permissions_that_are_documented_are_enough(tmp_path: Path) -> None:
    documented = re.search(r"ACL SETUSER cohort-gateway (.+)", (ROOT / "docs" / "redis.md").read_text())
    assert documented is not None
    server = Server(tmp_path / "server", free_ports(1)[0])
    server.start("--appendonly", "yes")
    try:
        with server.client() as client:
            rules = documented.group(1).replace("a-long-password", "pass").split()
            client.execute_command("ACL", "SETUSER", "cohort-gateway", *rules)
        url = f"redis://cohort-gateway:pass@127.0.0.1:{server.port}"
        with installed(tmp_path, {"REDIS_URL": url}) as installation:
            tour(installation)
            assert "pass@" not in installation.service.program.log()
    finally:
        server.kill()
