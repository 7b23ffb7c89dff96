"""`cohort-sync export` and `import`: lists as a file, of any size in bounded memory."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from attribute_lists.archive import Existing, read_archive, write_archive
from cohort_sync.admin_client import AdminClient
from cohort_sync.receiver import open_receiver
from cohort_sync.settings import CohortSyncSettings
from foundation.errors import BadRequestError, UnavailableError
from foundation.settings import load_settings
from foundation.store import STORE_ERRORS, describe_store
from foundation.store_trouble import explain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from attribute_lists.archive import Progress
    from cohort_sync.receiver import Receiver


def export_lists(
    file: Annotated[Path, typer.Argument(help="the archive to write (docs/archive-format.md)")],
    only: Annotated[
        list[str] | None, typer.Option("--list", help="this list; again for several; all where left out")
    ] = None,
    account: Annotated[str | None, typer.Option(help="account of the lists named")] = None,
) -> None:
    """Write lists, with all that belongs to them, to a file."""
    settings = load_settings(CohortSyncSettings)

    async def work(receiver: Receiver, show: Callable[[Progress], None]) -> Any:
        owner = AdminClient(settings).account_or_default(account) if only else ""
        names = [(owner, await receiver.definitions.resolve(owner, name)) for name in only or []]
        aside = file.with_name(f"{file.name}.unfinished")
        with aside.open("wb") as target:
            summary = await write_archive(receiver.store, target, lists=names or None, progress=show)
        aside.rename(file)
        return summary

    summary = _with_progress(settings, "exporting", work)
    typer.echo(f"{file}: {len(summary.lists)} lists, {summary.members} members")


def import_lists(
    file: Annotated[Path, typer.Argument(help="the archive to read", exists=True, dir_okay=False)],
    replace: Annotated[bool, typer.Option("--replace", help="replace lists that are there already")] = False,
) -> None:
    """Bring the lists of an archive into the store, each at once and whole.

    A list that is replaced becomes what the archive says, and goes on from there; a new one brings its history along.
    """
    settings = load_settings(CohortSyncSettings)

    async def work(receiver: Receiver, show: Callable[[Progress], None]) -> Any:
        with file.open("rb") as source:
            existing: Existing = "replace" if replace else "refuse"
            return await read_archive(
                receiver.store,
                source,
                existing=existing,
                with_bookkeeping=not replace,
                ordering=receiver.ordering,
                progress=show,
            )

    summary = _with_progress(settings, "importing", work)
    typer.echo(f"{len(summary.lists)} lists, {summary.members} members")
    try:
        AdminClient(settings).post("/checkpoint")
    except UnavailableError:
        typer.echo("cohort-sync is not running: the import is in the store, and in no checkpoint yet", err=True)


def _with_progress(
    settings: CohortSyncSettings, word: str, work: Callable[[Receiver, Callable[[Progress], None]], Awaitable[Any]]
) -> Any:
    async def run() -> Any:
        async with open_receiver(settings, taking=False) as receiver:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            with ProgressBar(*columns, console=Console(stderr=True)) as bar:
                task = bar.add_task(word, total=1.0)

                def show(done: Progress) -> None:
                    shown = f"{done.stage}: {done.lists} lists, {done.members} members"
                    bar.update(task, description=shown, completed=done.fraction)

                return await work(receiver, show)

    try:
        return asyncio.run(run())
    except STORE_ERRORS as error:
        raise UnavailableError(f"no store at {describe_store(settings)} ({explain(error)})") from None
    except OSError as error:
        raise BadRequestError(f"{error.filename}: {error.strerror}") from None
