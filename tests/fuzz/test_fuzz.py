"""A short run of `scripts/fuzz_webhook`; docs/reliability.md has a long one."""

from __future__ import annotations

from tests.fuzz.run import fuzz, fuzzed


def test_a_few_hundred_odd_requests() -> None:
    with fuzzed() as target:
        tally = fuzz(target, seed=300, start=0, count=400)
    assert tally.requests == 400
    assert {"200", "400", "403"} <= tally.answers.keys()
