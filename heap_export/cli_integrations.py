"""`heap-export integrations`: Heap environments, added, looked at, changed, removed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from foundation.command_line import progress, with_store
from foundation.settings import load_settings
from heap_export.integrations import Integration, integrations_seen_by_tools, read_integration
from heap_export.removing import keys_to_delete, remove_integration
from heap_export.settings import HeapExportSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from foundation.store import Store
    from heap_export.integrations import Integrations
    from heap_export.removing import Removed

Found = TypeVar("Found")

integrations = typer.Typer(help="Heap environments and what they get.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="as `integrations list` has it")]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="again for several; lists have commas between their entries; fields: "
        + "; ".join(
            f"{name}: {field.description}" for name, field in Integration.model_fields.items() if field.description
        ),
    ),
]


@integrations.command("list")
def list_all(as_json: Json = False) -> None:
    """All of them."""

    async def ask(_: Store, known: Integrations) -> list[Integration]:
        await known.load()
        return list(known.all)

    found = _with_integrations(ask)
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("name", "app id", "base", "enabled", "sources", "dedupe", "a minute", "of a person"):
        table.add_column(title)
    for each in found:
        table.add_row(
            each.name,
            each.app_id,
            each.base,
            "yes" if each.enabled else "no",
            ", ".join(each.sources) or "none",
            f"{each.dedupe_seconds} s" if each.dedupe_seconds else "once for good",
            str(each.events_per_minute),
            str(each.events_per_minute_of_person),
        )
    Console().print(table)


@integrations.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a name of yours")],
    app_id: Annotated[str, typer.Argument(metavar="APP_ID", help="Heap's id of the environment")],
    fields: Fields = None,
    as_json: Json = False,
) -> None:
    """Add one. Every process takes records for it within a second."""
    integration = read_integration({"name": name, "app_id": app_id} | _read(fields))
    _with_integrations(lambda _, known: known.add(integration))
    _print(integration, "added", as_json=as_json)


@integrations.command()
def change(name: Name, fields: Fields = None, as_json: Json = False) -> None:
    """Set fields of one; the others stay as they are. Nothing that waits is lost, whatever is changed."""
    changed = _read(fields)
    if not changed:
        raise typer.BadParameter("say what to change, such as --set enabled=false; --help has the fields")
    _print(_with_integrations(lambda _, known: known.change(name, changed)), "changed", as_json=as_json)


@integrations.command()
def remove(
    name: Name,
    discard: Annotated[bool, typer.Option("--discard", help="throw away what waits, and dead letters")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False,
    as_json: Json = False,
) -> None:
    """Delete it with its marks and its delivery log. Refused while something waits, unless that is to go too."""
    settings = load_settings(HeapExportSettings)
    if not yes:
        typer.confirm(f"delete {name} and all that is kept for it? This can't be undone", abort=True)

    async def ask(store: Store, known: Integrations) -> Removed:
        await known.load()
        with progress("deleting what is kept for it", keys_to_delete(known, name)) as tell:
            return await remove_integration(store, settings, known, name, discard=discard, tell=tell)

    removed = _with_integrations(ask)
    if as_json:
        typer.echo(json.dumps({"deleted": name, "discarded": removed._asdict()}, indent=2))
    else:
        typer.echo(f"deleted {name}; discarded: {removed.waiting} that waited, {removed.dead} dead letters")


def _read(fields: Sequence[str] | None) -> dict[str, Any]:
    """What `--set` names. Pydantic reads the values, but for lists, which have commas between their entries."""
    found: dict[str, Any] = {}
    for field in fields or ():
        name, equals, value = field.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {field}: give it as FIELD=VALUE")
        found[name] = [entry.strip() for entry in value.split(",") if entry.strip()] if name == "sources" else value
    return found


def _print(integration: Integration, done: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(integration.model_dump(mode="json"), indent=2))
    else:
        typer.echo(f"{done}: {integration.name}")


def _with_integrations(ask: Callable[[Store, Integrations], Awaitable[Found]]) -> Found:
    settings = load_settings(HeapExportSettings)
    return with_store(settings, lambda store: ask(store, integrations_seen_by_tools(store, settings)))
