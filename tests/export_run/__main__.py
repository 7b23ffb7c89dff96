"""`scripts/check_export`: exposures from many processes, kills under load, and what a power cut costs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tests.export_run import distinct as distinct_run
from tests.export_run.distinct import ExportRunError
from tests.export_run.kills import Run
from tests.export_run.loss import in_power_cuts

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def distinct(
    exposures: Annotated[int, typer.Argument(min=100, help="how many are told in all")] = 100_000,
    people: Annotated[int, typer.Option(min=1, help="of so many people, up to eight flags each")] = 2500,
    senders: Annotated[int, typer.Option(min=1, help="processes that tell of them")] = 4,
    seed: Annotated[int, typer.Option(help="another seed, another plan")] = 1,
) -> None:
    """Each distinct exposure must reach Heap once, in order for its person, within Heap's real limits."""
    try:
        found = distinct_run.run(exposures, people=people, senders=senders, seed=seed, tell=typer.echo)
    except ExportRunError as error:
        typer.echo(f"FAILED\n{error}", err=True)
        sys.exit(1)
    typer.echo(found.table())


@app.command()
def kills(
    count: Annotated[int, typer.Argument(min=1, help="how many times something is killed")] = 30,
    seed: Annotated[int, typer.Option(help="another seed, another plan")] = 1,
    rate: Annotated[float, typer.Option(min=1, help="requests a second, of one to ten records")] = 10.0,
) -> None:
    """Kill intake, deliverers and Redis in turn while Heap fails; what got a 200 must be delivered or a dead letter."""
    run = Run(count, seed=seed, rate=rate)
    try:
        run.play(typer.echo)
    except ExportRunError as error:
        typer.echo(f"FAILED\n{error}", err=True)
        sys.exit(1)
    finally:
        typer.echo(run.tally.table())


@app.command()
def loss(
    cuts: Annotated[int, typer.Argument(min=1, help="power cuts")] = 20,
    seed: Annotated[int, typer.Option(help="another seed, other cuts")] = 1,
    rate: Annotated[float, typer.Option(min=1, help="requests a second, of one to ten records")] = 30.0,
) -> None:
    """Measure what power cuts cost where Redis syncs once a second."""
    typer.echo(str(in_power_cuts(cuts, rate=rate, seed=seed, tell=typer.echo)))


if __name__ == "__main__":
    app()
