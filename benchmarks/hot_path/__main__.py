"""How fast the check route answers, beside what else answers or could: ratios, measured side by side in one run.

One worker on a core of its own; the load and the store share the other. It writes its part of docs/performance.md,
unless `--quick` or `--only` made it a partial one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.hot_path import contenders, machine, plot, report, targets
from benchmarks.hot_path.line_up import labels, line_up
from tests.support.processes import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance-hot-path.svg"

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
    parser.add_argument("--only", nargs="+", choices=known, metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help="a look while developing: short, without the large list")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (2 if options.quick else 8)
    return options


def main() -> None:
    options = arguments(list(labels(0)))
    if lacking := [program for program in _PROGRAMS if shutil.which(program) is None]:
        raise SystemExit(f"error: not on the PATH: {', '.join(lacking)}; scripts/bench installs them, or says how")
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("error: the worker needs a core of its own; this machine has one")
    named = labels(options.members_large)
    names = chosen(options.only, list(named), quick=options.quick)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the servers are stopped on the way out
    os.sched_setaffinity(0, {machine.LOAD_CORE})
    started, rounds = time.monotonic(), []
    with (
        tempfile.TemporaryDirectory(prefix="bench") as directory,
        line_up(Path(directory), names, options.members_large) as servers,
    ):
        described = machine.describe(servers.store.version())
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            rounds.append(servers.round(names, seconds=options.seconds))
    text = report.section(
        targets=targets.targets(options.members_large),
        labels=named,
        rounds=rounds,
        seconds=options.seconds,
        command=" ".join(["scripts/bench", *sys.argv[1:]]),
        machine=described,
    )
    say(f"\n{text}\n\n{(time.monotonic() - started) / 60:.1f} minutes")
    if options.quick or options.only:
        say("docs/performance.md stays as it is: this was a partial run")
        return
    report.put_between_markers(DOCUMENT, text)
    PLOT.write_text(plot.svg(named, rounds))
    say("written: docs/performance.md, docs/performance-hot-path.svg")


if __name__ == "__main__":
    main()
