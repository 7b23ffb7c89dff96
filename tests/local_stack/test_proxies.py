"""What is on this machine is asked without the proxy of the environment, which may not reach it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.heap import SECRET
from tests.support.processes import cohort_sync, environment, running_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Program

NOWHERE = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    directory = tmp_path_factory.mktemp("receiver")
    with (
        running_store() as store,
        cohort_sync(directory, NOWHERE | {"REDIS_URL": store.url, "HEAP_WEBHOOK_SECRET": SECRET}) as program,
    ):
        yield program


def test_commands_reach_the_services(receiver: Program, tmp_path: Path) -> None:
    ports = [address.rpartition(":")[2] for address in receiver.addresses]
    settings = {
        "COHORT_SYNC_PORT": ports[0],
        "COHORT_SYNC_ADMIN_PORT": ports[1],
        "HEAP_WEBHOOK_SECRET": SECRET,
        "DATA_DIR": str(receiver.output.parent / "data"),
        "ACCOUNT_ID": "123456",
    }
    for command in (
        ["local_stack.sample_push", "--add", "alice"],
        ["cohort_sync", "segments", "set", "heap_premium_users", "--alias", "67c858b8b8556:1741183160"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env=environment(NOWHERE | settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
