"""`cohort-sync journal`: look at the receiver's journal, and bring back from it what the store lacks."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cohort_sync.journal import list_files, verify
from cohort_sync.receiver import open_receiver
from cohort_sync.settings import CohortSyncSettings
from foundation.errors import UnavailableError
from foundation.settings import load_settings
from foundation.store import STORE_ERRORS, describe_store
from foundation.store_trouble import explain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cohort_sync.journal import FileReport
    from cohort_sync.receiver import Receiver
    from cohort_sync.recovery import Replayed

journal = typer.Typer(
    help="The receiver's journal: every change, on disk before it is acknowledged.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]


@journal.command()
def status(as_json: Json = False) -> None:
    """What the journals of this DATA_DIR hold."""
    settings = load_settings(CohortSyncSettings)
    found: dict[str, dict[str, int]] = {}
    for file in list_files(settings.data_dir / "journal"):
        row = found.setdefault(file.receiver, {"files": 0, "bytes": 0})
        row["files"] += 1
        row["bytes"] += file.size
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if not found:
        typer.echo(f"no journal in {settings.data_dir / 'journal'} yet")
    for receiver, row in found.items():
        typer.echo(f"{receiver}: {row['files']} files, {row['bytes']} bytes (`journal verify` counts their records)")


@journal.command("verify")
def verify_journal(as_json: Json = False) -> None:
    """Read every record and say which files are whole. Exit status 1: something is damaged."""
    settings = load_settings(CohortSyncSettings)
    damaged, results = False, []
    with _progress() as progress:
        task = progress.add_task("verifying", total=None)
        for result in verify(settings.data_dir / "journal"):
            results.append(_shown(result))
            damaged = damaged or not result.sound
            progress.update(task, description=f"{len(results)} files verified")
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        for row in results:
            typer.echo("  ".join(f"{name} {value}" for name, value in row.items()))
        typer.echo("damaged: see above" if damaged else f"{len(results)} files, all whole")
    raise typer.Exit(1 if damaged else 0)


@journal.command()
def replay(as_json: Json = False) -> None:
    """Apply what the journal has and the store lacks. Safe at any time, beside running receivers."""
    _repair("replaying", lambda receiver, progress: receiver.recovery.replay(progress), as_json=as_json)


@journal.command()
def rebuild(as_json: Json = False) -> None:
    """Restore lists that are gone from the newest checkpoint, then replay. Lists that are there stay as they are."""
    _repair("rebuilding", lambda receiver, progress: receiver.recovery.rebuild(progress), as_json=as_json)


def _repair(
    word: str,
    work: Callable[[Receiver, Callable[[Replayed], None]], Awaitable[Replayed]],
    *,
    as_json: bool,
) -> None:
    settings = load_settings(CohortSyncSettings)

    async def run() -> Replayed:
        async with open_receiver(settings, taking=False) as receiver:
            with _progress() as progress:
                task = progress.add_task(word, total=None)

                def show(done: Replayed) -> None:
                    progress.update(task, description=f"{word}: {done.read} records read, {done.applied} applied")

                return await work(receiver, show)

    try:
        done = asyncio.run(run())
    except STORE_ERRORS as error:
        raise UnavailableError(
            f"no store at {describe_store(settings)} ({explain(error)}); start it, then run this again"
        ) from None
    shown = {"read": done.read, "applied": done.applied, "unreadable": done.unreadable}
    typer.echo(
        json.dumps(shown)
        if as_json
        else f"{done.read} records read, {done.applied} applied, {done.unreadable} unreadable"
    )


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console)


def _shown(report: FileReport) -> dict[str, Any]:
    return {
        "file": f"{report.file.receiver}/{report.file.path.name}",
        "records": report.records,
        "from": _time(report.oldest_ms),
        "to": _time(report.newest_ms),
        "torn": report.torn,
        "damage": [f"{damage.offset}: {damage.why}" for damage in report.damage],
    }


def _time(at: int | None) -> str:
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at / 1000))
