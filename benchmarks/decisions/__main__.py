"""Decisions a second of our evaluation, of the official Python SDK and of the Node SDK, in turns, in one run.

`python -m benchmarks.decisions [--rounds 5] [--seconds 1]`. Network calls of the SDKs are answered at once in the same
process, so that deciding is measured, with what each SDK does about it (checks of its arguments, log lines, events).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.decisions.workloads import workloads
from fme_client.evaluation import Settings, answer_with, decide
from tests.decisions.comparison import compare, context_of
from tests.decisions.node import NodeSdk
from tests.support.official_sdk import install_official

TARGETS = {"official Python SDK": 5.0, "Node SDK": 0.5}

Measure = Callable[[dict[str, Any], float], float]


def ours(job: dict[str, Any], seconds: float) -> float:
    """Decisions a second; making the context and looking at the variables belong to a decision."""
    settings = Settings.parse(job["settings"])
    decisions, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for case in job["cases"]:
            decision = answer_with(
                decide(settings, case["flag"], context_of(case)), lambda question: question.unanswered
            )
            assert decision.is_enabled is bool(decision.variables)
        decisions += len(job["cases"])
    return decisions / (time.perf_counter() - began)


class Official:
    """The official Python SDK, in a process of its own."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("official.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", program, install_official()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, job: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        # Its threads would keep it.
        self._process.kill()
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each contender in each round")
    arguments = parser.parse_args()
    with NodeSdk() as node:
        official = Official()
        asked: dict[str, Callable[[dict[str, Any]], Any]] = {
            "official Python SDK": official.ask,
            "Node SDK": node.decide,
        }
        contenders: dict[str, Measure] = {"ours": ours} | {name: _measured(ask) for name, ask in asked.items()}
        print("| settings | ours | official Python SDK | Node SDK | ours / official | ours / Node |")
        print("|---|---|---|---|---|---|")
        worst = dict.fromkeys(TARGETS, float("inf"))
        for name, job in workloads().items():
            assert compare(job, node.decide(job)) == [], "we decide otherwise than the Node SDK"
            rounds = [
                {who: run(job, arguments.seconds) for who, run in contenders.items()} for _ in range(arguments.rounds)
            ]
            ratios = {who: statistics.median(one["ours"] / one[who] for one in rounds) for who in TARGETS}
            worst = {who: min(worst[who], ratio) for who, ratio in ratios.items()}
            speeds = [f"{statistics.median(one[who] for one in rounds):,.0f}" for who in contenders]
            print(f"| {name} | {' | '.join(speeds)} | {' | '.join(f'{ratio:.1f}' for ratio in ratios.values())} |")
        official.close()
    for who, target in TARGETS.items():
        print(f"worst ratio to the {who}: {worst[who]:.1f}, wanted {target}")
    sys.exit(any(worst[who] < target for who, target in TARGETS.items()))


def _measured(ask: Callable[[dict[str, Any]], Any]) -> Measure:
    def measure(job: dict[str, Any], seconds: float) -> float:
        answer = ask({**job, "measure": seconds})
        return float(answer["decisions"] / answer["seconds"])

    return measure


if __name__ == "__main__":
    main()
