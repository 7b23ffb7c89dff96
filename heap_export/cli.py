"""The program `heap-export`."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer
import uvloop

from foundation import serving
from foundation.command_line import exit_status
from foundation.logs import configure_logging
from foundation.settings import load_settings
from foundation.store import describe_store
from heap_export.app import listeners
from heap_export.cli_integrations import integrations
from heap_export.cli_people import erase
from heap_export.cli_status import dead, purge, retry, show_log, status
from heap_export.exporter import open_exporter
from heap_export.settings import HeapExportSettings

log = logging.getLogger(__name__)

app = typer.Typer(
    help="What users were shown, back to Heap: exposures of VWO, Optimizely and Statsig, and events of any kind.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(integrations, name="integrations")
for command in (status, show_log, dead, retry, purge, erase):
    app.command(command.__name__.removeprefix("show_"))(command)


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="instead of HEAP_EXPORT_PORT")] = None,
    admin_port: Annotated[int | None, typer.Option(help="instead of HEAP_EXPORT_ADMIN_PORT")] = None,
) -> None:
    """Take events and exposures and deliver them to Heap, until SIGINT or SIGTERM."""
    settings = load_settings(HeapExportSettings, heap_export_port=port, heap_export_admin_port=admin_port)
    configure_logging(settings.log_level, service="heap-export")
    uvloop.run(_serve(settings))


async def _serve(settings: HeapExportSettings) -> None:
    async with open_exporter(settings) as exporter:
        if not exporter.integrations.all:
            log.warning(
                "no Heap environment is set up, so events get 503: set HEAP_APP_ID, or "
                "POST /v1/admin/integrations/heap on the administration's port"
            )
        public, administration = listeners(exporter)
        await serving.serve_with_administration(
            "heap-export", public, administration, setting="HEAP_EXPORT", store=describe_store(settings)
        )


def main() -> None:
    """Run the program."""
    sys.exit(exit_status(app))
