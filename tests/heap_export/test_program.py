"""The program: how it starts, what it says of itself, and whom it turns away."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from event_stream.keys import entries
from tests.heap_export.conftest import APP_ID, KEY, TOKEN, Service
from tests.support import http, raw_http
from tests.support.fake_heap_api import refuses
from tests.support.faulty_server import answers
from tests.support.processes import heap_export, run_program, running_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from tests.support.fake_heap_api import FakeHeap
    from tests.support.processes import StoreServer

PATHS = ("/v1/events", "/v1/exposures", "/webhooks/statsig")
EVENT = {"type": "track", "event": "Bought", "userId": "ann"}


def test_it_says_where_it_is_and_ends_when_asked(service: Service) -> None:
    first = service.program.lines[0]
    public, administration = service.program.addresses
    assert f"heap-export listening on {public}, administration on {administration}" in first
    assert http.get(f"{public}/healthz").status_code == 200  # from now on it listens to signals
    assert service.program.stop() == 0


def test_only_senders_reach_the_public_port(service: Service) -> None:
    public, administration = service.program.addresses
    assert http.get(f"{public}/healthz").json() == {"status": "ok"}
    assert http.get(f"{administration}/healthz").json() == {"status": "ok"}
    for path in ("/metrics", "/readyz", "/v1/admin/integrations/heap", "/docs", "/openapi.json"):
        assert http.get(f"{public}{path}").status_code == 404, path
    for path in PATHS:
        assert service.admin("POST", path, json=EVENT).status_code == 404, path


def test_all_is_well(service: Service) -> None:
    assert service.readiness() == []
    assert service.counted('heap_export_records_total{fate="stored",source="generic"}') == 0
    assert service.post("/v1/events", EVENT).json()["accepted"] == 1
    assert service.counted('heap_export_records_total{fate="stored",source="generic"}') == 1


def test_what_heap_does_not_take_is_told(service: Service) -> None:
    service.heap.fault = answers(500)
    service.post("/v1/events", EVENT)
    until(lambda: any(reason.startswith("heap_") for reason in service.readiness()), what="the trouble to be told")
    service.heap.fault = refuses(lambda entry: entry.get("event") == "Poison")
    service.post("/v1/events", EVENT | {"event": "Poison"})
    until(lambda: service.readiness() == ["records_dead: default"], what="just the dead letter to be told")


def test_without_a_heap_environment_events_wait_at_their_sender(tmp_path: Path, store_url: str) -> None:
    with heap_export(tmp_path, {"REDIS_URL": store_url, "EVENTS_API_KEY": KEY}) as program:
        answer = http.post(f"{program.address}/v1/events", json=EVENT, headers={"Authorization": f"Bearer {KEY}"})
        assert (answer.status_code, answer.json()["reason"]) == (503, "no_integration")
        assert answer.headers["Retry-After"]
        assert http.get(f"{program.addresses[1]}/readyz").json()["reasons"] == ["no_integration"]
        assert "HEAP_APP_ID" in program.log()


def test_a_key_is_made_where_none_is_set(tmp_path: Path, settings: dict[str, str]) -> None:
    del settings["EVENTS_API_KEY"]
    with heap_export(tmp_path, settings) as program:
        file = tmp_path / "data" / "events_api_key"
        assert file.stat().st_mode & 0o777 == 0o600
        headers = {"Authorization": f"Bearer {file.read_text().strip()}"}
        assert http.post(f"{program.address}/v1/events", json=EVENT, headers=headers).status_code == 200


@pytest.fixture
def private_store() -> Iterator[StoreServer]:
    with running_store() as server:
        yield server


def test_while_the_store_is_away_senders_are_told_to_come_back(
    tmp_path: Path, private_store: StoreServer, settings: dict[str, str], heap: FakeHeap
) -> None:
    settings["REDIS_URL"] = private_store.url
    with heap_export(tmp_path, settings) as program:
        service = Service(program, heap)
        assert service.post("/v1/events", EVENT).status_code == 200
        private_store.kill()
        answer = service.post("/v1/events", EVENT | {"messageId": "later"})
        assert (answer.status_code, answer.json()["reason"]) == (503, "store_away")
        assert service.readiness() == ["store_away"]
        assert http.get(f"{program.address}/healthz").status_code == 200
        private_store.start()
        until(lambda: service.post("/v1/events", EVENT | {"messageId": "later"}).status_code == 200)
        until(lambda: "store_away" not in service.readiness())


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("EVENTS_API_KEY", " , ", "EVENTS_API_KEY"),
        ("EVENTS_HMAC_SECRET", ",", "EVENTS_HMAC_SECRET"),
        ("STATSIG_WEBHOOK_SECRET", ",", "STATSIG_WEBHOOK_SECRET"),
        ("HEAP_APP_ID", "My App", "HEAP_APP_ID"),
        ("OPTIMIZELY_SDK_KEYS", "key", "OPTIMIZELY_AGENT_URL"),
    ],
)
def test_what_is_set_wrong_is_one_line(
    tmp_path: Path, settings: dict[str, str], setting: str, value: str, told: str
) -> None:
    settings |= {setting: value, "HEAP_EXPORT_PORT": "0", "HEAP_EXPORT_ADMIN_PORT": "0"}
    done = run_program(["heap_export", "serve"], settings, directory=tmp_path)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told in line
    assert value not in line or not value.strip(" ,")
    assert TOKEN not in done.stderr


class TestLimits:
    """Of the public port, against whoever the internet sends."""

    @pytest.fixture
    def settings(self, settings: dict[str, str]) -> dict[str, str]:
        return settings | {"MAX_EVENTS_BYTES": "2000", "EVENTS_SECONDS": "0.6", "EVENTS_CONNECTIONS": "8"}

    def test_a_large_body_is_refused_before_it_is_read(self, service: Service) -> None:
        answer = service.post("/v1/events", [EVENT] * 100)
        assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")
        with raw_http.connection(service.program.address) as peer:
            peer.sendall(raw_http.head("/webhooks/statsig", Content_Length="2001"))
            answered = raw_http.read_answer(peer)
            assert answered is not None
            assert answered.status == 413

    def test_a_body_of_unknown_length_is_refused_once_it_is_too_large(self, service: Service) -> None:
        with raw_http.connection(service.program.address) as peer:
            peer.sendall(raw_http.head("/webhooks/statsig", Transfer_Encoding="chunked"))
            for _ in range(3):
                peer.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            answered = raw_http.read_answer(peer)
            assert answered is not None
            assert (answered.status, answered.reason) == (413, "too_large")

    def test_a_body_that_does_not_come_is_given_up(self, service: Service) -> None:
        with contextlib.ExitStack() as open_:
            peers = [open_.enter_context(raw_http.connection(service.program.address)) for _ in PATHS]
            for peer, path in zip(peers, PATHS, strict=True):
                peer.sendall(raw_http.head(path, Content_Length="1000", Authorization=f"Bearer {KEY}") + b"[")
            for peer in peers:
                answered = raw_http.read_answer(peer)
                assert answered is not None
                assert (answered.status, answered.reason) == (408, "too_slow")
                assert raw_http.is_closed(peer)

    def test_headers_that_do_not_come_are_given_up(self, service: Service) -> None:
        with raw_http.connection(service.program.address) as peer:
            peer.sendall(b"POST /v1/events HTTP/1.1\r\nHost:")
            answered = raw_http.read_answer(peer)
            assert answered is not None
            assert answered.status == 408
        assert service.counted('heap_export_connections_refused_total{reason="too_slow"}') == 1

    def test_no_key_costs_no_reading(self, service: Service) -> None:
        with raw_http.connection(service.program.address) as peer:
            peer.sendall(raw_http.head("/v1/events", Content_Length="1000"))
            answered = raw_http.read_answer(peer)
            assert answered is not None
            assert answered.status == 401


def test_a_large_batch_is_taken_whole_and_others_are_answered_meanwhile(service: Service, store: redis.Redis) -> None:
    batch = [EVENT | {"messageId": str(number), "userId": f"user-{number}"} for number in range(4000)]
    answers: list[dict[str, Any]] = []
    sending = threading.Thread(target=lambda: answers.append(service.post("/v1/events", batch).json()))
    with raw_http.bystander(service.program.address) as turn:
        sending.start()
        until(lambda: store.xlen(entries(f"heap-{APP_ID}")) > 0)
        turn()
        assert not answers
        sending.join()
    assert answers == [{"accepted": 4000, "repeated": 0, "skipped": 0, "refused": []}]
    assert service.post("/v1/events", batch).json()["repeated"] == 4000
