"""The most that a backtracking matcher may have to do for a regular expression, by the length of the text.

A pattern such as `(a+)+$` makes it try every way to cut a text into pieces, and their number doubles with each
character. So the parts of a pattern know in how many ways they may end, whatever the text holds; what follows a part
counts as tried for each of them. A bound may be far too high, and is never too low: who stays below it never waits.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

Ranges = Sequence[tuple[int, int]]  # of characters, both ends included

_MOST_RANGES = 64  # of what may follow a part; more are as good as unknown


class Bounds(NamedTuple):
    """Of a part that is tried at one place of the text.

    `work`: characters looked at. `exits`: in how many ways it may end, and `ways`: how many of them end at one place.
    `pace`: where it is found to be so many characters long, that cost at the most `pace` times as many and one more.
    """

    work: float
    exits: float = 1
    ways: float = 1
    pace: float = math.inf


class Starts(NamedTuple):
    """The characters that a part may begin with, and how many are looked at to see that it does not begin."""

    ranges: Ranges
    tries: int

    def excludes(self, other: Starts) -> bool:
        """Whether no character is in both."""
        return all(high < start or end < low for low, high in self.ranges for start, end in other.ranges)


NOTHING = Starts((), 1)  # the end of the text, or of the pattern: no character goes on from there


class Part(ABC):
    """A part of a pattern. `starts`: None where it is not known what it begins with."""

    starts: Starts | None = None
    may_be_empty = False
    is_anchored = False  # it matches at the beginning of the text, or nowhere

    @abstractmethod
    def bounds(self, length: int, follow: Starts | None) -> Bounds:
        """`length` of the text, and what comes after the part (None: not known)."""


class Fixed(Part):
    """Characters and places, one after the other, each of which is there or not."""

    def __init__(self, size: int, starts: Starts | None, *, is_anchored: bool = False) -> None:
        self.size = size
        self.starts = starts
        self.is_anchored = is_anchored
        self._bounds = Bounds(size, pace=size)

    def bounds(self, length: int, follow: Starts | None) -> Bounds:  # noqa: ARG002 - the same for all
        return self._bounds


class Reference(Part):
    """What a group has matched before, which may be anything."""

    may_be_empty = True

    def bounds(self, length: int, follow: Starts | None) -> Bounds:  # noqa: ARG002 - whatever follows
        return Bounds(length + 1)


class Look(Part):
    """A look ahead or behind: no second way is tried after it was found."""

    def __init__(self, inner: Part) -> None:
        self._inner = inner

    def bounds(self, length: int, follow: Starts | None) -> Bounds:  # noqa: ARG002 - it has an end of its own
        return Bounds(self._inner.bounds(length, NOTHING).work + 1)


class Repeat(Part):
    """`inner` at least so often, and at the most so often."""

    def __init__(self, inner: Part, least: int, most: float) -> None:
        self._inner = inner
        self._least = least
        self._most = most
        self.starts = inner.starts
        self.may_be_empty = inner.may_be_empty or not least

    def bounds(self, length: int, follow: Starts | None) -> Bounds:
        again = follow if self._most <= 1 else union((self._inner.starts, follow))
        one = self._inner.bounds(length, again)
        # One that is empty ends it, unless there must be more of them.
        steps = length + self._least + 1 if self._inner.may_be_empty else length
        rounds = min(self._most, steps)
        if one.exits > 1:
            by_round = (rounds + 1) * _power(one.exits, rounds)
            by_piece = _power(1 + one.ways, steps + 1)
            paths = min(by_round, by_piece)
            return Bounds(one.work * (paths + 1), paths, paths)
        exits = max(rounds - self._least, 0) + 1
        # All that are found share the text; the last may look at all of it in vain.
        work = one.work + min(one.work * rounds, one.pace * (rounds + length))
        if self.starts is not None and follow is not None and self.starts.excludes(follow):
            # Only from where it can't be repeated any more does the text go on.
            pace = 2 * self._inner.size + follow.tries if isinstance(self._inner, Fixed) else math.inf
            return Bounds(work + exits * follow.tries, pace=pace)
        return Bounds(work, exits, exits if self._inner.may_be_empty else 1)


class _Chain(Part):
    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        first = next((number for number, part in enumerate(parts, 1) if not part.may_be_empty), len(parts))
        self.starts = union(part.starts for part in parts[:first])
        self.may_be_empty = all(part.may_be_empty for part in parts)
        self.is_anchored = parts[0].is_anchored

    def bounds(self, length: int, follow: Starts | None) -> Bounds:
        follows = []
        for part in reversed(self._parts):
            follows.append(follow)
            follow = union((part.starts, follow)) if part.may_be_empty else part.starts
        work, exits, ways, pace = 0.0, 1.0, 1.0, 0.0
        for part, behind in zip(self._parts, reversed(follows), strict=True):
            one = part.bounds(length, behind)
            work += exits * one.work
            ways = min(exits * one.ways, ways * one.exits)
            exits *= one.exits
            pace = max(pace, one.pace)
        return Bounds(work, exits, ways, pace * len(self._parts) if exits == 1 else math.inf)


class _Choice(Part):
    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self.starts = union(part.starts for part in parts)
        self.may_be_empty = any(part.may_be_empty for part in parts)
        self.is_anchored = all(part.is_anchored for part in parts)
        self._is_fixed = all(isinstance(part, Fixed) for part in parts)
        self._is_exclusive = not self.may_be_empty and _are_apart([part.starts for part in parts])

    def bounds(self, length: int, follow: Starts | None) -> Bounds:
        all_bounds = [part.bounds(length, follow) for part in self._parts]
        total = max if self._is_exclusive else math.fsum
        work = math.fsum(one.work for one in all_bounds)
        exits, ways = (total(one[field] for one in all_bounds) for field in (1, 2))
        return Bounds(work, exits, ways, work if self._is_fixed and exits == 1 else math.inf)


def chain(parts: Sequence[Part]) -> Part:
    """One part after the other."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Fixed) and isinstance(last, Fixed):
            joined[-1] = Fixed(last.size + part.size, last.starts, is_anchored=last.is_anchored)
        else:
            joined.append(part)
    if not joined:
        return Repeat(Fixed(1, NOTHING), 0, 0)
    return joined[0] if len(joined) == 1 else _Chain(joined)


def choice(parts: Sequence[Part]) -> Part:
    """One of several parts."""
    return parts[0] if len(parts) == 1 else _Choice(parts)


def work(pattern: Part, length: int) -> float:
    """The most that looking for `pattern` everywhere in a text takes."""
    places = 1 if pattern.is_anchored else length + 1
    return places * pattern.bounds(length, NOTHING).work + length


def union(starts: Iterable[Starts | None]) -> Starts | None:
    """What begins with any of these."""
    ranges: list[tuple[int, int]] = []
    tries = 0
    for one in starts:
        if one is None:
            return None
        ranges += one.ranges
        tries += one.tries
        if len(ranges) > _MOST_RANGES:
            return None
    return Starts(ranges, tries)


def _are_apart(starts: Sequence[Starts | None]) -> bool:
    """Whether no character begins two of these."""
    ranges: list[tuple[int, int]] = []
    for one in starts:
        if one is None:
            return False
        ranges += one.ranges
    return all(end < start for (_, end), (start, _) in pairwise(sorted(ranges)))


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf
