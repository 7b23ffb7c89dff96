"""`scripts/check_events`: events through kills and a failing VWO; how much can be lost at all."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tests.event_run.loss import from_memory, unsynced
from tests.event_run.run import EventRunError, Run, table

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def kills(
    count: Annotated[int, typer.Argument(min=1, help="how many times a gateway is killed")] = 30,
    seed: Annotated[int, typer.Option(help="another seed, another plan")] = 1,
    rate: Annotated[float, typer.Option(min=1, help="requests a second, of one to ten events")] = 100.0,
) -> None:
    """Kill two gateways in turn while VWO fails; every event that was stored must arrive or be a dead letter."""
    run = Run(count, seed=seed, rate=rate)
    try:
        run.play(typer.echo)
    except EventRunError as error:
        typer.echo(f"FAILED\n{error}", err=True)
        sys.exit(1)
    finally:
        typer.echo(table(run.tally))


@app.command()
def loss(
    samples: Annotated[int, typer.Option(min=10, help="events timed")] = 1000,
    seconds: Annotated[float, typer.Option(min=0.1, help="from the store's end to the gateway's")] = 2.0,
    rate: Annotated[float, typer.Option(min=1, help="requests a second, of one to ten events")] = 100.0,
) -> None:
    """Measure how long an event that was answered 200 is not safe yet."""
    found = unsynced(samples=samples, seed=1)
    typer.echo(
        f"`appendfsync everysec`, {samples} events: from 200 to the disk {found.median:.0f} ms (median), "
        f"{found.p99:.0f} ms (99 %), {found.longest:.0f} ms (longest)"
    )
    lost = from_memory(seconds=seconds, rate=rate)
    typer.echo(
        f"the store away for {lost.seconds:g} s, then the gateway killed: {lost.buffered} events were answered "
        f"`buffered`, {lost.lost} of them are lost"
    )


if __name__ == "__main__":
    app()
