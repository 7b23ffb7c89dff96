"""How the delivery fares, and what became of records, as operators ask over HTTP."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from event_stream import keys
from event_stream.stream import Event
from foundation.store import connect
from heap_export.kept import VWO
from heap_export.settings import HeapExportSettings
from published.exposures import exposure_stream
from tests.heap_export.conftest import APP_ID, TOKEN, Service
from tests.support import http
from tests.support.fake_heap_api import refuses
from tests.support.faulty_server import answers
from tests.support.waiting import until

if TYPE_CHECKING:
    import redis


def event(identity: str, name: str = "Bought", message: str | None = None) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": identity, "messageId": message or f"{identity} {name}"}


def status(service: Service, name: str = "default") -> dict[str, Any]:
    rows = service.admin("GET", "/v1/admin/status").json()["integrations"]
    found: dict[str, Any] = next(row for row in rows if row["name"] == name)
    return found


def rows(service: Service, method: str, path: str, name: str = "default", **options: Any) -> list[dict[str, Any]]:
    answer = service.admin(method, f"/v1/admin{path}", **options)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["integrations"][name]["rows"]
    return found


def bury(service: Service, *identities: str) -> None:
    """Events of these people become dead letters: Heap refuses `Poison`, and takes others."""
    service.heap.fault = refuses(lambda entry: entry.get("event") == "Poison")
    service.post("/v1/events", [event("somebody", "Fine")] + [event(identity, "Poison") for identity in identities])
    until(lambda: status(service)["dead"] == len(identities), what="dead letters")


def test_the_status_tells_how_each_integration_fares(service: Service) -> None:
    service.post("/v1/events", [event("ann"), event("ann"), event("bob")])
    until(lambda: status(service)["sent"] == 2, what="both to be sent")
    found = status(service)
    assert (found["waiting"], found["known"], found["dead"], found["trouble"]) == (0, 1, 0, None)
    assert (found["events_per_minute"], found["events_per_minute_of_person"]) == (15_000, 1_000)
    service.heap.fault = answers(500)
    service.post("/v1/events", [event("carol")])
    until(lambda: status(service)["trouble"] is not None, what="the trouble to be told")
    found = status(service)
    assert (found["waiting"], found["trouble"]) == (1, "http_500")
    service.heap.fault = None
    until(lambda: status(service)["sent"] == 3, what="all to be sent")
    until(lambda: status(service)["trouble"] is None, what="the trouble to be over")


def test_the_log_says_when_and_what_heap_answered(service: Service) -> None:
    bury(service, "ann")
    service.post("/v1/exposures", {"source": "optimizely", "flag_key": "f", "variation_key": "v", "identity": "bob"})
    until(lambda: status(service)["sent"] == 2, what="all to be settled")
    newest, *_ = found = rows(service, "GET", "/log")
    assert len(found) == 3
    assert (newest["source"], newest["name"], newest["outcome"], newest["status"]) == (
        "optimizely",
        "f",
        "delivered",
        200,
    )
    assert newest["received"] <= newest["sent"]
    [dead] = rows(service, "GET", "/log?outcome=dead")
    assert (dead["name"], dead["outcome"], dead["status"], dead["attempts"]) == ("Poison", "dead", 400, 1)
    [his] = rows(service, "POST", "/log", json={"id": "bob"})
    assert his == newest
    assert rows(service, "POST", "/log", json={"id": "nobody"}) == []
    assert "ann" not in service.admin("GET", "/v1/admin/log").text


def test_the_log_comes_in_pages(service: Service) -> None:
    service.post("/v1/events", [event(f"user{number}") for number in range(5)])
    until(lambda: status(service)["sent"] == 5, what="all to be sent")
    seen: list[str] = []
    before, pages = "", 0
    while True:
        page = service.admin("GET", f"/v1/admin/log?count=2&before={before}").json()["integrations"]["default"]
        seen += [row["id"] for row in page["rows"]]
        pages += 1
        if page["next"] is None:
            break
        before = page["next"]
    assert (len(seen), len(set(seen)), pages) == (5, 5, 3)
    assert seen == sorted(seen, key=lambda id_: tuple(map(int, id_.split("-"))), reverse=True)


def test_dead_letters_are_shown_without_the_person(service: Service, store: redis.Redis) -> None:
    bury(service, "somebody.secret", "other")
    letters: Any = store.xrange(keys.dead(f"heap-{APP_ID}"), count=1)
    body = letters[0][1][b"body"]
    found = rows(service, "GET", "/dead")
    assert [letter["reason"] for letter in found] == ["http_400", "http_400"]
    assert (found[1]["source"], found[1]["name"]) == ("generic", "Poison")
    assert found[1]["sha256"] == hashlib.sha256(body).hexdigest()
    assert found[1]["received"] <= found[1]["died"]
    assert "secret" not in service.admin("GET", "/v1/admin/dead").text
    assert rows(service, "GET", "/dead?reason=timeout") == []
    assert status(service)["last_dead"] == found[0]
    first, second = (
        service.admin("GET", f"/v1/admin/dead?count=1{more}").json() for more in ("", f"&before={found[0]['id']}")
    )
    assert [first["integrations"]["default"]["rows"], second["integrations"]["default"]["rows"]] == [
        found[:1],
        found[1:],
    ]


def test_dead_letters_are_sent_again_or_thrown_away(service: Service) -> None:
    bury(service, "ann", "bob")
    assert status(service)["dead_by_reason"] == {"http_400": 2}
    none = service.admin("POST", "/v1/admin/dead/retry", json={"reason": "timeout"}).json()["retried"]
    assert none == {"default": {}, VWO: {}}
    service.heap.fault = None
    done = service.admin("POST", "/v1/admin/dead/retry", json={"reason": "http_400"}).json()["retried"]
    assert done["default"] == {"http_400": 2}
    assert {"ann", "bob"} <= {taken["identity"] for taken in service.heap.wait_for_events(3)}
    until(lambda: status(service)["waiting"] == 0, what="all to be settled")
    bury(service, "carol")
    assert service.admin("POST", "/v1/admin/dead/purge", json={}).json()["purged"]["default"] == {"http_400": 1}
    assert (status(service)["dead"], status(service)["waiting"]) == (0, 0)


async def test_exposures_that_the_vwo_source_could_not_read_are_dead_letters_too(
    service: Service, settings: dict[str, str]
) -> None:
    store = connect(HeapExportSettings(_env_file=None, redis_url=settings["REDIS_URL"]))
    try:
        await exposure_stream(store).append([Event("123456/key", b"rubbish")], writer="test", number=1)
    finally:
        await store.aclose()
    until(lambda: rows(service, "GET", "/dead", VWO) != [], what="a dead letter")
    [letter] = rows(service, "GET", f"/dead?integration={VWO}", VWO)
    assert (letter["reason"], letter["name"]) == ("unreadable", "")
    assert service.admin("GET", "/v1/admin/status").json()["sources"]["vwo"]["dead_by_reason"] == {"unreadable": 1}
    purged = service.admin("POST", "/v1/admin/dead/purge", json={"integration": VWO}).json()["purged"]
    assert purged == {VWO: {"unreadable": 1}}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/log?before=yesterday", None, 400),
        ("GET", "/log?outcome=lost", None, 400),
        ("GET", "/log?count=0", None, 400),
        ("GET", "/log?integration=none", None, 404),
        ("GET", "/dead?integration=none", None, 404),
        ("GET", "/dead?before=*", None, 400),
        ("POST", "/log", {}, 400),
        ("POST", "/log", {"id": "\ud800"}, 400),
        ("POST", "/log", {"id": "ann", "before": "x"}, 400),
        ("POST", "/dead/retry", {"reasons": "all"}, 400),
        ("POST", "/dead/retry", {"integration": "none"}, 404),
        ("POST", "/dead/retry", {"integration": "\ud800"}, 404),
        ("POST", "/dead/retry", {"reason": "\ud800"}, 400),
        ("POST", "/dead/purge", [], 400),
        ("POST", "/dead/purge", {"\ud800": 1}, 400),
        ("POST", "/integrations/heap", {"\ud800": 1}, 400),
        ("POST", "/integrations/heap", {"name": "\ud800", "app_id": "1"}, 400),
        ("POST", "/integrations/heap", {"name": "a", "app_id": "1", "events_per_minute": 10**400}, 400),
        ("POST", "/erase", {}, 400),
        ("POST", "/erase", {"id": ""}, 400),
        ("POST", "/erase", {"id": "\ud800"}, 400),
        ("POST", "/erase", {"id": 7}, 400),
    ],
)
def test_bad_calls_get_clear_errors(lasting: Service, method: str, path: str, body: Any, status: int) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body)  # httpx's own JSON takes no half of a surrogate pair
    answer = http.request(method, f"{lasting.admin_address}/v1/admin{path}", content=content, headers=headers)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "reason"}), answer.text
