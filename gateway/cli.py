"""The program `cohort-gateway`."""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer
import uvloop

from foundation import serving
from foundation.errors import CohortGatewayError
from foundation.logs import configure_logging
from foundation.settings import load_settings
from gateway.app import create_app
from gateway.settings import GatewaySettings

_KEEP_ALIVE_SECONDS = 75
# Less than we keep to: who closes an idle connection must be the SDK, or it may send on a connection that is gone.
_ANNOUNCED_SECONDS = 70

app = typer.Typer(
    help="The gateway that the SDKs of VWO ask: membership, settings, user details, events.",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def run(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        serve()


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="instead of PORT")] = None,
) -> None:
    """Serve until SIGINT or SIGTERM; this is what happens without a command, too."""
    settings = load_settings(GatewaySettings, **({} if port is None else {"port": port}))
    configure_logging(settings.log_level, service="gateway")
    uvloop.run(_serve(settings))


async def _serve(settings: GatewaySettings) -> None:
    options = {
        "http": "httptools",
        "timeout_keep_alive": _KEEP_ALIVE_SECONDS,
        "headers": [("Keep-Alive", f"timeout={_ANNOUNCED_SECONDS}")],
    }
    listener = serving.Listener(create_app(settings), settings.host, settings.port, options)
    bound = serving.bind(settings.host, settings.port, setting="PORT")
    print(f"gateway listening on {serving.address(bound)}", flush=True)  # noqa: T201 - tells people and tests
    gc.collect()
    gc.freeze()  # what start-up made stays for good: the collector need not walk it again
    await serving.serve([(listener, bound)])


def main() -> None:
    """Run the program; an error that the operator can mend is one line on stderr and exit status 2."""
    try:
        app()
    except CohortGatewayError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the program's own word
        sys.exit(2)
