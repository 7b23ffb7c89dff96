"""`cohort-gateway events`: what waits for VWO, and what VWO refused."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from event_stream.stream import seconds_of
from foundation.command_line import progress, with_store
from foundation.settings import load_settings
from gateway.event_bodies import name_in
from gateway.event_queue import event_stream
from gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from event_stream.stream import Stream

Found = TypeVar("Found")

_ID = re.compile(r"\d{1,20}-\d{1,20}")

events = typer.Typer(help="Events on their way to VWO, and dead letters.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
Reason = Annotated[str, typer.Option(help="only dead letters of this reason, as `events status` names it")]
Yes = Annotated[bool, typer.Option("--yes", help="don't ask")]


@events.command()
def status(as_json: Json = False) -> None:
    """What waits, for how long, and how many dead letters there are of each reason."""

    async def ask(stream: Stream) -> dict[str, Any]:
        now = await stream.status()
        with progress("looking at dead letters", now.dead) as tell:
            reasons = await stream.count_dead(tell)
        return {
            "waiting": now.waiting,
            "in_hand": now.in_hand,
            "oldest_seconds": round(now.oldest_seconds, 1),
            "dead": now.dead,
            "dead_by_reason": reasons,
            "since_the_store_was_new": dict(now.counts),
        }

    found = _with_stream(ask)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    since = found["since_the_store_was_new"]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("waiting for VWO", f"{found['waiting']}, of these being delivered: {found['in_hand']}")
    table.add_row("the oldest waits for", f"{found['oldest_seconds']} s")
    table.add_row("dead letters", _told(found["dead_by_reason"]) or "none")
    table.add_row("delivered so far", str(since.get("delivered", 0)))
    table.add_row("dropped so far", str(since.get("dropped", 0) + since.get("dead_dropped", 0)))
    Console().print(table)


@events.command()
def retry(reason: Reason = "") -> None:
    """Send dead letters again, behind what waits."""

    async def ask(stream: Stream) -> tuple[dict[str, int], int]:
        with progress("sending again", (await stream.status()).dead) as tell:
            done = await stream.retry(reason, tell)
        return done, (await stream.status()).dead

    done, left = _with_stream(ask)
    typer.echo(f"sent again: {_told(done) or 'none'}; dead letters left: {left}")


@events.command()
def purge(
    reason: Reason = "",
    waiting: Annotated[bool, typer.Option("--waiting", help="what waits for VWO instead of dead letters")] = False,
    yes: Yes = False,
) -> None:
    """Throw dead letters away, or what waits for VWO."""
    if waiting and reason:
        raise typer.BadParameter("--reason is for dead letters; leave out --waiting")
    if not yes:
        what = "all events that wait for VWO" if waiting else "dead letters"
        typer.confirm(f"throw {what} away? This can't be undone", abort=True)

    async def purge_dead(stream: Stream) -> dict[str, int]:
        with progress("throwing away", (await stream.status()).dead) as tell:
            return await stream.purge_dead(reason, tell)

    async def purge_waiting(stream: Stream) -> dict[str, int]:
        with progress("throwing away", (await stream.status()).waiting) as tell:
            return {"waiting": await stream.purge_waiting(tell)}

    typer.echo(f"thrown away: {_told(_with_stream(purge_waiting if waiting else purge_dead)) or 'none'}")


@events.command()
def waiting(
    most: Annotated[int, typer.Option(min=1, max=10_000, help="how many to show, the oldest first")] = 20,
    as_json: Json = False,
) -> None:
    """The events that have waited longest, each with the id by which `events remove` takes it out."""

    async def ask(stream: Stream) -> list[dict[str, Any]]:
        now = time.time()
        return [
            {
                "id": record.id.decode(),
                "seconds": round(max(0.0, now - seconds_of(record.id)), 1),
                "account_and_key": record.to,
                "event": name_in(record.body),
                "bytes": len(record.body),
            }
            for record in await stream.read(b"", most)
        ]

    found = _with_stream(ask)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("id", "waits for", "account/SDK key", "event", "bytes", box=None, padding=(0, 2, 0, 0))
    for row in found:
        table.add_row(*map(str, (row["id"], f"{row['seconds']} s", row["account_and_key"], row["event"], row["bytes"])))
    Console().print(table)


@events.command()
def remove(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="as `events waiting` shows them")], yes: Yes = False
) -> None:
    """Take single events out of what waits for VWO."""
    wrong = [id_ for id_ in ids if not _ID.fullmatch(id_)]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]}: an id looks like 1795308506454-0; `events waiting` shows them")
    if not yes:
        typer.confirm(f"throw {len(ids)} away? This can't be undone", abort=True)
    removed = _with_stream(lambda stream: stream.remove([id_.encode() for id_ in ids]))
    typer.echo(f"thrown away: {removed} of {len(ids)}")
    if removed < len(ids):
        typer.echo("the others do not wait any more: VWO took them, or they became dead letters", err=True)


def _told(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in sorted(numbers.items()))


def _with_stream(ask: Callable[[Stream], Awaitable[Found]]) -> Found:
    settings = load_settings(GatewaySettings)
    return with_store(settings, lambda store: ask(event_stream(store, settings)))
