"""Records reach Heap once each, in order for each person, within its limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from heap_export import ahead, buckets
from heap_export.integrations import Integration
from tests.heap_export.deliveries import APP, Process, event, known, shown
from tests.support.fake_heap_api import FakeHeap, Limits, fake_heap, in_order
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import pytest


async def test_an_exposure_is_an_event_and_a_user_property(process: Process, heap: FakeHeap) -> None:
    async with process.delivering():
        await process.intake.take([shown("alice", rule_key="everybody", properties={"plan": "gold"})])
        await process.all_delivered()
    (taken,) = heap.events
    assert (taken.app_id, taken.identity, taken.entry["event"]) == (APP, "alice", "Experiment Viewed")
    assert taken.entry["properties"] == {
        "plan": "gold",
        "source": "vwo",
        "flag_key": "checkout",
        "variation_key": "blue",
        "rule_key": "everybody",
        "enabled": "true",
    }
    assert heap.properties_of("alice") == {"[VWO] checkout": "blue"}
    assert not heap.refused
    assert process.counted("sent_total") == 1


async def test_what_was_seen_is_sent_once_however_often_and_by_whomever_it_is_told(
    process: Process, heap: FakeHeap, store_url: str
) -> None:
    other = Process(store_url, heap.address)
    async with process.delivering(), other.delivering():
        for _ in range(3):
            await asyncio.gather(*(each.intake.take([shown("alice"), shown("bob")]) for each in (process, other)))
        await process.all_delivered()
        await process.intake.take([shown("alice"), shown("alice", variation="red")])
        await process.all_delivered()
    await other.store.aclose()
    seen = [(taken.identity, taken.entry["properties"]["variation_key"]) for taken in heap.events]
    assert sorted(seen) == [("alice", "blue"), ("alice", "red"), ("bob", "blue")]
    assert set(heap.came.values()) == {1}


async def test_many_leave_in_few_calls_and_in_order(process: Process, heap: FakeHeap) -> None:
    await process.limit(events_per_minute=1_000_000, events_per_minute_of_person=1_000_000)
    heap.limits = Limits(of_app=10_000, of_person=10_000)
    records = [record for number in range(1500) for record in (event("alice", number=number), known("bob", n=number))]
    await process.intake.take(records)
    async with process.delivering():
        await process.all_delivered()
    assert [taken.entry["properties"]["number"] for taken in heap.events] == list(range(1500))
    assert heap.properties_of("bob") == {"n": 1499}
    assert len(heap.requests) < 10
    assert not heap.over_limit


async def test_user_properties_of_a_call_are_one_entry_for_each_person_with_the_last_values(
    process: Process, heap: FakeHeap
) -> None:
    await process.intake.take(
        [known("alice", plan="free", city="Ulm"), known("bob", plan="free"), known("alice", plan="gold")]
    )
    async with process.delivering():
        await process.all_delivered()
    assert [(taken.identity, taken.entry["properties"]) for taken in heap.users] == [
        ("alice", {"plan": "gold", "city": "Ulm"}),
        ("bob", {"plan": "free"}),
    ]


async def test_whoever_is_limited_holds_back_their_own_records_alone(process: Process, heap: FakeHeap) -> None:
    await process.limit(events_per_minute_of_person=60)
    await process.intake.take([event("robot", number=number) for number in range(10)])
    await process.intake.take([event(f"person {number}") for number in range(50)])
    async with process.delivering():
        await eventually(lambda: _is(len({taken.identity for taken in heap.events}) == 51))
        of_robot = in_order(heap.events)["robot"]
        assert [one["properties"]["number"] for one in of_robot] == list(range(len(of_robot)))
        assert len(of_robot) < 10
        await process.limit(events_per_minute_of_person=60_000)
        await process.all_delivered()
    assert [one["properties"]["number"] for one in in_order(heap.events)["robot"]] == list(range(10))


async def test_heap_s_limits_are_kept_in_every_window(
    process: Process, heap: FakeHeap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "MINUTE", 0.6)
    heap.limits = Limits(seconds=0.6, of_app=100, of_person=20)
    await process.limit(events_per_minute=100, events_per_minute_of_person=20)
    await process.intake.take([event(f"person {number % 20}", number=number) for number in range(200)])
    await process.intake.take([event("robot", number=number) for number in range(30)])
    async with process.delivering():
        await process.all_delivered()
    assert len(heap.events) == 230
    assert heap.over_limit == []
    assert [one["properties"]["number"] for one in in_order(heap.events)["robot"]] == list(range(30))


async def test_where_heap_takes_less_than_the_integration_says_all_arrives_all_the_same(
    process: Process, heap: FakeHeap
) -> None:
    heap.limits = Limits(seconds=1.0, of_app=40)
    await process.intake.take([event(f"person {number}") for number in range(20)])
    async with process.delivering():
        await process.all_delivered()
        await process.intake.take([event(f"person {number}") for number in range(30)])
        await process.all_delivered()
    assert len(heap.events) == 50
    assert len(heap.over_limit) == 1
    assert process.counted("retried_total", reason="http_429") == 30


async def test_somebody_with_very_many_records_keeps_nobody_out(
    process: Process, heap: FakeHeap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "MOST_OF_PERSON", 10)
    monkeypatch.setattr(ahead, "_MOST", 40)
    await process.limit(events_per_minute_of_person=60)
    await process.intake.take([event("robot", number=number) for number in range(100)])
    await process.intake.take([event(f"person {number}") for number in range(50)])
    async with process.delivering():
        await eventually(lambda: _is(len({taken.identity for taken in heap.events}) == 51))
        await process.limit(events_per_minute_of_person=1_000_000)
        heap.limits = Limits(of_person=1_000_000)
        await process.all_delivered()
    assert [one["properties"]["number"] for one in in_order(heap.events)["robot"]] == list(range(100))


async def test_who_is_erased_while_their_records_wait_is_not_sent(process: Process, heap: FakeHeap) -> None:
    await process.limit(events_per_minute_of_person=60)
    await process.intake.take([event("robot", number=number) for number in range(10)])
    async with process.delivering():
        await eventually(lambda: _is(len(heap.events) > 0))
        sent = len(heap.events)
        await process.stream.erase(lambda record: record.to == "robot")
        await process.limit(events_per_minute_of_person=60_000)
        await process.intake.take([shown("alice")])
        await process.all_delivered()
        await eventually(lambda: _is(heap.properties_of("alice") != {}))
    assert len(in_order(heap.events)["robot"]) == sent


async def test_integrations_come_change_and_go_while_it_runs(process: Process, heap: FakeHeap) -> None:
    async with process.delivering():
        with fake_heap() as second:
            await process.integrations.add(Integration(name="second", app_id="654321", base=second.address))
            await process.intake.take([shown("alice")])
            await asyncio.to_thread(second.wait_for_events, 1)
            await process.integrations.change("second", {"enabled": False})
            await eventually(lambda: _is(len(process.parts.at_work) == 1))
        await process.intake.take([shown("bob")])
        await asyncio.to_thread(heap.wait_for_events, 2)
    assert [taken.app_id for taken in second.events] == ["654321"]


async def _is(what: bool) -> bool:
    return what
