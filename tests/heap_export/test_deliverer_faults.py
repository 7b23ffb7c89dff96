"""What fails is sent again, what Heap refuses is set aside, and nothing is lost over a wrong app id."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from event_stream.stream import Event
from heap_export.sending import Sender
from tests.heap_export.deliveries import Process, event, known, shown
from tests.support.fake_heap_api import ADD_USER_PROPERTIES, TRACK, FakeHeap, Limits, refuses
from tests.support.faulty_server import Answer, answers, hangs_up, says_nothing, takes_and_hangs_up, times
from tests.support.processes import running_store
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.faulty_server import Fault, Request


async def test_429_is_waited_out_as_long_as_heap_says(process: Process, heap: FakeHeap) -> None:
    heap.fault = times(1, answers(429, {"Retry-After": "2"}))
    await process.intake.take([shown("alice")])
    begun = time.monotonic()
    async with process.delivering():
        await process.all_delivered()
    assert time.monotonic() - begun >= 2
    assert len(heap.events) == 1
    assert process.counted("retried_total", reason="http_429") == 1


@pytest.mark.parametrize("fault", [answers(500), hangs_up, says_nothing, answers(302, {"Location": "/"})])
async def test_what_does_not_arrive_is_sent_again(process: Process, heap: FakeHeap, fault: Fault) -> None:
    heap.fault = times(2, fault)
    await process.intake.take([shown("alice"), known("alice", plan="gold"), event("bob")])
    async with process.delivering():
        await process.all_delivered()
    assert set(heap.came.values()) == {1}
    assert heap.properties_of("alice") == {"[VWO] checkout": "blue", "plan": "gold"}
    (entry, *_) = await process.log.read(10)
    assert (entry.outcome, entry.attempts, entry.status) == ("delivered", 3, 200)


def fails_over(*identities: str) -> Fault:
    """Heap's program fails over every call with one of these people."""

    def fault(request: Request) -> Answer | None:
        return Answer(500) if any(f'"{identity}"'.encode() in request.body for identity in identities) else None

    return fault


@pytest.mark.parametrize("bad", [("p0",), ("p7", "p19"), ("p0", "p1", "p2")], ids=str)
async def test_one_record_that_heap_fails_over_holds_up_no_other(
    process: Process, heap: FakeHeap, bad: tuple[str, ...]
) -> None:
    heap.fault = fails_over(*bad)
    await process.intake.take([event(f"p{number}") for number in range(20)])
    async with process.delivering():
        await eventually(lambda: _is(len(heap.events) == 20 - len(bad)), seconds=60)
        await process.intake.take([event("later")])  # shows that it is no outage
        await process.all_delivered(seconds=60)
    assert {identity for _, identity, _ in heap.events} == {f"p{n}" for n in range(20)} - set(bad) | {"later"}
    assert process.counted("dead_total", reason="http_500") == len(bad)


async def test_in_an_outage_nothing_dies(process: Process, heap: FakeHeap) -> None:
    heap.fault = answers(500)
    await process.intake.take([event(f"p{number}") for number in range(20)])
    async with process.delivering():
        await eventually(lambda: _is(len(heap.requests) > 40), seconds=60)
        heap.fault = None
        await process.all_delivered(seconds=60)
    assert len(heap.events) == 20
    assert process.counted("dead_total", reason="http_500") == 0


