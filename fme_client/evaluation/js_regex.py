r"""Regular expressions of JavaScript, translated for `re` (ECMA-262 22.2 and annex B, without the flags u and v).

Pattern and text are sequences of UTF-16 code units, as JavaScript has them. Everything is spelled out in ranges, so
that Python's own meanings of `.`, `$`, `\w` or `[[` never apply.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from fme_client.evaluation.backtracking import NOTHING, Fixed, Look, Part, Reference, Repeat, Starts, chain, choice

if TYPE_CHECKING:
    from collections.abc import Sequence

_Range = tuple[int, int]

_LAST_UNIT = 0xFFFF
_LINE_ENDS: list[_Range] = [(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)]
_CLASSES: dict[str, list[_Range]] = {
    "d": [(0x30, 0x39)],
    "w": [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)],
    "s": [
        (0x09, 0x0D),
        (0x20, 0x20),
        (0xA0, 0xA0),
        (0x1680, 0x1680),
        (0x2000, 0x200A),
        (0x2028, 0x2029),
        (0x202F, 0x202F),
        (0x205F, 0x205F),
        (0x3000, 0x3000),
        (0xFEFF, 0xFEFF),
    ],
}
_CONTROLS = {"f": 0x0C, "n": 0x0A, "r": 0x0D, "t": 0x09, "v": 0x0B}
_QUANTIFIER = re.compile(r"[*+?]|\{(\d+)(?:(,)(\d*))?\}", re.ASCII)
_HEX = {"x": re.compile(r"[0-9A-Fa-f]{2}"), "u": re.compile(r"[0-9A-Fa-f]{4}")}
_OCTAL = re.compile(r"[0-3][0-7]{0,2}|[4-7][0-7]?")
_REFERENCE = re.compile(r"[1-9][0-9]*")
_NAME = re.compile(r"<([^<>()\\]+)>")
_MOST_REPEATS = 2**31  # more than any text has; `re` has a limit, JavaScript has none


class _NoRegularExpression(ValueError):  # noqa: N818 - says what the pattern is
    """JavaScript throws a SyntaxError."""


class Translation(NamedTuple):
    """A pattern as `re` takes it, and its parts."""

    text: str
    parts: Part


class _Term(NamedTuple):
    """A part of the pattern. An assertion may not be repeated; `.*` and its like may match nothing."""

    text: str
    part: Part
    is_repeatable: bool = True
    is_idle: bool = False


_ANCHORS = {
    "^": _Term(r"\A", Fixed(1, None, is_anchored=True), is_repeatable=False),
    "$": _Term(r"\Z", Fixed(1, NOTHING), is_repeatable=False),
}


def translate(pattern: str, *, ignore_case: bool = False) -> Translation | None:
    """None where JavaScript throws a SyntaxError. Raises `RecursionError` where groups are nested too deeply."""
    try:
        return _Translator(units(pattern), ignore_case=ignore_case).translate()
    except _NoRegularExpression:
        return None


def units(text: str) -> str:
    """`text` with each character outside the basic plane as its two surrogates."""
    if text.isascii() or max(text) <= "\uffff":
        return text
    data = text.encode("utf-16-le", "surrogatepass")
    return "".join(chr(data[i] | data[i + 1] << 8) for i in range(0, len(data), 2))


def _complement(ranges: list[_Range]) -> list[_Range]:
    result, start = [], 0
    for low, high in sorted(ranges):
        if low > start:
            result.append((start, low - 1))
        start = max(start, high + 1)
    if start <= _LAST_UNIT:
        result.append((start, _LAST_UNIT))
    return result


def _set(ranges: list[_Range], *, negated: bool = False) -> str:
    if not ranges:
        return r"[\u0000-\uffff]" if negated else r"(?!)"
    inner = "".join(f"\\u{low:04x}-\\u{high:04x}" if low != high else f"\\u{low:04x}" for low, high in ranges)
    return f"[{'^' if negated else ''}{inner}]"


_WORD = _set(_CLASSES["w"])
_EDGE = f"(?:(?<={_WORD})(?!{_WORD})|(?<!{_WORD})(?={_WORD}))"
_EDGE_WORK = 40  # characters that could be looked at meanwhile


class _Translator:
    def __init__(self, pattern: str, *, ignore_case: bool) -> None:
        self.pattern = pattern
        self.ignore_case = ignore_case
        self.at = 0
        self.opened = 0
        self.closed: set[int] = set()
        self.groups, self.names = self._count_groups()

    def translate(self) -> Translation:
        found = [_joined(_without_idle_ends(terms)) for terms in self._alternatives()]
        if self.at < len(self.pattern):
            raise _NoRegularExpression("unmatched )")
        return Translation("|".join(one.text for one in found), choice([one.parts for one in found]))

    def _count_groups(self) -> tuple[int, dict[str, int]]:
        count, names, at, in_class = 0, dict[str, int](), 0, False
        while at < len(self.pattern):
            char = self.pattern[at]
            if char == "\\":
                at += 1
            elif char == "[":
                in_class = True
            elif char == "]":
                in_class = False
            elif char == "(" and not in_class:
                if self.pattern[at + 1 : at + 2] != "?":
                    count += 1
                elif self.pattern[at + 2 : at + 3] == "<" and self.pattern[at + 3 : at + 4] not in ("=", "!"):
                    count += 1
                    name = self._name(at + 2)
                    if name in names:
                        raise _NoRegularExpression("a name twice")
                    names[name] = count
            at += 1
        return count, names

    def _name(self, at: int) -> str:
        found = _NAME.match(self.pattern, at)
        if found is None or not found[1].replace("$", "_").isidentifier():
            raise _NoRegularExpression("no name")
        return found[1]

    def _next(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _alternatives(self) -> list[list[_Term]]:
        """What stands up to the end or the closing parenthesis, which is left."""
        found: list[list[_Term]] = [[]]
        while self.at < len(self.pattern) and self._next() != ")":
            if self._next() == "|":
                self.at += 1
                found.append([])
            else:
                found[-1].append(self._term())
        return found

    def _term(self) -> _Term:
        atom = self._atom()
        quantifier = _QUANTIFIER.match(self.pattern, self.at)
        if quantifier is None:
            return atom
        if not atom.is_repeatable:
            raise _NoRegularExpression("nothing to repeat")
        self.at = quantifier.end()
        least, most = self._repeats(quantifier)
        limits = f"{{{least},{'' if most == math.inf else most}}}"
        if self._next() == "?":
            self.at += 1
            limits += "?"
        if _QUANTIFIER.match(self.pattern, self.at):
            raise _NoRegularExpression("nothing to repeat")
        is_idle = not least and atom.text.startswith("[")  # a group may be referred to
        return _Term(f"(?:{atom.text}){limits}", Repeat(atom.part, least, most), is_idle=is_idle)

    @staticmethod
    def _repeats(quantifier: re.Match[str]) -> tuple[int, float]:
        if quantifier[1] is None:
            return {"*": (0, math.inf), "+": (1, math.inf), "?": (0, 1)}[quantifier[0]]
        least = _count(quantifier[1])
        if quantifier[2] is None:
            return least, least
        if not quantifier[3]:
            return least, math.inf
        most = _count(quantifier[3])
        if most < least:
            raise _NoRegularExpression("numbers out of order")
        return least, most

    def _atom(self) -> _Term:
        """The next atom or assertion."""
        char = self._next()
        if char == "(":
            return self._group()
        if char == "\\":
            return self._escape()
        if _QUANTIFIER.match(self.pattern, self.at):
            raise _NoRegularExpression("nothing to repeat")
        self.at += 1
        if char in _ANCHORS:
            return _ANCHORS[char]
        if char == ".":
            return self._one_of(_LINE_ENDS, negated=True)
        if char == "[":
            return self._class()
        return self._one_of([(ord(char), ord(char))])

    def _one_of(self, ranges: list[_Range], *, negated: bool = False) -> _Term:
        """One character."""
        starts = None if self.ignore_case else Starts(_complement(ranges) if negated else ranges, 1)
        return _Term(_set(ranges, negated=negated), Fixed(1, starts))

    def _group(self) -> _Term:
        self.at += 1
        kind = next((k for k in ("?:", "?=", "?!", "?<=", "?<!") if self.pattern.startswith(k, self.at)), None)
        if kind is not None:
            self.at += len(kind)
        elif self._next() == "?":
            if self.pattern[self.at + 1 : self.at + 2] != "<":
                raise _NoRegularExpression("no such group")
            self.at += len(self._name(self.at + 1)) + 3
        number = 0
        if kind is None:
            self.opened += 1
            number = self.opened
        inner = [_joined(terms) for terms in self._alternatives()]
        if self._next() != ")":
            raise _NoRegularExpression("unterminated group")
        self.at += 1
        texts, part = [one.text for one in inner], choice([one.parts for one in inner])
        if number:
            self.closed.add(number)
            return _Term(f"({'|'.join(texts)})", part)
        if kind == "?:":
            return _Term(f"(?:{'|'.join(texts)})", part)
        # `re` wants one width in each lookbehind, so each alternative gets its own.
        if kind == "?<=":
            text = f"(?:{'|'.join(f'(?<={one})' for one in texts)})"
        elif kind == "?<!":
            text = "".join(f"(?<!{one})" for one in texts)
        else:
            return _Term(f"({kind}{'|'.join(texts)})", Look(part))
        return _Term(text, Look(part), is_repeatable=False)

    def _escape(self) -> _Term:
        char = self.pattern[self.at + 1 : self.at + 2]
        if char in ("b", "B"):
            self.at += 2
            return _Term(_EDGE if char == "b" else f"(?!{_EDGE})", Fixed(_EDGE_WORK, None), is_repeatable=False)
        if char == "k" and self.names:
            name = self._name(self.at + 2)
            if name not in self.names:
                raise _NoRegularExpression("no such name")
            self.at += len(name) + 4
            return self._reference(self.names[name])
        digits = _REFERENCE.match(self.pattern, self.at + 1)
        if digits and _count(digits[0]) <= self.groups:
            self.at = digits.end()
            return self._reference(int(digits[0]))
        return self._one_of(self._class_escape(in_class=False))

    def _reference(self, group: int) -> _Term:
        # A group that has matched nothing yet is the empty text.
        return _Term(f"(?({group})\\{group}|)" if group in self.closed else "(?:)", Reference())

    def _class_escape(self, *, in_class: bool) -> list[_Range]:
        r"""What the escape at hand stands for, `\d` and its like included."""
        self.at += 1
        char = self._next()
        if not char:
            raise _NoRegularExpression("\\ at end of pattern")
        self.at += 1
        if char.lower() in _CLASSES:
            ranges = _CLASSES[char.lower()]
            return ranges if char.islower() else _complement(ranges)
        if char == "b" and in_class:
            return [(0x08, 0x08)]
        if char in _CONTROLS:
            return [(_CONTROLS[char], _CONTROLS[char])]
        code = self._code(char, in_class=in_class)
        return [(code, code)]

    def _code(self, char: str, *, in_class: bool) -> int:
        if char == "c":
            letter = self._next()
            if letter.isascii() and (letter.isalpha() or (in_class and (letter.isdigit() or letter == "_"))):
                self.at += 1
                return ord(letter) % 32
            # A backslash, and the c once more.
            self.at -= 1
            return ord("\\")
        if char in "xu":
            digits = _HEX[char].match(self.pattern, self.at)
            if digits:
                self.at = digits.end()
                return int(digits[0], 16)
        if char in "01234567":
            self.at -= 1
            octal = _OCTAL.match(self.pattern, self.at)
            if octal:
                self.at = octal.end()
                return int(octal[0], 8)
        return ord(char)

    def _class(self) -> _Term:
        negated = self._next() == "^"
        self.at += negated
        ranges: list[_Range] = []
        while self._next() != "]":
            low = self._class_atom()
            if self._next() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("", "]"):
                self.at += 1
                high = self._class_atom()
                if _is_one(low) and _is_one(high):
                    if high[0][0] < low[0][0]:
                        raise _NoRegularExpression("range out of order")
                    ranges.append((low[0][0], high[0][0]))
                else:
                    ranges += [*low, (0x2D, 0x2D), *high]
            else:
                ranges += low
        self.at += 1
        return self._one_of(ranges, negated=negated)

    def _class_atom(self) -> list[_Range]:
        char = self._next()
        if not char:
            raise _NoRegularExpression("unterminated class")
        if char == "\\":
            return self._class_escape(in_class=True)
        self.at += 1
        return [(ord(char), ord(char))]


def _joined(terms: Sequence[_Term]) -> Translation:
    return Translation("".join(one.text for one in terms), chain([one.part for one in terms]))


def _without_idle_ends(terms: Sequence[_Term]) -> Sequence[_Term]:
    """The same as far as finding it goes: `.*b.*` is in a text where `b` is."""
    needed = [number for number, term in enumerate(terms) if not term.is_idle]
    return terms[needed[0] : needed[-1] + 1] if needed else ()


def _count(digits: str) -> int:
    return min(int(digits), _MOST_REPEATS) if len(digits) <= len(str(_MOST_REPEATS)) else _MOST_REPEATS


def _is_one(ranges: list[_Range]) -> bool:
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]
