"""`cohort-sync segments`: see the lists, change what is set on them."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cohort_sync.admin_client import AdminClient
from cohort_sync.list_descriptions import described_lists
from cohort_sync.settings import CohortSyncSettings
from foundation.command_line import with_store
from foundation.settings import load_settings
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from attribute_lists.describe import ListDescription
    from foundation.store import Store

segments = typer.Typer(help="The segments that were synced, and their lists.", no_args_is_help=True)

_EMPTY = """No segment has been synced yet.

To sync the first one, either
  - without Heap: scripts/send_sample_push --add alice bob
  - with Heap: point the webhook of your Heap integration at https://<your host>/webhooks/heap and press
    "Send sample segment", or connect a segment (docs/heap.md says how)."""

_WATCH_SECONDS = 1.0

Json = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
ListName = Annotated[str, typer.Argument(metavar="LIST", help="id or alias of the list")]
Account = Annotated[str | None, typer.Option(help="account of the list; the default account where left out")]


@segments.command("list")
def list_segments(
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="keep the table up to date until Ctrl-C")] = False,
) -> None:
    """A table of every synced segment."""
    settings = load_settings(CohortSyncSettings)
    if watch and as_json:
        raise typer.BadParameter("--watch shows a table; use it without --json")
    console = Console()
    if watch:
        _watch(settings, console)
        return
    descriptions = with_store(settings, lambda store: described_lists(settings, store))
    if as_json:
        typer.echo(json.dumps([asdict(description) for description in descriptions], indent=2))
    else:
        console.print(_shown(descriptions))


def _watch(settings: CohortSyncSettings, console: Console) -> None:
    async def refresh(store: Store) -> None:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                try:
                    shown = _shown(await described_lists(settings, store))
                except STORE_ERRORS as error:
                    shown = f"the store is away ({explain(error)}); trying again"
                live.update(shown, refresh=True)
                await asyncio.sleep(_WATCH_SECONDS)

    try:
        with_store(settings, refresh)
    except KeyboardInterrupt:
        return


@segments.command("show")
def show_segment(name: ListName, account: Account = None, as_json: Json = False) -> None:
    """All that is known of one list."""
    client, path = _at(name, account)
    described = client.get(path)
    if as_json:
        typer.echo(json.dumps(described, indent=2))
        return
    flags = described.pop("flags")
    for field, value in described.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        at = f"  ({_time(value)})" if field in ("created", "last_page") and value else ""
        typer.echo(f"{field:14} {'-' if shown in (None, '') else shown}{at}")
    typer.echo(f"{'flags':14} {_flags(flags) or '-'}")


@segments.command("set")
def set_segment(
    name: ListName,
    alias: Annotated[
        list[str] | None,
        typer.Option("--alias", metavar="ID", help="a further id that rules may use; give it again for several"),
    ] = None,
    remove_alias: Annotated[
        list[str] | None, typer.Option("--remove-alias", metavar="ID", help="an alias that shall end")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="delta, or snapshot: each task replaces the list")] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="whether the list answers; it keeps its pages")
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="let the snapshot that waits go live")] = False,
    account: Account = None,
    as_json: Json = False,
) -> None:
    """Change what is set on a list. Needs cohort-sync to be running: it makes the change."""
    client, path = _at(name, account)
    change: dict[str, Any] = {}
    if alias or remove_alias:
        aliases = [known for known in client.get(path)["aliases"] if known not in (remove_alias or [])]
        change["aliases"] = aliases + [new for new in alias or [] if new not in aliases]
    if mode is not None:
        change["mode"] = mode
    if active is not None:
        change["active"] = active
    if not change and not accept:
        raise typer.BadParameter("nothing to set: --alias, --remove-alias, --mode, --active, --inactive or --accept")
    described = client.patch(path, change) if change else {}
    if accept:
        described = client.post(f"{path}/accept")
    # An alias that was just removed would not be found again, hence no second look.
    _print_list(described, as_json=as_json)


@segments.command("drain")
def drain_segment(name: ListName, account: Account = None, as_json: Json = False) -> None:
    """Empty a list; what Heap sent before now stays out."""
    client, path = _at(name, account)
    done = client.post(f"{path}/drain")
    typer.echo(json.dumps(done) if as_json else f"{done['drained']}: {done['removed']} members removed")


@segments.command("delete")
def delete_segment(
    name: ListName,
    account: Account = None,
    yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False,
    as_json: Json = False,
) -> None:
    """Delete a list with its aliases. A later push of its segment makes it anew."""
    client, path = _at(name, account)
    described = client.get(path)
    if described["flags"]:
        typer.echo(f"these flags use it, and would find nobody in it: {_flags(described['flags'])}", err=True)
    if not yes:
        typer.confirm(f"delete {described['list_id']} with {described['members']} members?", abort=True)
    done = client.delete(path)
    typer.echo(json.dumps(done) if as_json else f"deleted {done['deleted']}")


@segments.command("check")
def check_segment(
    name: ListName,
    member: Annotated[str | None, typer.Argument(metavar="ID", help="the person; asked for where left out")] = None,
    account: Account = None,
    as_json: Json = False,
) -> None:
    """Whether a person is in a list. Exit status 1: no."""
    settings = load_settings(CohortSyncSettings)
    member = member or typer.prompt("id", hide_input=False)
    question = {"id": member, "list": name} | ({"account": account} if account else {})
    answer = AdminClient(settings).post("/check", question)
    typer.echo(json.dumps(answer) if as_json else ("yes" if answer["member"] else "no"))
    raise typer.Exit(0 if answer["member"] else 1)


def _at(name: str, account: str | None) -> tuple[AdminClient, str]:
    client = AdminClient(load_settings(CohortSyncSettings))
    return client, f"/lists/{quote(client.account_or_default(account), safe='')}/{quote(name, safe='')}"


def _flags(references: list[dict[str, str]]) -> str:
    """Each with the rules of it that name the list."""
    rules: dict[str, list[str]] = {}
    for one in references:
        rules.setdefault(one["flag"], []).append(one["rule"])
    return ", ".join(f"{flag} ({', '.join(dict.fromkeys(names))})" for flag, names in rules.items())


def _print_list(described: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(described, indent=2))
        return
    typer.echo(
        f"{described['list_id']} of account {described['account']}: "
        f"aliases {', '.join(described['aliases']) or 'none'}, {described['members']} members, {described['status']}"
    )


def _shown(descriptions: Sequence[ListDescription]) -> RenderableType:
    if not descriptions:
        return _EMPTY
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("account", "list", "segment", "name", "mode", "status"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "list")
    for heading in ("members", "last page", "age"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in descriptions:
        status = f"{row.status}, snapshot waits" if row.held else row.status
        names = "\n".join([row.list_id, *(f"  = {alias}" for alias in row.aliases if alias != row.segment_id)])
        last, age = _time(row.last_page), _age(row.last_page)
        table.add_row(
            *(row.account, names, row.segment_id, row.segment_name, row.mode, status, str(row.members), last, age)
        )
    return table


def _time(at: int | None) -> str:
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at / 1000))


def _age(at: int | None) -> str:
    if at is None:
        return "-"
    seconds = max(0, int(time.time() - at / 1000))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
