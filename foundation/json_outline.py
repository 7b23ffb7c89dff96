"""The outline of a large JSON document: where the items of its arrays are, found in short steps.

A parser that takes a document in one call holds up everybody else meanwhile, and makes all of its objects at once. The
generators here give way every few hundred microseconds (`foundation.turns.Turns.drive` runs them), and note places
instead of making objects; each item is parsed by itself later. What is inside of an item they don't judge: they see to
it that its brackets and quotes match.
"""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING

from foundation.errors import TooLargeError

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator

_STEP = 4096  # bytes that one call looks at
_STEPS_AT_ONCE = 8
_MOST_RESTS = 65_536  # half a second of work; the largest batch of events as SDKs send them takes a tenth
_MOST_LEVELS = 512
_LEVELS_AT_ONCE = 4  # of brackets, which one call passes over

_BLANKS = re.compile(rb"[ \t\n\r]*+")
_IN_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
# The first way is twice as fast, and does for texts without a `\"`.
_TEXT = rb'"(?:[^"]*+(?<!\\)"|' + _IN_TEXT.pattern + rb'")'
_WHOLE = _TEXT + rb'|[^"\[\]{}]++'  # a text, or what is no bracket
for _ in range(_LEVELS_AT_ONCE):
    _WHOLE = _TEXT + rb'|[^"\[\]{}]++|\[(?:' + _WHOLE + rb")*+\]|\{(?:" + _WHOLE + rb")*+\}"
_TO_BRACKET = re.compile(rb"(?:" + _WHOLE + rb")*+", re.DOTALL)  # to one whose other half is not near
_TO_COMMA = re.compile(rb"(?:" + _TEXT + rb'|[^",\[\]{}]++)*+', re.DOTALL)
_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+"
_SCALAR = re.compile(rb"(?:true|false|null|" + _NUMBER + rb")")

_QUOTE, _COMMA, _COLON, _BLANK = b'",: '
_LIST, _OBJECT = b"[{"
_CLOSES = {_LIST: b"]"[0], _OBJECT: b"}"[0]}
_CLOSING = frozenset(_CLOSES.values())


class Items:
    """The items of an array, each as its JSON text, made when it is asked for."""

    def __init__(self, document: bytes) -> None:
        self._document = document
        self._places = array("Q")

    def __len__(self) -> int:
        return len(self._places) // 2

    def __iter__(self) -> Iterator[bytes]:
        places = iter(self._places)
        return (self._document[start:end] for start, end in zip(places, places, strict=True))

    def add(self, start: int, end: int) -> None:
        self._places.append(start)
        self._places.append(end)


Outline = Items | dict[str, Items | None]


def outline(document: bytes, names: Collection[str], *, most: int) -> Generator[None, None, Outline | None]:
    """Of an array its items; of an object those fields of `names` that it has, None where one is no array.

    None for any other value. Raises `ValueError` for what is no JSON, and `TooLargeError` for more than `most` items.
    """
    scan = _Scan(document)
    found: Outline | None = None
    try:
        start = yield from scan.blanks(0)
        if document[start] == _LIST:
            found, end = yield from scan.items(start, most)
        elif document[start] == _OBJECT:
            found, end = yield from scan.fields(start, names, most)
        else:
            end = yield from scan.value(start)
    except IndexError:
        raise ValueError("it is cut short") from None
    if (yield from scan.blanks(end)) < len(document):
        raise ValueError("something stands behind the value")
    return found


def has_more_values(document: bytes, most: int) -> Generator[None, None, bool]:
    """Whether a parser would make more than about `most` values of a document; names of fields are not counted.

    Of one that has too many levels it would make none.
    """
    scan, at, values, levels, steps = _Scan(document), 0, 1, 0, 0
    while at < len(document) and values <= most and levels <= _MOST_LEVELS:
        at = _reach(_TO_COMMA, document, at)
        byte = document[at] if at < len(document) else _BLANK
        if byte == _QUOTE:  # its text goes on behind the step
            try:
                at = yield from scan.text(at)
            except IndexError:
                return False  # no JSON
        elif byte == _COMMA or byte in _CLOSES:
            values += 1
            levels += byte != _COMMA
            at += 1
        elif byte in _CLOSING:
            levels -= 1
            at += 1
        steps += 1
        if not steps % _STEPS_AT_ONCE:
            yield
    return values > most


