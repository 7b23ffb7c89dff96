"""An index of who is named by the newer tasks of a list: of each member the newest task that names it.

Without it, pages of tasks that interleave are compared each with all pages of all newer tasks. It is rebuilt from the
bodies where it is missing, and holds hashes only (Python's own, 64 bits): some 80 bytes a member.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from attribute_lists.bodies import Names
    from cohort_sync.truth.order import Place

BYTES_PER_MEMBER = 80


class MemberIndex:
    """The tasks placed at `low` and later, with their pages up to the list's version `version`."""

    def __init__(self, low: Place, version: int) -> None:
        self.low = low
        self.version = version
        self._codes: dict[int, int] = {}  # by task
        self._tasks: list[int] = []  # by code
        self._words: dict[int, int] = {}  # by hash of a member: twice the code of the task, plus 1 where it removes

    @property
    def size(self) -> int:
        """Bytes, about."""
        return BYTES_PER_MEMBER * len(self._words)

    def insert(self, task: int, names: Names, newer: Iterable[int]) -> None:
        """A page of `task`; `newer`: the tasks placed after it, which what they say goes before."""
        added = 2 * self._code_of(task)
        removed = added + 1
        words = self._words
        overriding = {self._codes[other] for other in newer if other in self._codes}
        if overriding:
            self._insert_below(names, added, overriding)
            return
        for member in map(hash, names.add):
            if words.get(member) != removed:  # within a task remove wins
                words[member] = added
        words.update(dict.fromkeys(map(hash, names.remove), removed))

    def _insert_below(self, names: Names, added: int, overriding: Collection[int]) -> None:
        words, removed = self._words, added + 1
        hashes = list(map(hash, names.add))
        for member, word in zip(hashes, map(words.get, hashes), strict=True):
            if word is None or (word != removed and word >> 1 not in overriding):
                words[member] = added
        hashes = list(map(hash, names.remove))
        for member, word in zip(hashes, map(words.get, hashes), strict=True):
            if word is None or word >> 1 not in overriding:
                words[member] = removed

    def words(self, members: Collection[bytes]) -> tuple[dict[int, list[bytes]], dict[int, list[bytes]], list[bytes]]:
        """Of `members`: whom a task adds and whom it removes, by task; and those that none names."""
        by_word: defaultdict[int | None, list[bytes]] = defaultdict(list)
        for member, word in zip(members, map(self._words.get, map(hash, members)), strict=True):
            by_word[word].append(member)
        unnamed = by_word.pop(None, [])
        added: dict[int, list[bytes]] = {}
        removed: dict[int, list[bytes]] = {}
        for word, found in by_word.items():
            if word is not None:
                (removed if word & 1 else added)[self._tasks[word >> 1]] = found
        return added, removed, unnamed

    def _code_of(self, task: int) -> int:
        code = self._codes.get(task)
        if code is None:
            code = self._codes[task] = len(self._tasks)
            self._tasks.append(task)
        return code
