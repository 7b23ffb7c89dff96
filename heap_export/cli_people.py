"""`heap-export erase`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from foundation.command_line import progress, with_store
from foundation.settings import load_settings
from heap_export.erasing import ELSEWHERE, checked_person, entries_to_look_at, erase_person
from heap_export.integrations import integrations_seen_by_tools
from heap_export.settings import HeapExportSettings

if TYPE_CHECKING:
    from foundation.store import Store
    from heap_export.erasing import Erased


def erase(
    person: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="the identity, as Heap has it; asked for where left out, which keeps it out of your shell's history",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of text")] = False,
) -> None:
    """Delete what heap-export keeps of one person: what waits, dead letters, marks, the delivery log, exposures."""
    settings = load_settings(HeapExportSettings)
    who = checked_person(person or typer.prompt("id"))
    if not yes:
        typer.confirm("delete everything that heap-export keeps of this person? This can't be undone", abort=True)

    async def ask(store: Store) -> Erased:
        integrations = integrations_seen_by_tools(store, settings)
        with progress("looking at records", await entries_to_look_at(store, settings, integrations)) as tell:
            return await erase_person(store, settings, integrations, who, tell)

    erased = with_store(settings, ask)
    if as_json:
        typer.echo(json.dumps(erased._asdict() | {"elsewhere": ELSEWHERE}, indent=2))
        return
    typer.echo(
        f"deleted: {erased.records} records, {erased.marks} marks, {erased.log_entries} log entries, "
        f"{erased.exposures} exposures; {ELSEWHERE}"
    )
