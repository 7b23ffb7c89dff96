"""An archive written amid changes, and each change that it has no mark of applied again: the list is right."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from attribute_lists import keys
from attribute_lists.archive import read_archive, write_archive
from attribute_lists.changes import Changes
from attribute_lists.definitions import Definitions
from attribute_lists.work import Ordering
from tests.attribute_lists.histories import NOW, Deliver, Drain, Model, SetMode, _page, histories

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attribute_lists.work import ListName
    from foundation.store import Store
    from tests.attribute_lists.histories import Event

ORDERING = Ordering(most_shrink=1.0)


async def apply(changes: Changes, name: ListName, index: int, event: Event, scale: int) -> None:
    match event:
        case Deliver():
            await changes.apply_page(name, _page(event, scale))
        case Drain():
            await changes.drain(name, at=NOW + event.at, mark=mark_of(index, event, scale))
        case SetMode():
            await changes.set_mode(name, event.mode, mark=mark_of(index, event, scale))
        case _:
            pass


def mark_of(index: int, event: Event, scale: int) -> str:
    match event:
        case Deliver():
            return _page(event, scale).digest
        case Drain():
            return f"drain:{event.at}"
        case _:
            return f"op:{index}"


async def play(store: Store, events: Sequence[Event], before: int, scale: int) -> tuple[set[bytes], set[int]]:
    """Write an archive while all but the first `before` events happen; the members after it is all there is."""
    await store.flushall()
    name = ("history", await Definitions(store).list_of_segment("history", "1", "One", source="heap"))
    changes, model = Changes(store, ORDERING), Model()
    for event in events:
        model.take(event)
    for index, event in enumerate(events[:before]):
        await apply(changes, name, index, event, scale)

    async def go_on() -> None:
        for index, event in enumerate(events[before:], start=before):
            await apply(changes, name, index, event, scale)

    file = io.BytesIO()
    await asyncio.gather(write_archive(store, file), go_on())
    file.seek(0)
    await store.flushall()
    await read_archive(store, file, existing="restore", ordering=ORDERING)
    changes = Changes(store, ORDERING)
    signed: dict[str, int] = {}
    for index, event in enumerate(events):
        mark = mark_of(index, event, scale)
        marked = await store.execute_command("ZSCORE", keys.applied(*name), mark) is not None
        # The mark of a page stands for its first delivery. One that was signed earlier moves the task: it is a change.
        if not marked or (isinstance(event, Deliver) and event.at < signed.get(mark, event.at)):
            await apply(changes, name, index, event, scale)
        if isinstance(event, Deliver):
            signed[mark] = min(event.at, signed.get(mark, event.at))
    await changes.tend(name)
    held: set[bytes] = await store.execute_command("SMEMBERS", keys.members(*name))
    return held, model.members()


@settings(
    deadline=None,
    database=None,
    print_blob=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(events=histories(), share=st.floats(0, 1), scale=st.sampled_from([1, 300]))
def test_nothing_is_lost_and_nothing_comes_back(store_url: str, events: list[Event], share: float, scale: int) -> None:
    async def once() -> tuple[set[bytes], set[int]]:
        store: Store = Redis.from_url(store_url)
        try:
            return await play(store, single, int(share * len(single)), scale)
        finally:
            await store.aclose()

    single = [event for event in events if isinstance(event, Deliver | Drain | SetMode)]
    held, wanted = asyncio.run(once())
    assert held == {b"%d.%d" % (person, index) for person in wanted for index in range(scale)}
