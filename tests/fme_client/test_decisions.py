"""Our decisions are those of the real Node SDK. `scripts/check_decisions` is the long run of the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.decisions.__main__ import run
from tests.decisions.builders import TESTING, campaign, flag
from tests.decisions.comparison import compare
from tests.decisions.generator import job
from tests.decisions.node import NodeSdk
from tests.decisions.regexes import regex_job
from tests.decisions.shrinking import smallest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DECISIONS = 3000


@pytest.fixture(scope="module")
def node() -> Iterator[NodeSdk]:
    with NodeSdk() as sdk:
        yield sdk


@pytest.mark.parametrize("make", [job, regex_job])
def test_random_flags_are_decided_as_the_node_sdk_decides_them(
    node: NodeSdk, make: Callable[[str], dict[str, Any]]
) -> None:
    states = set()
    for name, theirs, mismatches in run(node, DECISIONS, seed=4, make=make):
        states |= {result["enabled"] for result in theirs["results"]}
        for mismatch in mismatches:
            small = smallest(mismatch, node)
            pytest.fail(f"settings {name}: {small.what}\n{json.dumps(small.job)}\n{small.ours}\n{small.theirs}")
    assert states == {True, False}


@pytest.mark.parametrize("length", range(9))
@pytest.mark.parametrize("filling", ["a", "é", "日", "😀", "\ud83d", "a\ude00"])
def test_users_of_any_script_fall_into_the_same_buckets(node: NodeSdk, filling: str, length: int) -> None:
    """The hash takes whole words of four bytes, then what is left."""
    job: dict[str, Any] = {
        "settings": flag(campaign(TESTING, 1, weights=(5,) * 20, salt=f"s{filling}")),
        "lists": {},
        "cases": [
            {"flag": "flag", "context": {"id": f"{filling * length}{n}"}, "stored": {}, "details": {}}
            for n in range(20)
        ],
    }
    assert compare(job, node.decide(job)) == []
