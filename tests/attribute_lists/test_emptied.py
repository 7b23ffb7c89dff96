"""What a process remembers of a store is not what a store that was emptied since holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attribute_lists import keys
from attribute_lists.bodies import Names
from attribute_lists.changes import Changes, Page
from attribute_lists.definitions import Definitions
from foundation.errors import UnavailableError

if TYPE_CHECKING:
    from redis.asyncio import Redis

NAME = ("123456", "heap_gold")
PAGE = Page(
    task="t1", number=1, total=1, names=Names([b"ada"], []), skipped=0, digest="d1", signed_at=1_800_000_000_000
)


async def test_a_page_that_was_applied_before_the_loss_is_applied_again(client: Redis) -> None:
    changes = Changes(client)
    assert not (await changes.apply_page(NAME, PAGE)).repeated
    assert (await changes.apply_page(NAME, PAGE)).repeated
    await client.flushall()
    assert (await changes.apply_page(NAME, PAGE)).added == 1
    assert await client.smembers(keys.members(*NAME)) == {b"ada"}


async def test_a_push_makes_no_list_in_a_store_that_is_not_whole(client: Redis) -> None:
    definitions = Definitions(client)
    with pytest.raises(UnavailableError):
        await definitions.whole_list_of_segment("123456", "1", "Gold", source="heap")
    assert await definitions.lists() == []
    await client.set(keys.REGISTRY_IDENTITY, "a")
    assert await definitions.whole_list_of_segment("123456", "1", "Gold", source="heap") == ("heap_gold", "delta")
    await client.delete(keys.REGISTRY_IDENTITY)
    with pytest.raises(UnavailableError):
        await definitions.whole_list_of_segment("123456", "1", "Gold", source="heap")


async def test_a_task_has_the_mode_that_its_first_page_came_with(client: Redis) -> None:
    changes = Changes(client)
    page = Page(
        task="t1",
        number=1,
        total=2,
        names=Names([b"ada"], []),
        skipped=0,
        digest="d1",
        signed_at=PAGE.signed_at,
        mode="snapshot",
    )
    await changes.apply_page(NAME, page)
    assert not await client.exists(keys.members(*NAME))
