"""A user of the store who may do what docs/redis.md lists, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.production.documented_user import documented_user
from tests.production.installation import installed, tour

if TYPE_CHECKING:
    from pathlib import Path


def test_the_permissions_that_are_documented_are_enough(tmp_path: Path) -> None:
    with documented_user(tmp_path) as url, installed(tmp_path, {"REDIS_URL": url}) as installation:
        tour(installation)
        assert "pass@" not in installation.service.program.log()
