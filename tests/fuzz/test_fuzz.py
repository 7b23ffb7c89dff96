"""A short run of `scripts/fuzz_webhook`; docs/reliability.md has a long one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.fuzz.run import Target, fuzz, settings
from tests.support.processes import StoreServer, cohort_sync, wait_until_recovered


def test_a_few_hundred_odd_requests() -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        store = StoreServer(Path(name), "--enable-debug-command", "yes")
        store.start()
        try:
            with cohort_sync(Path(name), settings(store.url)) as program, store.client() as client:
                wait_until_recovered(program)
                tally = fuzz(Target(program, client), seed=300, start=0, count=400)
        finally:
            store.kill()
    assert tally.requests == 400
    assert {"200", "400", "403"} <= tally.answers.keys()
