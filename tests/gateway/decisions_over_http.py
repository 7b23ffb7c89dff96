"""`scripts/check_gateway_decisions`: answers of `/server-side/getFlag` next to those of the real Node SDK.

Settings and users are those of `tests.decisions`. There is no storage here, the user's details are what the gateway
says of them, and the lists are in its store.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tests.decisions.builders import document
from tests.decisions.comparison import _same as is_same
from tests.decisions.generator import job
from tests.decisions.node import NodeSdk
from tests.decisions.regexes import regex_job
from tests.decisions.values import LISTS
from tests.gateway.conftest import Lists
from tests.gateway.deciding import Deciding, deciding
from tests.support.processes import running_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

SOME_SETTINGS = document([], [])  # until there are others
ACCOUNTS = ("123456", "1", "12345678901")
_EVERY_SECONDS = 10.0

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


class Compared(NamedTuple):
    """One case: `difference` is None where both decided alike; `ours` is None where the request was refused."""

    name: str
    case: dict[str, Any]
    ours: Any
    theirs: Any
    difference: str | None


def fill(store: redis.Redis) -> None:
    """The lists that the users may be in, in every account that the settings may be of."""
    for account in ACCOUNTS:
        for list_id, members in LISTS.items():
            Lists(store).put(list_id, *members, account=account)


def compare(
    gateway: Deciding, node: NodeSdk, seed: int, start: int = 0, make: Callable[[str], dict[str, Any]] = job
) -> Iterator[Compared]:
    """Cases without end. Settings that the gateway does not take over are left out."""
    details: dict[tuple[Any, Any], Any] = {}
    number = start
    while True:
        name = f"{seed}.{number}"
        number += 1
        made = make(name)
        if not _is_served(gateway, made["settings"]):
            continue
        made["cases"] = [_plain(gateway, case, details) for case in made["cases"]]
        theirs = node.decide(made)
        for case, expected in zip(made["cases"], theirs["results"] or [None] * len(made["cases"]), strict=True):
            yield _compare(gateway, name, case, expected)


def _is_served(gateway: Deciding, settings: dict[str, Any]) -> bool:
    gateway.settings_file.write_text(json.dumps(settings))
    return bool(gateway.client.get("/server-side/v2-pull").json() == settings)


def _plain(gateway: Deciding, case: dict[str, Any], details: dict[tuple[Any, Any], Any]) -> dict[str, Any]:
    """The case without what a request can't say, and with the details that the gateway knows."""
    context = {name: value for name, value in case["context"].items() if name != "_vwo"}
    asked = {name: context[name] for name in ("userAgent", "ipAddress") if context.get(name)}
    pair = asked.get("userAgent"), asked.get("ipAddress")
    if pair not in details:
        details[pair] = gateway.client.get("/get-user-details", params=asked).json()
    return {**case, "context": context, "stored": {}, "details": details[pair]}


def _compare(gateway: Deciding, name: str, case: dict[str, Any], theirs: Any) -> Compared:
    context = dict(case["context"])
    body = {"featureKey": case["flag"], "userId": context.pop("id"), **context}
    answer = gateway.post("/server-side/getFlag", body)
    if answer.status_code in (400, 503):
        # A request needs a flag and a user, and settings that the Node SDK would take, too.
        refused = theirs is None if answer.status_code == 503 else not theirs or not theirs["enabled"]
        return Compared(name, case, None, theirs, None if refused else f"refused: {answer.text}")
    found = answer.json()
    shown = [event["d"]["event"]["props"] for event in gateway.events()]
    ours = {
        "enabled": found["isEnabled"],
        "variables": found["variables"],
        "exposures": [[props["id"], props["variation"]] for props in shown],
    }
    if theirs is None:
        return Compared(name, case, ours, theirs, "the Node SDK does not take these settings")
    what = next((one for one, value in ours.items() if not is_same(value, theirs[one])), None)
    return Compared(name, case, ours, theirs, what)


@app.command()
def main(
    decisions: Annotated[int, typer.Argument(min=1, help="how many decisions to compare")] = 10_000,
    seed: Annotated[int, typer.Option(help="another seed, other settings")] = 1,
    start: Annotated[int, typer.Option(min=0, help="number of the first settings")] = 0,
    regexes: Annotated[bool, typer.Option("--regexes", help="nothing but regular expressions")] = False,
) -> None:
    """Flag, variables and exposures must be equal, through a gateway and a store of its own."""
    counts: Counter[str] = Counter()
    began = shown = time.monotonic()
    with running_store() as store, store.client() as client, NodeSdk() as node:
        fill(client)
        with deciding(store.directory, store.url, SOME_SETTINGS) as gateway:
            for one in compare(gateway, node, seed, start, regex_job if regexes else job):
                counts.update(compared=one.ours is not None, refused=one.ours is None)
                counts.update(on=bool(one.ours and one.ours["enabled"]), differ=one.difference is not None)
                if one.difference is not None:
                    typer.echo(f"{one.name}: {one.difference}\n{json.dumps(one._asdict())}", err=True)
                if time.monotonic() - shown > _EVERY_SECONDS:
                    shown = time.monotonic()
                    typer.echo(f"{counts['compared']} decisions, {counts['differ']} differ, at {one.name}", err=True)
                if counts["compared"] >= decisions:
                    break
    typer.echo(
        f"{counts['compared']} decisions ({counts['on']} on), {counts['refused']} requests refused: "
        f"{counts['differ']} differ; {time.monotonic() - began:.0f} s"
    )
    sys.exit(bool(counts["differ"]))


if __name__ == "__main__":
    app()
