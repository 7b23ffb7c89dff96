"""The listener of the Python SDK that delivers to Heap by itself."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from heap_export.integrations import Integration
from heap_export.optimizely import DecisionListener
from heap_export.optimizely_direct import Limits
from heap_export.payloads import open_parcel, parcel_of
from heap_export.records import Exposure, Source
from tests.heap_export.decisions import decide
from tests.support.fake_heap_api import FakeHeap, entries_of, fake_heap, refuses
from tests.support.faulty_server import answers, hangs_up, takes_and_hangs_up, times
from tests.support.optimizely_sdk import FORCED_TO_CONTROL, sdk_calls

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def heap() -> Iterator[FakeHeap]:
    with fake_heap() as heap:
        yield heap
    assert not heap.over_limit


def listener_of(heap: FakeHeap, **options: Any) -> DecisionListener:
    return DecisionListener(app_id="123", base=heap.address, **{"every": 0.01, **options})


def test_the_real_sdk_s_decisions_arrive_at_heap(heap: FakeHeap) -> None:
    calls = [
        ("decide", FORCED_TO_CONTROL, {}, "checkout"),
        ("decide", FORCED_TO_CONTROL, {}, "plain"),
        ("decide", "vera", {"plan": "gold"}, "vip"),
    ]
    sdk_calls({"app_id": "123", "base": heap.address, "attributes": ["plan"]}, calls)
    events = [event for _, _, event in heap.events]
    assert [(event["event"], event["identity"], event["properties"]) for event in events] == [
        (
            "Experiment Viewed",
            FORCED_TO_CONTROL,
            {
                "source": "optimizely",
                "flag_key": "checkout",
                "variation_key": "control",
                "rule_key": "checkout_test",
                "enabled": "false",
            },
        ),
        (
            "Experiment Viewed",
            FORCED_TO_CONTROL,
            {"source": "optimizely", "flag_key": "plain", "variation_key": "off", "enabled": "false"},
        ),
        (
            "Experiment Viewed",
            "vera",
            {
                "plan": "gold",
                "source": "optimizely",
                "flag_key": "vip",
                "variation_key": "gold",
                "rule_key": "vip_test",
                "enabled": "true",
            },
        ),
    ]
    assert heap.properties_of(FORCED_TO_CONTROL) == {"[Optimizely] checkout": "control", "[Optimizely] plain": "off"}
    assert heap.properties_of("vera") == {"[Optimizely] vip": "gold"}
    assert not heap.refused


@pytest.mark.parametrize("period", [0, 3600])
def test_heap_gets_the_same_as_from_heap_export(heap: FakeHeap, period: int) -> None:
    """The idempotency key too: who changes from one way to the other sends nothing twice."""
    listener = listener_of(heap, dedupe_seconds=period)
    decide(listener, "ann")
    assert listener.close(5)
    ((_, _, event),), ((_, _, user),) = heap.events, heap.users
    integration = Integration(name="default", app_id="123", dedupe_seconds=period)
    (request, _) = heap.requests
    moment = json.loads(request.body)["events"][0]["timestamp"]
    seconds = dt.datetime.fromisoformat(moment).timestamp()
    exposure = Exposure(Source.OPTIMIZELY, "checkout", "ann", seconds, "treatment", "rule")
    addressed = parcel_of(exposure, integration, received=seconds)
    assert addressed is not None
    parcel = open_parcel(addressed.event.body)
    assert parcel.event is not None
    assert parcel.user is not None
    assert (json.loads(parcel.event), json.loads(parcel.user)) == (event, user)


def test_an_exposure_is_sent_once_as_long_as_it_is_remembered(heap: FakeHeap) -> None:
    listener = listener_of(heap)
    for variation in ("treatment", "treatment", "control", "treatment"):
        decide(listener, "ann", variation=variation)
        assert listener.flush(5)
    assert [event["properties"]["variation_key"] for _, _, event in heap.events] == ["treatment", "control"]
    assert len(heap.users) == 2
    assert listener.delivered == 4


def test_the_last_variation_of_a_flag_counts_for_the_person(heap: FakeHeap) -> None:
    listener = listener_of(heap, every=60)
    for variation in ("one", "two", "three"):
        decide(listener, "ann", variation=variation)
    decide(listener, "ann", flag="banner")
    assert listener.close(5)
    assert heap.properties_of("ann") == {"[Optimizely] checkout": "three", "[Optimizely] banner": "treatment"}
    assert len(heap.users) == 1


@pytest.mark.parametrize("fault", [answers(503), answers(429, {"Retry-After": "1"}), hangs_up])
def test_a_failure_that_passes_loses_nothing(heap: FakeHeap, fault: Any) -> None:
    heap.fault = times(1, fault)
    listener = listener_of(heap)
    decide(listener, "ann")
    heap.wait_for_events(1)
    heap.wait_for_users(1)
    assert listener.close(5)


def test_what_heap_took_without_saying_so_is_one_event_all_the_same(heap: FakeHeap) -> None:
    heap.fault = times(1, takes_and_hangs_up(heap))
    listener = listener_of(heap)
    decide(listener, "ann")
    heap.wait_for_users(1)
    assert listener.close(5)
    assert (len(heap.events), list(heap.came.values())) == (1, [2])


def test_what_heap_refuses_is_found_and_left_out(heap: FakeHeap) -> None:
    heap.fault = refuses(lambda entry: entry["identity"] == "user-5")
    listener = listener_of(heap, every=60)
    for number in range(20):
        decide(listener, f"user-{number}")
    assert listener.close(5)
    assert [identity for _, identity, _ in heap.events] == [f"user-{number}" for number in range(20) if number != 5]
    assert (listener.delivered, listener.refused) == (19, 1)


def test_a_wrong_app_id_loses_nothing_until_it_is_mended(heap: FakeHeap) -> None:
    heap.fault = answers(403)
    listener = listener_of(heap)
    decide(listener, "ann")
    assert not listener.flush(0.1)
    heap.fault = None
    assert listener.flush(5)
    assert len(heap.events) == 1


def test_heap_s_limits_hold_for_an_app_and_for_each_person() -> None:
    limits = Limits(app=5, person=2, seconds=60)
    assert limits.room(["ann", "ben", "ann", "ann", "cat"]) == 3
    limits.count(["ann", "ben", "ann"])
    assert limits.room(["ann"]) == 0
    assert limits.room(["ben", "cat", "dan"]) == 2
    limits.count(["ben", "cat"])
    assert limits.room(["dan"]) == 0
    assert 0 < limits.wait <= 60


def test_more_than_heap_takes_in_a_minute_waits_for_the_next(heap: FakeHeap, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a minute of a second, in which a person has room for three events."""
    monkeypatch.setattr("heap_export.optimizely_direct.Limits", lambda: Limits(app=100, person=3, seconds=1))
    listener = listener_of(heap, every=60)
    for number in range(10):
        decide(listener, "ann", flag=f"flag-{number}")
    assert listener.flush(20)
    tracked = [entries_of(request).entries for request in heap.requests if request.path == "/api/track"]
    assert [len(events) for events in tracked] == [3, 3, 3, 1]
    flags = [event["properties"]["flag_key"] for events in tracked for event in events]
    assert flags == [f"flag-{number}" for number in range(10)]
