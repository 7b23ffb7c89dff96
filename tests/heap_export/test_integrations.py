"""Heap environments by API: they come, change and go while heap-export runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from foundation.errors import ConflictError
from foundation.store import connect
from heap_export.integrations import Integrations, default_integration, read_integration
from heap_export.settings import HeapExportSettings
from tests.heap_export.conftest import APP_ID, Service
from tests.support import http
from tests.support.fake_heap_api import fake_heap
from tests.support.faulty_server import answers
from tests.support.processes import heap_export, running_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    import redis

    from tests.support.fake_heap_api import FakeHeap

PATH = "/v1/admin/integrations/heap"
OTHER = "9876543210"


@pytest.fixture(scope="module")
def with_second(lasting: Service) -> Service:
    add(lasting)
    return lasting


def exposure(identity: str, flag: str = "checkout") -> dict[str, Any]:
    return {"source": "optimizely", "flag_key": flag, "variation_key": "blue", "identity": identity}


def add(service: Service, **fields: Any) -> dict[str, Any]:
    answer = service.admin(
        "POST", PATH, json={"name": "second", "app_id": OTHER, "base": service.heap.address} | fields
    )
    assert answer.status_code == 201, answer.text
    added: dict[str, Any] = answer.json()
    return added


def is_known(service: Service, name: str) -> bool:
    """Whether the running process takes records for it."""
    answer = service.post(f"/v1/exposures?integration={name}", [exposure("somebody")])
    return answer.status_code == 200


def apps_of(heap: FakeHeap, identity: str) -> set[str]:
    return {taken.app_id for taken in list(heap.events) if taken.identity == identity}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PATH),
        ("POST", PATH),
        ("DELETE", f"{PATH}/default"),
        ("GET", "/v1/admin/status"),
        ("POST", "/v1/admin/erase"),
    ],
)
def test_every_call_needs_the_token(with_second: Service, method: str, path: str, headers: dict[str, str]) -> None:
    answer = http.request(method, with_second.admin_address + path, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (401, "unauthorized")


def test_one_is_added_and_used_without_a_restart(service: Service) -> None:
    assert add(service, dedupe_seconds=3600)["sources"] == ["vwo", "optimizely", "statsig", "generic"]
    assert [each["name"] for each in service.admin("GET", PATH).json()["integrations"]] == ["default", "second"]
    assert service.admin("GET", f"{PATH}/second").json()["dedupe_seconds"] == 3600
    assert service.post("/v1/exposures", [exposure("ann")]).json()["accepted"] == 1
    service.heap.wait_for_events(2)
    assert apps_of(service.heap, "ann") == {APP_ID, OTHER}
    service.post("/v1/exposures?integration=second", [exposure("bob")])
    service.heap.wait_for_events(3)
    assert apps_of(service.heap, "bob") == {OTHER}


def test_an_app_id_may_come_as_a_number() -> None:
    assert read_integration({"name": "a", "app_id": int(OTHER)}).app_id == OTHER


def test_a_change_takes_effect_and_leaves_the_rest(service: Service) -> None:
    add(service)
    changed = service.admin("PATCH", f"{PATH}/second", json={"sources": ["vwo"], "events_per_minute": 600})
    assert (changed.status_code, changed.json()["base"]) == (200, service.heap.address)
    assert (changed.json()["sources"], changed.json()["events_per_minute"]) == (["vwo"], 600)
    answer = service.post("/v1/exposures?integration=second", [exposure("ann")])
    assert (answer.json()["accepted"], answer.json()["skipped"]) == (0, 1)


def test_what_is_changed_of_the_environments_own_survives_a_restart(
    service: Service, tmp_path: Path, settings: dict[str, str]
) -> None:
    service.admin("PATCH", f"{PATH}/default", json={"user_properties": False, "dedupe_seconds": 60})
    service.program.stop()
    with heap_export(tmp_path, settings) as program, fake_heap() as elsewhere:
        again = Service(program, service.heap)
        assert again.admin("GET", f"{PATH}/default").json()["user_properties"] is False
        program.stop()
        # Its address is the environment's all the same.
        with heap_export(tmp_path, settings | {"HEAP_API_BASE": elsewhere.address}) as moved:
            base = Service(moved, elsewhere).admin("GET", f"{PATH}/default").json()["base"]
            assert base == elsewhere.address
            moved.kill()


def test_another_app_id_in_the_environment_counts_at_once(
    service: Service, tmp_path: Path, settings: dict[str, str]
) -> None:
    service.heap.fault = answers(500)
    service.post("/v1/exposures", [exposure("ann")])
    service.admin("PATCH", f"{PATH}/default", json={"events": False})
    service.program.stop()
    with heap_export(tmp_path, settings | {"HEAP_APP_ID": OTHER}) as program:
        again = Service(program, service.heap)
        default = again.admin("GET", f"{PATH}/default").json()
        assert (default["app_id"], default["events"]) == (OTHER, True)
        # What waits for the one before is not forgotten, and goes on its way once that is named again.
        assert again.admin("GET", "/v1/admin/status").json()["left"] == [{"app_id": APP_ID, "waiting": 1, "dead": 0}]
        service.heap.fault = None
        add(again, name="before", app_id=APP_ID)
        service.heap.wait_for_events(1)
        assert apps_of(service.heap, "ann") == {APP_ID}
        program.kill()


@pytest.mark.parametrize(
    ("method", "name", "fields", "status", "told"),
    [
        ("POST", "", {"name": "a b", "app_id": "1"}, 400, "name: is made of"),
        ("POST", "", {"name": "a", "app_id": "A/1"}, 400, "app_id: is made of"),
        ("POST", "", {"name": "a"}, 400, "app_id: Field required"),
        ("POST", "", {"name": "a", "app_id": "1", "colour": "red"}, 400, "colour"),
        ("POST", "", {"name": "a", "app_id": "1", "base": "ftp://heap"}, 400, "base: give an address"),
        ("POST", "", {"name": "a", "app_id": "1", "sources": ["segment"]}, 400, "sources.0"),
        ("POST", "", {"name": "a", "app_id": "1", "events_per_minute": 0}, 400, "events_per_minute"),
        ("POST", "", {"name": "second", "app_id": "1"}, 409, "name: another"),
        ("POST", "", {"name": "default", "app_id": "1"}, 409, "HEAP_APP_ID"),
        ("POST", "", {"name": "a", "app_id": OTHER}, 409, "app_id: another"),
        ("PATCH", "/second", {"name": "third"}, 409, "name: stays"),
        ("PATCH", "/second", {"app_id": "1"}, 409, "app_id: stays"),
        ("PATCH", "/second", {"enabled": "perhaps"}, 400, "enabled"),
        ("PATCH", "/second", [1], 400, "dict"),
        ("PATCH", "/default", {"base": "https://c.eu.heap-api.com"}, 409, "HEAP_API_BASE"),
        ("PATCH", "/third", {"enabled": False}, 404, "no integration 'third'"),
        ("GET", "/third", None, 404, "no integration 'third'"),
        ("DELETE", "/third", None, 404, "no integration 'third'"),
        ("DELETE", "/default", None, 409, "unset it"),
        ("DELETE", "/second?discard=perhaps", None, 400, "discard"),
    ],
)
def test_bad_calls_get_clear_errors(
    with_second: Service, method: str, name: str, fields: Any, status: int, told: str
) -> None:
    answer = with_second.admin(method, PATH + name, json=fields)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "reason"}), answer.text
    assert told in answer.json()["error"]
    assert len(with_second.admin("GET", PATH).json()["integrations"]) == 2


def test_one_is_deleted_when_nothing_is_lost_by_it(service: Service, store: redis.Redis) -> None:
    add(service, dedupe_seconds=60)
    service.admin("PATCH", f"{PATH}/second", json={"dedupe_seconds": 0})
    service.heap.fault = answers(500)
    service.post("/v1/exposures?integration=second", [exposure("ann")])
    refused = service.admin("DELETE", f"{PATH}/second")
    assert (refused.status_code, refused.json()["reason"]) == (409, "records_kept")
    assert "1 records wait" in refused.json()["error"]
    service.admin("PATCH", f"{PATH}/second", json={"sources": []})
    service.heap.fault = None
    service.heap.wait_for_events(1)
    until(lambda: waiting(service, "second") == 0, what="nothing to wait")
    deleted = service.admin("DELETE", f"{PATH}/second")
    assert (deleted.status_code, deleted.json()["discarded"]) == (200, {"waiting": 0, "dead": 0})
    assert [key for key in store.scan_iter(f"*{OTHER}*") if b"bucket" not in key] == []
    assert service.admin("GET", f"{PATH}/second").status_code == 404


def test_another_process_follows_and_what_waits_goes_only_when_asked(
    service: Service, store: redis.Redis, tmp_path: Path, settings: dict[str, str]
) -> None:
    (tmp_path / "other").mkdir()
    with heap_export(tmp_path / "other", settings) as program:
        service.heap.fault = answers(500)
        add(service, dedupe_seconds=60)
        other = Service(program, service.heap)
        until(lambda: is_known(other, "second"), what="the other process to know it")
        other.post("/v1/exposures?integration=second", [exposure("ann"), exposure("bob")])
        deleted = service.admin("DELETE", f"{PATH}/second?discard=true")
        assert (deleted.status_code, deleted.json()["discarded"]) == (200, {"waiting": 3, "dead": 0})
        until(lambda: not is_known(other, "second"), what="the other process to forget it")
        assert [key for key in store.scan_iter(f"*{OTHER}*") if b"bucket" not in key] == []
        program.kill()


def waiting(service: Service, name: str) -> int:
    rows = service.admin("GET", "/v1/admin/status").json()["integrations"]
    return next(int(row["waiting"]) for row in rows if row["name"] == name)


def test_a_disabled_one_keeps_what_waits(service: Service) -> None:
    service.heap.fault = answers(500)
    service.post("/v1/exposures", [exposure("ann")])
    service.admin("PATCH", f"{PATH}/default", json={"enabled": False})
    service.heap.fault = None
    assert service.post("/v1/exposures", [exposure("bob")]).json()["accepted"] == 0
    assert waiting(service, "default") == 1
    service.admin("PATCH", f"{PATH}/default", json={"enabled": True})
    service.heap.wait_for_events(1)
    assert apps_of(service.heap, "ann") == {APP_ID}


def test_while_the_store_is_away_nothing_is_said_to_be_done(tmp_path: Path, settings: dict[str, str]) -> None:
    with (
        running_store() as server,
        fake_heap() as heap,
        heap_export(tmp_path, settings | {"REDIS_URL": server.url}) as program,
    ):
        server.kill()
        service = Service(program, heap)
        for method, path, body in (("GET", PATH, None), ("POST", PATH, {"name": "a", "app_id": "1"})):
            answer = service.admin(method, path, json=body)
            assert (answer.status_code, answer.json()["reason"]) == (503, "store_away")
            assert answer.headers["Retry-After"]
        program.kill()


async def test_two_changes_at_a_time_do_not_undo_each_other(store_url: str) -> None:
    settings = HeapExportSettings(_env_file=None, redis_url=store_url, heap_app_id=APP_ID)
    store = connect(settings)
    try:
        ours, theirs = (Integrations(store, default=default_integration(settings)) for _ in range(2))
        done = await asyncio.gather(
            *(
                known.change("default", {field: 600})
                for known, field in ((ours, "events_per_minute"), (theirs, "events_per_minute_of_person"))
            ),
            return_exceptions=True,
        )
        await ours.load()
        changed = ours.named("default")
        refused = [str(error) for error in done if isinstance(error, ConflictError)]
        assert [changed.events_per_minute, changed.events_per_minute_of_person].count(600) == 2 - len(refused)
        assert all("just now" in text for text in refused)
    finally:
        await store.aclose()
