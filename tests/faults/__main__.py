"""`scripts/check_faults`: every fault of the store under load, each for a while, with the times of all answers."""

from __future__ import annotations

import math
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pytest
import typer

from tests.faults.faults import FAULTS
from tests.faults.trial import play
from tests.write_side.sides import SIDES

if TYPE_CHECKING:
    from collections import Counter

    from tests.faults.trial import Report

_LONGEST_MS = 150  # the deadline of 100 ms, and 50 to answer
_MOST_SHOWN = 10
_TITLES = (
    *("fault", "answers", "meanwhile", "slowest, ms (of them the client's own)", f"over {_LONGEST_MS} ms"),
    *("forgotten", "seen after", "over after", "`/readyz` meanwhile; after"),
)

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    seconds: Annotated[float, typer.Option(min=1, help="how long a fault lasts; `paused` three times that")] = 10.0,
    rate: Annotated[float, typer.Option(min=1, help="checks a second")] = 500.0,
    only: Annotated[str, typer.Option(help="names of faults with commas between them")] = "",
    write_side: Annotated[str, typer.Option(help=f"one of {', '.join(SIDES)}")] = "files",
) -> None:
    """Break the store in every way while checks are asked; no answer may be wrong."""
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := set(wanted) - {fault.name for fault in FAULTS}:
        raise typer.BadParameter(f"no such fault: {', '.join(unknown)}")
    if write_side not in SIDES:
        raise typer.BadParameter(f"no such write side: {write_side}")
    wrong, rows = 0, []
    for fault in FAULTS:
        if wanted and fault.name not in wanted:
            continue
        # Not deep below: a socket's path must be short.
        with tempfile.TemporaryDirectory(prefix="fault") as name:
            try:
                report = play(fault, Path(name), SIDES[write_side], rate=rate, seconds=seconds * fault.times)
            except pytest.skip.Exception as skipped:
                typer.echo(f"{fault.name}: {skipped}")
                continue
        rows.append(_row(report))
        typer.echo(rows[-1])
        found = report.violations()
        wrong += len(found)
        for text in found[:_MOST_SHOWN]:
            typer.echo(f"  WRONG {text}")
    typer.echo(f"\n{rate:g} checks a second, {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}; {wrong} wrong\n")
    typer.echo(f"| {' | '.join(_TITLES)} |\n|{'---|' * len(_TITLES)}")
    typer.echo("\n".join(rows))
    sys.exit(1 if wrong else 0)


def _row(report: Report) -> str:
    slowest = report.slowest()
    cells = [
        report.fault.name,
        str(len(report.answers)),
        _told(report.states(report.begun, report.mended)),
        f"{slowest.seconds * 1000:.0f} ({slowest.late * 1000:.0f})",
        str(report.over(_LONGEST_MS / 1000)),
        str(report.forgotten()),
        f"{report.noticed() * 1000:.0f} ms" if report.noticed() < math.inf else "never",
        f"{report.recovery() * 1000:.0f} ms",
        f"{report.readiness['meanwhile']}; {report.readiness['after']}",
    ]
    return f"| {' | '.join(cells)} |"


def _told(states: Counter[str]) -> str:
    return ", ".join(f"{state} {count}" for state, count in states.most_common())


if __name__ == "__main__":
    app()