async def test_a_fault_of_ours_is_said(process: Process, heap: FakeHeap, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is lost over it."""

    async def fail(*_: object) -> None:
        raise OSError("too many open files")

    await process.intake.take([event("alice")])
    with monkeypatch.context() as broken:
        broken.setattr(Sender, "send", fail)
        async with process.delivering():
            await eventually(lambda: _is(process.parts.trouble == ["heap_internal: default"]))
    async with process.delivering():
        await process.all_delivered()
        await eventually(lambda: _is(process.parts.trouble == []))
    assert len(heap.events) == 1


async def _is(what: bool) -> bool:
    return what


async def test_what_heap_took_without_a_word_is_one_event_there_though_it_is_sent_twice(
    process: Process, heap: FakeHeap
) -> None:
    heap.fault = times(1, takes_and_hangs_up(heap))
    await process.intake.take([shown("alice"), shown("bob")])
    async with process.delivering():
        await process.all_delivered()
    assert len(heap.events) == 2
    assert set(heap.came.values()) == {2}


async def test_properties_alone_are_sent_again_when_events_have_arrived(process: Process, heap: FakeHeap) -> None:
    def fault(request: Request) -> Answer | None:
        return failing(request) if request.path == ADD_USER_PROPERTIES else None

    failing = times(1, answers(503))
    heap.fault = fault
    await process.intake.take([shown("alice")])
    async with process.delivering():
        await process.all_delivered()
    assert [request.path for request in heap.requests] == [TRACK, ADD_USER_PROPERTIES, ADD_USER_PROPERTIES]


async def test_exactly_the_records_that_heap_refuses_are_set_aside(process: Process, heap: FakeHeap) -> None:
    heap.fault = refuses(lambda entry: "poison" in entry["properties"])
    bad = {3, 4, 77, 199}
    await process.limit(events_per_minute_of_person=100_000)
    heap.limits = Limits(of_person=100_000)
    await process.intake.take(
        [event("alice", number=n, poison=1) if n in bad else event("alice", number=n) for n in range(200)]
        + [known("bob", poison=1), known("bob", plan="gold")]
    )
    async with process.delivering():
        await process.all_delivered()
    assert [taken.entry["properties"]["number"] for taken in heap.events] == [n for n in range(200) if n not in bad]
    assert heap.properties_of("bob") == {"plan": "gold"}
    assert await process.stream.count_dead() == {"http_400": 5}
    assert process.counted("dead_total", reason="http_400") == 5
    dead = await process.log.read(10, outcome="dead")
    assert [(entry.status, entry.answer, entry.reason) for entry in dead] == [(400, "{}", "http_400")] * 5


async def test_a_dead_letter_arrives_when_it_is_sent_again_once_heap_takes_it(process: Process, heap: FakeHeap) -> None:
    heap.fault = refuses(lambda entry: entry["identity"] == "alice")
    await process.intake.take([shown("alice"), shown("bob")])
    async with process.delivering():
        await process.all_delivered()
        heap.fault = None
        assert await process.stream.retry() == {"http_400": 1}
        await process.all_delivered()
    assert {taken.identity for taken in heap.events} == {"alice", "bob"}


async def test_many_bad_records_in_a_row_die_as_long_as_others_arrive(process: Process, heap: FakeHeap) -> None:
    heap.fault = refuses(lambda entry: "poison" in entry["properties"])
    await process.intake.take([event(f"bad {number}", poison=1) for number in range(40)])
    await process.intake.take([event(f"good {number}") for number in range(40)])
    async with process.delivering():
        await process.all_delivered()
    assert len(heap.events) == 40
    assert await process.stream.count_dead() == {"http_400": 40}


@pytest.mark.parametrize("apps", [{"another"}, None])
async def test_a_wrong_app_id_or_address_costs_no_records(
    process: Process, heap: FakeHeap, apps: set[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    heap.apps = apps
    heap.fault = None if apps else answers(404)
    await process.intake.take([shown(f"person {number}") for number in range(30)])
    async with process.delivering():
        wanted = "heap_nothing_taken: default" if apps else "heap_http_404: default"
        await eventually(lambda: _is(wanted in process.parts.trouble))
        status = await process.stream.status()
        assert status.waiting >= 20
        heap.apps = heap.fault = None
        await process.limit(events_per_minute=14_000)  # a change of the integration ends the pause
        await process.all_delivered()
        await eventually(lambda: _is(not any(reason.startswith("heap_") for reason in process.parts.trouble)))
    await process.stream.retry()
    async with process.delivering():
        await process.all_delivered()
    assert len(heap.events) == 30
    assert len([line for line in caplog.messages if "check the integration's app id and base" in line]) == 1


async def test_what_nobody_can_read_is_set_aside(process: Process, heap: FakeHeap) -> None:
    await process.stream.append([Event("alice", b"no parcel")], writer="test", number=1)
    await process.intake.take([shown("alice")])
    async with process.delivering():
        await process.all_delivered()
    assert len(heap.events) == 1
    assert await process.stream.count_dead() == {"unreadable": 1}
    assert [entry.reason for entry in await process.log.read(10, outcome="dead")] == ["unreadable"]


async def test_the_log_tells_of_trouble_once_and_of_its_end(
    process: Process, heap: FakeHeap, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    heap.fault = times(3, answers(500))
    await process.intake.take([shown("alice")])
    async with process.delivering():
        await process.all_delivered()
    said = [line for line in caplog.messages if "Heap takes" in line]
    assert said == [
        "Heap takes nothing for default (http_500); all waits in Redis and is tried again",
        "Heap takes records for default again, after 3 tries",
    ]
    assert "alice" not in caplog.text


async def test_the_store_s_absence_is_waited_out(heap: FakeHeap) -> None:
    with running_store() as server:
        process = Process(server.url, heap.address)
        async with process.delivering():
            await process.intake.take([shown("alice")])
            await asyncio.to_thread(heap.wait_for_events, 1)
            server.kill()
            await asyncio.to_thread(server.start)
            await process.intake.take([shown("bob")])
            await process.all_delivered(seconds=30)
        assert {taken.identity for taken in heap.events} == {"alice", "bob"}
        await process.store.aclose()
