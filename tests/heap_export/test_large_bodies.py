"""Whatever one request brings, other senders don't wait for it (as `tests.gateway.test_large_bodies`)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from heap_export.bodies import LARGEST_RECORD, MOST_RECORDS
from heap_export.records import MOST_PROPERTIES
from tests.heap_export.conftest import KEY, Service, settings_for
from tests.heap_export.statsig_webhook import PATH, gate, headers
from tests.heap_export.test_events import EVENTS, track
from tests.support import http
from tests.support.fake_heap_api import fake_heap
from tests.support.probed_service import longest_turn, probed
from tests.support.processes import running_store
from tests.support.worst_bodies import of_export

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.worst_bodies import Worst

LONGEST_TURN = 120.0  # milliseconds; 5 to 20 are usual


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with (
        running_store() as store,
        fake_heap() as heap,
        probed("heap_export", tmp_path_factory.mktemp("probed"), settings_for(store.url, heap)) as program,
    ):
        service = Service(program, heap)
        assert service.post(EVENTS, track()).json()["accepted"] == 1  # what is made for the first one is made now
        service.sent("ann", 1)
        yield service
        program.kill()


@pytest.mark.parametrize("worst", list(of_export(KEY, headers)), ids=lambda worst: worst.name)
def test_no_body_holds_the_loop(service: Service, worst: Worst) -> None:
    assert worst.make is not None
    body, begun = worst.make(), time.monotonic()
    answer = http.post(service.program.address + worst.path, content=body, headers=dict(worst.headers))
    assert answer.status_code in (200, 400, 413)
    assert longest_turn(service.program.lines, begun) < LONGEST_TURN
    assert "Traceback" not in service.program.log()


def test_so_many_records_may_come_at_once_and_no_more(standing: Service) -> None:
    report = standing.post(EVENTS, b"[" + b"{}," * (MOST_RECORDS - 1) + b"{}]").json()
    assert [refused["index"] for refused in report["refused"]] == list(range(MOST_RECORDS))
    answer = standing.post(EVENTS, {"batch": [{}] * (MOST_RECORDS + 1)})
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_many")
    assert f"more than {MOST_RECORDS} items; send fewer at once" in answer.json()["error"]


def test_what_is_wrong_with_one_record_is_not_the_others_fault(standing: Service, ann: str) -> None:
    large = track(ann, properties={f"p{number}": "x" * 1000 for number in range(LARGEST_RECORD // 1000)})
    many = track(ann, properties={f"p{number}": 1 for number in range(MOST_PROPERTIES + 1)})
    most = track(ann, properties={f"p{number}": 1 for number in range(MOST_PROPERTIES)})
    texts = [json.dumps(item) for item in (large, track(ann), many, most)]
    texts.insert(1, '{"type": track}')
    report = standing.post(EVENTS, f'{{"more": {{}}, "events": [{", ".join(texts)}]}}'.encode()).json()
    assert report["accepted"] == 2
    reasons = [(refused["index"], refused["reason"]) for refused in report["refused"]]
    assert reasons == [(0, "too_large"), (1, "bad_json"), (3, "many_properties")]
    answer = standing.post(EVENTS, large)
    assert (answer.status_code, answer.json()["reason"]) == (400, "too_large")


def test_a_long_value_is_refused_and_the_longest_one_arrives(standing: Service, ann: str) -> None:
    longest = [0] * 511  # 1,023 characters as JSON
    report = standing.post(EVENTS, [track(ann, properties={"p": value}) for value in (longest, [*longest, 0])]).json()
    assert (report["accepted"], [refused["reason"] for refused in report["refused"]]) == (1, ["long_value"])
    (sent,) = standing.sent(ann, 1)
    assert json.loads(sent["properties"]["p"]) == longest


def test_all_of_a_large_body_is_signed(standing: Service, ann: str) -> None:
    """It is hashed in pieces: neither the first nor the last byte may be another."""
    gates = [gate(f"gate {number}", "true", ann) for number in range(1000)]
    body = json.dumps(gates).encode()
    for wrong in (b" " + body[1:], body[:-1] + b" ", body + b" "):
        assert standing.post(PATH, wrong, key=None, headers=headers(body)).status_code == 403
    assert standing.post(PATH, body, key=None, headers=headers(body)).json()["accepted"] == 1000
