"""Checks asked by a process of their own, and every answer of it, while the test does other things."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import quote, urlsplit

from tests.support.processes import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TRUE_STATES = ("in", "stale_in")
KNOWING = ("in", "not_in")  # the store said it just now


class Answer(NamedTuple):
    """`sent` and `answered`: monotonic clock, of all processes the same. `late`: what the client itself added.

    Without an answer `status` is 0, `answered` infinite.
    """

    who: str
    sent: float
    answered: float
    status: int
    body: str
    state: str
    late: float

    @property
    def seconds(self) -> float:
        return self.answered - self.sent

    @property
    def is_true(self) -> bool:
        return self.body == "true"


class Load:
    """Asks about `people`, each in the list that goes with the name, in turn, while the block runs.

    `rate`: checks a second.
    """

    def __init__(self, address: str, people: Mapping[str, str], *, account: str, rate: float) -> None:
        self.answers: list[Answer] = []
        self._people = list(people)
        parts = urlsplit(address)
        targets = [
            f"/check-attribute?attribute={quote(name, safe='')}&listId={list_id}&accountId={account}"
            for name, list_id in people.items()
        ]
        self._job = json.dumps({"host": parts.hostname, "port": parts.port, "targets": targets, "rate": rate})
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reading = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.load_client"],
            cwd=ROOT,
            env=environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._job + "\n")
        self._process.stdin.flush()
        self._reading.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._reading.join()
        self._process.wait()
        self._process.stdout.close()

    def wait_for(
        self, wanted: Callable[[Answer], bool], *, what: str, count: int = 1, since: float = 0.0, seconds: float = 30.0
    ) -> Answer:
        """The first of `count` answers from `since` on (when they were sent; else: from now on) that are `wanted`."""
        since = since or time.monotonic()
        with self._changed:
            deadline = time.monotonic() + seconds
            at = len(self.answers)
            while at > 0 and self.answers[at - 1].sent >= since:
                at -= 1
            found: list[Answer] = []
            while True:
                found += [answer for answer in self.answers[at:] if answer.sent >= since and wanted(answer)]
                if len(found) >= count:
                    return found[0]
                at = len(self.answers)
                assert self._changed.wait(deadline - time.monotonic()), f"waited {seconds:g} s for {what}"

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, sent, answered, status, body, state, late = json.loads(line)
            answer = Answer(
                self._people[number], sent, answered or math.inf, int(status or 0), body or "", state or "", late
            )
            with self._changed:
                self.answers.append(answer)
                self._changed.notify_all()
