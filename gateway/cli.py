"""The program `cohort-gateway`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from foundation import serving
from foundation.command_line import exit_status
from foundation.crew import Crew
from foundation.guarded_http import Guard
from foundation.logs import configure_logging, say
from foundation.settings import load_settings
from foundation.workers import run_workers
from gateway.app import create_app
from gateway.cli_events import events
from gateway.cli_people import erase
from gateway.fast_path import FastPath
from gateway.settings import GatewaySettings

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_KEEP_ALIVE_SECONDS = 75
_HEAD_SECONDS = 20  # for the headers of a request, and before the first one
# Less than we keep to: who closes an idle connection must be the SDK, or it may send on a connection that is gone.
_ANNOUNCED_SECONDS = 70

app = typer.Typer(
    help="The gateway that the SDKs of VWO ask: membership, settings, user details, events.",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(events, name="events")
app.command("erase")(erase)


@app.callback(invoke_without_command=True)
def run(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        serve()


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="instead of PORT")] = None,
) -> None:
    """Serve until SIGINT or SIGTERM; this is what happens without a command, too."""
    settings = load_settings(GatewaySettings, port=port)
    configure_logging(settings.log_level, service="gateway")
    if settings.workers == 1:
        uvloop.run(_serve(settings, Crew(), lambda: _bind_alone(settings)))
    else:
        sys.exit(_serve_together(settings))


def _bind_alone(settings: GatewaySettings) -> socket.socket:
    bound = serving.bind(settings.host, settings.port, setting="PORT")
    _tell_address(bound)
    return bound


def _serve_together(settings: GatewaySettings) -> int:
    """Serve in several processes; the exit status."""
    create_app(settings)  # what can't be served is told once, and what it takes to find out is shared by the workers
    with serving.claim(settings.host, settings.port, setting="PORT") as claimed:

        def work(crew: Crew) -> int:
            configure_logging(settings.log_level, service=f"gateway.{crew.slot}")
            return exit_status(lambda: uvloop.run(_serve(settings, crew, lambda: serving.join(claimed))))

        return run_workers(settings.workers, work, when_up=lambda: _tell_address(claimed))


def _tell_address(bound: socket.socket) -> None:
    say(f"gateway listening on {serving.address(bound)}")


async def _serve(settings: GatewaySettings, crew: Crew, bind: Callable[[], socket.socket]) -> None:
    gateway = create_app(settings, crew)
    path = FastPath(gateway.state.checks, log_every=settings.log_checks, for_browsers=settings.cors_config_required)
    guard = Guard(
        connections=settings.connections,
        head_seconds=_HEAD_SECONDS,
        count=lambda reason: gateway.state.metrics.connections_refused.labels(reason).inc(),
    )
    options = {
        "http": path.protocol(guard),
        "ws": "none",
        "timeout_keep_alive": _KEEP_ALIVE_SECONDS,
        "headers": [("Keep-Alive", f"timeout={_ANNOUNCED_SECONDS}")],
    }
    listener = serving.Listener(gateway, settings.host, settings.port, options)
    bound = bind()
    await serving.serve([(listener, bound)])


def main() -> None:
    """Run the program."""
    sys.exit(exit_status(app))
