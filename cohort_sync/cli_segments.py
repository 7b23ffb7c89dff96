"""`cohort-sync segments`: see the lists, change what is set on them."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from attribute_lists.describe import ListDescription, describe_lists
from cohort_sync.admin_client import AdminClient
from cohort_sync.settings import CohortSyncSettings
from foundation.errors import UnavailableError
from foundation.settings import load_settings
from foundation.store import STORE_ERRORS, connect, describe_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rich.console import RenderableType

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
    descriptions = _with_store(settings, lambda store: describe_lists(store, stale_after=settings.stale_after))
    if as_json:
        typer.echo(json.dumps([asdict(description) for description in descriptions], indent=2))
    else:
        console.print(_shown(descriptions))


def _watch(settings: CohortSyncSettings, console: Console) -> None:
    async def refresh(store: Store) -> None:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                try:
                    shown = _shown(await describe_lists(store, stale_after=settings.stale_after))
                except STORE_ERRORS as error:
                    shown = f"the store is away ({type(error).__name__}); trying again"
                live.update(shown, refresh=True)
                await asyncio.sleep(_WATCH_SECONDS)

    try:
        _with_store(settings, refresh)
    except KeyboardInterrupt:
        return


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
    account: Account = None,
    as_json: Json = False,
) -> None:
    """Change what is set on a list. Needs cohort-sync to be running: it makes the change."""
    settings = load_settings(CohortSyncSettings)
    if not alias and not remove_alias:
        raise typer.BadParameter("nothing to set: give --alias ID or --remove-alias ID")
    client = AdminClient(settings)
    path = f"/lists/{account or settings.default_account}/{name}"
    aliases = [known for known in client.get(path)["aliases"] if known not in (remove_alias or [])]
    wanted = aliases + [new for new in alias or [] if new not in aliases]
    _print_list(client.patch(path, {"aliases": wanted}), as_json=as_json)


def _print_list(described: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(described, indent=2))
        return
    typer.echo(
        f"{described['list_id']} of account {described['account']}: "
        f"aliases {', '.join(described['aliases']) or 'none'}, {described['members']} members, {described['status']}"
    )


def _with_store(settings: CohortSyncSettings, ask: Callable[[Store], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        store = connect(settings)
        try:
            return await ask(store)
        finally:
            await store.aclose()

    try:
        return asyncio.run(run())
    except STORE_ERRORS as error:
        raise UnavailableError(
            f"no store at {describe_store(settings)} ({type(error).__name__}): start scripts/serve in another "
            "terminal, or set REDIS_URL to your server"
        ) from None


def _shown(descriptions: list[ListDescription]) -> RenderableType:
    if not descriptions:
        return _EMPTY
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("account", "list", "segment", "name", "mode", "status"):
        table.add_column(heading, overflow="fold")
    for heading in ("members", "last page", "age"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in descriptions:
        names = "\n".join([row.list_id, *(f"  = {alias}" for alias in row.aliases if alias != row.segment_id)])
        last, age = _time(row.last_page), _age(row.last_page)
        table.add_row(
            *(row.account, names, row.segment_id, row.segment_name, row.mode, row.status, str(row.members), last, age)
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
