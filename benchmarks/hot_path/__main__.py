"""How fast the gateway answers, beside what else answers or could: ratios, measured side by side in one run.

First the check route, then what else SDKs ask: `--only calls` for these alone, and a quarter of the seconds is theirs.
One worker on a core of its own; the load and the store share the other. It writes its parts of docs/performance.md,
each one that is whole, unless it is only a look (`--quick`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.hot_path import calls, calls_report, contenders, machine, plot, report, samples, targets
from benchmarks.hot_path.calls_turns import calls_line_up
from benchmarks.hot_path.line_up import labels, line_up
from tests.support.processes import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance-hot-path.svg"

ALL_CALLS = "calls"
_TURNS_A_ROUND = 4
_PROGRAMS = ("wrk", "nginx", "redis-benchmark", "taskset")


def say(line: str) -> None:
    print(line, flush=True)


def chosen(only: list[str] | None, known: list[str], *, quick: bool) -> list[str]:
    names = [name for name in known if not only or name in only]
    if quick and not only:
        names.remove(targets.LARGE)
    if targets.NODE in names:
        if shutil.which("node") is None:
            say("not measured: the Node service, since Node (20 or newer) is not installed")
            names.remove(targets.NODE)
        else:
            contenders.install_node_packages()
    return names


def arguments(known: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help="default: 5; quick: 1")
    parser.add_argument("--seconds", type=int, help="of each measurement; default: 8; quick: 2")
    parser.add_argument("--members-large", type=int, default=10_000_000, metavar="MEMBERS")
    parser.add_argument(
        "--only", nargs="+", choices=[*known, ALL_CALLS], metavar="NAME", help=f"of {', '.join(known)}, {ALL_CALLS}"
    )
    parser.add_argument("--quick", action="store_true", help="a look while developing: short, without the large list")
    options = parser.parse_args()
    if ALL_CALLS in (options.only or ()):
        options.only += calls.LABELS
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (2 if options.quick else 8)
    return options


class Run:
    """What is measured, and what becomes of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._labels = labels(options.members_large)
        names = chosen(options.only, [*self._labels, *calls.LABELS], quick=options.quick)
        self._names = [name for name in names if name in self._labels]
        self._calls = [name for name in names if name in calls.LABELS]
        self._call_seconds = max(1, options.seconds // 4)
        self._rounds: list[samples.Round] = []
        self._turns: list[samples.Round] = []
        self._call_rounds: list[samples.Round] = []
        self._told: dict[str, Any] = {"command": " ".join(["scripts/bench", *sys.argv[1:]])}

    def measure(self, directory: Path) -> None:
        """All rounds."""
        with contextlib.ExitStack() as started:
            servers = started.enter_context(line_up(directory, self._names, self._options.members_large))
            others = started.enter_context(calls_line_up(directory / "calls")) if self._calls else None
            self._told["machine"] = machine.describe(servers.store.version())
            for number in range(self._options.rounds):
                say(f"round {number + 1} of {self._options.rounds}")
                self._rounds.append(servers.round(self._names, seconds=self._options.seconds))
                if others is not None:
                    self._call_rounds.append(others.round(self._calls, seconds=self._call_seconds))
            for one, other in targets.PAIRS:
                if one in self._names and other in self._names:
                    say(f"by turns: {self._labels[one]} and {self._labels[other]}")
                    self._turns += servers.by_turns(one, other, turns=_TURNS_A_ROUND * self._options.rounds)

    def tell(self) -> None:
        """Print the sections, and write those that are whole."""
        if self._names:
            wanted = targets.targets(self._options.members_large)
            text = report.section(
                targets=wanted,
                labels=self._labels,
                rounds=self._rounds,
                turns=self._turns,
                seconds=self._options.seconds,
                **self._told,
            )
            if self._publish(report.MARK, text, is_whole=not self._options.only):
                PLOT.write_text(plot.svg(self._labels, self._rounds))
        if self._calls:
            text = calls_report.section(self._call_rounds, seconds=self._call_seconds, **self._told)
            self._publish(calls_report.MARK, text, is_whole=len(self._calls) == len(calls.LABELS))

    def _publish(self, mark: str, text: str, *, is_whole: bool) -> bool:
        say(f"\n{text}\n")
        is_written = is_whole and not self._options.quick
        if is_written:
            report.put_between_markers(DOCUMENT, mark, text)
        say(f"written: docs/performance.md, {mark}" if is_written else f"not written, since this is partial: {mark}")
        return is_written


def main() -> None:
    options = arguments([*labels(0), *calls.LABELS])
    if lacking := [program for program in _PROGRAMS if shutil.which(program) is None]:
        raise SystemExit(f"error: not on the PATH: {', '.join(lacking)}; scripts/bench installs them, or says how")
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("error: the worker needs a core of its own; this machine has one")
    run = Run(options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the servers are stopped on the way out
    os.sched_setaffinity(0, {machine.LOAD_CORE})
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        Path(directory).chmod(0o755)  # nginx's worker, which gives out a file of it, may be another user
        run.measure(Path(directory))
    run.tell()
    say(f"{(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
