"""How long `get_flag` takes with one list check over loopback: the Python client next to the Node SDK, in one run.

The gateway and its store share a core, the asking process has the other. Rounds alternate, so that all meet the same
machine. Half of the users are members; their exposures are sent in the background, as in an application. Both SDKs ask
for user details before the list; a third line shows our client where the context brings them along.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from fme_client import init
from tests.node.node_sdk import HERE, install_packages
from tests.support.processes import gateway, running_store

if TYPE_CHECKING:
    from fme_client import Client

ACCOUNT, LIST, FLAG = "123456", "heap_premium_users", "premium_dashboard"
GATEWAY_CORE, ASKING_CORE = 0, 1
IDENTITY = {"account_id": ACCOUNT, "sdk_key": "sample_sdk_key"}


def contexts(count: int) -> list[dict[str, Any]]:
    """Every other one is a member."""
    return [{"id": f"user-{at}", "customVariables": {"heap_user_id": f"value-{at}"}} for at in range(count)]


def of_python(client: Client, asked: list[dict[str, Any]]) -> list[float]:
    took = []
    for at, context in enumerate(asked):
        started = time.perf_counter()
        flag = client.get_flag(FLAG, context)
        took.append((time.perf_counter() - started) * 1000)
        assert flag.is_enabled() == (at % 2 == 0), context
    return took


class NodeSdk:
    """The Node SDK in a process of its own, on the asking core."""

    def __init__(self, address: str, asked: list[dict[str, Any]]) -> None:
        self._process = subprocess.Popen(
            ["taskset", "-c", str(ASKING_CORE), "node", str(HERE / "client_latency.cjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        options = {"accountId": ACCOUNT, "sdkKey": IDENTITY["sdk_key"], "gatewayService": {"url": address}}
        self._ask({"options": options, "flagKey": FLAG, "contexts": asked})

    def round(self) -> list[float]:
        took: list[float] = json.loads(self._ask("round"))
        return took

    def stop(self) -> None:
        self._process.communicate()

    def _ask(self, line: object) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def report(name: str, rounds: list[list[float]]) -> tuple[float, float]:
    """Print and return the medians over the rounds of p50 and p99, in milliseconds."""
    cuts = [statistics.quantiles(took, n=100) for took in rounds]
    p50, p99 = (statistics.median(cut[at] for cut in cuts) for at in (49, 98))
    worst = max(max(took) for took in rounds)
    print(
        f"{name:20} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   longest {worst:7.2f} ms   {len(rounds)} x {len(rounds[0])}"
    )
    return p50, p99


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flags", type=int, default=1000, help="get_flag calls a round")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    install_packages()
    asked = contexts(chosen.flags)
    with tempfile.TemporaryDirectory(prefix="latency") as name, running_store() as store:
        with store.client() as redis:
            redis.sadd(keys.REGISTRY_LISTS, keys.qualified(ACCOUNT, LIST))
            redis.hset(keys.about(ACCOUNT, LIST), "active", "1")
            redis.sadd(keys.members(ACCOUNT, LIST), *[f"value-{at}" for at in range(0, chosen.flags, 2)])
        os.sched_setaffinity(store.pid, {GATEWAY_CORE})
        with gateway(Path(name), {"REDIS_URL": store.url, "LOG_LEVEL": "ERROR"}) as served:
            os.sched_setaffinity(served.pid, {GATEWAY_CORE})
            os.sched_setaffinity(0, {ASKING_CORE})
            measure(served.address, asked, chosen.rounds)


def measure(address: str, asked: list[dict[str, Any]], rounds: int) -> None:
    node = NodeSdk(address, asked)
    ours: list[list[float]] = []
    informed: list[list[float]] = []
    theirs: list[list[float]] = []
    with_details = [{**context, "user_details": {"location": {"country": "France"}}} for context in asked]
    with init(IDENTITY, gateway_service=address) as client:
        of_python(client, asked)
        node.round()  # both are warm now
        for _ in range(rounds):
            ours.append(of_python(client, asked))
            client.flush()
            informed.append(of_python(client, with_details))
            client.flush()
            theirs.append(node.round())
    node.stop()
    report("details given", informed)
    of_ours, of_theirs = report("fme_client", ours), report("Node SDK 1.35", theirs)
    print(f"ratio to the Node SDK: p50 {of_ours[0] / of_theirs[0]:.2f}, p99 {of_ours[1] / of_theirs[1]:.2f}")


if __name__ == "__main__":
    main()
