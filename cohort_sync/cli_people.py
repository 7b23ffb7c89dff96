"""`cohort-sync erase`, `audit`, `connect`, `disconnect`: people, and who did what."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from cohort_sync.admin_client import AdminClient
from cohort_sync.settings import CohortSyncSettings
from foundation.settings import load_settings

Json = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
AccountArgument = Annotated[str | None, typer.Option(help="the VWO account; the default account where left out")]

_APART = ("id", "who", "what")  # what a line of the audit shows in another place, or not at all


def erase(
    member: Annotated[
        str | None,
        typer.Argument(
            metavar="ID", help="as Heap sends it; asked for where left out, which keeps it out of your shell's history"
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False,
    as_json: Json = False,
) -> None:
    """Take one person out of every list, of the journal and of the checkpoints; prints a receipt.

    What the other services keep is theirs: `cohort-gateway erase` and `heap-export erase`.
    """
    member = member or typer.prompt("id")
    if not yes:
        typer.confirm("erase this person from all lists, journals and checkpoints? This can't be undone", abort=True)
    receipt = AdminClient(load_settings(CohortSyncSettings)).post("/erase", {"id": member})
    if as_json:
        typer.echo(json.dumps(receipt, indent=2))
        return
    typer.echo(
        f"erased: was in {receipt['lists']} lists; rewrote {receipt['journal_records']} journal records and "
        f"{receipt['checkpoints']} checkpoints"
    )
    if receipt["outstanding"]:
        typer.echo(
            f"outstanding at the receivers {', '.join(receipt['outstanding'])}: they do their part when they run"
        )
    commands = " and ".join(f"`{command}`" for command in receipt["run_too"])
    typer.echo(f"run {commands} too, where these services are in use: what they keep of the person is still there")


def show_audit(
    count: Annotated[int, typer.Option(help="how many, the newest first", min=1, max=1000)] = 50, as_json: Json = False
) -> None:
    """Who changed what, and when."""
    changes = AdminClient(load_settings(CohortSyncSettings)).get(f"/audit?count={count}")["changes"]
    if as_json:
        typer.echo(json.dumps(changes, indent=2))
        return
    for change in changes:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(change.pop("at")) / 1000))
        rest = "  ".join(
            f"{name}={value}" for name, value in change.items() if value and name not in ("id", "who", "what")
        )
        typer.echo(f"{at}  {change['who']}  {change['what']}  {rest}")
    if not changes:
        typer.echo("no operator has changed anything yet")


def connect(account: AccountArgument = None) -> None:
    """Start connecting a Heap environment to an account: prints the address to open in a browser."""
    client = AdminClient(load_settings(CohortSyncSettings))
    typer.echo(client.connect_address(client.account_or_default(account)))


def disconnect(account: AccountArgument = None) -> None:
    """End the connection of an account: pushes with its `id_token` are refused from now on."""
    client = AdminClient(load_settings(CohortSyncSettings))
    client.delete(f"/connections/{client.account_or_default(account)}")
    typer.echo("disconnected")
