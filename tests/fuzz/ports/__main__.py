"""`scripts/fuzz_ports`: raw HTTP/1.1 to all five ports, valid and not: at most one answer to each request, none 500.

Beside it memory is sampled, and checks and the port itself are asked at a steady rate. The same seed gives the same
conversations, but for times and signatures.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
import uvloop

from tests.fuzz.check_requests import LIST
from tests.fuzz.ports.installation import Installation, MemoryWatch, installation
from tests.fuzz.ports.routes import PORTS, Port
from tests.fuzz.ports.run import PortFuzz, Tally
from tests.fuzz.run import FuzzError, print_line
from tests.gateway.conftest import ACCOUNT
from tests.support.load import Load

_CHECKS_PER_SECOND = 50
_NAMES = [port.name for port in PORTS]

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    requests: Annotated[int, typer.Option(min=1, help="how many, to each port")] = 100_000,
    seed: Annotated[int, typer.Option(help="another seed, other conversations")] = 1,
    port: Annotated[str, typer.Option(help=f"only this one of {', '.join(_NAMES)}")] = "",
    start: Annotated[int, typer.Option(min=0, help="number of the first conversation")] = 0,
) -> None:
    """Throw odd HTTP at every port of an installation of its own."""
    chosen = [each for each in PORTS if port in ("", each.name)]
    if not chosen:
        raise typer.BadParameter(f"there are {', '.join(_NAMES)}", param_hint="--port")
    with installation() as installed:
        tallies = [_fuzz(each, installed, seed=seed, start=start, requests=requests) for each in chosen]
    sys.exit(1 if any(tally.failures for tally in tallies) else 0)


def _fuzz(port: Port, installed: Installation, *, seed: int, start: int, requests: int) -> Tally:
    fuzz = PortFuzz(port, installed, seed=seed, start=start, requests=requests)
    people = {"alice": LIST, "mallory": LIST}
    with (
        MemoryWatch(installed.pids) as watch,
        Load(installed.addresses["gateway"], people, account=ACCOUNT, rate=_CHECKS_PER_SECOND) as checks,
        Load(installed.addresses[port.name], people, account=ACCOUNT, rate=_CHECKS_PER_SECOND) as beside,
    ):
        try:
            tally = uvloop.run(fuzz.run(print_line))
        except FuzzError as error:
            sys.exit(f"FAILED: {error}; {installed.trouble()}")
    if tally.failures:
        print_line(tally.told())
    print_line(f"{port.name}, seed {seed}: {tally.line()}")
    memory = (f"{name} {found.before} -> {found.after}, at most {found.most}" for name, found in watch.found().items())
    print_line(f"  MiB: {'; '.join(memory)}")
    print_line(f"  longest stall: checks {_longest(checks)}; the port itself {_longest(beside)}")
    return tally


def _longest(load: Load) -> str:
    """Without what the asking process added itself."""
    waits = sorted(max(0.0, answer.seconds - answer.late) for answer in load.answers if answer.status)
    return (
        f"{waits[-1] * 1000:.0f} ms of {len(waits)}, half within {waits[len(waits) // 2] * 1000:.1f} ms"
        if waits
        else "none"
    )


if __name__ == "__main__":
    app()
