"""A person is erased: from what waits, dead letters, the marks, the log and the gateways' exposures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from event_stream.stream import Event
from fme_client.identity import get_uuid
from foundation.store import connect
from heap_export.erasing import erase_person
from heap_export.integrations import Integrations, default_integration
from heap_export.settings import HeapExportSettings
from published.exposures import Shown, close_shown, exposure_stream
from tests.heap_export.conftest import APP_ID, Service
from tests.heap_export.test_admin import bury, rows, status
from tests.support.faulty_server import answers
from tests.support.waiting import until

if TYPE_CHECKING:
    import redis


def exposure(identity: str, flag: str) -> dict[str, Any]:
    return {"source": "optimizely", "flag_key": flag, "variation_key": "blue", "identity": identity}


def erase(service: Service, who: str) -> dict[str, Any]:
    answer = service.admin("POST", "/v1/admin/erase", json={"id": who})
    assert answer.status_code == 200, answer.text
    receipt: dict[str, Any] = answer.json()
    return receipt


def test_nothing_of_a_person_is_left(service: Service, store: redis.Redis) -> None:
    bury(service, "ann", "bob")
    service.heap.fault = None
    service.post("/v1/exposures", [exposure(who, "sent") for who in ("ann", "bob")])
    until(lambda: status(service)["waiting"] == 0, what="all to be settled")
    service.admin("PATCH", "/v1/admin/integrations/heap/default", json={"dedupe_seconds": 60})
    service.heap.fault = answers(500)
    service.post("/v1/exposures", [exposure(who, "waiting") for who in ("ann", "bob")])
    receipt = erase(service, "ann")
    elsewhere = receipt.pop("elsewhere")
    assert receipt == {"records": 2, "marks": 3, "log_entries": 2, "exposures": 0}
    assert "cohort-gateway erase" in elsewhere
    assert "cohort-sync erase" in elsewhere
    assert erase(service, "ann") | {"elsewhere": ""} == {
        "records": 0,
        "marks": 0,
        "log_entries": 0,
        "exposures": 0,
        "elsewhere": "",
    }
    assert b"ann" not in b"".join(dump(store))
    assert (status(service)["waiting"], status(service)["dead"]) == (1, 1)
    assert len(rows(service, "POST", "/log", json={"id": "bob"})) == 2
    service.heap.fault = None
    until(lambda: status(service)["waiting"] == 0, what="what waits for others to be sent")
    assert {
        taken.identity for taken in service.heap.events if taken.entry["properties"].get("flag_key") == "waiting"
    } == {"bob"}


def dump(store: redis.Redis) -> list[bytes]:
    """All keys, and what is in streams and strings."""
    found: list[Any] = []
    for key in store.scan_iter():
        found.append(key)
        if store.type(key) == b"stream":
            entries: Any = store.xrange(key)
            found += [part for _, fields in entries for part in fields.values()]
        elif store.type(key) == b"string":
            found.append(store.get(key))
    return found


def test_what_comes_of_the_person_afterwards_counts_anew(service: Service) -> None:
    service.post("/v1/exposures", [exposure("ann", "f")])
    assert service.post("/v1/exposures", [exposure("ann", "f")]).json()["repeated"] == 1
    until(lambda: status(service)["waiting"] == 0, what="it to be sent")
    erase(service, "ann")
    assert service.post("/v1/exposures", [exposure("ann", "f")]).json()["accepted"] == 1


async def test_exposures_of_the_gateways_that_were_not_looked_at_are_erased(settings: dict[str, str]) -> None:
    chosen = HeapExportSettings(_env_file=None, redis_url=settings["REDIS_URL"], heap_app_id=APP_ID)
    store = connect(chosen)
    try:
        stream = exposure_stream(store)
        by_visitor = close_shown(Shown(msgspec.Raw(json.dumps({"d": {"visId": get_uuid("ann", "123456")}}).encode())))
        by_name = close_shown(Shown(msgspec.Raw(b"{}"), user="ann"))
        other = close_shown(Shown(msgspec.Raw(b"{}"), user="annabel"))
        await stream.append([Event("123456/key", body) for body in (by_visitor, by_name, other)], writer="w", number=1)
        erased = await erase_person(store, chosen, Integrations(store, default=default_integration(chosen)), "ann")
        assert erased.exposures == 2
        assert (await stream.status()).waiting == 1
    finally:
        await store.aclose()
