"""The fold against a naive model: whole tasks and erasures, applied one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from attribute_lists.bodies import Names
from cohort_sync.truth.facts.erasures import tag_of
from cohort_sync.truth.fold import Erased, Step, apply, fold, resolve
from cohort_sync.truth.order import BEFORE_ALL, SENDER, Place

if TYPE_CHECKING:
    from collections.abc import Iterator


KEY = b"key"
EVERYBODY = [b"%d" % number for number in range(6)]

_persons = st.lists(st.sampled_from(EVERYBODY), max_size=4)
_pages = st.lists(st.builds(Names, _persons, _persons), max_size=3)
_tasks = st.tuples(st.integers(0, 9), st.booleans(), _pages)
_erasures = st.dictionaries(st.sampled_from(EVERYBODY), st.integers(0, 9), max_size=2)


def steps_of(tasks: list[tuple[int, bool, list[Names]]]) -> list[Step]:
    found = [
        Step(Place(at, SENDER, f"{number}", 0), is_floor, pages) for number, (at, is_floor, pages) in enumerate(tasks)
    ]
    return sorted(found, key=lambda step: step.place)


def erased_at(erasures: dict[bytes, int]) -> Erased:
    tags = {tag_of(person, KEY): at for person, at in erasures.items()}
    return Erased(len(tags), tags, lambda member: tag_of(member, KEY), unfinished=erasures)


def naive(base: set[bytes], steps: list[Step], erasures: dict[bytes, int]) -> set[bytes]:
    """An erasure comes behind all tasks of its own place."""
    members = set(base)
    events: list[tuple[int, int, Step | bytes]] = [(step.place.at, 0, step) for step in steps]
    events += [(at, 1, person) for person, at in erasures.items()]
    for _, _, event in sorted(events, key=lambda event: event[:2]):
        if isinstance(event, bytes):
            members.discard(event)
            continue
        if event.is_floor:
            members = set()
        adds = {member for page in event.pages for member in page.add}
        removes = {member for page in event.pages for member in page.remove}
        members = (members - removes) | (adds - removes)
    return members


@given(st.frozensets(st.sampled_from(EVERYBODY)), st.lists(_tasks, max_size=6), _erasures)
def test_folding_is_applying_one_task_after_the_other(
    base: frozenset[bytes], tasks: list[tuple[int, bool, list[Names]]], erasures: dict[bytes, int]
) -> None:
    steps = steps_of(tasks)
    word = fold(steps, erased_at(erasures))
    assert not word.added & word.removed
    members = apply(sorted(base), BEFORE_ALL, word, erased_at(erasures))
    assert members == sorted(naive(set(base), steps, erasures))


@given(
    st.frozensets(st.sampled_from(EVERYBODY)),
    st.lists(_tasks, max_size=6),
    _erasures,
    st.frozensets(st.sampled_from(EVERYBODY)),
)
def test_resolving_some_members_says_what_folding_says_of_all(
    base: frozenset[bytes],
    tasks: list[tuple[int, bool, list[Names]]],
    erasures: dict[bytes, int],
    wanted: frozenset[bytes],
) -> None:
    steps, erased = steps_of(tasks), erased_at(erasures)
    resolved = resolve(wanted, reversed(steps), erased)
    assert resolved.added | resolved.removed | resolved.undecided == wanted
    held = resolved.added | ((resolved.undecided & base) - erased.in_base(resolved.undecided, BEFORE_ALL))
    assert held == naive(set(base), steps, erasures) & wanted


@given(st.frozensets(st.sampled_from(EVERYBODY)), st.lists(_tasks, max_size=6), st.integers(0, 6))
def test_folding_a_part_first_changes_nothing(
    base: frozenset[bytes], tasks: list[tuple[int, bool, list[Names]]], cut: int
) -> None:
    steps = steps_of(tasks)
    place = steps[:cut][-1].place if steps[:cut] else BEFORE_ALL
    folded = apply(sorted(base), BEFORE_ALL, fold(steps[:cut]))
    assert apply(folded, place, fold(steps[cut:])) == apply(sorted(base), BEFORE_ALL, fold(steps))


@given(st.frozensets(st.sampled_from(EVERYBODY)), st.lists(_tasks, max_size=6), st.integers(0, 6))
def test_tasks_that_the_base_has_already_change_nothing_where_all_are_told_again(
    base: frozenset[bytes], tasks: list[tuple[int, bool, list[Names]]], cut: int
) -> None:
    steps = steps_of(tasks)
    folded = apply(sorted(base), BEFORE_ALL, fold(steps[:cut]))
    assert apply(folded, BEFORE_ALL, fold(steps)) == apply(sorted(base), BEFORE_ALL, fold(steps))


def test_resolving_reads_no_page_of_a_task_that_is_not_needed() -> None:
    class Unread:
        def __iter__(self) -> Iterator[Names]:
            raise AssertionError("it was read")

    newest = Step(Place(2, SENDER, "b", 0), is_floor=False, pages=[Names([b"1"], [b"2"])])
    older = Step(Place(1, SENDER, "a", 0), is_floor=False, pages=Unread())
    assert resolve([b"1", b"2"], [newest, older]).added == {b"1"}


def test_a_person_is_back_only_by_a_task_placed_after_the_erasure() -> None:
    erased = erased_at({b"1": 5})
    for at, is_in in ((4, False), (5, False), (6, True)):
        step = Step(Place(at, SENDER, "t", 0), is_floor=False, pages=[Names([b"1"], [])])
        assert (b"1" in fold([step], erased).added) is is_in
        assert (b"1" in resolve([b"1"], [step], erased).added) is is_in


def test_a_base_holds_an_erased_person_until_it_is_rewritten() -> None:
    unfinished = erased_at({b"1": 5})
    unknown = Erased(1, unfinished.tags, unfinished.tag_of, unknown=unfinished.tags)
    finished = Erased(1, unfinished.tags, unfinished.tag_of)
    for erased in (unfinished, unknown):
        assert apply([b"1", b"2"], Place(5, SENDER, "", 0), fold([], erased), erased) == [b"2"]
        assert apply([b"1", b"2"], Place(6, SENDER, "", 0), fold([], erased), erased) == [b"1", b"2"]
    assert apply([b"1", b"2"], Place(5, SENDER, "", 0), fold([], finished), finished) == [b"1", b"2"]
