"""The commands of heap-export, which work in the store, whether a service runs or not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from heap_export.kept import VWO
from tests.heap_export.conftest import APP_ID, Service
from tests.heap_export.test_admin import bury, event, status
from tests.support.faulty_server import answers
from tests.support.processes import run_program
from tests.support.waiting import until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(settings: dict[str, str], tmp_path: Path) -> Run:
    """`heap-export WORDS` in another terminal."""
    wide = settings | {"COLUMNS": "250", "DATA_DIR": str(tmp_path / "data")}
    return lambda *words, **more: run_program(["heap_export", *words], wide | more, directory=tmp_path)


def of_json(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_status_in_text_and_as_json(service: Service, run: Run) -> None:
    bury(service, "ann")
    service.heap.fault = answers(503)
    service.post("/v1/events", [event("bob")])
    until(lambda: status(service)["trouble"] == "http_503", what="the trouble to be told")
    text = run("status").stdout
    for told in ("default", APP_ID, "1 http_400", "http_503", VWO):
        assert told in text
    found = of_json(run("status", "--json"))
    assert (found["integrations"][0]["waiting"], found["integrations"][0]["dead"]) == (1, 1)
    service.admin("PATCH", "/v1/admin/integrations/heap/default", json={"enabled": False})
    assert "not enabled" in run("status").stdout


def test_the_log_and_dead_letters(service: Service, run: Run) -> None:
    bury(service, "ann")
    text = run("log").stdout
    assert "Fine" in text
    assert "http_400" in text
    found = of_json(run("log", "--outcome", "dead", "--json"))
    assert [row["name"] for row in found["default"]["rows"]] == ["Poison"]
    assert [row["name"] for row in of_json(run("log", "ann", "--json"))["default"]["rows"]] == ["Poison"]
    assert "nothing" in run("log", "nobody").stdout
    assert "Poison" in run("dead").stdout
    assert "ann" not in run("dead").stdout
    [letter] = of_json(run("dead", "--integration", "default", "--json"))["default"]["rows"]
    assert letter["reason"] == "http_400"
    more = run("log", "--count", "1").stdout
    assert f"--before {of_json(run('log', '--count', '1', '--json'))['default']['next']}" in more


def test_dead_letters_are_sent_again_or_thrown_away(service: Service, run: Run) -> None:
    bury(service, "ann")
    service.heap.fault = None
    assert "default: 1 http_400" in run("retry", "--reason", "http_400").stdout
    service.heap.wait_for_events(2)
    until(lambda: status(service)["waiting"] == 0, what="it to be settled")
    bury(service, "bob")
    assert of_json(run("purge", "--yes", "--json"))["default"] == {"http_400": 1}
    assert "thrown away: none" in run("purge", "--yes").stdout


def test_a_person_is_erased(service: Service, run: Run) -> None:
    bury(service, "ann")
    told = of_json(run("erase", "ann", "--yes", "--json"))
    assert (told["records"], told["marks"], told["log_entries"]) == (1, 1, 1)
    assert "cohort-gateway erase" in told["elsewhere"]
    assert "deleted: 0 records" in run("erase", "ann", "--yes").stdout
    assert run("erase", "ann").returncode != 0, "nobody was asked"


def takes_for(service: Service, name: str) -> bool:
    return bool(service.post(f"/v1/events?integration={name}", event("ann")).json().get("accepted"))


def test_integrations_are_added_changed_and_removed_while_the_service_runs(service: Service, run: Run) -> None:
    base = service.heap.address
    fields = ["--set", f"base={base}", "--set", "sources=", "--set", "dedupe_seconds=60"]
    added = of_json(run("integrations", "add", "second", "22", *fields, "--json"))
    assert (added["app_id"], added["sources"], added["base"]) == ("22", [], base)
    assert "second" in run("integrations", "list").stdout
    changed = run("integrations", "change", "second", "--set", "sources=generic,vwo", "--set", "enabled=false")
    assert (changed.returncode, changed.stdout) == (0, "changed: second\n")
    found = {each["name"]: each for each in of_json(run("integrations", "list", "--json"))}
    assert (found["second"]["sources"], found["second"]["enabled"]) == (["generic", "vwo"], False)
    run("integrations", "change", "second", "--set", "enabled=true")
    until(lambda: takes_for(service, "second"), what="it to be known")
    until(lambda: status(service, "second")["sent"] == 1, what="it to be sent")
    assert of_json(run("integrations", "remove", "second", "--yes", "--json"))["deleted"] == "second"
    assert list({each["name"] for each in of_json(run("integrations", "list", "--json"))}) == ["default"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["integrations", "add", "a b", "1"], "name: is made of"),
        (["integrations", "add", "a", "1", "--set", "colour=red"], "colour"),
        (["integrations", "add", "a", "1", "--set", "enabled"], "FIELD=VALUE"),
        (["integrations", "add", "a", APP_ID], "app_id: another"),
        (["integrations", "change", "none", "--set", "enabled=false"], "no integration 'none'"),
        (["integrations", "change", "default"], "say what to change"),
        (["integrations", "remove", "default", "--yes"], "HEAP_APP_ID"),
        (["log", "--outcome", "lost"], "delivered"),
        (["log", "--before", "yesterday"], "before"),
        (["dead", "--integration", "none"], "no integration 'none'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(run: Run, words: list[str], told: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_store_it_says_how_to_start_one(run: Run, tmp_path: Path) -> None:
    done = run("status", REDIS_URL=f"unix://{tmp_path}/none")
    assert done.returncode == 2
    assert "scripts/serve" in done.stderr


def test_another_terminal_need_not_know_the_app_id(service: Service, run: Run) -> None:
    bury(service, "ann")
    assert of_json(run("status", "--json", HEAP_APP_ID=""))["integrations"][0]["app_id"] == APP_ID
    assert of_json(run("retry", "--json", HEAP_APP_ID=""))["default"] == {"http_400": 1}


def test_without_any_integration_it_says_what_to_set(run: Run) -> None:
    assert "HEAP_APP_ID" in run("status", HEAP_APP_ID="").stdout
