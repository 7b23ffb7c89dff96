"""heap-export on a Redis Cluster, and as a user of the store who may do what docs/redis.md lists, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.heap_export.conftest import APP_ID, KEY, TOKEN, Service
from tests.heap_export.test_admin import bury, event, rows, status
from tests.production.documented_user import documented_user
from tests.support.cluster import running_cluster
from tests.support.fake_heap_api import fake_heap
from tests.support.processes import heap_export
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

INTEGRATIONS = "/v1/admin/integrations/heap"


def tour(directory: Path, settings: dict[str, str]) -> None:
    """Everything that it asks of the store."""
    with fake_heap() as heap:
        own = {"HEAP_APP_ID": APP_ID, "HEAP_API_BASE": heap.address, "EVENTS_API_KEY": KEY, "ADMIN_TOKEN": TOKEN}
        with heap_export(directory, settings | own) as program:
            service = Service(program, heap)
            second = {"name": "second", "app_id": "22", "base": heap.address, "dedupe_seconds": 60}
            assert service.admin("POST", INTEGRATIONS, json=second).status_code == 201
            bury(service, "ann", "bob")
            exposure = {"source": "optimizely", "flag_key": "f", "variation_key": "v", "identity": "ann"}
            assert service.post("/v1/exposures", [exposure, exposure]).json()["repeated"] == 1
            until(
                lambda: status(service)["waiting"] == status(service, "second")["waiting"] == 0,
                what="all to be settled",
            )
            assert len(rows(service, "POST", "/log", json={"id": "ann"})) == 2
            heap.fault = None
            assert service.admin("POST", "/v1/admin/dead/retry", json={}).json()["retried"]["default"] == {
                "http_400": 2
            }
            until(lambda: status(service)["waiting"] == status(service, "second")["waiting"] == 0, what="the rest, too")
            erased = service.admin("POST", "/v1/admin/erase", json={"id": "ann"}).json()
            assert (erased["records"], erased["marks"]) == (0, 4)
            assert service.admin("DELETE", f"{INTEGRATIONS}/second").status_code == 200
            assert service.post("/v1/events", event("carol")).json()["accepted"] == 1
            assert service.readiness() in ([], ["records_dead: default"])
            log = program.log()
            program.kill()
    assert "Traceback" not in log


def test_on_a_cluster(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "cluster") as cluster:
        tour(tmp_path, {"REDIS_URL": cluster.url, "REDIS_CLUSTER": "true"})


def test_the_permissions_that_are_documented_are_enough(tmp_path: Path) -> None:
    with documented_user(tmp_path) as url:
        tour(tmp_path, {"REDIS_URL": url})
