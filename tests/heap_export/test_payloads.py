"""What Heap is sent of a record, and by what records are the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from heap_export.integrations import Integration
from heap_export.payloads import open_parcel, parcel_of, person_mark
from heap_export.records import Source
from tests.heap_export.test_records import event, exposure, user

if TYPE_CHECKING:
    from heap_export.payloads import Addressed, Parcel
    from heap_export.records import Record

HEAP = Integration(name="trial", app_id="1")


def addressed(record: Record, **fields: Any) -> Addressed:
    found = parcel_of(record, HEAP.model_copy(update=fields), received=5.0)
    assert found is not None
    return found


def parcel(record: Record, **fields: Any) -> Parcel:
    return open_parcel(addressed(record, **fields).event.body)


def key(record: Record, **fields: Any) -> str:
    found = parcel(record, **fields)
    assert found.event is not None
    return str(json.loads(found.event)["idempotency_key"])


def test_an_exposure_is_an_event_and_a_user_property_of_its_source() -> None:
    found = parcel(exposure(variation_key="blue", time=1700000000.25, properties={"plan": "gold"}))
    assert (found.source, found.name, found.received) == ("vwo", "checkout", 5.0)
    assert found.event is not None
    assert found.user is not None
    sent = json.loads(found.event)
    assert len(sent.pop("idempotency_key")) == 64
    assert sent == {
        "event": "Experiment Viewed",
        "identity": "alice",
        "timestamp": "2023-11-14T22:13:20.250Z",
        "properties": {
            "plan": "gold",
            "source": "vwo",
            "flag_key": "checkout",
            "variation_key": "blue",
            "enabled": "true",
        },
    }
    assert json.loads(found.user) == {"identity": "alice", "properties": {"[VWO] checkout": "blue"}}


def test_an_integration_may_want_events_or_user_properties_alone() -> None:
    assert parcel(exposure(), user_properties=False).user is None
    assert parcel(exposure(), events=False).event is None
    assert (
        parcel_of(exposure(), HEAP.model_copy(update={"events": False, "user_properties": False}), received=1) is None
    )
    assert parcel(event()).user is None
    assert parcel(user({"plan": "gold"})).event is None


@pytest.mark.parametrize(
    ("other", "fields"),
    [
        (exposure(identity="bob"), {}),
        (exposure(flag_key="other"), {}),
        (exposure(variation_key="red"), {}),
        (exposure(source=Source.STATSIG), {}),
        (exposure(), {"app_id": "2"}),
    ],
)
def test_exposures_differ_by_person_flag_variation_source_and_app_id(other: Record, fields: dict[str, Any]) -> None:
    assert key(exposure()) != key(other, **fields)
    assert addressed(exposure()).mark != addressed(other, **fields).mark


def test_an_exposure_is_the_same_one_whenever_and_however_it_is_told() -> None:
    again = exposure(time=99.0, rule_key="other", dedupe_key="message-2", properties={"more": 1})
    assert key(exposure()) == key(again)
    assert addressed(exposure()).mark == addressed(again).mark
    assert addressed(exposure()).mark.seconds == 0


def test_in_another_period_it_counts_anew_where_the_integration_wants_that() -> None:
    periods = {"dedupe_seconds": 3600}
    assert key(exposure(time=10.0), **periods) == key(exposure(time=3599.0), **periods)
    assert key(exposure(time=10.0), **periods) != key(exposure(time=3600.0), **periods)
    assert addressed(exposure(), **periods).mark.seconds == 3600


def test_an_event_is_the_same_one_by_the_id_of_its_message() -> None:
    assert key(event(dedupe_key="m1")) == key(event(dedupe_key="m1", time=9.0))
    assert key(event(dedupe_key="m1")) != key(event(dedupe_key="m2"))
    assert key(event(dedupe_key="m1")) != key(event(dedupe_key="m1", identity="bob"))
    assert key(event()) != key(event())  # nobody knows; so each is one of its own


def test_all_marks_of_a_person_begin_alike_and_say_nothing_of_the_person() -> None:
    whose = person_mark("1", "alice")
    marks = [addressed(record).mark.value for record in (exposure(), event(), user({"plan": "gold"}))]
    assert all(mark.startswith(whose) for mark in marks)
    assert len(set(marks)) == 3
    assert whose != person_mark("2", "alice") != person_mark("1", "bob")
