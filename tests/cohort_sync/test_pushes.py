from __future__ import annotations

import asyncio
import json
import math
import random
import shutil
import struct
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort_sync import json_spans, members
from cohort_sync.pushes import DrainPush, SyncPush, parse_push, parse_push_in_turns
from foundation.errors import ActionNotAllowedError, BadRequestError
from foundation.turns import Turns
from tests.node.node_sdk import unavailable

MANY_DIGITS = "9" * 5000
DEEP = "[" * 100_000 + "]" * 100_000
DEEP_OBJECTS = '{"a":' * 20_000 + "1" + "}" * 20_000


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


def written(add: str, *, template: dict[str, Any] | None = None) -> str:
    """A page with that JSON text, or what is none, for the members that are added."""
    return json.dumps(template or push(add="HERE")).replace('"HERE"', add)


def read_text(body: str | bytes) -> SyncPush:
    found = parse_push(body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"))
    assert isinstance(found, SyncPush)
    return found


def test_a_plain_page() -> None:
    found = parsed(push(add=[{"id": "a"}, {"id": "É"}], remove=[{"id": "b", "extra": 1}]))
    assert (found.segment_id, found.segment_name, found.task, found.page_number, found.total_pages) == (
        *("7", "Free", "task"),
        *(1, 2),
    )
    assert (found.add, found.remove, found.skipped) == ([b"a", "É".encode()], [b"b"], 0)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *(
            ("5", "5"),
            ("-3", "-3"),
            ("-0", "0"),
            ("12345678901234567890", "12345678901234567890"),
            ("9" * 400, "9" * 400),
        ),
        *(("1.5", "1.5"), ("2.0", "2"), ("-0.0", "0"), ("1e5", "100000"), ("1E+2", "100"), ("1e-400", "0")),
        *(
            ("0.00001", "0.00001"),
            ("1e-7", "1e-7"),
            ("12345678901234567.0", "12345678901234568"),
            ("1e20", "1" + "0" * 20),
        ),
        *(("1e21", "1e+21"), ("-1.5e300", "-1.5e+300"), ("0.1000", "0.1"), ("1." + "0" * 5000, "1")),
    ],
)
def test_numbers_become_what_an_sdk_sends(number: str, text: str) -> None:
    found = read_text(written(f'[{{"id":{number}}},{{"id":"last"}}]'))
    assert (found.add, found.skipped) == ([text.encode(), b"last"], 0)


def test_numbers_become_what_javascript_makes_of_them() -> None:
    node = shutil.which("node") or unavailable("Node is not installed")
    chooser = random.Random(1)  # noqa: S311 - to be repeated
    drawn = [struct.unpack("d", chooser.randbytes(8))[0] for _ in range(2000)]
    numbers = [number for number in drawn if math.isfinite(number)]
    numbers += [
        float(f"{chooser.choice('-+')}{chooser.random()}e{power}") for power in range(-12, 26) for _ in range(20)
    ]
    text = json.dumps([{"id": number} for number in numbers])
    program = (
        "const read = require('fs').readFileSync(0); for (const one of JSON.parse(read)) console.log(String(one.id))"
    )
    spoken = subprocess.run(
        [node, "-e", program], input=text, capture_output=True, text=True, check=True
    ).stdout.split()
    assert [member.decode() for member in read_text(written(text)).add] == spoken


