"""The program `cohort-sync`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from cohort_sync.cli_archive import export_lists, import_lists
from cohort_sync.cli_journal import journal
from cohort_sync.cli_people import connect, disconnect, erase, show_audit
from cohort_sync.cli_segments import segments
from cohort_sync.database_receiver import open_database_receiver
from cohort_sync.listeners import listeners
from cohort_sync.receiver import open_receiver
from cohort_sync.settings import CohortSyncSettings
from foundation import serving
from foundation.command_line import exit_status
from foundation.logs import configure_logging
from foundation.settings import load_settings
from foundation.store import describe_store

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from cohort_sync.write_side import WriteSide

app = typer.Typer(
    help="Heap segments as attribute lists: the receiver of Heap's pushes, and the administration of lists.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(segments, name="segments")
app.add_typer(journal, name="journal")
app.command("export")(export_lists)
app.command("import")(import_lists)
app.command("erase")(erase)
app.command("audit")(show_audit)
app.command("connect")(connect)
app.command("disconnect")(disconnect)


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="instead of COHORT_SYNC_PORT")] = None,
    admin_port: Annotated[int | None, typer.Option(help="instead of COHORT_SYNC_ADMIN_PORT")] = None,
) -> None:
    """Receive Heap's pushes and serve the administration, each on its own port, until SIGINT or SIGTERM."""
    settings = load_settings(CohortSyncSettings, cohort_sync_port=port, cohort_sync_admin_port=admin_port)
    configure_logging(settings.log_level, service="cohort-sync")
    uvloop.run(_serve(settings))


async def _serve(settings: CohortSyncSettings) -> None:
    opened: AbstractAsyncContextManager[WriteSide] = (
        open_database_receiver(settings) if settings.write_side == "database" else open_receiver(settings)
    )
    async with opened as receiver:
        public, administration = listeners(receiver)
        await serving.serve_with_administration(
            "cohort-sync", public, administration, setting="COHORT_SYNC", store=describe_store(settings)
        )


def main() -> None:
    """Run the program."""
    sys.exit(exit_status(app))
