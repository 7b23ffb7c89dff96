"""`heap-export status`, `log`, `dead`, `retry`, `purge`: how the delivery fares, and what became of records."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer
from rich.console import Console
from rich.table import Table

from foundation.command_line import progress, with_store
from foundation.settings import load_settings
from heap_export.delivery_log import Outcome
from heap_export.erasing import checked_person
from heap_export.integrations import integrations_seen_by_tools
from heap_export.kept import ROW, Kept
from heap_export.settings import HeapExportSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from heap_export.kept import Page

Found = TypeVar("Found")

_OUTCOMES: Mapping[str, Outcome] = {outcome: outcome for outcome in get_args(Outcome)}


def _id_of_row(before: str) -> str:
    if before and not re.fullmatch(ROW, before):
        raise typer.BadParameter("give the id of a row, such as 1700000000000-0")
    return before


Json = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
Name = Annotated[str | None, typer.Option("--integration", help="only this one")]
Reason = Annotated[str, typer.Option(help="only dead letters of this reason, as `status` names it")]
Count = Annotated[int, typer.Option(help="rows of each integration, the newest first", min=1)]
Before = Annotated[str, typer.Option(help="rows older than the one with this id", callback=_id_of_row)]
Yes = Annotated[bool, typer.Option("--yes", help="don't ask")]


def status(as_json: Json = False) -> None:
    """What waits for Heap, for how long, what was sent, and how many dead letters there are of each reason."""

    async def ask(kept: Kept) -> dict[str, Any]:
        with progress("looking at dead letters", await kept.dead_letters()) as tell:
            return await kept.status(tell)

    found = _with_kept(ask)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("integration", "app id", "waiting", "oldest", "sent", "repeated", "dead letters", "trouble"):
        table.add_column(title)
    for each in found["integrations"]:
        trouble = (each["trouble"] or "") if each["enabled"] else "not enabled"
        table.add_row(each["name"], each["app_id"], *_numbers(each), trouble)
    for name, source in found["sources"].items():
        table.add_row(f"source:{name}", "", *_numbers(source), "")
    for left in found["left"]:
        table.add_row("", left["app_id"], str(left["waiting"]), "", "", "", str(left["dead"]), "no integration")
    Console().print(table)
    if not found["integrations"]:
        typer.echo("no Heap environment is set up: set HEAP_APP_ID, or use `heap-export integrations add`")


def show_log(
    person: Annotated[
        str | None,
        typer.Argument(
            metavar="ID", help="only this person's entries; `-`: ask for the id, outside the shell's history"
        ),
    ] = None,
    integration: Name = None,
    outcome: Annotated[str | None, typer.Option(help="only `delivered` or `dead`")] = None,
    count: Count = 50,
    before: Before = "",
    as_json: Json = False,
) -> None:
    """What became of records: when they came, when they were sent, what Heap answered."""
    if outcome is not None and outcome not in _OUTCOMES:
        raise typer.BadParameter("--outcome is `delivered` or `dead`")
    chosen = None if outcome is None else _OUTCOMES[outcome]
    who = checked_person(typer.prompt("id") if person == "-" else person) if person is not None else None

    def ask(kept: Kept) -> Awaitable[dict[str, Page]]:
        return kept.log(count, integration=integration, before=before, outcome=chosen, person=who)

    _print_pages(
        _with_kept(ask),
        ("id", "source", "name", "received", "sent", "outcome", "reason", "status", "attempts", "answer"),
        as_json=as_json,
    )


def dead(
    reason: Reason = "", integration: Name = None, count: Count = 50, before: Before = "", as_json: Json = False
) -> None:
    """Dead letters: why, when and of what; never of whom."""

    def ask(kept: Kept) -> Awaitable[dict[str, Page]]:
        return kept.dead(count, integration=integration, before=before, reason=reason)

    _print_pages(_with_kept(ask), ("id", "reason", "source", "name", "received", "died", "sha256"), as_json=as_json)


def retry(reason: Reason = "", integration: Name = None, as_json: Json = False) -> None:
    """Send dead letters again, behind what waits."""

    async def ask(kept: Kept) -> dict[str, dict[str, int]]:
        with progress("sending again", await kept.dead_letters()) as tell:
            return await kept.retry(reason, integration=integration, tell=tell)

    _print_numbers("sent again", _with_kept(ask), as_json=as_json)


def purge(reason: Reason = "", integration: Name = None, yes: Yes = False, as_json: Json = False) -> None:
    """Throw dead letters away."""
    if not yes:
        typer.confirm("throw dead letters away? This can't be undone", abort=True)

    async def ask(kept: Kept) -> dict[str, dict[str, int]]:
        with progress("throwing away", await kept.dead_letters()) as tell:
            return await kept.purge(reason, integration=integration, tell=tell)

    _print_numbers("thrown away", _with_kept(ask), as_json=as_json)


def _with_kept(ask: Callable[[Kept], Awaitable[Found]]) -> Found:
    settings = load_settings(HeapExportSettings)
    return with_store(settings, lambda store: ask(Kept(store, settings, integrations_seen_by_tools(store, settings))))


def _numbers(each: Mapping[str, Any]) -> tuple[str, ...]:
    waits = f"{each['oldest_seconds']} s" if each["waiting"] else ""
    return str(each["waiting"]), waits, str(each["sent"]), str(each["known"]), _told(each["dead_by_reason"]) or "none"


def _told(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in sorted(numbers.items()))


def _print_numbers(done: str, numbers: Mapping[str, Mapping[str, int]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(numbers, indent=2))
        return
    told = [f"{name}: {_told(reasons)}" for name, reasons in numbers.items() if reasons]
    typer.echo(f"{done}: {'; '.join(told) or 'none'}")


def _print_pages(pages: Mapping[str, Page], columns: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({name: page._asdict() for name, page in pages.items()}, indent=2))
        return
    for name, page in pages.items():
        if not page.rows:
            continue
        table = Table(title=name, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in columns:
            table.add_column(column)
        for row in page.rows:
            table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
        Console().print(table)
        if page.next:
            typer.echo(f"more: --integration {name} --before {page.next}")
    if not any(page.rows for page in pages.values()):
        typer.echo("nothing")
