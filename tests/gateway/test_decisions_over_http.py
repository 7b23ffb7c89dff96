"""A decision of `/server-side/getFlag` is the Node SDK's, for the same settings and user; the script compares more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.decisions.node import NodeSdk
from tests.gateway.deciding import deciding
from tests.gateway.decisions_over_http import SOME_SETTINGS, compare, fill

if TYPE_CHECKING:
    from pathlib import Path

    import redis

    from tests.support.processes import StoreServer

DECISIONS = 400
SEED = 7


def test_decisions_are_those_of_the_node_sdk(tmp_path: Path, store_server: StoreServer, store: redis.Redis) -> None:
    fill(store)
    compared = on = 0
    with NodeSdk() as node, deciding(tmp_path, store_server.url, SOME_SETTINGS) as gateway:
        for one in compare(gateway, node, SEED):
            assert one.difference is None, one
            compared += one.ours is not None
            on += bool(one.ours and one.ours["enabled"])
            if compared >= DECISIONS:
                break
    assert on > DECISIONS / 10
