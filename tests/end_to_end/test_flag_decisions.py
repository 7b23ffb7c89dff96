"""The point of it all: a segment of Heap decides what the real VWO SDK answers, on both of its network stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.conftest import running
from tests.end_to_end.installation import LIST, SETTINGS_FILE
from tests.node.node_sdk import STACKS, Evaluation, Stack, evaluate, install_packages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.installation import Installation

MEMBERS = ("alice", "bob", "carol@example.com", "5b1afb67-fb4e-4ff4-937d-761d2da55344")
OTHERS = ("dave", "Alice", "alic", "carol", "1338065")
DASHBOARD_ID = "67c858b8b8556:1741183160"
EVERYONE = MEMBERS + OTHERS


@pytest.fixture(scope="module", autouse=True)
def _node_packages() -> None:
    install_packages()


def ask(stack: Stack, installation: Installation) -> Evaluation:
    """What the flag is for everyone, and for a visitor of whom nothing is known."""
    contexts = [{"id": f"visitor-of-{name}", "customVariables": {"heap_user_id": name}} for name in EVERYONE]
    result = evaluate(stack, installation.gateway, [*contexts, {"id": "visitor-of-nobody"}])
    assert [decision.id for decision in result.decisions] == [f"visitor-of-{name}" for name in (*EVERYONE, "nobody")]
    return result


def on_for(result: Evaluation) -> set[str]:
    return {identifier.removeprefix("visitor-of-") for identifier in result.enabled}


@pytest.mark.parametrize("stack", STACKS)
def test_flag_follows_the_segment(stack: Stack, installation: Installation) -> None:
    before = ask(stack, installation)
    assert on_for(before) == set()

    installation.push(add=MEMBERS)
    pushed = ask(stack, installation)
    assert on_for(pushed) == set(MEMBERS)
    for decision in pushed.decisions:
        layout = [variable["value"] for variable in decision.variables if variable["key"] == "layout"]
        assert layout == (["premium"] if decision.enabled else [])

    installation.push(remove=[MEMBERS[1]])
    left = ask(stack, installation)
    assert on_for(left) == set(MEMBERS) - {MEMBERS[1]}

    for result in (before, pushed, left):
        assert_untroubled(result, installation)


@pytest.mark.parametrize("stack", STACKS)
def test_decisions_survive_the_death_of_everything(stack: Stack, installation: Installation) -> None:
    installation.push(add=MEMBERS)
    installation.push(remove=[MEMBERS[0]])
    expected = set(MEMBERS) - {MEMBERS[0]}
    assert on_for(ask(stack, installation)) == expected

    installation.kill()
    installation.start()

    result = ask(stack, installation)
    assert on_for(result) == expected
    assert_untroubled(result, installation)


@pytest.mark.parametrize("stack", STACKS)
def test_a_rule_may_name_the_list_by_the_id_of_vwos_dashboard(stack: Stack, tmp_path: Path) -> None:
    sample = SETTINGS_FILE.read_text()
    assert f"inlist({LIST})" in sample
    settings_file = tmp_path / "settings.json"
    settings_file.write_text(sample.replace(f"inlist({LIST})", f"inlist({DASHBOARD_ID})"))
    with running(tmp_path, settings_file=settings_file) as installation:
        installation.push(add=MEMBERS)
        assert on_for(ask(stack, installation)) == set()

        installation.operate("segments", "set", LIST, "--alias", DASHBOARD_ID)

        result = ask(stack, installation)
        assert on_for(result) == set(MEMBERS)
        assert_untroubled(result, installation)


def assert_untroubled(result: Evaluation, installation: Installation) -> None:
    """The SDK talked to the gateway alone, each call was answered 200 at once, and its log holds no complaint."""
    assert result.complaints == []
    assert {request.host for request in result.requests} == {installation.gateway.removeprefix("http://")}
    assert {request.status for request in result.requests} == {200}
    # One call a decision and no second attempt; without the custom variable the SDK doesn't ask.
    assert len(result.requests_to("/check-attribute")) == len(EVERYONE)
    assert len(result.requests_to("/server-side/v2-settings")) == 1
    # One for the start of the SDK, one for each flag that is on.
    assert len(result.requests_to("/events/t")) == 1 + len(result.enabled)
