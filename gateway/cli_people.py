"""`cohort-gateway erase`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from foundation.command_line import progress, with_store
from foundation.settings import load_settings
from gateway.erasing import erase_person
from gateway.event_queue import event_stream
from gateway.settings import GatewaySettings
from published.exposures import exposure_stream

if TYPE_CHECKING:
    from foundation.store import Store
    from gateway.erasing import Erased


def erase(
    person: Annotated[
        str | None,
        typer.Argument(
            metavar="ID", help="the user's id; asked for where left out, which keeps it out of your shell's history"
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of text")] = False,
) -> None:
    """Delete what the gateway keeps of one person: waiting and dead events and exposures, aliases, the visitor id.

    Lists are cohort-sync's: `cohort-sync erase` takes the person out of them.
    """
    settings = load_settings(GatewaySettings)
    who = person or typer.prompt("id")
    if not yes:
        typer.confirm("delete everything that the gateway keeps of this person? This can't be undone", abort=True)

    async def ask(store: Store) -> Erased:
        streams = event_stream(store, settings), exposure_stream(store)
        now = [await stream.status() for stream in streams]
        with progress("looking at events", sum(one.waiting + one.dead for one in now)) as tell:
            return await erase_person(store, settings, who, tell)

    erased = with_store(settings, ask)
    if as_json:
        typer.echo(json.dumps(erased._asdict()))
    else:
        typer.echo(
            f"deleted: {erased.events} events, {erased.exposures} exposures, {erased.aliases} aliases, "
            f"{erased.visitor_ids} visitor ids"
        )
