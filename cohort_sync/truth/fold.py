"""The fold: what a list's tasks, one after the other in the order of their places, make of its base.

One idea carries it: everything is a task at a place. The pages of a task name members; within a task remove wins,
whatever the pages. A *floor* (a snapshot that counts; a drain or a deletion is one of nobody) makes void what is placed
before it, base included. A person who was erased is out unless a task placed after the erasure adds them.

Pure: no clock, no size, no database is asked. `fold` goes forward and serves whole partitions; `resolve` goes back from
the newest task and ends once all members in question are decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from attribute_lists.bodies import Names
    from cohort_sync.truth.order import Place


class Step(NamedTuple):
    """A task as the fold sees it: its pages, and whether it makes void what is placed before it."""

    place: Place
    is_floor: bool
    pages: Iterable[Names]


def _no_tag(member: bytes) -> bytes:
    return member


@dataclass(frozen=True, slots=True)
class Erased:
    """The erased persons, as of the erasure `number`.

    `tags`: place (ms) of the newest erasure, by the keyed hash of the person, which `tag_of` makes. `unfinished`: those
    whose traces in bases are not rewritten yet, by id; `unknown`: the same, of whom no id is known, by keyed hash.
    """

    number: int = 0
    tags: Mapping[bytes, int] = field(default_factory=dict)
    tag_of: Callable[[bytes], bytes] = _no_tag
    unfinished: Mapping[bytes, int] = field(default_factory=dict)
    unknown: Mapping[bytes, int] = field(default_factory=dict)
    newest: int = field(init=False, default=-1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "newest", max(self.tags.values(), default=-1))

    def among(self, members: Iterable[bytes], place: Place) -> set[bytes]:
        """Those of `members` whom a task at `place` does not bring back."""
        if place.at > self.newest:
            return set()
        tags, tag_of = self.tags, self.tag_of
        return {member for member in members if tags.get(tag_of(member), -1) >= place.at}

    def in_base(self, members: Collection[bytes], place: Place) -> set[bytes]:
        """Those of `members` who may be in a base up to `place` though they are erased."""
        gone = {person for person, at in self.unfinished.items() if at >= place.at and person in members}
        if any(at >= place.at for at in self.unknown.values()):
            unknown, tag_of = self.unknown, self.tag_of
            gone |= {member for member in members if unknown.get(tag_of(member), -1) >= place.at}
        return gone


NOBODY_ERASED = Erased()


class Word(NamedTuple):
    """What tasks say: who is in, who is out; of all others the base says it, or, where it is void, they are out."""

    added: set[bytes]
    removed: set[bytes]
    is_void: bool


def fold(steps: Iterable[Step], erased: Erased = NOBODY_ERASED) -> Word:
    """What `steps`, in the order of their places, say together."""
    added: set[bytes] = set()
    removed: set[bytes] = set()
    is_void = False
    for step in steps:
        if step.is_floor:
            added, removed, is_void = set(), set(), True
        adds: set[bytes] = set()
        removes: set[bytes] = set()
        for page in step.pages:
            adds.update(page.add)
            removes.update(page.remove)
        adds -= removes
        gone = erased.among(adds, step.place)
        adds -= gone
        removes |= gone
        if added or removed:
            added -= removes
            added |= adds
            removed -= adds
            removed |= removes
        else:  # of many members a copy is felt
            added, removed = adds, removes
    return Word(added, removed, is_void)


def apply(base: Sequence[bytes], place: Place, word: Word, erased: Erased = NOBODY_ERASED) -> list[bytes]:
    """The members after `word`, sorted. `base`: those before it, sorted; `place`: up to where tasks are in it."""
    if word.is_void:
        return sorted(word.added)
    touched = word.added | word.removed
    if erased.unfinished or erased.unknown:
        touched |= erased.in_base(frozenset(base), place)
    # Two sorted runs: merging these is much cheaper than sorting a set.
    members = [member for member in base if member not in touched] if touched else list(base)
    members += sorted(word.added)
    members.sort()
    return members


class Resolved(NamedTuple):
    """Of members in question: who is in, who is out, and of whom the base has to say it."""

    added: set[bytes]
    removed: set[bytes]
    undecided: set[bytes]


def resolve(members: Iterable[bytes], steps: Iterable[Step], erased: Erased = NOBODY_ERASED) -> Resolved:
    """What `steps`, the newest first, say of `members`: the newest that names one decides."""
    undecided = set(members)
    added: set[bytes] = set()
    removed: set[bytes] = set()
    for step in steps:
        if not undecided:
            break
        adds: set[bytes] = set()
        removes: set[bytes] = set()
        for page in step.pages:
            adds.update(undecided.intersection(page.add))
            removes.update(undecided.intersection(page.remove))
        adds -= removes
        gone = erased.among(adds, step.place)
        adds -= gone
        removes |= gone
        added |= adds
        removed |= removes
        undecided -= adds
        undecided -= removes
        if step.is_floor:
            removed |= undecided
            undecided = set()
    return Resolved(added, removed, undecided)
