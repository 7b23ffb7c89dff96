"""What is sent to Heap, and what its answers mean."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
from typing import TYPE_CHECKING

import pytest

from event_stream.delivery import Again, Delivered, Refused
from heap_export.heap import Call, Heap
from heap_export.integrations import Integration
from tests.support.fake_heap_api import fake_heap
from tests.support.faulty_server import Answer, answers, hangs_up, says_nothing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from event_stream.delivery import Verdict
    from heap_export.heap import Told
    from tests.support.fake_heap_api import FakeHeap
    from tests.support.faulty_server import Fault

EVENT = b'{"event":"bought","identity":"alice"}'


@pytest.fixture
def server() -> Iterator[FakeHeap]:
    with fake_heap() as server:
        yield server


@pytest.fixture
async def heap() -> AsyncIterator[Heap]:
    heap = Heap(patience=0.5)
    yield heap
    await heap.aclose()


async def sent(heap: Heap, server: FakeHeap) -> Told:
    return await heap.send(Integration(name="trial", app_id="1", base=server.address), Call.TRACK, [EVENT])


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('{"error":"bad identity ann-1"}', '{"error":"bad identity [identity]"}'),
        ('{"error":"bad identity \\"b\\u00e9a\\""}', '{"error":"bad identity \\"[identity]\\""}'),
        ("no such user: someone.else@x.com, sorry", "no such user: [address], sorry"),
        ("\x1b[31mred\n2026-11-29 INFO all is well", "\\x1b[31mred\\n2026-11-29 INFO all is well"),
        ("x" * 190 + "ann-1" * 20, ("x" * 190 + "[identity]" * 20)[:200]),
    ],
)
async def test_what_is_kept_of_an_answer_names_nobody_and_moves_no_cursor(
    server: FakeHeap, heap: Heap, said: str, kept: str
) -> None:
    server.fault = lambda _: Answer(400, body=said.encode())
    integration = Integration(name="default", app_id="1", base=server.address)
    told = await heap.send(integration, Call.TRACK, [b"{}"], people=["ann-1", "b\u00e9a"])
    assert (told.status, told.body) == (400, kept)


async def test_calls_are_bulks_over_one_connection(heap: Heap, server: FakeHeap) -> None:
    told = await sent(heap, server)
    assert told == (Delivered(), 200, "{}")
    integration = Integration(name="trial", app_id="1", base=f"{server.address}")
    users = [b'{"identity":"alice","properties":{"n":1}}', b'{"identity":"bob","properties":{"n":2}}']
    await heap.send(integration, Call.ADD_USER_PROPERTIES, users)
    first, second = server.requests
    assert (first.path, json.loads(first.body)) == ("/api/track", {"app_id": "1", "events": [json.loads(EVENT)]})
    assert (second.path, json.loads(second.body)) == (
        "/api/add_user_properties",
        {"app_id": "1", "users": [json.loads(user) for user in users]},
    )
    assert first.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Delivered()),
        (400, Refused("http_400", because_of_some=True)),
        (413, Refused("http_413", because_of_some=True)),
        (422, Refused("http_422", because_of_some=True)),
        (408, Again("http_408")),
        (429, Again("http_429")),
        (500, Again("http_500", because_of_some=True)),
        (503, Again("http_503")),
        (301, Again("http_301")),
        (401, Again("http_401", after=30)),  # the app id or the address is wrong: no record is to blame
        (403, Again("http_403", after=30)),
        (404, Again("http_404", after=30)),
    ],
)
async def test_an_answer_says_what_becomes_of_records(
    heap: Heap, server: FakeHeap, status: int, verdict: Verdict
) -> None:
    server.fault = answers(status)
    told = await sent(heap, server)
    assert (told.verdict, told.status) == (verdict, status)


@pytest.mark.parametrize(("fault", "reason"), [(says_nothing, "timeout"), (hangs_up, "unreachable")])
async def test_no_answer_means_again(heap: Heap, server: FakeHeap, fault: Fault, reason: str) -> None:
    server.fault = fault
    assert await sent(heap, server) == (Again(reason, because_of_some=reason == "timeout"), 0, "")


async def test_nobody_at_the_address_means_again(heap: Heap) -> None:
    nowhere = Integration(name="trial", app_id="1", base="http://127.0.0.1:1")
    assert (await heap.send(nowhere, Call.TRACK, [EVENT])).verdict == Again("unreachable")


@pytest.mark.parametrize(
    ("wish", "least", "most"),
    [
        ("7", 7, 7),
        (dt.timedelta(hours=1), 3000, 3600),
        (dt.timedelta(hours=-1), 0, 0),
        ("soon", 0, 0),
    ],
    ids=["seconds", "date", "past", "no_time"],
)
async def test_retry_after_is_seconds_or_a_date(
    heap: Heap, server: FakeHeap, wish: str | dt.timedelta, least: float, most: float
) -> None:
    if isinstance(wish, dt.timedelta):
        wish = email.utils.format_datetime(dt.datetime.now(dt.UTC) + wish, usegmt=True)
    server.fault = answers(429, {"Retry-After": wish})
    verdict = (await sent(heap, server)).verdict
    assert isinstance(verdict, Again)
    assert least <= verdict.after <= most


async def test_of_a_long_answer_the_beginning_is_kept(heap: Heap, server: FakeHeap) -> None:
    server.fault = lambda _: Answer(500, b"x" * 100_000)
    assert (await sent(heap, server)).body == "x" * 200
