"""A person who asks to be forgotten is forgotten once the commands were run that the first of them names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx

from fme_client.identity import get_uuid
from tests.support.heap import SECRET, Heap
from tests.support.processes import cohort_sync, gateway, run_program, running_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    import redis

ACCOUNT = "123456"
WHO = "a-person-who-wants-to-be-forgotten"


def kept(store: redis.Redis, text: str) -> list[bytes]:
    """The keys whose value, or name, holds `text`."""
    return [key for key in store.scan_iter(count=1000) if text.encode() in key + (store.dump(key) or b"")]


def test_what_cohort_sync_and_the_gateway_know_of_a_person_is_erased_by_the_two_commands(tmp_path: Path) -> None:
    visitor = get_uuid(WHO, ACCOUNT)
    with running_store("--rdbcompression", "no") as server, server.client() as store:
        settings = {"REDIS_URL": server.url, "ACCOUNT_ID": ACCOUNT, "ADMIN_TOKEN": "a token"}
        events = {"FORWARD_EVENTS": "true", "FORWARD_HERE": "false"}
        with (
            cohort_sync(tmp_path, settings | {"HEAP_WEBHOOK_SECRET": SECRET}) as lists,
            gateway(tmp_path, settings | events) as asked,
            httpx.Client(base_url=asked.address) as client,
        ):
            Heap(lists.address).sync(add=[WHO, "bob"])
            question = {"featureKey": "premium_dashboard", "userId": WHO, "customVariables": {"heap_user_id": WHO}}
            assert client.post("/server-side/getFlag", json=question).json()["isEnabled"]
            assert client.post("/user-alias/setUserAlias", json={"userId": WHO, "aliasId": "x"}).json()["isAliasSet"]
            until(lambda: len(kept(store, WHO)) >= 3, what="the list, the alias and the visitor")
            assert kept(store, visitor)

            where = {"COHORT_SYNC_ADMIN_PORT": lists.addresses[1].rpartition(":")[2]}
            told = run_program(["cohort_sync", "erase", WHO, "--yes"], settings | where, directory=tmp_path).stdout
            assert "cohort-gateway erase" in told
            assert "heap-export erase" in told
            again = ["cohort_sync", "erase", WHO, "--yes", "--json"]
            receipt = json.loads(run_program(again, settings | where, directory=tmp_path).stdout)
            assert receipt["run_too"] == ["cohort-gateway erase", "heap-export erase"]

            done = run_program(["gateway", "erase", WHO, "--yes"], settings | events, directory=tmp_path)
            assert done.returncode == 0, done.stderr
            assert kept(store, WHO) + kept(store, visitor) == []
            assert WHO not in lists.log() + asked.log()
