"""Nobody who was erased comes back with an archive."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from attribute_lists import keys
from attribute_lists.archive import erase_from_archive, read_archive
from attribute_lists.archive.format import ArchiveReader, Body
from attribute_lists.bodies import unpack
from attribute_lists.changes import Changes
from foundation.errors import UnavailableError
from tests.attribute_lists.archives import (
    GOLD,
    NOW,
    ORDERING,
    SILVER,
    TAG_KEY,
    everything,
    fill,
    members_of,
    page,
    tag,
    written,
)

if TYPE_CHECKING:
    import redis

    from attribute_lists.archive import Progress
    from foundation.store import Store


async def test_the_erased_stay_out(client: Store, store: redis.Redis) -> None:
    await fill(client)
    await client.execute_command("ZADD", keys.erased(*GOLD), NOW + 1, tag(b"gold-4"))  # came back after it
    archive = await written(client)
    await client.flushall()
    for at, member in ((NOW + 1, b"gold-4"), (NOW + 1, b"gold-5"), (NOW + 1, b"new-5")):
        store.zadd(keys.REGISTRY_ERASED, {tag(member): at})
    summary = await read_archive(client, archive, ordering=ORDERING)
    assert summary.erased == 1
    assert b"gold-4" in members_of(store, keys.members(*GOLD))
    assert b"gold-5" not in members_of(store, keys.members(*GOLD))
    assert b"new-5" not in members_of(store, keys.staging(*SILVER, "t3"))
    assert store.zscore(keys.erased(*SILVER), tag(b"gold-5")) == NOW + 1
    for key in store.scan_iter("*:body:*"):
        body: Any = store.get(key)
        assert {b"gold-5", b"new-5"}.isdisjoint(itertools.chain(*unpack(body)))


async def test_who_is_erased_while_lists_are_written_stays_out(client: Store, store: redis.Redis) -> None:
    await fill(client)
    calls = 0

    def erase(_: Progress) -> None:
        nonlocal calls
        calls += 1
        store.zadd(keys.REGISTRY_ERASED, {tag(b"gold-5"): NOW + 1})
        store.srem(keys.members(*GOLD), b"gold-5")

    archive = await written(client, progress=erase)
    assert calls
    await client.flushall()
    await read_archive(client, archive, ordering=ORDERING)
    assert b"gold-5" not in members_of(store, keys.members(*GOLD))


async def test_who_is_erased_while_lists_are_read_stays_out(client: Store, store: redis.Redis) -> None:
    await fill(client)
    archive = await written(client)
    await client.flushall()

    def erase(progress: Progress) -> None:
        if progress.stage == "reading":
            store.zadd(keys.REGISTRY_ERASED, {tag(b"gold-5"): NOW + 1})

    with pytest.raises(UnavailableError, match="erased meanwhile"):
        await read_archive(client, archive, ordering=ORDERING, progress=erase)
    assert set(everything(store)) == {keys.REGISTRY_ERASED} | {key for key in everything(store) if ":body:" in key}


async def test_an_archive_is_rewritten_without_a_person(client: Store, store: redis.Redis) -> None:
    await fill(client)
    archive = await written(client)
    copy = io.BytesIO()
    erased = {tag(b"gold-5"): NOW + 50, tag(b"new-5"): NOW + 50}
    assert await erase_from_archive(archive, copy, erased, tag_key=TAG_KEY) == 1
    copy.seek(0)
    async for record in ArchiveReader(copy).records():
        if isinstance(record, Body):
            assert {b"gold-5", b"new-5"}.isdisjoint(itertools.chain(*unpack(record.packed)))
    await client.flushall()
    copy.seek(0)
    summary = await read_archive(client, copy, ordering=ORDERING)
    assert summary.lists[GOLD] == 2998
    assert b"gold-5" not in members_of(store, keys.members(*GOLD))
    assert store.zscore(keys.erased(*GOLD), tag(b"gold-5")) == NOW + 50
    assert store.zscore(keys.REGISTRY_ERASED, tag(b"gold-5")) == NOW + 50
    late = await Changes(client, ORDERING).apply_page(GOLD, page("t0", 1, 1, [b"gold-5"], at=5))
    assert late.added == 0
