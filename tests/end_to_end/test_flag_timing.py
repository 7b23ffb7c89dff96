"""The real VWO SDK never waits, whatever the value: not for the 2 s of its first retry, not for anything near it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.conftest import running
from tests.node.node_sdk import STACKS, Evaluation, Stack, evaluate, install_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.end_to_end.installation import Installation

PLAIN = ("alice", "42", "carol@example.com", "5b1afb67-fb4e-4ff4-937d-761d2da55344")
ODD = ("José", "JosÃ©", "a+b@x.com", "a&b", "a&listId=other", "100%", "a,b")
OTHERS = ("dave", "Jose", "b@x.com", "other")
CUT_SHORT = ("a#b",)  # fetch sends nothing after `#`
UNSENT = ("a b", "中文")  # Node's http refuses to send these at all
_LONGEST_MS = 1500.0


@pytest.fixture(scope="module", autouse=True)
def _node_packages() -> None:
    install_packages()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One for all: who was pushed by one test harms no other."""
    with running(tmp_path_factory.mktemp("installation")) as started:
        yield started


def ask(stack: Stack, installation: Installation, values: tuple[str, ...], **options: object) -> Evaluation:
    contexts = [{"id": value, "customVariables": {"heap_user_id": value}} for value in values]
    return evaluate(stack, installation.gateway, contexts, options=options)


def show(stack: Stack, result: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"  {decision.ms:7.1f} ms  {decision.id!r}: {decision.enabled}" for decision in result.decisions]
    with capsys.disabled():
        print("\n".join([f"\ngetFlag, {stack}:", *lines]))  # noqa: T201 - what the test is about


@pytest.mark.parametrize("stack", STACKS)
def test_values_that_arrive_are_decided_at_once(
    stack: Stack, installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    members = (*PLAIN, *ODD, *(CUT_SHORT if stack == "cjs" else UNSENT))
    installation.push(add=members)
    result = ask(stack, installation, (*members, *OTHERS))
    show(stack, result, capsys)
    assert result.enabled == set(members)
    assert max(decision.ms for decision in result.decisions) < _LONGEST_MS
    # One call a decision, each answered 200, no second attempt.
    assert result.complaints == []
    assert [call.status for call in result.requests_to("/check-attribute")] == [200] * len(result.decisions)


def test_a_value_that_fetch_cuts_short_is_false_at_once(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    installation.push(add=(*PLAIN, *CUT_SHORT))
    result = ask("esm", installation, (*CUT_SHORT, *PLAIN))
    show("esm", result, capsys)
    assert result.enabled == set(PLAIN)
    assert max(decision.ms for decision in result.decisions) < _LONGEST_MS
    assert {call.status for call in result.requests_to("/check-attribute")} == {200}


def test_a_value_that_nodes_http_can_not_send_is_false(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing reaches the gateway. The SDK tries for 14 s, so here it is told not to."""
    installation.push(add=(*PLAIN, *UNSENT))
    result = ask("cjs", installation, (*UNSENT, *PLAIN), retryConfig={"shouldRetry": False})
    show("cjs", result, capsys)
    assert result.enabled == set(PLAIN)
    assert max(decision.ms for decision in result.decisions) < _LONGEST_MS
    assert len(result.requests_to("/check-attribute")) == len(PLAIN)
