"""Random histories of changes and faults end in what the truth says."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from attribute_lists import keys
from tests.attribute_lists.projection.conftest import Projected, projecting
from tests.attribute_lists.projection.memory_truth import ACCOUNT, MemoryTruth, Name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.processes import StoreServer

NAMES = [(ACCOUNT, f"heap_{number}") for number in range(3)]
PEOPLE = [b"person-%d" % number for number in range(8)]
CROWD = [b"crowd-%d" % number for number in range(1500)]

FAULTS: list[Callable[[Redis, Name], Awaitable[object]]] = [
    lambda client, name: client.delete(keys.members(*name)),
    lambda client, name: client.delete(keys.about(*name)),
    lambda client, name: client.delete(keys.about(*name), keys.members(*name)),
    lambda client, name: client.set(keys.members(*name), "another type"),
    lambda client, name: client.set(keys.about(*name), "another type"),
    lambda client, name: client.srem(keys.members(*name), PEOPLE[0], CROWD[0]),
    lambda client, name: client.sadd(keys.members(*name), "stranger"),
    lambda client, name: client.hset(keys.about(*name), "staging", "another"),
    lambda client, _: client.flushall(),
    lambda client, _: client.delete(keys.REGISTRY_LISTS),
    lambda client, _: client.set(keys.REGISTRY_ALIASES, "another type"),
    lambda client, _: client.script_flush(),
    lambda client, _: client.client_kill_filter(_type="normal", skipme=True),
]


@dataclasses.dataclass(frozen=True)
class Change:
    """`crowd`: of so many at once. `pause`: turns of the event loop before the next event."""

    name: int
    kind: str
    people: frozenset[int] = frozenset()
    others: frozenset[int] = frozenset()
    crowd: int = 0
    pause: int = 0


@dataclasses.dataclass(frozen=True)
class Fault:
    name: int
    kind: int
    pause: int = 0


people = st.frozensets(st.integers(0, len(PEOPLE) - 1), max_size=4)
pauses = st.integers(0, 30)
changes = st.builds(
    Change,
    name=st.integers(0, len(NAMES) - 1),
    kind=st.sampled_from(["change", "change", "change", "replace", "delete", "erase", "alias"]),
    people=people,
    others=people,
    crowd=st.sampled_from([0, 0, 0, 600, 1500]),
    pause=pauses,
)
faults = st.builds(Fault, name=st.integers(0, len(NAMES) - 1), kind=st.integers(0, len(FAULTS) - 1), pause=pauses)
histories = st.lists(st.one_of(changes, changes, faults), min_size=1, max_size=25)


@pytest.mark.parametrize("restarts", [False, True])
def test_any_history_ends_as_the_truth_says(store_server: StoreServer, restarts: bool) -> None:
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(events=histories)
    def check(events: list[Change | Fault]) -> None:
        asyncio.run(play(store_server.url, events, restarts=restarts))

    check()


async def play(url: str, events: list[Change | Fault], *, restarts: bool) -> None:
    truth = MemoryTruth()
    async with Redis.from_url(url) as client, Redis.from_url(url) as strangers:
        await client.flushall()
        cut = len(events) // 2 if restarts else len(events)
        for part in (events[:cut], events[cut:]):
            async with projecting(client, truth, scrub_seconds=0.5) as projected:
                for event in part:
                    await happens(projected, strangers, event)
                if part is events[cut:] or not restarts:
                    await projected.settles(seconds=30)
                    assert not projected.projector.ahead


async def happens(projected: Projected, strangers: Redis, event: Change | Fault) -> None:
    name = NAMES[event.name]
    if isinstance(event, Change):
        change(projected.truth, name, event)
        projected.projector.wake(name)
        projected.projector.wake_registry()
        if event.kind == "erase":
            projected.projector.wake_all()
    else:
        with contextlib.suppress(ResponseError):  # an earlier fault left another type there
            await FAULTS[event.kind](strangers, name)
    for _ in range(event.pause):
        await asyncio.sleep(0)


def change(truth: MemoryTruth, name: Name, event: Change) -> None:
    some, others = ([PEOPLE[number] for number in sorted(numbers)] for numbers in (event.people, event.others))
    some += itertools.islice(CROWD, event.crowd)
    match event.kind:
        case "change":
            truth.change(name, add=some, remove=others)
        case "replace":
            truth.replace(name, some)
        case "delete":
            truth.delete(name)
        case "erase":
            for person in some[:2]:
                truth.erase(person)
        case _:
            if name in truth.lists and not truth.lists[name].is_deleted:
                truth.alias("7", name)
