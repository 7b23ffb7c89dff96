"""`scripts/demo`: the whole loop on one terminal, with a stack of its own that is gone afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from foundation.errors import CohortGatewayError, ConfigurationError, NoAnswerError
from foundation.http_client import fetch
from foundation.secrets import read_or_create_secret
from local_stack import children
from local_stack.sample_push import build_push, send

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SEGMENT = {"segment_id": 1338065, "segment_name": "Premium Users"}
LIST = "heap_premium_users"
FLAG = "premium_dashboard"
CUSTOM_VARIABLE = "heap_user_id"
PEOPLE = ["alice", "bob", "carol"]
START_SECONDS = 30.0
_ANSWER_SECONDS = 10.0
_LARGEST_ANSWER = 64 * 1024  # bytes


def demo() -> None:
    """Raises `ConfigurationError` where the stack can't start."""
    say("Starting a store, a gateway and cohort-sync, with data of their own in a temporary directory.")
    with _own_stack() as (gateway, sync, secret):
        say("Nobody is in the list yet:")
        show_checks(gateway)
        say(f"Heap pushes the segment {SEGMENT['segment_name']!r}, signed: alice and bob join.")
        push(sync, secret, add=["alice", "bob"])
        show_checks(gateway)
        show_flag(gateway)
        say("Heap pushes a change: bob leaves.")
        push(sync, secret, remove=["bob"])
        show_checks(gateway)
        show_flag(gateway)
        say("Somebody sends the same with a wrong secret:")
        push(sync, "not-the-secret", add=["mallory"])
    say("That was the loop. scripts/serve starts the real thing; README.md tells how to connect Heap and VWO.")


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def push(sync: str, secret: str, *, add: list[str] | None = None, remove: list[str] | None = None) -> None:
    body = build_push(**SEGMENT, task=f"demo-{time.time_ns()}", add=add or [], remove=remove or [])  # type: ignore[arg-type] # mixed values
    status, text = send(f"{sync}/webhooks/heap", body, secret)
    print(f"   POST /webhooks/heap, {len(body)} bytes: {status} {text}")


def show_checks(gateway: str) -> None:
    for person in PEOPLE:
        target = f"/check-attribute?attribute={person}&listId={LIST}"
        print(f"   GET {target}: {_ask(gateway + target).decode()}")


def show_flag(gateway: str) -> None:
    """What the official VWO Node SDK decides, where Node is installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        print(f"   (with Node.js and npm installed, the VWO SDK would show the flag {FLAG} here)")
        return
    folder = ROOT / "tests" / "node"
    if not (folder / "node_modules").exists():
        print("   installing the official VWO Node SDK, once", flush=True)
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
    address = urlsplit(gateway)
    job = {
        "gateway": {"url": address.hostname, "port": address.port, "protocol": "http"},
        "accountId": "123456",
        "sdkKey": "sample_sdk_key",
        "flagKey": FLAG,
        "contexts": [{"id": person, "customVariables": {CUSTOM_VARIABLE: person}} for person in PEOPLE],
    }
    done = subprocess.run(
        ["node", "evaluate.cjs"], cwd=folder, input=json.dumps(job), capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        decision = json.loads(line)
        if "enabled" in decision:
            state = "ON " if decision["enabled"] else "off"
            print(f"   VWO Node SDK: {FLAG} is {state} for {decision['id']}")


@contextlib.contextmanager
def _own_stack() -> Iterator[tuple[str, str, str]]:
    """(gateway's address, cohort-sync's address, webhook secret) of a stack on free ports."""
    with tempfile.TemporaryDirectory(prefix="cohort-demo-") as directory:
        services = ("", "COHORT_SYNC_", "COHORT_SYNC_ADMIN_", "HEAP_EXPORT_", "HEAP_EXPORT_ADMIN_")
        ports = _free_ports(len(services))
        settings = {f"{service}PORT": str(port) for service, port in zip(services, ports, strict=True)}
        settings |= {"DATA_DIR": directory, "LOG_LEVEL": "ERROR"}
        # A `.env` may name the real Heap, which nobody wants to hear of the demo.
        settings |= {"EXPORT_EXPOSURES": "false", "DELIVER_HERE": "false"}
        own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        stack = children.start(
            [sys.executable, "-m", "local_stack"], environment=own | settings, stdout=subprocess.DEVNULL
        )
        try:
            gateway, sync = (f"http://127.0.0.1:{port}" for port in ports[:2])
            _wait_for(stack, gateway, sync)
            yield gateway, sync, read_or_create_secret(Path(directory) / "webhook_secret")
        finally:
            children.stop(stack, seconds=10)


def _wait_for(stack: subprocess.Popen[bytes], *addresses: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    waiting = list(addresses)
    while waiting:
        if stack.poll() is not None or time.monotonic() > deadline:
            raise ConfigurationError("the demo's services did not start; their messages stand above")
        try:
            _ask(f"{waiting[0]}/healthz")
            waiting.pop(0)
        except NoAnswerError:
            time.sleep(0.05)


def _ask(address: str) -> bytes:
    return fetch("GET", address, silence=_ANSWER_SECONDS, whole=_ANSWER_SECONDS, most=_LARGEST_ANSWER).body


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in sockets]


if __name__ == "__main__":
    try:
        demo()
    except CohortGatewayError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
