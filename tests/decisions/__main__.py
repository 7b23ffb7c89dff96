"""`scripts/check_decisions`: our decisions next to those of the real Node SDK, on random settings and users."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tests.decisions.comparison import Mismatch, compare
from tests.decisions.generator import job
from tests.decisions.node import NodeSdk
from tests.decisions.regexes import regex_job
from tests.decisions.shrinking import smallest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_AHEAD = 3  # jobs that the Node SDK has while we evaluate
_SHOWN = 5

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


def run(
    node: NodeSdk, decisions: int, seed: int, start: int = 0, make: Callable[[str], dict[str, Any]] = job
) -> Iterator[tuple[str, dict[str, Any], list[Mismatch]]]:
    """Jobs with their name, what the Node SDK decided, and what we decide otherwise, until so many were decided."""
    waiting: list[tuple[str, dict[str, Any]]] = []
    number = start
    while decisions > 0:
        while len(waiting) < _AHEAD:
            name = f"{seed}.{number}"
            waiting.append((name, make(name)))
            node.send(waiting[-1][1])
            number += 1
        name, made = waiting.pop(0)
        theirs = node.receive()
        decisions -= len(theirs["results"])
        yield name, theirs, compare(made, theirs)
    for _ in waiting:
        node.receive()


@app.command()
def main(
    decisions: Annotated[int, typer.Argument(min=1, help="how many decisions to compare")] = 100_000,
    seed: Annotated[int, typer.Option(help="another seed, other settings")] = 1,
    start: Annotated[
        int, typer.Option(min=0, help="number of the first settings, to go on or to look at one again")
    ] = 0,
    regexes: Annotated[bool, typer.Option("--regexes", help="nothing but regular expressions")] = False,
) -> None:
    """Every decision, variable, exposure, stored decision, callback payload and question must be equal."""
    counts: Counter[str] = Counter()
    failed: list[Mismatch] = []
    began = shown = time.monotonic()
    with NodeSdk() as node:
        for name, theirs, mismatches in run(node, decisions, seed, start, regex_job if regexes else job):
            counts.update(documents=1, refused=not theirs["usable"], decisions=len(theirs["results"]))
            counts.update("on" if result["enabled"] else "off" for result in theirs["results"])
            for mismatch in mismatches:
                typer.echo(f"settings {name}: {mismatch.what}", err=True)
            failed += mismatches
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                typer.echo(f"{counts['decisions']} decisions, {len(failed)} differ, last settings {name}", err=True)
        for mismatch in failed[:_SHOWN]:
            small = smallest(mismatch, node)
            typer.echo(f"\n{small.what}\n{json.dumps(small.job, indent=1)}\nours   {small.ours}\ntheirs {small.theirs}")
    typer.echo(
        f"{counts['decisions']} decisions ({counts['on']} on, {counts['off']} off) from {counts['documents']} settings "
        f"({counts['refused']} refused by both): {len(failed)} differ; {time.monotonic() - began:.0f} s"
    )
    sys.exit(bool(failed))


if __name__ == "__main__":
    app()
