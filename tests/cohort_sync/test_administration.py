"""The admin API, the program `cohort-sync segments` and the admin script."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import http
from tests.support.processes import ROOT, environment, run_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis

    from tests.cohort_sync.conftest import Service

VWO_ID = "67c858b8b8556:1741183160"

Done = subprocess.CompletedProcess[str]


def of_operator(service: Service, directory: Path, **more: str) -> dict[str, str]:
    """Settings of a terminal beside the service."""
    port = service.admin_address.rpartition(":")[2]
    place = {"COHORT_SYNC_ADMIN_PORT": port, "DATA_DIR": str(directory / "data")}
    return service.settings | place | {"ACCOUNT_ID": "123456", "COLUMNS": "200"} | more


def run(service: Service, *words: str, directory: Path, **more: str) -> Done:
    """`cohort-sync WORDS`."""
    return run_program(["cohort_sync", *words], of_operator(service, directory, **more), directory=directory)


def segments_list(service: Service, *words: str, directory: Path) -> Done:
    """`cohort-sync segments list WORDS`."""
    return run(service, "segments", "list", *words, directory=directory)


def list_segments(service: Service, *words: str, directory: Path) -> Done:
    """`scripts/list_segments.py WORDS`."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "list_segments.py", *words],
        cwd=directory,
        env=environment(of_operator(service, directory)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("cursor", ["99999999999999999999999", "18446744073709551616", "-1", "1e3", "x"])
def test_a_cursor_that_is_none_is_named(service: Service, cursor: str) -> None:
    service.heap.sync(["alice"])
    answer = service.admin("GET", f"/admin/api/v1/lists/123456/heap_premium_users/members?cursor={cursor}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad_request")
    assert "cursor" in answer.json()["error"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic abc"}])
def test_every_call_needs_the_token(service: Service, headers: dict[str, str]) -> None:
    answer = http.get(f"{service.admin_address}/admin/api/v1/lists", headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (401, "unauthorized")


def test_an_alias_is_set_and_found_and_belongs_to_one_list(service: Service) -> None:
    service.heap.sync(add=["a"])
    service.heap.sync(add=["b"], segment_id=2, name="Others")
    path = "/admin/api/v1/lists/123456/heap_premium_users"
    assert VWO_ID in service.admin("PATCH", path, json={"aliases": [VWO_ID]}).json()["aliases"]
    assert service.described(VWO_ID)["list_id"] == "heap_premium_users"
    others = "/admin/api/v1/lists/123456/heap_others"
    taken = service.admin("PATCH", others, json={"aliases": [VWO_ID]})
    assert (taken.status_code, taken.json()["reason"]) == (409, "alias_taken")
    assert service.admin("PATCH", others, json={"aliases": ["heap_premium_users"]}).status_code == 409


def test_the_segments_own_id_is_an_alias(service: Service) -> None:
    service.heap.sync(add=["a"])
    assert service.described("1338065")["list_id"] == "heap_premium_users"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/admin/api/v1/lists/123456/nothing", None, 404),
        ("GET", "/admin/api/v1/lists/a%20b/nothing", None, 400),
        ("GET", "/admin/api/v1/lists/123456/bad%7Bid%7D", None, 400),
        ("PATCH", "/admin/api/v1/lists/123456/heap_premium_users", {"aliases": ["a b"]}, 400),
        ("PATCH", "/admin/api/v1/lists/123456/heap_premium_users", {"alias": ["a"]}, 400),
        ("PATCH", "/admin/api/v1/lists/123456/heap_premium_users", {"aliases": "a"}, 400),
    ],
)
def test_bad_calls_get_clear_errors(
    service: Service, method: str, path: str, body: dict[str, object] | None, status: int
) -> None:
    service.heap.sync(add=["a"])
    answer = service.admin(method, path, json=body)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "reason"}


def test_the_command_sets_and_removes_aliases(service: Service, tmp_path: Path) -> None:
    service.heap.sync(add=["a"])
    done = run(service, "segments", "set", "heap_premium_users", "--alias", VWO_ID, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert VWO_ID in done.stdout
    done = run(service, "segments", "set", VWO_ID, "--remove-alias", VWO_ID, "--json", directory=tmp_path)
    assert json.loads(done.stdout)["aliases"] == ["1338065"]


def test_the_command_says_what_is_wrong(service: Service, tmp_path: Path) -> None:
    unknown = run(service, "segments", "set", "nothing", "--alias", "x", directory=tmp_path)
    assert unknown.returncode == 2
    assert "has no list nothing" in unknown.stderr
    service.program.stop()
    gone = run(service, "segments", "set", "nothing", "--alias", "x", directory=tmp_path)
    assert gone.returncode == 2
    assert "start it with scripts/serve" in gone.stderr


@pytest.mark.parametrize("show", [segments_list, list_segments])
def test_the_table_of_segments(service: Service, tmp_path: Path, show: Callable[..., Done]) -> None:
    empty = show(service, directory=tmp_path)
    assert "No segment has been synced yet" in empty.stdout
    assert "send_sample_push" in empty.stdout
    service.heap.sync(add=["a", "b"])
    run(service, "segments", "set", "heap_premium_users", "--alias", VWO_ID, directory=tmp_path)
    table = show(service, directory=tmp_path).stdout
    for shown in ("123456", "heap_premium_users", "1338065", "Premium Users", "delta", "synced", VWO_ID, " 2 "):
        assert shown in table
    assert json.loads(show(service, "--json", directory=tmp_path).stdout)[0]["members"] == 2


def test_the_table_without_a_store_says_how_to_start_one(service: Service, tmp_path: Path) -> None:
    service.settings["REDIS_URL"] = f"unix://{tmp_path}/none"
    done = run(service, "segments", "list", directory=tmp_path)
    assert done.returncode == 2
    assert "scripts/serve" in done.stderr


def test_commands_in_another_terminal_need_no_account(service: Service, tmp_path: Path) -> None:
    service.heap.sync(add=["a"])
    done = run(service, "segments", "set", "heap_premium_users", "--alias", "x", directory=tmp_path, ACCOUNT_ID="")
    assert done.returncode == 0, done.stderr
    exported = run(service, "export", "lists.archive", directory=tmp_path, ACCOUNT_ID="")
    assert exported.returncode == 0, exported.stderr
    assert "1 lists, 1 members" in exported.stdout


def test_the_flags_that_use_a_list_are_told_before_it_goes(
    service: Service, tmp_path: Path, store: redis.Redis
) -> None:
    service.heap.sync(add=["a"])
    run(service, "segments", "set", "heap_premium_users", "--alias", VWO_ID, directory=tmp_path)
    assert service.described()["flags"] == []
    said = [
        ["heap_premium_users", "dashboard", "rule1", "heap_user_id"],
        [VWO_ID, "dashboard", "rule2", "heap_user_id"],
    ]
    others = [["heap_others", "checkout", "rule3", "heap_user_id"]]
    # As a gateway publishes it.
    store.hset("cg:references:{123456}", "environment", json.dumps([time.time(), said + others]))
    assert [one["rule"] for one in service.described()["flags"]] == ["rule1", "rule2"]

    shown = run(service, "segments", "show", VWO_ID, directory=tmp_path)
    assert "dashboard (rule1, rule2)" in shown.stdout
    gone = run(service, "segments", "delete", "heap_premium_users", "--yes", directory=tmp_path)
    assert gone.returncode == 0, gone.stderr
    assert "these flags use it, and would find nobody in it: dashboard (rule1, rule2)" in gone.stderr
    assert gone.stdout == "deleted heap_premium_users\n"