class _Scan:
    """Each method takes the place where something begins and gives the one behind it; `IndexError`: the end came."""

    def __init__(self, document: bytes) -> None:
        self._document = document
        self._rests = 0

    def items(self, start: int, most: int) -> Generator[None, None, tuple[Items, int]]:
        """Of the array that begins there."""
        found = Items(self._document)
        is_over, at = yield from self._enter(start)
        while not is_over:
            if len(found) == most:
                raise TooLargeError(f"an array has more than {most} items; send fewer at once", reason="too_many")
            end = yield from self.value(at)
            found.add(at, end)
            is_over, at = yield from self._go_on(end, _CLOSES[_LIST])
            if not len(found) % _STEPS_AT_ONCE:
                yield from self._rest()
        return found, at

    def fields(
        self, start: int, names: Collection[str], most: int
    ) -> Generator[None, None, tuple[dict[str, Items | None], int]]:
        """Of the object that begins there. Where a name comes twice, the last one counts."""
        found: dict[str, Items | None] = {}
        wanted = {f'"{name}"'.encode(): name for name in names}
        is_over, at = yield from self._enter(start)
        while not is_over:
            if self._document[at] != _QUOTE:
                raise ValueError("a field has no name")
            end = yield from self.text(at)
            name = wanted.get(self._document[at:end])
            at = yield from self.blanks(end)
            if self._document[at] != _COLON:
                raise ValueError("a field has no value")
            at = yield from self.blanks(at + 1)
            if name and self._document[at] == _LIST:
                found[name], end = yield from self.items(at, most)
            else:
                end = yield from self.value(at)
                if name:
                    found[name] = None
            is_over, at = yield from self._go_on(end, _CLOSES[_OBJECT])
            yield from self._rest()
        return found, at

    def value(self, start: int) -> Generator[None, None, int]:
        byte = self._document[start]
        if byte in _CLOSES:
            return (yield from self._nested(start))
        if byte == _QUOTE:
            return (yield from self.text(start))
        end = _reach(_SCALAR, self._document, start)
        if end == start:
            raise ValueError("there is no value where one should be")
        return end

    def text(self, start: int) -> Generator[None, None, int]:
        at, steps = start + 1, 0
        while self._document[at] != _QUOTE:
            # No way on: a backslash is the last byte of the document.
            at = max(at + 1, _reach(_IN_TEXT, self._document, at))
            steps += 1
            if not steps % _STEPS_AT_ONCE:
                yield from self._rest()
        return at + 1

    def blanks(self, start: int) -> Generator[None, None, int]:
        at, steps = start, 0
        while at < len(self._document) and self._document[at] <= _BLANK:
            end = _reach(_BLANKS, self._document, at)
            if end == at:
                raise ValueError("there is a control character")
            at = end
            steps += 1
            if not steps % _STEPS_AT_ONCE:
                yield from self._rest()
        return at

    def _nested(self, start: int) -> Generator[None, None, int]:
        document, closing, at, steps = self._document, bytearray(), start, 0
        while True:
            byte = document[at]
            if byte in _CLOSES:
                if len(closing) == _MOST_LEVELS:
                    raise ValueError("there are too many levels")
                closing.append(_CLOSES[byte])
                at += 1
            elif byte in _CLOSING:
                if closing.pop() != byte:
                    raise ValueError("brackets don't match")
                at += 1
                if not closing:
                    return at
            elif byte == _QUOTE:  # its text goes on behind the step
                at = yield from self.text(at)
            at = _reach(_TO_BRACKET, document, at)
            steps += 1
            if not steps % _STEPS_AT_ONCE:
                yield from self._rest()

    def _rest(self) -> Generator[None, None, None]:
        """Give way."""
        self._rests += 1
        if self._rests > _MOST_RESTS:
            raise TooLargeError("it is made of too many pieces; send fewer at once", reason="too_many")
        yield

    def _enter(self, start: int) -> Generator[None, None, tuple[bool, int]]:
        """Whether what begins there is empty, and the place behind it, or that of its first part."""
        at = yield from self.blanks(start + 1)
        is_empty = self._document[at] == _CLOSES[self._document[start]]
        return is_empty, at + is_empty

    def _go_on(self, end: int, closing: int) -> Generator[None, None, tuple[bool, int]]:
        """Behind a part: whether it was the last one, and the place behind all, or that of the next one."""
        at = yield from self.blanks(end)
        byte = self._document[at]
        if byte == closing:
            return True, at + 1
        if byte != _COMMA:
            raise ValueError("there is no comma where one should be")
        return False, (yield from self.blanks(at + 1))


def _reach(pattern: re.Pattern[bytes], document: bytes, start: int) -> int:
    """Where `pattern`, which may match nothing at all, ends in this step."""
    match = pattern.match(document, start, start + _STEP)
    return match.end() if match is not None else start
