"""The order of tasks: where each one's word counts, however its pages arrived."""

from __future__ import annotations

from typing import Literal, NamedTuple

Mode = Literal["delta", "snapshot"]
TaskState = Literal["open", "complete", "held", "accepted", "refused", "given_up"]

SENDER, OPERATOR = 0, 1  # ranks: what an operator does comes after what senders sent with the same time


class Place(NamedTuple):
    """A point in the order of a list's tasks; two of one list are never equal.

    `at`: Unix milliseconds on the sender's clock, the smallest signed time among the task's pages; then `rank`, then
    the task's name and run.
    """

    at: int
    rank: int
    task: str
    run: int


BEFORE_ALL = Place(-1, SENDER, "", 0)