@pytest.mark.parametrize(
    "bad", [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": ["a"]}, {"id": "x" * 1025}, "a", None, {"id": "\ud800"}]
)
def test_a_bad_member_is_skipped_and_counted_and_the_rest_is_kept(bad: Any) -> None:
    found = parsed(push(add=[{"id": "first"}, bad, {"id": "last"}], remove=[bad]))
    assert (found.add, found.remove, found.skipped) == ([b"first", b"last"], [], 2)


@pytest.mark.parametrize(
    "odd",
    [
        *(
            f'{{"id":{MANY_DIGITS}}}',
            f'{{"id":-{MANY_DIGITS}}}',
            f'{{"id":{MANY_DIGITS}.5}}',
            '{"id":1e400}',
            '{"id":-1e999}',
        ),
        *(
            '{"id":NaN}',
            '{"id":Infinity}',
            '{"id":-Infinity}',
            '{"id":undefined}',
            '{"id":01}',
            '{"id":+1}',
            '{"id":0x1F}',
        ),
        *(f'{{"id":{DEEP}}}', f'{{"id":{DEEP_OBJECTS}}}', DEEP, DEEP_OBJECTS, MANY_DIGITS, "NaN", '"a"', "null", "{}"),
        *('{"id":"\\ud800"}', '{"id":"\\udc00\\ud800"}', '{"id":"\ud800"}', '{"id":"\\x41"}', '{"id":"\\u12"}'),
        *(
            '{"id":"a" "b"}',
            '{"id" "a"}',
            '{id:"a"}',
            '{"id":}',
            "{,}",
            '{"id":"a",}',
            '{"id":[{"id":"a"},{"id":"b"}]}',
        ),
        *('{"id":"%s"}' % ("x" * 100_000), '{"id":"%s"}' % ("\\u0041" * 1025), '{"id":"a","id":NaN}', '{"ID":"a"}'),
    ],
    ids=lambda odd: odd[:20],
)
@pytest.mark.parametrize("size", [members.SLICE, 50])
def test_an_odd_member_never_refuses_the_others(odd: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "SLICE", size)
    several = ",".join(f'{{"id":"user{number}"}}' for number in range(1000))
    found = read_text(written(f'[{{"id":"first"}},{odd},{several},{odd},{{"id":5}},{odd}]'))
    assert (found.add[0], found.add[-2], found.add[-1], len(found.add)) == (b"first", b"user999", b"5", 1002)
    assert found.skipped == 3


@pytest.mark.parametrize("odd", [MANY_DIGITS, DEEP, DEEP_OBJECTS, "NaN", "1e400", '"\\ud800"', '"\\x"', "[1 2]", "'a'"])
def test_a_field_that_nobody_reads_may_hold_anything(odd: str) -> None:
    add = f'[{{"id":"first"}},{{"x":{odd},"id":"second"}},{{"id":"third","x":{odd}}},{{"id":"last"}}]'
    segment = {"id": 7, "name": "Free", "x": "ODD"}
    sync_info = {"x": "ODD", "page_number": 1, "total_pages": 2, "sync_task_id": "task"}
    template = {"customer_config": "ODD"} | push(x="ODD", segment=segment, sync_info=sync_info, add="HERE")
    found = read_text(written(add, template=template).replace('"ODD"', odd))
    assert (found.segment_id, found.task, found.page_number, found.skipped) == ("7", "task", 1, 0)
    assert found.add == [b"first", b"second", b"third", b"last"]


def test_control_characters_are_members_like_others() -> None:
    found = read_text(written('[{"id":"a\\u0000b"},{"id":"c\x00d"},{"id":"e\tf\ng"},{"id":"\\u001f"},{"id":"\x7f"}]'))
    assert (found.add, found.skipped) == ([b"a\0b", b"c\0d", b"e\tf\ng", b"\x1f", b"\x7f"], 0)


def test_of_a_name_that_is_there_twice_the_last_counts() -> None:
    twice = '{"id":"old","id":"new"}'
    assert read_text(written(f"[{twice}]")).add == [b"new"]
    assert read_text(written(f'[{{"id":NaN}},{twice},{{"id":"old","\\u0069d":"newer"}}]')).add == [b"new", b"newer"]


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert read_text(b"\xef\xbb\xbf" + written('[{"id":"a"},{"id":NaN}]').encode()).add == [b"a"]


def test_a_drain_needs_nothing_but_its_segment() -> None:
    data = f'{{"segment":{{"id":"7"}},"sync_info":{DEEP},"add":NaN}}'
    assert parse_push(f'{{"action_type":"segment.users.drain","data":{data}}}'.encode()) == DrainPush(None, "7", "")


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


@pytest.mark.parametrize(
    ("field", "odd"),
    [
        (field, odd)
        for field in ("data.segment.id", "data.sync_info.sync_task_id", "data.sync_info.page_number")
        for odd in (MANY_DIGITS, "NaN", "1e400", DEEP, '"\\ud800"', "true", "null", '"' + "x" * 300 + '"', "1.5e-9e")
    ]
    + [
        (field, odd)
        for field in ("action_type", "id_token", "data.segment.name")
        for odd in ("NaN", DEEP, "1", '"\\x"')
    ],
    ids=lambda value: value[:20],
)
def test_an_odd_value_of_a_field_names_the_field(field: str, odd: str) -> None:
    body = push(add=[{"id": "a"}]) | {"id_token": "token"}
    *path, name = field.split(".")
    inner = body
    for step in path:
        inner = inner[step]
    inner[name] = "ODD"
    with pytest.raises(BadRequestError, match=rf"^{field}: ") as caught:
        read_text(json.dumps(body).replace('"ODD"', odd))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{",
            b"[]",
            b"null",
            b'"x"',
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"{secret_user: 1}",
            b" ",
        ),
        *(b'{"a" 1}', b'{"a":1 "b":2}', b'{"a":}', b'{"a":1}]', b'{"a":"secret_user', b'{"a":"secret_user\\"}', b"NaN"),
        written('[{"id":"secret_user"} {"id":NaN}]').encode(),
        written('[{"id":NaN},,{"id":"secret_user"}]').encode(),
        written('[{"id":"secret_user"},{"id":"b"').encode()[:-2],
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
def test_what_is_no_json_object_is_refused_without_quoting_it(body: bytes) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse_push(body)
    assert "secret_user" not in str(caught.value)


@pytest.mark.parametrize("last", ["5", "NaN"])
def test_bytes_that_are_no_text_are_no_member(last: str) -> None:
    body = written(f'[{{"id":"first"}},{{"id":"HERE"}},{{"id":"x","HERE":"HERE"}},{{"id":{last}}}]').encode()
    found = read_text(body.replace(b"HERE", b"\xf3a"))
    assert (found.add[:2], len(found.add) + found.skipped) == ([b"first", b"x"], 4)
    assert found.skipped == (1 if last == "5" else 2)


def expected(ids: list[Any]) -> tuple[list[bytes], int]:
    texts = [members.text_of(memoryview(json.dumps(member).encode())) for member in ids]
    usable = [text for text in texts if 0 < len(text) <= members.LONGEST_MEMBER]
    return usable, len(ids) - len(usable)


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
    extra=st.sampled_from([{}, math.nan, {"a": [[{}], {"b": [math.inf, "]}"]}]}]),
    size=st.integers(1, 200),
    step=st.integers(2, 200),
)
def test_slices_find_what_the_whole_holds(
    ids: list[Any], separators: tuple[str, str], ascii_only: bool, extra: Any, size: int, step: int
) -> None:
    page = {"customer_config": extra} | push(
        add=[{"id": member, "x": extra} if extra else {"id": member} for member in ids]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "SLICE", size)
        patch.setattr(json_spans, "_STEP", step)
        found = parse_push(json.dumps(page, separators=separators, ensure_ascii=ascii_only).encode())
    assert isinstance(found, SyncPush)
    assert (found.add, found.skipped) == expected(ids)


@pytest.mark.parametrize(
    ("odd", "extra"),
    [
        ('{"id":"plain"}', "{}"),
        ('{"id":NaN}', DEEP),
        (f'{{"id":{DEEP_OBJECTS}}}', "[" + "1," * 200_000 + "1]"),
        ('{"id":"%s"}' % ("x" * 300_000), '"' + "\\n" * 200_000 + '"'),
        ("{" + '"x":1,' * 50_000 + '"id":NaN}', "9" * 400_000),
    ],
    ids=lambda value: value[:20],
)
async def test_a_large_page_is_read_in_turns(odd: str, extra: str) -> None:
    several = ",".join(f'{{"id":"user{number}"}}' for number in range(10_000))
    template = push(add="HERE") | {"customer_config": "EXTRA"}
    body = written(f"[{several},{odd},{several}]", template=template).replace('"EXTRA"', extra).encode()
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
    assert isinstance(found, SyncPush)
    assert len(found.add) + found.skipped == 20_001
    assert others > len(body) / members.SLICE
