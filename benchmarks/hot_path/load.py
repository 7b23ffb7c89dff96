"""Put a server under load with wrk, redis-benchmark or the open loop, from the core of the load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.hot_path.machine import on_worker_core
from benchmarks.hot_path.open_loop import Outcome
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from benchmarks.hot_path.questions import Lists

CONNECTIONS = 64

_REQUESTS = Path(__file__).with_name("requests.lua")


class Saturation(NamedTuple):
    """As many requests as the server takes, each connection asking again as soon as it is answered."""

    rate: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int


def wrk(address: str, lists: Lists, *, seconds: int) -> Saturation:
    """Checks of `lists`."""
    return _wrk(address, [str(lists.members), *lists.names], seconds=seconds)


def wrk_requests(address: str, file: Path, *, seconds: int, connections: int = CONNECTIONS) -> Saturation:
    """Whole requests from `file`, in turn, with a NUL between two of them."""
    return _wrk(address, ["from", str(file)], seconds=seconds, connections=connections)


def _wrk(address: str, arguments: list[str], *, seconds: int, connections: int = CONNECTIONS) -> Saturation:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_REQUESTS), address, "--", *arguments]
    found = json.loads(_last_line(command))
    rate = found["requests"] / found["seconds"]
    return Saturation(rate, found["p50_ms"], found["p99_ms"], found["requests"], found["failed"])


def redis_benchmark(port: int, key: str, members: int, *, requests: int) -> Saturation:
    """It takes the place of the worker, with a core of its own beside the store's: nobody asks it, it only asks."""
    command = ["redis-benchmark", "-p", str(port), "-c", str(CONNECTIONS), "-P", "1", "-n", str(requests)]
    command += ["-r", str(2 * members), "--csv", "SISMEMBER", key, "user-__rand_int__"]
    line = _last_line(on_worker_core(command))
    # "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
    rate, _, _, p50, _, p99, _ = (float(field.strip('"')) for field in line.split(",")[1:])
    return Saturation(rate, p50, p99, requests, 0)


def open_loop(address: str, lists: Lists, *, rate: int, seconds: int, always_true: bool) -> Outcome:
    command = [sys.executable, "-m", "benchmarks.hot_path.open_loop", address]
    command += ["--rate", str(rate), "--seconds", str(seconds), "--connections", str(CONNECTIONS)]
    command += ["--members", str(lists.members), "--lists", *lists.names]
    return Outcome(**json.loads(_last_line([*command, "--always-true"] if always_true else command)))


def _last_line(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        raise SystemExit(f"error: {command[0]} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()[-1]
