from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort_sync import members
from cohort_sync.pushes import DrainPush, SyncPush, parse_push, parse_push_in_turns
from foundation.errors import ActionNotAllowedError, BadRequestError
from foundation.turns import Turns


def push(**data: Any) -> dict[str, Any]:
    base = {
        "segment": {"id": 7, "name": "Free"},
        "sync_info": {"page_number": 1, "total_pages": 2, "sync_task_id": "task"},
    }
    return {"action_type": "segment.users.sync", "data": base | data}


def parsed(body: dict[str, Any]) -> SyncPush:
    found = parse_push(json.dumps(body).encode())
    assert isinstance(found, SyncPush)
    return found


def test_a_plain_page() -> None:
    found = parsed(push(add=[{"id": "a"}, {"id": "É"}], remove=[{"id": "b", "extra": 1}]))
    assert (found.segment_id, found.segment_name, found.task, found.page_number, found.total_pages) == (
        *("7", "Free", "task"),
        *(1, 2),
    )
    assert (found.add, found.remove, found.skipped) == ([b"a", "É".encode()], [b"b"], 0)


def test_numbers_become_their_decimal_text() -> None:
    ids: list[Any] = [5, -3, 12345678901234567890, 1.5, 2.0]
    found = parsed(push(add=[{"id": member} for member in ids]))
    assert found.add == [b"5", b"-3", b"12345678901234567890", b"1.5", b"2"]


@pytest.mark.parametrize(
    "bad", [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": ["a"]}, {"id": "x" * 1025}, "a", None, {"id": "\ud800"}]
)
def test_a_bad_member_is_skipped_and_counted_and_the_rest_is_kept(bad: Any) -> None:
    found = parsed(push(add=[{"id": "first"}, bad, {"id": "last"}], remove=[bad]))
    assert (found.add, found.remove, found.skipped) == ([b"first", b"last"], [], 2)


def test_the_longest_member_is_measured_in_bytes() -> None:
    found = parsed(push(add=[{"id": "é" * 512}, {"id": "é" * 513}]))
    assert (found.add, found.skipped) == ([("é" * 512).encode()], 1)


@pytest.mark.parametrize("config", [None, {}, {"fields": []}, []])
def test_customer_config_may_be_anything(config: Any) -> None:
    assert parsed(push(add=[]) | {"customer_config": config}).add == []


def test_add_and_remove_may_be_absent_or_null() -> None:
    assert parsed(push()).add == []
    assert parsed(push(add=None, remove=None)).remove == []


def test_ids_of_segment_and_task_as_text_or_number() -> None:
    found = parsed(
        push(
            segment={"id": "7", "name": "Free"},
            sync_info={"page_number": "1", "total_pages": "12", "sync_task_id": 99},
        )
    )
    assert (found.segment_id, found.task, found.total_pages) == ("7", "99", 12)


def test_a_drain() -> None:
    body = {"action_type": "segment.users.drain", "id_token": "t", "data": {"segment": {"id": "7", "name": "Free"}}}
    assert parse_push(json.dumps(body).encode()) == DrainPush("t", "7", "Free")


def test_an_unknown_action() -> None:
    with pytest.raises(ActionNotAllowedError, match="action_type"):
        parse_push(b'{"action_type":"segment.users.explode"}')


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action_type"),
        (push(segment=None), "data.segment"),
        (push(segment={"name": "x"}), "data.segment.id"),
        (push(segment={"id": True}), "data.segment.id"),
        (push(segment={"id": 1, "name": 5}), "data.segment.name"),
        (push(sync_info=None), "data.sync_info"),
        (push(sync_info={"page_number": 1, "total_pages": 1}), "data.sync_info.sync_task_id"),
        (push(sync_info={"page_number": 0, "total_pages": 1, "sync_task_id": "t"}), "data.sync_info.page_number"),
        (push(sync_info={"page_number": 1, "total_pages": 1.5, "sync_task_id": "t"}), "data.sync_info.total_pages"),
        (push(add={"id": "a"}), "data.add"),
        (push() | {"data": []}, "data"),
        (push() | {"id_token": 5}, "id_token"),
    ],
)
def test_a_bad_shape_names_the_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequestError, match=rf"^{field}:"):
        parsed(body)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b"{secret_user: 1}"])
def test_what_is_no_json_object_is_refused_without_quoting_it(body: bytes) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse_push(body)
    assert "secret_user" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    body = json.dumps(push(add=[{"id": "first"}, {"id": "HERE"}, {"id": 5}])).encode().replace(b"HERE", b"\xf3a")
    with pytest.raises(BadRequestError):
        parse_push(body)


def in_one_go(ids: list[Any], **options: Any) -> tuple[list[bytes], int]:
    """What the tolerant reader makes of a page; `NaN`, which is no JSON, sends it there."""
    body = json.dumps(push(add=[{"id": member} for member in ids]) | {"customer_config": float("nan")}, **options)
    found = parse_push(body.encode("utf-8", "surrogatepass"))
    assert isinstance(found, SyncPush)
    return found.add, found.skipped


@settings(max_examples=200, deadline=None)
@given(
    ids=st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            st.sampled_from(['"},{"id":"', '"}, {"id": "', "},{", "]}", "\\", '"', ",", "x" * 2000]),
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from([None, True, [], [{}, {}], {"id": "a"}, {"a": [{"id": 1}, {"id": 2}]}]),
        ),
        max_size=40,
    ),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")]),
    ascii_only=st.booleans(),
    size=st.integers(1, 200),
)
def test_slices_find_what_the_whole_holds(
    ids: list[Any], separators: tuple[str, str], ascii_only: bool, size: int
) -> None:
    options: dict[str, Any] = {"separators": separators, "ensure_ascii": ascii_only}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "SLICE", size)
        found = parse_push(json.dumps(push(add=[{"id": member} for member in ids]), **options).encode())
    assert isinstance(found, SyncPush)
    assert (found.add, found.skipped) == in_one_go(ids, **options)


async def test_a_large_page_is_read_in_turns() -> None:
    ids = [f"user{number}" for number in range(20_000)]
    body = json.dumps(push(add=[{"id": member} for member in ids])).encode()
    turns, others = Turns(), 0

    async def count() -> None:
        nonlocal others
        while True:
            await asyncio.sleep(0)
            others += 1

    counting = asyncio.create_task(count())
    found = await parse_push_in_turns(body, turns)
    counting.cancel()
    assert found == parse_push(body)
    assert others > len(body) / members.SLICE
