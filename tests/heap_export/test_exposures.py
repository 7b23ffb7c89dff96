"""`POST /v1/exposures`: exposures that an application tells itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.heap_export.conftest import Service

EXPOSURES = "/v1/exposures"


def exposure(identity: str = "ann", **fields: Any) -> dict[str, Any]:
    return {
        "source": "optimizely",
        "flag_key": "checkout",
        "variation_key": "treatment",
        "rule_key": "rule_1",
        "enabled": True,
        "identity": identity,
        "time": 1769860800.25,
    } | fields


def test_an_exposure_is_an_event_and_a_user_property(standing: Service, ann: str) -> None:
    answer = standing.post(EXPOSURES, exposure(ann, properties={"region": "eu", "beta": True}))
    assert answer.json() == {"accepted": 1, "repeated": 0, "skipped": 0, "refused": []}
    (sent,) = standing.sent(ann, 1)
    assert (sent["event"], sent["timestamp"]) == ("Experiment Viewed", "2026-01-31T12:00:00.250Z")
    assert sent["properties"] == {
        "source": "optimizely",
        "flag_key": "checkout",
        "variation_key": "treatment",
        "rule_key": "rule_1",
        "enabled": "true",
        "region": "eu",
        "beta": "true",
    }
    assert standing.properties(ann, 1) == {"[Optimizely] checkout": "treatment"}


def test_a_flag_that_is_off(standing: Service, ann: str) -> None:
    off: dict[str, Any] = {"enabled": False, "rule_key": None}
    batch = [
        exposure(ann, flag_key="a", variation_key=None, **off),
        exposure(ann, flag_key="b", variation_key="control", **off),
        exposure(ann, flag_key="c", variation_key=None),
    ]
    assert standing.post(EXPOSURES, {"exposures": batch}).json()["accepted"] == 3
    sent = standing.sent(ann, 3)
    assert [found["properties"]["variation_key"] for found in sent] == ["off", "control", "on"]
    assert ["rule_key" in found["properties"] for found in sent] == [False, False, True]


def test_a_person_counts_once_for_each_variation(standing: Service, ann: str) -> None:
    again = exposure(ann, time="2026-02-01T00:00:00Z", dedupe_key="another")
    batch = [exposure(ann), again, exposure(f"{ann}-and-bob")]
    assert standing.post(EXPOSURES, batch).json() == {"accepted": 2, "repeated": 1, "skipped": 0, "refused": []}
    others = [exposure(ann, variation_key="control"), exposure(ann, source="vwo"), exposure(ann, flag_key="search")]
    assert standing.post(EXPOSURES, others).json()["accepted"] == 3
    assert [standing.heap.came[sent["idempotency_key"]] for sent in standing.sent(ann, 4)] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("fields", "reason", "named"),
    [
        ({"source": "launchdarkly"}, "bad_source", "source"),
        ({"source": None}, "bad_source", "source"),
        ({"source": ["vwo"]}, "bad_source", "source"),
        ({"flag_key": None}, "bad_name", "flag_key"),
        ({"flag_key": "x" * 1011}, "long_name", "flag_key"),
        ({"variation_key": ""}, "bad_name", "variation_key"),
        ({"variation_key": True}, "bad_name", "variation_key"),
        ({"rule_key": 5}, "bad_name", "rule_key"),
        ({"enabled": "yes"}, "bad_enabled", "enabled"),
        ({"identity": None}, "bad_identity", "identity"),
        ({"identity": "null"}, "nobody_identity", "identity"),
        ({"time": 1769860800250}, "bad_time", "time"),
        ({"time": "noon"}, "bad_time", "time"),
        ({"time": {}}, "bad_time", "time"),
        ({"properties": "x"}, "bad_properties", "properties"),
    ],
)
def test_an_exposure_that_can_not_be_taken(standing: Service, fields: dict[str, Any], reason: str, named: str) -> None:
    answer = standing.post(EXPOSURES, exposure(**fields))
    assert (answer.status_code, answer.json()["reason"]) == (400, reason)
    assert named in answer.json()["error"]
    batch = standing.post(EXPOSURES, [exposure(**fields)])
    assert (batch.status_code, batch.json()["refused"][0]["reason"]) == (200, reason)
