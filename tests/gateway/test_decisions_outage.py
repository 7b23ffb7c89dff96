"""Decisions while the store is away: from what was known last, and otherwise as if nobody were in a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.decisions.builders import ROLLOUT, campaign, flag
from tests.gateway.conftest import Lists
from tests.gateway.deciding import deciding
from tests.support.processes import running_store

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = flag(campaign(ROLLOUT, 1, {"or": [{"custom_variable": {"plan": "inlist(heap_premium)"}}]}))


def test_a_flag_is_decided_from_what_was_known_last(tmp_path: Path) -> None:
    with running_store() as store, store.client() as client:
        Lists(client).put("heap_premium", "gold", "silver")
        with deciding(tmp_path, store.url, SETTINGS) as gateway:

            def ask(plan: str) -> tuple[bool, str | None]:
                body = {"featureKey": "flag", "userId": "alice", "customVariables": {"plan": plan}}
                answer = gateway.post("/server-side/getFlag", body)
                assert answer.status_code == 200
                return answer.json()["isEnabled"], answer.headers.get("X-Membership")

            assert ask("gold") == (True, None)
            store.kill()
            assert ask("gold") == (True, "stale_in")
            assert ask("silver") == (False, "store_down")  # nobody had asked about it before
            lists = gateway.as_operator("GET", "/admin/api/v1/lists")
            assert (lists.status_code, lists.json()["reason"]) == (503, "store_away")
            single = gateway.post(
                "/ofrep/v1/evaluate/flags/flag", {"context": {"targetingKey": "alice", "plan": "gold"}}
            )
            assert (single.json()["value"], single.headers["X-Membership"]) == (True, "stale_in")
