"""Lists as operators see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohort_sync.truth.descriptions import describe_list, describe_lists
from cohort_sync.truth.facts import Segment
from tests.cohort_sync.truth.facts_in_tests import DAY, HOUR, SEGMENT, T0

if TYPE_CHECKING:
    from attribute_lists.describe import ListDescription
    from tests.cohort_sync.truth.facts_in_tests import Written

NAME = ("123456", "heap_premium_users")


async def described(written: Written, list_id: str = NAME[1]) -> ListDescription | None:
    return await written.database.read(
        lambda connection: describe_list(
            connection, NAME[0], list_id, now=written.clocks.wall, stale_after=26 * 3600, sizes={NAME: 17}
        )
    )


async def status(written: Written) -> str:
    found = await described(written)
    assert found is not None
    return found.status


async def test_all_that_is_known_of_a_list(written: Written) -> None:
    await written.page("task 1", add=["u1", "u2"], remove=["u3"], total=5, skipped=4)
    found = await described(written)
    assert found is not None
    assert found.aliases == ["7"]
    assert (found.account, found.list_id, found.source, found.segment_id, found.segment_name) == (
        *NAME,
        "heap",
        "7",
        "Premium Users",
    )
    assert (found.mode, found.active, found.members, found.status) == ("delta", True, 17, "syncing 1/5")
    assert (found.task, found.created, found.last_page) == ("task 1", T0, T0)
    assert (found.added, found.removed, found.skipped, found.held) == (2, 1, 4, None)


async def test_how_its_sync_stands(written: Written) -> None:
    await written.page("one", add=["u1"], total=2)
    await written.page("one", remove=["u2"], total=2)
    assert await status(written) == "syncing 1/2"
    written.clocks.pass_ms(HOUR)
    assert await status(written) == "incomplete"
    await written.page("one", add=["u3"], number=2, total=2, at=10)
    assert await status(written) == "synced"
    written.clocks.pass_ms(10 * DAY)
    assert await status(written) == "synced"
    await written.page("two", add=["u1"], at=20)
    assert await status(written) == "synced"
    written.clocks.pass_ms(2 * DAY)
    assert await status(written) == "stale"
    await written.facts.drain(*NAME, actor="me")
    assert await status(written) == "drained"
    await written.facts.set_active(*NAME, False, actor="me")
    assert await status(written) == "waiting"


async def test_a_snapshot_that_waits_shows_its_sizes(written: Written) -> None:
    accepted = await written.page("one", add=["u1"])
    written.list_sizes[accepted.row] = 100
    await written.page("two", add=["u2"], at=1, mode="snapshot")
    found = await described(written)
    assert found is not None
    assert (found.status, found.held) == ("held", "100 0")
    await written.facts.accept_snapshot(*NAME, actor="me")
    found = await described(written)
    assert found is not None
    assert (found.status, found.held) == ("synced", None)


async def test_lists_come_by_account_and_name_without_those_that_are_deleted(written: Written) -> None:
    for account, name in (("2", "B"), ("1", "B"), ("1", "A"), ("1", "C")):
        await written.page("task", add=["u1"], segment=Segment(account, "heap", name, name))
    await written.drained(0, Segment("1", "heap", "D", "D"))
    await written.facts.delete("1", "heap_c", actor="me")
    lists = await written.database.read(
        lambda connection: describe_lists(connection, now=T0, stale_after=1, sizes={("1", "heap_a"): 3})
    )
    assert [(found.account, found.list_id, found.members, found.status) for found in lists] == [
        ("1", "heap_a", 3, "synced"),
        ("1", "heap_b", 0, "synced"),
        ("1", "heap_d", 0, "drained"),
        ("2", "heap_b", 0, "synced"),
    ]
    assert await described(written, "heap_nobody") is None
    assert SEGMENT.id not in {found.segment_id for found in lists}
