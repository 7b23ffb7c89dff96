"""`scripts/soak`: hours of ordinary life. A steady load of checks, a push every few seconds, and a look at everything.

Every acknowledged push must be visible to the very next check, on every connection; the gateway's memory must not grow.
"""

from __future__ import annotations

import itertools
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tests.end_to_end.installation import ACCOUNT, LIST, Installation
from tests.soak.minutes import Minute, table
from tests.support.client_process import ClientProcess
from tests.support.load import KNOWING
from tests.support.raw_http import connection, read_answer

if TYPE_CHECKING:
    import socket

_MEMBERS = [f"member-{number}" for number in range(1000)]
_OTHERS = [f"other-{number}" for number in range(1000)]
_PROBES = 8  # connections a worker that are asked after each push
_PUSHED = 20  # people who join with a push, and leave with the next
_WRK_SECONDS = 5

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    minutes: Annotated[float, typer.Option(help="how long")] = 30.0,
    rate: Annotated[float, typer.Option(help="checks a second; 0: half of what wrk reaches at the start")] = 0.0,
    every: Annotated[float, typer.Option(help="seconds from push to push")] = 3.0,
    workers: Annotated[int, typer.Option(min=1, help="gateway processes")] = 1,
) -> None:
    """Ask and push for a while; prints a line a minute and what became of it."""
    with tempfile.TemporaryDirectory(prefix="soak") as name, ExitStack() as stack:
        directory = Path(name)
        site = Installation(directory, directory, of_gateways={"WORKERS": str(workers)})
        stack.callback(site.kill)
        site.start()
        site.push(add=_MEMBERS)
        rate = rate or _saturation(site) / 2
        typer.echo(f"{rate:.0f} checks a second for {minutes:g} minutes, a push every {every:g} s, {workers} worker(s)")
        probes = [stack.enter_context(connection(site.gateway)) for _ in range(_PROBES * workers)]
        found = list(_minutes(site, probes, minutes=minutes, rate=rate, every=every))
        errors = [line for line in site.log("gateway").splitlines() if " ERROR " in line or "Traceback" in line]
    typer.echo(table(found))
    typer.echo("\n".join(errors[:10]))
    is_well = not errors and not any(minute.wrong or minute.broken or minute.unseen for minute in found)
    sys.exit(0 if is_well else 1)


def _minutes(
    site: Installation, probes: list[socket.socket], *, minutes: float, rate: float, every: float
) -> list[Minute]:
    found: list[Minute] = []
    begun, pushes = time.monotonic(), itertools.count()
    last: list[str] = []
    told: queue.Queue[dict[str, Any]] = queue.Queue()
    job = {"address": site.gateway, "questions": _questions(), "rate": rate}
    with ClientProcess("tests.soak.client", job, told.put):
        while (now := time.monotonic() - begun) < minutes * 60:
            minute = Minute(memory=_memory(site.gateway_pids[0]))
            while time.monotonic() - begun < now + min(60.0, minutes * 60 - now):
                last = _push(site, next(pushes), last, probes, minute)
                until = time.monotonic() + every
                while (left := until - time.monotonic()) > 0:
                    with suppress(queue.Empty):
                        minute.add(told.get(timeout=left))
            minute.memory = _memory(site.gateway_pids[0])
            found.append(minute)
            typer.echo(minute.described(len(found)))
    return found


def _push(
    site: Installation, number: int, leaving: list[str], probes: list[socket.socket], minute: Minute
) -> list[str]:
    """People join, those before leave; then everybody is asked about, on every connection. Returns who joined."""
    joining = [f"push-{number}-{index}" for index in range(_PUSHED)]
    began = time.monotonic()
    site.push(add=joining, remove=leaving)
    minute.pushes.append(time.monotonic() - began)
    for peer in probes:
        for who, wanted in [(joining[0], "in"), (joining[-1], "in"), *((who, "not_in") for who in leaving[:1])]:
            state = _ask(peer, who)
            minute.looks += 1
            minute.unseen += state in KNOWING and state != wanted
            minute.late += state not in KNOWING
    return joining


def _ask(peer: socket.socket, who: str) -> str:
    peer.sendall(f"GET {_target(who)} HTTP/1.1\r\nHost: soak\r\n\r\n".encode())
    answer = read_answer(peer)
    return "closed" if answer is None else answer.headers.get("x-membership", str(answer.status))


def _target(who: str) -> str:
    return f"/check-attribute?attribute={who}&listId={LIST}&accountId={ACCOUNT}"


def _questions() -> list[tuple[str, bool]]:
    """Targets, and whether they are true."""
    both = zip(_MEMBERS, _OTHERS, strict=True)
    return [(_target(who), is_member) for pair in both for who, is_member in zip(pair, (True, False), strict=True)]


def _memory(pid: int) -> list[float]:
    """MiB of a process and of its children, largest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    sizes = [re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{one}/status").read_text()) for one in [str(pid), *children]]
    return sorted((int(size[0]) / 1024 for size in sizes), reverse=True)


def _saturation(site: Installation) -> float:
    """Checks a second that wrk gets answered."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise typer.BadParameter("wrk is not installed, so say how many checks a second: --rate")
    url = f"{site.gateway}{_target(_MEMBERS[0])}"
    said = subprocess.run(
        [wrk, "-t1", "-c64", f"-d{_WRK_SECONDS}s", url], capture_output=True, text=True, check=True
    ).stdout
    found = float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])
    typer.echo(f"wrk with 64 connections gets {found:.0f} checks a second answered")
    return found


if __name__ == "__main__":
    app()
