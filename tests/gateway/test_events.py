"""Events are always taken with 200: an SDK sends everything else again."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.bodies import MAX_EVENT_BYTES
from tests.support import processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Program

ONE = "/events/t"
BATCH = "/server-side/batch-events-v2"


@pytest.fixture
def gateway(tmp_path: Path, store_url: str) -> Iterator[Program]:
    """One whose counters start at nothing."""
    with processes.gateway(tmp_path, {"REDIS_URL": store_url}) as program:
        yield program


def event(name: str) -> dict[str, Any]:
    return {"d": {"visId": "5B1A", "event": {"props": {"id": 2, "variation": 1}, "name": name, "time": 1795308506454}}}


def counted(program: Program, metric: str) -> dict[str, float]:
    text = httpx.get(f"{program.address}/metrics").text
    return {
        next(iter(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"{metric}_total"
    }


def send(program: Program, path: str, body: bytes, content_type: str = "application/json") -> None:
    """POST as SDKs do, and see the only answer that they take for success."""
    address = f"{program.address}{path}?en=vwo_variationShown&a=123456&env=sample_sdk_key"
    answer = httpx.post(address, content=body, headers={"Content-Type": content_type}, timeout=60)
    assert (answer.status_code, answer.json()) == (200, {})


def test_events_are_counted_by_name_and_custom_ones_together(gateway: Program) -> None:
    send(gateway, ONE, json.dumps(event("vwo_variationShown")).encode())
    send(gateway, "/as01" + ONE, json.dumps(event("checkout of alice")).encode(), content_type="text/plain")
    names = ["vwo_syncVisitorProp", "vwo_variationShown", "bought", "vwo_unheard_of"]
    send(gateway, BATCH, json.dumps({"ev": [event(name) for name in names]}).encode())
    send(gateway, "/as01" + BATCH, b'{"ev":[]}')
    assert counted(gateway, "cohort_gateway_events") == {
        "vwo_variationShown": 2,
        "vwo_syncVisitorProp": 1,
        "custom": 3,
    }
    assert counted(gateway, "cohort_gateway_event_requests") == {"counted": 4}


def test_what_can_t_be_read_is_taken_and_counted_as_bad(gateway: Program) -> None:
    bodies = [b"", b"{", b"[]", b"null", b'{"d":{}}', b'{"d":{"event":{"name":7}}}', b"\xff", b"[" * 50_000]
    for body in bodies:
        send(gateway, ONE, body)
        send(gateway, BATCH, body)
    assert counted(gateway, "cohort_gateway_event_requests") == {"bad_json": 2 * len(bodies)}
    assert counted(gateway, "cohort_gateway_events") == {}


def test_a_body_that_is_too_large_is_read_to_its_end_and_forgotten(gateway: Program) -> None:
    send(gateway, ONE, b" " * (MAX_EVENT_BYTES + 1))
    send(gateway, ONE, json.dumps(event("vwo_log")).encode() + b" " * (MAX_EVENT_BYTES - 1000))
    assert counted(gateway, "cohort_gateway_event_requests") == {"too_large": 1, "counted": 1}


def test_a_sender_that_hangs_up_does_no_harm(gateway: Program) -> None:
    parts = urlsplit(gateway.address)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(f"POST {ONE} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\n{{".encode())
    send(gateway, ONE, json.dumps(event("vwo_log")).encode())
    assert counted(gateway, "cohort_gateway_events") == {"vwo_log": 1}
    assert "Traceback" not in gateway.log()
