"""Where values stand in a JSON text, found without building them: at any depth, of any length, one at a time.

JSON libraries refuse a whole text for a value that is nested too deeply, for a number they can't hold, for half a
surrogate pair. Here such a value is a span of bytes like any other: its brackets and quotes tell where it ends, and
what stands inside is read by those who need it. These are generators, which yield now and then on a long way; where
a value does not come to an end, or separators are missing, they raise `NotJSONError`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Generator

_STEP = 4 * 1024  # bytes between two yields
_LONGEST_NAME = 256  # bytes, of a field that anybody looks for

_SPACE = re.compile(rb"[ \t\r\n]*+")
_WORD = re.compile(rb'[^ \t\r\n,:"\[\]{}]*+')  # a number, `true`, or what is no JSON, such as `NaN`
_INSIDE_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_FLAT = rb'[\[{](?:[^"\[\]{}]++|%s)*+[\]}]' % _TEXT  # a list or an object without another in it
# The last group: the quote of a text that is longer than the step.
_NESTED = re.compile(rb'%s|%s|([\[{]++)|([\]}]++)|(")' % (_FLAT, _TEXT), re.DOTALL)
_OPENS, _CLOSES = 1, 2
# A field whose value is no list and no object.
_FIELD = re.compile(rb"\s*+(%s)\s*+:\s*+(%s|[^\s,:\"\[\]{}]++)\s*+(?=[,}])" % (_TEXT, _TEXT), re.DOTALL)

_Span = tuple[int, int]

_decoder = json.JSONDecoder(strict=False)


class NotJSONError(ValueError):
    """`at`: the byte that can't stand where it stands."""

    def __init__(self, at: int) -> None:
        super().__init__(f"not JSON (byte {at})")
        self.at = at


def skip_space(text: memoryview, at: int) -> Generator[None, None, int]:
    return (yield from _end_of(_SPACE, text, at))


def value_end(text: memoryview, at: int) -> Generator[None, None, int]:
    """Where the value that begins at `at` ends."""
    if _is(text, at, b'"'):
        return (yield from _text_end(text, at))
    if _is(text, at, b"[") or _is(text, at, b"{"):
        return (yield from _nested_end(text, at))
    end = yield from _end_of(_WORD, text, at)
    if end == at:
        raise NotJSONError(at)
    return end


def decode_text(quoted: str) -> str:
    """What a JSON text says, control characters as they are. Raises `ValueError` where its escapes are none of JSON."""
    text: str = _decoder.decode(quoted)
    return text


def is_null(value: memoryview) -> bool:
    return bytes(value[:5]) == b"null"


def read_object(text: memoryview, names: Container[str]) -> Generator[None, None, dict[str, memoryview]]:
    """`read_fields` of an object that is the whole text, but for space around it."""
    start = yield from skip_space(text, 0)
    found, end = yield from read_fields(text, start, names)
    end = yield from skip_space(text, end)
    if end < len(text):
        raise NotJSONError(end)
    return found


def read_fields(
    text: memoryview, at: int, names: Container[str]
) -> Generator[None, None, tuple[dict[str, memoryview], int]]:
    """The values of those fields of the object that begins at `at`, as they stand there; and where the object ends.

    Of a name that is there twice it is the last, as JSON libraries have it.
    """
    found: dict[str, memoryview] = {}
    at = yield from skip_space(text, _after(text, at, b"{"))
    if _is(text, at, b"}"):
        return found, at + 1
    step_end = at + _STEP
    while True:
        name_span, value_span, at = yield from _field_at(text, at)
        name = _name(text[slice(*name_span)])
        if name is not None and name in names:
            found[name] = text[slice(*value_span)]
        if _is(text, at, b"}"):
            return found, at + 1
        at = _after(text, at, b",")
        if at > step_end:
            step_end = at + _STEP
            yield


def _field_at(text: memoryview, at: int) -> Generator[None, None, tuple[_Span, _Span, int]]:
    """Where the name and the value are of the field that begins at `at`, and what follows it."""
    simple = _FIELD.match(text, at, at + _STEP)
    if simple is not None:
        return simple.span(1), simple.span(2), simple.end()
    name = yield from skip_space(text, at)
    name_end = yield from _text_end(text, name)
    colon = yield from skip_space(text, name_end)
    value = yield from skip_space(text, _after(text, colon, b":"))
    end = yield from value_end(text, value)
    return (name, name_end), (value, end), (yield from skip_space(text, end))


def _is(text: memoryview, at: int, expected: bytes) -> bool:
    return bytes(text[at : at + 1]) == expected


def _after(text: memoryview, at: int, expected: bytes) -> int:
    if not _is(text, at, expected):
        raise NotJSONError(at)
    return at + 1


def _name(quoted: memoryview) -> str | None:
    if len(quoted) > _LONGEST_NAME:
        return None
    try:
        name = bytes(quoted).decode()
        return decode_text(name) if "\\" in name else name[1:-1]
    except ValueError:
        return None


def _text_end(text: memoryview, at: int) -> Generator[None, None, int]:
    end = yield from _end_of(_INSIDE_TEXT, text, _after(text, at, b'"'))
    return _after(text, end, b'"')


def _nested_end(text: memoryview, at: int) -> Generator[None, None, int]:
    """Where the list or object that begins at `at` ends, by its brackets alone."""
    depth = 0
    while at < len(text):
        step_end = at + _STEP
        for token in _NESTED.finditer(text, at, step_end):
            kind = token.lastindex
            if kind is None:
                if not depth:
                    return token.end()
                continue
            start, end = token.span()
            if kind == _OPENS:
                depth += end - start
            elif kind == _CLOSES:
                if end - start >= depth:
                    return start + depth
                depth -= end - start
            else:
                step_end = yield from _text_end(text, start)
                break
        at = step_end
        yield
    raise NotJSONError(len(text))


def _end_of(pattern: re.Pattern[bytes], text: memoryview, at: int) -> Generator[None, None, int]:
    """Where what `pattern` matches from `at` on ends; it takes any number of pieces of at most two bytes."""
    while True:
        found = pattern.match(text, at, at + _STEP)
        end = at if found is None else found.end()
        if end == at or end < at + _STEP - 1:  # the last byte of a step may be half of a piece
            return end
        at = end
        yield
