"""Which core does what, what a process used, and what machine this is."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import ROOT

WORKER_CORE, LOAD_CORE = 0, 1
NODE_SERVICE = Path(__file__).parent / "node"

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def on_worker_core(command: list[str]) -> list[str]:
    """`command`, held to the core of the worker under test from its first instruction, with all that it starts."""
    return ["taskset", "-c", str(WORKER_CORE), *command]


class Usage(NamedTuple):
    cpu_seconds: float
    memory_mb: float


def usage(pid: int) -> Usage:
    """What the process and those it started have used, and the memory they hold (resident, of 10^6 bytes)."""
    cpu, memory = 0.0, 0.0
    for member in _family(pid):
        place = Path(f"/proc/{member}")
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        cpu += (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND  # user, system
        found = re.search(r"^VmRSS:\s+(\d+) kB", (place / "status").read_text(), re.MULTILINE)
        memory += int(found[1]) * 1024 / 1e6 if found else 0.0
    return Usage(cpu, memory)


def worker_core_seconds() -> float:
    """How long the worker's core has been at work for anybody, or for another machine on the same hardware."""
    line = re.search(rf"^cpu{WORKER_CORE} (.+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    assert line is not None
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, line[1].split())
    return (user + nice + system + irq + softirq + steal) / _TICKS_A_SECOND


def children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _words(task / "children")]


def _family(pid: int) -> list[int]:
    return [pid, *(member for child in children(pid) for member in _family(child))]


def _words(path: Path) -> list[str]:
    return path.read_text().split()


def describe(store_version: str) -> dict[str, str]:
    """The machine and the versions, as the report names them."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    ioredis = json.loads((NODE_SERVICE / "package.json").read_text())["dependencies"]["ioredis"]
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "store": store_version,
        "redis-benchmark": _version(["redis-benchmark", "--version"]),
        "nginx": _version(["nginx", "-v"]),
        "wrk": _version(["wrk", "-v"]),
        "Node": f"{_version(['node', '--version'])}, ioredis {ioredis}",
        "revision": _version(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], pattern=r"^[0-9a-f]+$"),
    }


def _version(command: list[str], *, pattern: str = r"\d+\.\d[\w.+-]*") -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    found = re.search(pattern, done.stdout + done.stderr, re.MULTILINE)
    return found[0] if found else "unknown"
