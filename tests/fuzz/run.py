"""`scripts/fuzz_webhook`: throw what no sender should send at a running cohort-sync, and look whether it minds.

No answer may be 500, no request may hang, nothing unsigned may change the store, and the process must live on. The
same seed gives the same requests (but for the time they are signed at).
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cohort_sync.erasures import RECEIVERS
from tests.fuzz.requests import SECRET, Sent, request
from tests.support import http
from tests.support.processes import Program, cohort_sync, running_store, wait_until_recovered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import redis

HANG_SECONDS = 5.0
BATCH = 200  # requests between two looks at its health
THREADS = 16
_WAITING_SECONDS = 0.2
_ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) ")

_SIGN_OF_LIFE = RECEIVERS.encode()  # the receiver renews it by itself


class FuzzError(Exception):
    """The service minded."""


@dataclass
class Tally:
    requests: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def note(self, answers: list[str], took: float) -> None:
        self.requests += 1
        self.answers.update(answers)
        self.slowest = max(self.slowest, took)

    def line(self, target: Target) -> str:
        """How far it is."""
        rate = self.requests / (time.monotonic() - self._began)
        shown = " ".join(f"{status}:{times}" for status, times in sorted(self.answers.items()))
        return (
            f"{self.requests} requests, {rate:.0f}/s, answers {shown}, slowest {self.slowest:.2f} s, "
            f"memory {target.memory()} MiB"
        )


class Target:
    """A service and its store, to be fuzzed; `secret` must not appear in its log."""

    def __init__(self, program: Program, store: redis.Redis, *, secret: str) -> None:
        host, _, port = program.address.removeprefix("http://").rpartition(":")
        self.program = program
        self._secret = secret
        self._place = (host, int(port))
        self.store = store

    def send(self, sent: Sent) -> tuple[list[str], float]:
        """The statuses of the answers, and how long the first took (seconds).

        Without an answer it is `closed`, or `nothing` where the server may wait for more.
        """
        started = time.monotonic()
        received = b""
        with socket.create_connection(self._place, timeout=HANG_SECONDS) as peer:
            peer.settimeout(HANG_SECONDS if sent.is_whole else _WAITING_SECONDS)
            try:
                for number, piece in enumerate(sent.pieces):
                    if number:
                        time.sleep(0.002)
                    peer.sendall(piece)
                while not (found := _ANSWER.findall(received)) or set(found) == {b"100"}:
                    chunk = peer.recv(65536)
                    if not chunk:
                        break
                    received += chunk
                took = time.monotonic() - started
                peer.settimeout(0.02)  # answers to the requests that came after the first
                while chunk := peer.recv(65536):
                    received += chunk
            except ConnectionError:
                took = time.monotonic() - started
            except TimeoutError:
                took = time.monotonic() - started
                if sent.is_whole and not received:
                    raise FuzzError(f"no answer within {HANG_SECONDS:g} s") from None
        statuses = [status.decode() for status in _ANSWER.findall(received)]
        return statuses or ["closed" if sent.is_whole else "nothing"], took

    def digest(self) -> dict[bytes, bytes]:
        """A digest of each key."""
        names = sorted(set(self.store.scan_iter(count=10_000)) - {_SIGN_OF_LIFE})
        pipeline = self.store.pipeline(transaction=False)
        for start in range(0, len(names), 500):
            command = ("DEBUG", "DIGEST-VALUE", *names[start : start + 500])
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py
        digests = [digest for part in pipeline.execute() for digest in part]
        return dict(zip(names, digests, strict=True))

    def settled_digest(self) -> dict[bytes, bytes]:
        """The same once nothing is under way: who hangs up may leave a change that is still being made."""
        digest = self.digest()
        while (again := self.digest()) != digest:
            digest = again
        return digest

    def check_health(self) -> None:
        if not self.program.process.is_alive():
            raise FuzzError("the process ended")
        if http.get(f"{self.program.address}/healthz").status_code != 200:
            raise FuzzError("it is not healthy")
        log = self.program.log()
        if "Traceback" in log or " ERROR " in log:
            raise FuzzError(f"its log holds errors:\n{log[-6000:]}")
        if self._secret in log:
            raise FuzzError("its log holds the secret")
        self.program.lines.clear()

    def memory(self) -> int:
        """MiB of the process."""
        status = Path(f"/proc/{self.program.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) // 1024


def fuzz(target: Target, *, seed: int, start: int, count: int, say: Callable[[str], None] = lambda _: None) -> Tally:
    """Send the requests numbered from `start`. Raises `FuzzError` naming the seed and the number."""
    tally = Tally()
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(start, start + count, BATCH):
            numbers = range(first, min(first + BATCH, start + count))
            signed = (first // BATCH) % 2 == 1
            before = None if signed else target.settled_digest()
            for answers, took in pool.map(partial(_send, target, seed, signed=signed), numbers):
                tally.note(answers, took)
            if before is not None and (after := target.digest()) != before:
                changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
                raise FuzzError(f"seed {seed}, {numbers}: unsigned requests changed {sorted(changed)[:5]}")
            try:
                target.check_health()
            except FuzzError as error:
                raise FuzzError(f"seed {seed}, {numbers}: {error}") from None
            if tally.requests % 1000 == 0 or numbers.stop == start + count:
                say(tally.line(target))
    return tally


def _send(target: Target, seed: int, number: int, *, signed: bool) -> tuple[list[str], float]:
    return throw(target, request(seed, number, signed=signed), f"seed {seed}, number {number}, signed {signed}")


def throw(target: Target, sent: Sent, name: str) -> tuple[list[str], float]:
    """What `Target.send` says. Raises `FuzzError` with that name where it hangs, or is answered 500."""
    try:
        answers, took = target.send(sent)
    except FuzzError as error:
        raise FuzzError(f"{name}: {error}; {shown(sent)}") from None
    if "500" in answers:
        time.sleep(0.1)  # for the log to come
        raise FuzzError(f"{name}: answered 500; {shown(sent)}\n{target.program.log()[-6000:]}")
    return answers, took


def shown(sent: Sent) -> str:
    """Its bytes, the middle of a long one left out."""
    raw = b"".join(sent.pieces)
    return repr(raw if len(raw) < 2000 else raw[:1500] + b" ... " + raw[-400:])


def settings(store_url: str) -> dict[str, str]:
    """Short times, so that what never ends is cut off soon."""
    return {
        "REDIS_URL": store_url,
        "HEAP_WEBHOOK_SECRET": f"{SECRET}, the-next",
        "ADMIN_TOKEN": "fuzz",
        "MAX_WEBHOOK_BYTES": "1000000",
        "WEBHOOK_SECONDS": "1.5",
        "HEAP_CLIENT_ID": "fuzz",
        "HEAP_CLIENT_SECRET": "fuzz",
        "PUBLIC_URL": "https://example.com",
        "HEAP_BASE": "http://127.0.0.1:1",
    }


@contextlib.contextmanager
def fuzzed() -> Iterator[Target]:
    """A cohort-sync of its own, which has finished starting."""
    with running_store("--enable-debug-command", "yes", "--appendfsync", "no") as store:
        chosen = settings(store.url)
        with cohort_sync(store.directory, chosen) as program, store.client() as client:
            wait_until_recovered(program)
            yield Target(program, client, secret=f"{SECRET},")


def command(
    fuzzed: Callable[[], AbstractContextManager[Target]], fuzz: Callable[..., Tally], *, about: str
) -> typer.Typer:
    """The program that lets `fuzz` loose on what `fuzzed` starts."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

    @app.command(help=about)
    def main(
        requests: Annotated[int, typer.Option(min=1, help="how many")] = 100_000,
        seed: Annotated[int, typer.Option(help="another seed, other requests")] = 1,
        start: Annotated[int, typer.Option(min=0, help="number of the first request: to go on where a run ended")] = 0,
    ) -> None:
        try:
            with fuzzed() as target:
                fuzz(target, seed=seed, start=start, count=requests, say=print_line)
        except FuzzError as error:
            sys.exit(f"FAILED: {error}")

    return app


def print_line(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - progress


if __name__ == "__main__":
    command(fuzzed, fuzz, about="Throw broken, odd and unsigned requests at a cohort-sync of its own.")()
