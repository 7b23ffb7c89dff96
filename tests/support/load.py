"""Checks asked by a process of their own, and every answer of it, while the test does other things."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from tests.support.client_process import ClientProcess

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


class Load(ClientProcess):
    """Asks about `people`, each in the list that goes with the name, in turn, while the block runs.

    `rate`: checks a second.
    """

    def __init__(self, address: str, people: Mapping[str, str], *, account: str, rate: float) -> None:
        self.answers: list[Answer] = []
        self._people = list(people)
        self._changed = threading.Condition()
        targets = [
            f"/check-attribute?attribute={quote(name, safe='')}&listId={list_id}&accountId={account}"
            for name, list_id in people.items()
        ]
        job = {"address": address, "targets": targets, "rate": rate}
        super().__init__("tests.support.load_client", job, self._note)

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

    def _note(self, told: tuple[int, float, float | None, int, str, str, float]) -> None:
        number, sent, answered, status, body, state, late = told
        came = math.inf if answered is None else answered
        answer = Answer(self._people[number], sent, came, status, body, state, late)
        with self._changed:
            self.answers.append(answer)
            self._changed.notify_all()
