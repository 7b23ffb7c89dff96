"""Promises of the write side over HTTP: histories, names, order, clocks. What the old one breaks says so."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.heap import SECRET
from tests.support.processes import ROOT, StartError, cohort_sync
from tests.support.waiting import until
from tests.write_side.composer import Composer
from tests.write_side.histories import Plan, play
from tests.write_side.player import Tally
from tests.write_side.sides import either_side, fails_on_files
from tests.write_side.sites import LIST, A, B, check, list_path

if TYPE_CHECKING:
    from pathlib import Path

    from tests.write_side.sides import WriteSide
    from tests.write_side.sites import Site

HOUR = 3600.0


class TestHistories:
    """A few; `scripts/check_histories` plays many more."""

    @either_side
    @pytest.mark.parametrize(("holds", "count", "damages"), [(False, 24, 0.0), (True, 10, 0.0), (False, 2, 1.0)])
    def test_they_end_as_the_model_says(self, side: WriteSide, *, holds: bool, count: int, damages: float) -> None:
        composer = Composer(side, holds=holds, damages=damages)
        plan = Plan([composer.history(seed) for seed in range(count)], 0.5 if holds else 1.0)
        tally = Tally()
        play(side, plan, tally, at_once=4, tell=lambda: None)
        assert tally.histories == count


class TestOneRecordStopsNothing:
    @fails_on_files("an alias that moved on is refused when it is replayed, and no recovery ends")
    def test_an_alias_that_moved_from_a_deleted_list_to_another(self, site: Site) -> None:
        site.push(add=["a"], **A)
        site.push(add=["b"], **B)
        site.operate("PATCH", list_path("heap_a"), {"aliases": ["vwo:1"]})
        site.operate("DELETE", list_path("heap_a"))
        site.operate("PATCH", list_path("heap_b"), {"aliases": ["vwo:1"]})
        site.lose_store()
        site.push(add=["c"], **B)
        site.settles("heap_b", {"b", "c"}, broken=True)
        assert site.lists().keys() == {"heap_b"}
        assert site.lists()["heap_b"]["aliases"] == ["vwo:1"]

    @fails_on_files("the alias that lost the race is in the journal, is refused when replayed, and no recovery ends")
    def test_an_alias_that_two_lists_wanted_at_once(self, site: Site) -> None:
        site.push(add=["a"], **A)
        site.push(add=["b"], **B)
        aliases = [f"vwo:{number}" for number in range(8)]
        with ThreadPoolExecutor(2) as together:
            for alias in aliases:
                calls = [
                    together.submit(site.admin, "PATCH", list_path(name), {"aliases": [alias]})
                    for name in ("heap_a", "heap_b")
                ]
                assert {200} <= {call.result().status_code for call in calls} <= {200, 409}
        owners = {name: row["aliases"] for name, row in site.lists().items()}
        site.restart_receiver()
        site.lose_store()
        site.push(add=["c"], **B)
        site.settles("heap_b", {"b", "c"}, broken=True)
        assert {name: row["aliases"] for name, row in site.lists().items()} == owners

    @fails_on_files("what a segment's id may hold, a checkpoint's lines may not")
    def test_segment_ids_of_any_characters(self, site: Site) -> None:
        odd = ["7 0", "/", "#", "7\n0", "\x1b[1m", "x" * 256]
        for number, segment in enumerate(odd):
            site.push(add=[f"u{number}", "gone"], segment_id=segment, name=f"Odd {number}")
        names = [site.list_of(segment) for segment in odd]
        site.checkpoint()
        site.operate("POST", "/erase", {"id": "gone"})  # rewrites what was saved
        site.lose_store()
        for number, name in enumerate(names):
            site.settles(name, {f"u{number}"}, broken=True)
        assert [site.list_of(segment) for segment in odd] == names
        assert not site.reasons()

    @fails_on_files("the account of the settings is taken as it is")
    def test_an_account_id_of_the_settings_with_other_characters_is_refused_at_start(
        self, side: WriteSide, tmp_path: Path, store_url: str
    ) -> None:
        settings = json.loads((ROOT / "examples" / "settings.json").read_text())
        served = tmp_path / "settings.json"
        served.write_text(json.dumps(settings | {"accountId": "12/34 5"}))
        given = {"REDIS_URL": store_url, "HEAP_WEBHOOK_SECRET": SECRET, "SETTINGS_FILE": str(served), "ACCOUNT_ID": ""}
        refusal = ""
        try:
            with cohort_sync(tmp_path, given | side.settings) as program:
                program.kill()
        except StartError as error:
            refusal = str(error)
        assert "accountId" in refusal


class TestNames:
    @fails_on_files("a segment whose candidate ids are taken is refused with 409, for good")
    def test_there_is_always_a_free_id_and_it_stays(self, shared: Site) -> None:
        shared.push(add=["a"], segment_id=7, name="42")
        shared.push(add=["b"], segment_id=42, name="東京")
        first, second = shared.list_of("7"), shared.list_of("42")
        assert first == "heap_42"
        assert second != first
        shared.lose_store()
        shared.push(add=["c"], segment_id=42, name="大阪")
        shared.settles(second, {"b", "c"}, broken=True)
        shared.settles(first, {"a"}, broken=True)
        assert (shared.list_of("7"), shared.list_of("42")) == (first, second)

    @fails_on_files("the segment's own id becomes an alias, though a list has that name")
    def test_an_alias_never_hides_a_list(self, shared: Site) -> None:
        shared.push(add=["a"], segment_id=8, name="Victim")
        shared.push(add=["b"], segment_id="heap_victim", name="Other")
        assert not shared.lists()["heap_other"]["aliases"]
        with shared.gateway() as gateway:
            until(lambda: check(gateway, "b", "heap_other") == "in", what="the gateway to know the lists")
            assert check(gateway, "a", "heap_victim") == "in"
            assert check(gateway, "b", "heap_victim") == "not_in"
        assert shared.members("heap_victim") == {"a"}


class TestOrder:
    @either_side
    def test_a_task_that_the_store_lost_keeps_its_place_though_it_comes_again_later(self, site: Site) -> None:
        site.push(add=["x"])
        with site.store.client() as client:
            before = {key: client.dump(key) for key in client.scan_iter(count=1000)}
            site.push(add=["w"], task="one", age=30)
            pipeline = client.pipeline()
            pipeline.flushdb()
            for key, value in before.items():
                pipeline.restore(key, 0, value or b"")
            pipeline.execute()
        site.push(remove=["w"], task="two", age=20)
        site.push(add=["w"], task="one", age=10)
        site.settles(LIST, {"x"}, broken=True)
        site.wait_until_ready()
        assert site.members(LIST) == {"x"}

    @either_side
    def test_a_known_body_that_is_signed_earlier_moves_its_task(self, shared: Site) -> None:
        moving: dict[str, Any] = {"segment_id": 9, "name": "Moving"}
        shared.push(add=["w"], task="one", age=10, **moving)
        shared.push(remove=["w"], task="two", age=20, **moving)
        shared.settles("heap_moving", {"w"})
        shared.push(add=["w"], task="one", age=30, **moving)
        shared.settles("heap_moving", set())

    @fails_on_files("a task id has one life")
    def test_one_task_id_on_three_days(self, shared: Site) -> None:
        daily: dict[str, Any] = {"segment_id": 10, "name": "Daily", "task": "word"}
        shared.push(add=["u1"], age=23 * HOUR, **daily)
        shared.push(remove=["u1"], age=12 * HOUR, **daily)
        shared.settles("heap_daily", set())
        shared.push(add=["u1"], age=HOUR, **daily)
        shared.settles("heap_daily", {"u1"})

    @fails_on_files("a task id has one life")
    def test_a_replay_of_an_earlier_day_is_of_that_day(self, shared: Site) -> None:
        segment: dict[str, Any] = {"segment_id": 11, "name": "Replayed"}
        shared.push(add=["u1"], task="word", age=23 * HOUR, **segment)
        shared.push(remove=["u1"], task="word", age=15 * HOUR, **segment)
        shared.push(add=["u1"], task="word", age=HOUR, **segment)
        shared.push(remove=["u1"], task="between", age=8 * HOUR, **segment)
        shared.settles("heap_replayed", {"u1"})
        shared.push(add=["u1"], task="word", age=23 * HOUR, **segment)  # the third day's page stays where it is
        shared.push(add=["u2"], task="later", **segment)
        shared.settles("heap_replayed", {"u1", "u2"})

    @pytest.mark.parametrize("command", [("POST", "/drain"), ("DELETE", "")], ids=["drain", "delete"])
    @fails_on_files("the wall clock says where an operator's command is placed")
    def test_a_clock_that_is_two_hours_ahead_of_the_senders_voids_nothing(
        self, site: Site, command: tuple[str, str]
    ) -> None:
        site.push(add=["old"], age=2 * HOUR)
        method, path = command
        site.operate(method, list_path(LIST) + path)
        site.push(add=["new"], age=2 * HOUR - 5)
        site.settles(LIST, {"new"})


class TestDeletions:
    @fails_on_files("a page that was taken before makes the list again")
    def test_a_replay_does_not_make_a_deleted_list_again(self, shared: Site) -> None:
        gone: dict[str, Any] = {"segment_id": 12, "name": "Gone"}
        shared.push(add=["a"], task="one", age=30, **gone)
        shared.operate("DELETE", list_path("heap_gone"))
        shared.push(add=["a"], task="one", age=30, **gone)
        assert "heap_gone" not in shared.lists()
        shared.push(add=["b"], task="two", age=-1, **gone)
        shared.settles("heap_gone", {"b"})

    @either_side
    def test_it_stays_deleted_when_the_store_is_lost(self, shared: Site) -> None:
        for number, name in ((13, "Ended"), (14, "Lasting")):
            shared.push(add=["a"], segment_id=number, name=name)
        shared.operate("DELETE", list_path("heap_ended"))
        shared.lose_store()
        shared.push(add=["b"], segment_id=14, name="Lasting")
        shared.settles("heap_lasting", {"a", "b"}, broken=True)
        assert "heap_ended" not in shared.lists()


@either_side
def test_an_erasure_holds_through_a_loss_a_restart_and_a_late_page(shared: Site) -> None:
    segment: dict[str, Any] = {"segment_id": 15, "name": "Erased"}
    shared.push(add=["alice", "bob"], task="one", pages=2, age=60, **segment)
    shared.operate("POST", "/erase", {"id": "alice"})
    shared.lose_store()
    shared.restart_receiver()
    shared.push(add=["alice", "carol"], task="one", page=2, pages=2, age=50, **segment)
    shared.settles("heap_erased", {"bob", "carol"}, broken=True)
    shared.wait_until_ready()
    assert shared.members("heap_erased") == {"bob", "carol"}
    shared.push(add=["alice"], age=-1, **segment)
    shared.settles("heap_erased", {"alice", "bob", "carol"})


@either_side
def test_aliases_modes_and_activity_come_back_when_the_store_is_lost(shared: Site) -> None:
    segment: dict[str, Any] = {"segment_id": 16, "name": "Described"}
    shared.push(add=["a"], **segment)
    shared.operate("PATCH", list_path("heap_described"), {"aliases": ["vwo:1"], "mode": "snapshot", "active": False})
    shared.lose_store()
    shared.push(add=["a", "b"], **segment)
    shared.settles("heap_described", {"a", "b"}, broken=True)
    shown = shared.lists()["heap_described"]
    assert (shown["aliases"], shown["mode"], shown["active"]) == (["vwo:1"], "snapshot", False)
    assert shown["segment_id"] == "16"
