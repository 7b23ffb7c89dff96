"""Base partitions: every member has exactly one, and a bit that flipped in one is noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cohort_sync.truth import bases
from cohort_sync.truth.bases import DamagedError, Partition, Partitions
from cohort_sync.truth.order import SENDER, Place

PLACE = Place(7, SENDER, "task", 1)


@given(st.frozensets(st.binary(max_size=20)))
def test_members_of_any_bytes_come_back(members: frozenset[bytes]) -> None:
    assert bases.unpack(bases.pack(sorted(members))) == sorted(members)


@pytest.mark.parametrize("members", [[], [b""], [b"\n"], [b"", b"a"], [b"a\nb", b"c"], [b"a"]])
def test_odd_members_come_back(members: list[bytes]) -> None:
    assert bases.unpack(bases.pack(members)) == members


@pytest.mark.parametrize("body", [b"", b"no zstd", bases.pack([b"1"])[:-1], zstandard.compress(b"?")])
def test_what_was_not_packed_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a packed partition"):
        bases.unpack(body)


def test_a_change_of_any_bit_or_number_is_damage() -> None:
    partition, body = bases.seal(Partition(1, 2, PLACE, 3, 4), [b"1", b"2"])
    assert bases.unseal(9, partition, body) == [b"1", b"2"]
    for position in range(len(body)):
        for bit in range(8):
            flipped = bytearray(body)
            flipped[position] ^= 1 << bit
            with pytest.raises(DamagedError, match="partition 1 of 2 of list 9 is damaged"):
                bases.unseal(9, partition, bytes(flipped))
    for other in (
        replace(partition, number=0),
        replace(partition, of=4),
        replace(partition, place=PLACE._replace(at=8)),
        replace(partition, round=2),
        replace(partition, version=5),
        replace(partition, members=1),
    ):
        with pytest.raises(DamagedError):
            bases.unseal(9, other, body)


def test_numbers_may_change_under_the_same_body() -> None:
    partition, body = bases.seal(Partition(0, 1, PLACE), [b"1"])
    later = bases.reseal(replace(partition, round=1), body)
    assert bases.unseal(1, later, body) == [b"1"]


@given(st.integers(0, 5), st.sets(st.integers(0, 63), max_size=20), st.sets(st.integers(0, 63), max_size=20))
def test_each_member_has_one_partition_however_unevenly_they_are_split(
    exponent: int, split: set[int], missing: set[int]
) -> None:
    rows = [Partition(number, 2**exponent, digest=b"d") for number in range(2**exponent)]
    for number in split:
        for index, row in enumerate(rows):
            if row.number == number & (row.of - 1) and row.of < 64:
                rows[index : index + 1] = [
                    replace(row, of=2 * row.of),
                    replace(row, of=2 * row.of, number=row.number + row.of),
                ]
                break
    there = [row for index, row in enumerate(rows) if index not in missing]
    partitions = Partitions.of(there)
    for number in range(500):
        member = b"%d" % number
        assert [row for row in partitions.rows if row.has(member)] == [partitions.rows[partitions.index_of(member)]]
    members = [b"%d" % number for number in range(500)]
    by_row = partitions.by_row(members)
    assert sorted(member for found in by_row.values() for member in found) == sorted(members)
    assert all(partitions.rows[index].has(member) for index, found in by_row.items() for member in found)


def test_a_partition_that_grew_is_split_into_parts_of_the_usual_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "MEMBERS", 10)
    monkeypatch.setattr(bases, "MOST_MEMBERS", 20)
    members = sorted(b"%d" % number for number in range(1000) if Partition(1, 2).has(b"%d" % number))
    assert [part for part, _ in bases.split(Partition(1, 2, PLACE, 3, 4), members[:20])] == [
        Partition(1, 2, PLACE, 3, 4)
    ]
    parts = list(bases.split(Partition(1, 2, PLACE, 3, 4), members))
    assert {part.of for part, _ in parts} == {2 * bases.partitions_for(len(members))}
    assert all(part.has(member) for part, theirs in parts for member in theirs)
    assert all(theirs == sorted(theirs) for _, theirs in parts)
    assert sorted(member for _, theirs in parts for member in theirs) == members
    assert all((part.place, part.round, part.version) == (PLACE, 3, 4) for part, _ in parts)


def test_a_list_has_as_many_partitions_as_its_size_asks_for() -> None:
    assert [bases.partitions_for(members) for members in (0, 1, 32_000, 32_001, 10_000_000)] == [1, 1, 1, 2, 512]
