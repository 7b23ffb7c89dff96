"""Starting, health, metrics, the shape of errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from attribute_lists.membership import Membership
from foundation.store import connect
from gateway.app import create_app
from gateway.settings import GatewaySettings
from tests.support import processes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.conftest import Lists, Wire
    from tests.support.processes import Program

SAMPLE = processes.ROOT / "examples" / "settings.json"


def get(program: Program, path: str) -> httpx.Response:
    return httpx.get(program.address + path)


def test_healthy_and_ready(gateway: Program) -> None:
    for path in ("/healthz", "/readyz"):
        answer = get(gateway, path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_without_a_store_it_starts_stays_healthy_and_says_what_to_do(tmp_path: Path) -> None:
    with processes.gateway(tmp_path, {}) as program:
        assert "REDIS_URL" in program.wait_for_line("scripts/serve")
        assert get(program, "/healthz").status_code == 200
        answer = get(program, "/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "reasons": ["store_down"]})
        assert program.stop() == 0


async def test_readiness_is_503_while_starting_and_draining(store_url: str, tmp_path: Path) -> None:
    app = create_app(GatewaySettings(_env_file=None, redis_url=store_url, settings_file=SAMPLE, data_dir=tmp_path))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        before = await client.get("/readyz")
        async with app.router.lifespan_context(app):
            meanwhile = await client.get("/readyz")
        after = await client.get("/readyz")
    assert (before.status_code, before.json()) == (503, {"status": "starting"})
    assert (meanwhile.status_code, meanwhile.json()) == (200, {"status": "ok"})
    assert (after.status_code, after.json()) == (503, {"status": "draining"})


@pytest.mark.parametrize("steps", range(16))
async def test_stopping_while_it_still_connects_does_not_hang(store_url: str, steps: int) -> None:
    settings = GatewaySettings(_env_file=None, redis_url=store_url)
    client = connect(settings, timeout=5.0, retries=0)
    async with asyncio.timeout(30), Membership(client).running():
        for _ in range(steps):
            await asyncio.sleep(0)
    await client.aclose()


def test_metrics_count_checks_by_state_and_name_nobody(gateway: Program, wire: Wire, lists: Lists) -> None:
    lists.put("secret_list", "alice")
    wire.check("attribute=alice&listId=secret_list")
    wire.check("attribute=alice&listId=elsewhere")
    answer = get(gateway, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'cohort_gateway_checks_total{state="in"} 1.0' in answer.text
    assert 'cohort_gateway_checks_total{state="unknown_list"} 1.0' in answer.text
    for private in ("alice", "secret_list", "elsewhere", "123456"):
        assert private not in answer.text


def test_logs_hold_no_query(gateway: Program, wire: Wire) -> None:
    wire.check("attribute=somebody&listId=a_list")
    assert "somebody" not in gateway.log()


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/nothing-here", 404, "not_found"),
        ("GET", "/check-attribute/", 404, "not_found"),
        ("GET", "/events/t", 405, "method_not_allowed"),
        ("POST", "/check-attribute", 405, "method_not_allowed"),
    ],
)
def test_errors_have_one_shape(gateway: Program, method: str, path: str, status: int, reason: str) -> None:
    answer = httpx.request(method, gateway.address + path)
    assert answer.status_code == status
    assert answer.json().keys() == {"error", "reason"}
    assert answer.json()["reason"] == reason


def test_idle_connections_are_announced_shorter_than_they_are_kept(gateway: Program) -> None:
    assert get(gateway, "/healthz").headers["keep-alive"] == "timeout=70"


def test_the_api_describes_itself_once_and_with_its_parameters(gateway: Program) -> None:
    paths = get(gateway, "/openapi.json").json()["paths"]
    assert not [path for path in paths if "prefix" in path]
    names = [parameter["name"] for parameter in paths["/check-attribute"]["get"]["parameters"]]
    assert names == ["attribute", "listId", "accountId", "sdkKey"]


def test_a_port_that_is_taken_is_named(gateway: Program, tmp_path: Path) -> None:
    port = gateway.address.rpartition(":")[2]
    program = processes.start_program(["gateway"], {"PORT": port}, directory=tmp_path)
    said = program.wait_for_line("^error: ")
    assert program.wait() == 2
    assert port in said
    assert "PORT" in said


def test_a_bad_setting_is_named_and_not_shown(tmp_path: Path) -> None:
    program = processes.start_program(["gateway"], {"PORT": "eighty"}, directory=tmp_path)
    assert "PORT" in program.wait_for_line("^error: ")
    assert program.wait() == 2
    assert "eighty" not in program.log()
