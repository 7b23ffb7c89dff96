"""Answers remembered for the time when the store can't answer."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Remembered:
    """At most `most` answers by a number of 64 bits, signed, that stands for the question; those given last stay.

    Two tables, of which the older is emptied and becomes the newer when that holds half of them: no bookkeeping for
    each answer, and always at least the latter half is there. Bare numbers, since objects would take four times the
    memory and leave holes in it: some 24 bytes an answer, taken at once and for good.
    """

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._new, self._old = _Table(self._half), _Table(self._half)

    def __len__(self) -> int:
        return self._new.filled + self._old.filled

    def put(self, questions: Iterable[int], answers: Iterable[int], salt: int = 0) -> None:
        """`salt` changes what the numbers stand for."""
        if not self._half:
            return
        table = self._new
        places, found, mask = table.questions, table.found, table.mask
        for number, answer in zip(questions, answers, strict=True):
            question = number ^ salt
            at = question & mask
            there = places[at]
            if there != question:
                if there or table.filled >= self._half:
                    at = self._place_of(question)
                    table = self._new
                    places, found = table.questions, table.found
                else:
                    places[at] = question
                    table.filled += 1
            found[at] = answer

    def _place_of(self, question: int) -> int:
        """Where it stands, from now on."""
        table = self._new
        at = table.place_of(question)
        if table.questions[at] == question:
            return at
        if table.filled >= self._half:
            table = self._old
            self._new, self._old = table, self._new
            table.clear()
            at = table.place_of(question)
        table.filled += 1
        table.questions[at] = question
        return at

    def get(self, question: int) -> bool | None:
        found = self._new.get(question)
        return self._old.get(question) if found is None else found


class _Table:
    """Places for `most` questions, and at least as many free ones, in which 0 stands."""

    def __init__(self, most: int) -> None:
        size = 1 << (2 * most).bit_length()  # so that hardly any two want the same place
        self.mask = size - 1
        self.questions = array("q", bytes(8 * size))
        self.found = bytearray(size)
        self.filled = 0

    def place_of(self, question: int) -> int:
        """Where it stands, or may."""
        at = question & self.mask
        while (there := self.questions[at]) and there != question:
            at = at + 1 & self.mask
        return at

    def get(self, question: int) -> bool | None:
        at = self.place_of(question)
        return bool(self.found[at]) if self.questions[at] == question else None

    def clear(self) -> None:
        memoryview(self.questions).cast("B")[:] = bytes(8 * len(self.questions))
        self.filled = 0
