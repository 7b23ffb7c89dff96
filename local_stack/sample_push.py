"""`scripts/send_sample_push`: sign and send pushes as Heap would, for people without a Heap account at hand."""

from __future__ import annotations

import json
import math
import sys
import time
import uuid
from http import HTTPStatus
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated, Any

import typer

from cohort_sync.pushes import DRAIN, SYNC
from cohort_sync.settings import CohortSyncSettings
from cohort_sync.signature import HEADER, sign
from foundation.errors import CohortGatewayError, NoAnswerError, UnavailableError
from foundation.http_client import fetch
from foundation.serving import reachable_host
from foundation.settings import load_settings

_SILENT_SECONDS, _WHOLE_SECONDS = 60.0, 120.0
_LARGEST_ANSWER = 64 * 1024  # bytes; it is a line


def build_push(
    *,
    segment_id: int | str,
    segment_name: str,
    task: str,
    add: list[str],
    remove: list[str],
    page: int = 1,
    pages: int = 1,
) -> bytes:
    """The body of one page, in Heap's form (its reference's example)."""
    return _json(
        SYNC,
        {
            "segment": {"id": segment_id, "name": segment_name},
            "sync_info": {"page_number": page, "total_pages": pages, "sync_task_id": task},
            "remove": [{"id": member} for member in remove],
            "add": [{"id": member} for member in add],
        },
    )


def build_drain(*, segment_id: int | str, segment_name: str) -> bytes:
    return _json(DRAIN, {"segment": {"id": segment_id, "name": segment_name}})


def _json(action: str, data: dict[str, Any]) -> bytes:
    push = {"action_type": action, "customer_config": {"fields": []}, "data": data}
    return json.dumps(push, separators=(",", ":"), ensure_ascii=False).encode()


def send(address: str, body: bytes, secret: str) -> tuple[int, str]:
    """Sign `body` with the time of now and send it; status and text. Raises `UnavailableError` when nobody answers."""
    header = sign(secret, body, timestamp_ms=int(time.time() * 1000))
    try:
        answer = fetch(
            "POST",
            address,
            silence=_SILENT_SECONDS,
            whole=_WHOLE_SECONDS,
            most=_LARGEST_ANSWER,
            content=body,
            headers={HEADER: header, "Content-Type": "application/json"},
        )
    except NoAnswerError as error:
        raise UnavailableError(
            f"no answer from {address}: {error}; is scripts/serve running? --url names another address"
        ) from None
    return answer.status, answer.body.decode(errors="replace")


def main(
    add: Annotated[list[str] | None, typer.Option(help="a member that joins; more may follow it")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="a member that leaves; more may follow it")] = None,
    add_file: Annotated[Path | None, typer.Option(help="file of members that join, one a line", exists=True)] = None,
    remove_file: Annotated[
        Path | None, typer.Option(help="file of members that leave, one a line", exists=True)
    ] = None,
    segment_id: Annotated[str, typer.Option(help="Heap's id of the segment")] = "1338065",
    segment_name: Annotated[str, typer.Option(help="the segment's name in Heap")] = "Premium Users",
    pages: Annotated[int, typer.Option(min=1, help="how many pages to cut the push into")] = 1,
    task: Annotated[str | None, typer.Option(help="id of the sync task; a fresh one where left out")] = None,
    drain: Annotated[bool, typer.Option("--drain", help="send a drain instead: the segment is emptied")] = False,
    url: Annotated[str | None, typer.Option(help="the webhook; that of this machine where left out")] = None,
) -> None:
    """Sign and send a sample push: scripts/send_sample_push --add alice bob --remove carol"""
    settings = load_settings(CohortSyncSettings)
    host, port = reachable_host(settings.cohort_sync_host), settings.cohort_sync_port
    address = url or f"http://{host}:{port}/webhooks/heap"
    secret = settings.webhook_secrets()[0].decode()
    joining, leaving = (add or []) + _lines(add_file), (remove or []) + _lines(remove_file)
    segment: dict[str, Any] = {
        "segment_id": int(segment_id) if segment_id.isdecimal() else segment_id,
        "segment_name": segment_name,
    }
    if drain:
        bodies = [build_drain(**segment)]
    elif joining or leaving:
        task = task or str(uuid.uuid4())
        cut = zip(_parts(joining, pages), _parts(leaving, pages), strict=True)
        bodies = [
            build_push(**segment, task=task, add=some, remove=others, page=number, pages=pages)
            for number, (some, others) in enumerate(cut, start=1)
        ]
    else:
        raise typer.BadParameter("nothing to send: give --add, --remove, --add-file, --remove-file or --drain")
    for number, body in enumerate(bodies, start=1):
        status, text = send(address, body, secret)
        print(f"page {number} of {len(bodies)}, {len(body)} bytes: {status} {text}")
        if status != HTTPStatus.OK:
            sys.exit(1)


def _parts(members: list[str], count: int) -> list[list[str]]:
    size = math.ceil(len(members) / count)
    return [members[size * index : size * (index + 1)] for index in range(count)]


def _lines(path: Path | None) -> list[str]:
    return [line for line in path.read_text().splitlines() if line] if path else []


def _spread(arguments: list[str]) -> list[str]:
    """`--add alice bob` as `--add alice --add bob`: what people type, in the form that the parser takes."""
    spread: list[str] = []
    option = ""
    for argument in arguments:
        if argument.startswith("--"):
            option = argument if argument in ("--add", "--remove") else ""
            if not option:
                spread.append(argument)
        elif option:
            spread += [option, argument]
        else:
            spread.append(argument)
    return spread


if __name__ == "__main__":
    sys.argv[1:] = _spread(sys.argv[1:])
    try:
        typer.run(main)
    except CohortGatewayError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
