"""Whatever happens to the store, a check is answered, and no answer is one that was known to be wrong.

`scripts/check_faults` is the long run, with the times that these tests say nothing of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.faults import FAULTS, Fault, lose_names
from tests.faults.sites import Names, by_name, one_server
from tests.faults.trial import play
from tests.support import http
from tests.support.processes import gateway
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

RATE = 300.0  # checks a second
SECONDS = 0.7  # that a fault lasts; `paused`: three times that


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_checks_during_a_fault(fault: Fault, tmp_path: Path) -> None:
    report = play(fault, tmp_path, rate=RATE, seconds=SECONDS * fault.times)
    assert report.violations() == []
    assert report.states(report.mended, report.answers[-1].sent)["in"] > 0


def test_what_changed_while_cut_off_is_not_served_in_the_next_outage(tmp_path: Path) -> None:
    """The gateway was connected in between, though nobody asked about the list: what it knew of it is out of date."""
    with by_name(tmp_path) as site:
        site.push(add=["ann", "bob"])
        until(lambda: (site.check("ann"), site.check("bob")) == ("in", "in"), what="both to be in")
        lose_names(site)
        until(lambda: site.check("ann") == "stale_in", what="the gateway to be cut off")
        site.push(remove=["ann"])
        site.other(Names).answer()
        until(lambda: site.readiness()[1] == {"status": "ok"}, what="the gateway to be connected")
        site.one_server.kill()
        assert {site.check("ann") for _ in range(20)} == {"store_down"}


def test_a_name_that_resolves_only_later(tmp_path: Path) -> None:
    with by_name(tmp_path, known=False) as site:
        site.push(add=["ann"])
        assert {site.check("ann") for _ in range(20)} == {"store_down"}
        assert site.readiness() == (200, {"status": "degraded", "reasons": ["store_down"]})
        site.other(Names).answer()
        until(lambda: site.check("ann") == "in", what="ann to be in")
        # What could not be looked up meanwhile is told on for a while.
        until(lambda: site.readiness()[1].get("reasons", []) in ([], ["lookups_failed"]), what="the gateway to be well")


def test_a_name_that_the_systems_resolver_does_not_know(tmp_path: Path) -> None:
    with gateway(tmp_path, {"REDIS_URL": "redis://store.invalid:6379"}) as program:
        answers = [http.get(f"{program.address}/check-attribute?attribute=a&listId=b") for _ in range(20)]
        readiness = http.get(f"{program.address}/readyz")
    assert {(answer.status_code, answer.text, answer.headers["X-Membership"]) for answer in answers} == {
        (200, "false", "store_down")
    }
    assert (readiness.status_code, readiness.json()["reasons"]) == (200, ["store_down"])


@pytest.mark.parametrize("setting", ["LAST_KNOWN_ANSWERS", "SERVE_STALE_FOR"])
def test_last_known_answers_can_be_turned_off(setting: str, tmp_path: Path) -> None:
    with one_server(tmp_path, **{setting: "0"}) as site:
        site.push(add=["ann"])
        until(lambda: site.check("ann") == "in", what="ann to be in")
        site.one_server.kill()
        assert {site.check("ann") for _ in range(20)} == {"store_down"}


def test_last_known_answers_grow_old(tmp_path: Path) -> None:
    with one_server(tmp_path, SERVE_STALE_FOR="1.5") as site:
        site.push(add=["ann"])
        until(lambda: site.check("ann") == "in", what="ann to be in")
        site.one_server.kill()
        assert site.check("ann") in ("stale_in", "store_down")
        until(lambda: site.check("ann") == "store_down", what="what is known to be too old")


def test_no_more_answers_are_remembered_than_wanted(tmp_path: Path) -> None:
    people = [f"member-{number}" for number in range(300)]
    with one_server(tmp_path, LAST_KNOWN_ANSWERS="100") as site:
        site.push(add=people)
        until(lambda: {site.check(who) for who in people} == {"in"}, what="all to be in")
        site.one_server.kill()
        states = [site.check(who) for who in people]
    assert set(states) <= {"stale_in", "store_down"}
    assert 0 < states.count("stale_in") <= 110
