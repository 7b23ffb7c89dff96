"""What is published is found on a cluster, too, and by a user who may do no more than docs/redis.md lists."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from fme_client.identity import get_uuid
from foundation.settings import ServiceSettings
from foundation.store import connect
from published.campaigns import TESTING, Campaign, Campaigns, Variation
from published.references import Reference, References
from published.visitors import VisitorMap
from tests.support.cluster import running_cluster
from tests.support.ports import free_ports
from tests.support.processes import ROOT
from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ACCOUNTS = ("123456", "7", "eight")


@contextlib.contextmanager
def restricted(directory: Path) -> Iterator[Mapping[str, str]]:
    rules = re.search(r"ACL SETUSER cohort-gateway (.+)", (ROOT / "docs" / "redis.md").read_text())
    assert rules is not None
    server = Server(directory / "server", free_ports(1)[0])
    server.start("--user", "cohort-gateway", *rules[1].split())
    try:
        yield {"REDIS_URL": f"redis://cohort-gateway:a-long-password@127.0.0.1:{server.port}"}
    finally:
        server.kill()


@pytest.fixture(params=["cluster", "restricted user"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    if request.param == "cluster":
        with running_cluster(tmp_path) as cluster:
            yield {name.lower(): value for name, value in cluster.settings.items()}
    else:
        with restricted(tmp_path) as found:
            yield {name.lower(): value for name, value in found.items()}


async def test_names_references_and_users(settings: dict[str, Any]) -> None:
    store = connect(ServiceSettings(**settings))
    campaigns, references, visitors = Campaigns(store), References(store), VisitorMap(store)
    try:
        for account in ACCOUNTS:
            known = {
                str(number): Campaign(f"{account}-{number}", TESTING, {"1": Variation("control", "rule")})
                for number in range(20)
            }
            users = {get_uuid(f"{account}-{number}", account): f"{account}-{number}" for number in range(20)}
            reference = Reference("list", account, "rule", "variable")
            await campaigns.publish(account, known)
            await references.publish(account, "production", [reference])
            for _ in range(2):
                await visitors.put(account, users, most=20)  # the second time some are old ones

            assert await campaigns.find(account, known) == known
            assert await references.of_account(account) == [reference]
            assert await references.has(account, "production")
            last = list(users)[-5:]
            assert await visitors.users_of(account, last) == [users[visitor] for visitor in last]
            assert await visitors.forget(account, last[-1])
            assert await visitors.users_of(account, last[-1:]) == [None]
    finally:
        await store.aclose()
