"""`scripts/crash_test`: kill receivers and stores during a stream of pushes, and look what is left of it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tests.crash.faults import FAULTS
from tests.crash.rounds import CrashTestError
from tests.crash.run import Run, table
from tests.write_side.sides import SIDES

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    kills: Annotated[int, typer.Option(min=1, help="how many things to kill")] = 200,
    seed: Annotated[int, typer.Option(help="another seed, another plan")] = 1,
    kinds: Annotated[str, typer.Option(help="kinds of kills with commas between them")] = ",".join(FAULTS),
    write_side: Annotated[str, typer.Option(help=f"one of {', '.join(SIDES)}")] = "files",
) -> None:
    """Kill receivers and stores at random moments; no acknowledged change may be lost, none may come up twice."""
    wanted = [kind.strip() for kind in kinds.split(",")]
    if unknown := [kind for kind in wanted if kind not in FAULTS]:
        raise typer.BadParameter(f"no such kind: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    if write_side not in SIDES:
        raise typer.BadParameter(f"no such write side: {write_side}; there are {', '.join(SIDES)}")
    run = Run(kills, seed, wanted, SIDES[write_side])
    try:
        run.play(typer.echo)
    except CrashTestError as error:
        typer.echo(f"FAILED\n{error}", err=True)
        sys.exit(1)
    finally:
        if run.tally.recoveries:
            typer.echo(table(run.tally))


if __name__ == "__main__":
    app()
