"""Erasures: their number and place, and that nothing which is accepted later holds the person again."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from attribute_lists.bodies import unpack
from cohort_sync.truth.facts import tag_of
from cohort_sync.truth.tables import ERASURES, FACTS, INSTALLATION
from foundation.errors import BadRequestError
from tests.cohort_sync.truth.facts_in_tests import DAY, HOUR, T0, Clocks, opened

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from cohort_sync.truth.facts import Page
    from cohort_sync.truth.facts.pages import PackedPage
    from tests.cohort_sync.truth.facts_in_tests import Written

NAME = ("123456", "heap_premium_users")


async def last_page(written: Written) -> tuple[set[bytes], set[bytes]]:
    newest = select(FACTS.c.body).where(FACTS.c.kind == "page").order_by(FACTS.c.version.desc()).limit(1)
    [(body,)] = await written.rows(newest)
    names = unpack(body)
    return set(names.add), set(names.remove)


async def test_a_tombstone_and_what_is_to_be_rewritten(written: Written) -> None:
    await written.page(add=["u1"], at=0)
    first = await written.facts.erase(b"u1", actor="me")
    second = await written.facts.erase(b"u2", actor="me")
    assert (first.number, second.number) == (1, 2)
    assert first.tag == tag_of(b"u1", written.database.installation.tag_key)
    [one, _] = await written.rows(select(ERASURES).order_by(ERASURES.c.number))
    assert (one.tag, one.at, one.person, one.finished_at) == (first.tag, first.at, b"u1", None)
    assert await written.rows(select(INSTALLATION.c.erasure)) == [(2,)]
    assert await written.kinds() == ["page"]
    for nobody in (b"", b"x" * 1025):
        with pytest.raises(BadRequestError):
            await written.facts.erase(nobody, actor="me")


async def test_it_is_placed_by_the_wall_clock_but_a_day_ahead_at_most(written: Written) -> None:
    await written.page(add=["u1"], at=0)
    written.clocks.pass_ms(1000)
    written.clocks.wall += HOUR
    assert (await written.facts.erase(b"u1", actor="me")).at == T0 + 1000 + HOUR
    assert not written.facts.clock.is_doubtful
    written.clocks.wall += 10 * DAY
    assert (await written.facts.erase(b"u1", actor="me")).at == T0 + DAY
    assert written.facts.clock.is_doubtful
    await written.page("later", add=["u2"], at=11 * DAY)
    assert not written.facts.clock.is_doubtful


async def test_it_is_never_placed_before_the_senders_clock(written: Written) -> None:
    await written.page(add=["u1"], at=0)
    written.clocks.pass_ms(1000)
    written.clocks.wall -= HOUR
    assert (await written.facts.erase(b"u1", actor="me")).at == T0 + 1000


async def test_with_nothing_ever_signed_the_wall_clock_counts(written: Written) -> None:
    assert (await written.facts.erase(b"u1", actor="me")).at == T0
    assert not written.facts.clock.is_doubtful


@pytest.mark.parametrize("people", [2, 5000])
async def test_a_page_placed_before_it_is_kept_without_the_person(tmp_path: Path, people: int) -> None:
    others = [f"m{number}" for number in range(people)]
    async with opened(tmp_path) as written:
        await written.page("before", add=["u1"], at=0)
        await written.facts.erase(b"u1", actor="me")
        await written.page("late", add=["u1", *others], remove=["u1", "u9"], at=-10)
        assert await last_page(written) == ({name.encode() for name in others}, {b"u9"})
        [counts] = await written.rows(select(FACTS.c.adds, FACTS.c.removes).where(FACTS.c.version == 2))
        assert counts == (people + 1, 2)
        assert (await written.page("late", add=["u1", *others], remove=["u1", "u9"], at=-10)).is_known
        await written.page("later", add=["u1"], at=10)
        assert await last_page(written) == ({b"u1"}, set())


async def test_tombstones_outlive_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as written:
        await written.page("before", add=["u1"], at=0)
        await written.facts.erase(b"u1", actor="me")
    async with opened(tmp_path, Clocks(monotonic=3.0)) as written:
        await written.page("late", add=["u1", "u2"], at=-10)
        assert await last_page(written) == ({b"u2"}, set())
        assert (await written.facts.erase(b"u3", actor="me")).number == 2


async def test_a_page_of_a_task_placed_before_it_is_kept_without_the_person(written: Written) -> None:
    await written.page("task", add=["u2"], total=2, at=0)
    await written.facts.erase(b"u1", actor="me")
    await written.page("task", add=["u1", "u3"], number=2, total=2, at=50)
    assert await last_page(written) == ({b"u3"}, set())


async def test_an_import_takes_nobody_who_was_ever_erased_unless_told_to(written: Written) -> None:
    await written.page("before", add=["u1", "u2"], at=0)
    erased = await written.facts.erase(b"u1", actor="me")
    written.clocks.pass_ms(1000)
    await written.facts.import_members(*NAME, [b"u1", b"u2"], actor="me")
    assert await last_page(written) == ({b"u2"}, set())
    await written.facts.import_members(*NAME, [b"u1", b"u2"], actor="me", include_erased=True, place=T0 - DAY)
    assert await last_page(written) == ({b"u1", b"u2"}, set())
    assert (await written.places())[-1] > erased.at - T0


async def test_a_page_that_is_packed_while_an_erasure_is_committed_names_nobody(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written.page("before", add=["bob"])
    begun, packed, at_commit = threading.Event(), threading.Event(), threading.Event()
    pack = written.facts._packed

    async def pack_and_tell(page: Page, place: int) -> PackedPage:
        found = await pack(page, place)
        packed.set()
        return found

    def hold_the_thread(_: Connection) -> None:
        begun.wait(10)

    def hold_the_commit(_: Connection) -> None:
        at_commit.set()
        packed.wait(10)

    monkeypatch.setattr(written.facts, "_packed", pack_and_tell)
    holding = asyncio.create_task(written.database.write(hold_the_thread))
    await asyncio.sleep(0)
    erasing = asyncio.create_task(written.facts.erase(b"ada", actor="tests"))
    committing = asyncio.create_task(written.database.write(hold_the_commit))
    await asyncio.sleep(0)
    begun.set()
    await asyncio.to_thread(at_commit.wait, 10)
    await written.page("task", add=["ada", "eve"])
    await asyncio.gather(holding, erasing, committing)
    bodies = [unpack(row.body) for row in await written.rows(select(FACTS.c.body).order_by(FACTS.c.version))]
    assert [body.add for body in bodies] == [[b"bob"], [b"eve"]]
