"""Answers remembered for the time when the store can't answer."""

from __future__ import annotations


class Remembered:
    """At most `most` answers by a number that stands for the question; those given last stay.

    Two tables, of which the older is dropped when the newer has half of them: no bookkeeping for each answer, and
    always at least the latter half is there. 85 bytes an answer.
    """

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._new: dict[int, bool] = {}
        self._old: dict[int, bool] = {}

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def put(self, question: int, found: bool) -> None:
        new = self._new
        if len(new) >= self._half:
            if not self._half:
                return
            self._old = new
            new = self._new = {}
        new[question] = found

    def get(self, question: int) -> bool | None:
        found = self._new.get(question)
        return self._old.get(question) if found is None else found
