"""The outline of a document is what a parser would find, and what is no document has none."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import TooLargeError
from foundation.json_outline import Items, Outline, has_more_values, outline

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")

few = settings(max_examples=100, deadline=None, derandomize=True, database=None)

NAMES = ("ev", "users")

texts = st.text(st.characters(), max_size=20) | st.sampled_from(
    ['"', "\\", '\\"', "]", "},{", "\\u0041", "ev", "x" * 5000]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5), max_leaves=40
)
objects = st.dictionaries(texts | st.sampled_from(NAMES), values | st.lists(values), max_size=6)
layouts = st.sampled_from([None, 0, 3, "\t", "\r\n" * 3000])


def ran(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def found(document: bytes, *, most: int = 10_000) -> Any:
    """Everything parsed, so that it can be compared."""

    def parsed(outlined: Outline | None) -> Any:
        if isinstance(outlined, Items):
            items = [json.loads(item) for item in outlined]
            assert len(items) == len(outlined)
            return items
        return outlined and {name: parsed(items) for name, items in outlined.items()}

    return parsed(ran(outline(document, NAMES, most=most)))


@few
@given(values | objects, layouts, st.booleans())
def test_what_a_parser_takes_has_the_same_items(value: Any, layout: int | str | None, ascii_only: bool) -> None:
    document = json.dumps(value, indent=layout, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if isinstance(value, dict):
        value = {name: one if isinstance(one, list) else None for name, one in value.items() if name in NAMES}
    elif not isinstance(value, list):
        value = None
    assert found(b" \n" + document + b"\t") == value


@few
@given(objects | st.lists(values), st.data())
def test_what_is_cut_short_or_goes_on_has_none(value: Any, data: st.DataObject) -> None:
    document = json.dumps(value).encode()
    cut = data.draw(st.integers(0, len(document) - 1))
    for wrong in (document[:cut], document + b"]", document + document):
        with pytest.raises(ValueError, match=r"."):
            found(wrong)


@pytest.mark.parametrize(
    "document",
    [
        b"[1 2]", b"[,]", b"[1,]", b"{1:2}", b'{"a" 1}', b'{"a":}', b'{"a":1,}', b"[tru]", b"[NaN]", b"[01]", b"[+1]",
        b"[1.]", b"[1e]", b"[}", b'{"a":[}]', b'["\\"]', b"\xff", b"[\x00]", b"\xef\xbb\xbf[]", b'{"ev":[1}', b"nul",
        b"[" * 600 + b"]" * 600, b"[" + b"9" * 5000 + b"]",
    ],
)  # fmt: skip
def test_what_is_no_json_has_none(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        found(document)


def test_an_item_stays_as_it_was_written() -> None:
    document = b'{"a":[1],"ev":[1.0, {"b" :"\\ud83d"} ,"\xc3\xa9"],"ev":[ 1e2 ]}'
    outlined = ran(outline(document, NAMES, most=3))
    assert isinstance(outlined, dict)
    assert list(outlined["ev"] or ()) == [b"1e2"]  # as a parser: the last one of a name
    outlined = ran(outline(document.replace(b',"ev":[ 1e2 ]', b""), NAMES, most=3))
    assert isinstance(outlined, dict)
    assert list(outlined["ev"] or ()) == [b"1.0", b'{"b" :"\\ud83d"}', b'"\xc3\xa9"']


def test_only_so_many_items_are_looked_at() -> None:
    assert len(found(b"[" + b"0," * 9 + b"0]", most=10)) == 10
    for document in (b"[" + b"0," * 10 + b"0]", b'{"ev":[' + b"{}," * 10 + b"no json", b"[" + b"[]," * 10 + b"0]"):
        with pytest.raises(TooLargeError, match="more than 10"):
            found(document, most=10)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        *((start, piece) for start in (b"[", b'{"a":[[') for piece in (b"[0],", b'{"a":0},', b"   ", b'"\\"",')),
        *((b'["', piece) for piece in (b"x", b"[", b"\\u00e9", b'\\"')),
    ],
)
def test_steps_are_short_whatever_the_document(start: bytes, piece: bytes) -> None:
    """One for every 64 KiB, at least: a parser would take that in less than a millisecond."""
    document = start + piece * (600_000 // len(piece))
    for steps in (outline(document, NAMES, most=1_000_000), has_more_values(document, 1_000_000)):
        taken = 0
        with contextlib.suppress(ValueError):  # it is cut short
            for _ in steps:
                taken += 1
        assert taken * 65_536 >= len(document) - 65_536


@few
@given(values)
def test_values_are_counted_about_as_a_parser_makes_them(value: Any) -> None:
    document = json.dumps(value).encode()
    made = count(value)
    assert not ran(has_more_values(document, 2 * made))  # an empty list is counted as two
    assert ran(has_more_values(document, made - 1))


def count(value: Any) -> int:
    if isinstance(value, (list, dict)):
        return 1 + sum(map(count, value.values() if isinstance(value, dict) else value))
    return 1


def test_what_has_too_many_levels_for_a_parser_has_no_values() -> None:
    assert not ran(has_more_values(b"[" * 100_000, 20_000))
    assert not ran(has_more_values(b'["', 20_000))
