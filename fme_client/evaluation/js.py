"""JavaScript's ways with values, where a decision depends on them (ECMA-262; each function names its section)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

# 12.2 and 12.3, white space and line terminators: what `trim` takes and `parseFloat` skips. Python's own differ.
WHITE_SPACE = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)

_FLOAT_PREFIX = re.compile(r"[+-]?(?:Infinity|[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?)")
_INT_PREFIX = re.compile(r"([+-]?)(?:0[xX]([0-9A-Fa-f]+)|([0-9]+))")
_INT_DIGITS = 310  # more are beyond any double
_OTHER_BASES = {"0x": 16, "0o": 8, "0b": 2}
_INDEX = re.compile("0|[1-9][0-9]{0,9}")
_EXACT = 2**53
_PLAIN = 1e-4
_MOST_WHOLE, _MOST_ZEROS = 21, -6  # beyond them numbers are written with an exponent


class Fault(Exception):  # noqa: N818 - no error of ours: the Node SDK throws here, and the flag is off
    """The Node SDK throws at this point: the flag is off without variables. The text goes to the log."""


def truthy(value: Any) -> bool:
    """7.1.2 ToBoolean, of a JSON value (`None` is null or undefined)."""
    if isinstance(value, (Mapping, list, tuple)):
        return True
    return bool(value) and value == value  # noqa: PLR0124 - NaN is false


def number_text(value: float) -> str:
    """6.1.6.1.20 Number::toString, base 10."""
    if -_EXACT <= value <= _EXACT and value == int(value):
        return str(int(value))
    value = _as_double(value)
    if _PLAIN <= abs(value) < _EXACT:
        return repr(value)  # JavaScript and Python begin to write exponents at different sizes, beyond these
    if math.isnan(value):
        return "NaN"
    sign = "-" if value < 0 else ""
    if math.isinf(value):
        return f"{sign}Infinity"
    return sign + _placed(*_digits(abs(value)))


def text(value: Any) -> str:
    """7.1.17 ToString, of a JSON value (`None` is null)."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, Mapping):
        return _mapping_text(value)
    if isinstance(value, Sequence):
        return ",".join("" if item is None else text(item) for item in value)
    return str(value)


def trim(value: str) -> str:
    """22.1.3.32 String.prototype.trim."""
    return value.strip(WHITE_SPACE)


def parse_float(value: str) -> float:
    """19.2.4 parseFloat: the longest numeric beginning, NaN when there is none."""
    found = _FLOAT_PREFIX.match(value.lstrip(WHITE_SPACE))
    return float(found[0]) if found else math.nan


def parse_int(value: str) -> float:
    """19.2.5 parseInt, NaN when there is no number."""
    found = _INT_PREFIX.match(value.lstrip(WHITE_SPACE))
    if found is None:
        return math.nan
    digits, base = (found[2], 16) if found[2] else (found[3], 10)
    size = _as_double(int(digits, base)) if len(digits) <= _INT_DIGITS else math.inf
    return -size if found[1] == "-" else size


def number(value: Any) -> float:
    """7.1.4 ToNumber, of a JSON value; a missing one is NaN, as undefined is."""
    if isinstance(value, (int, float)):
        return _as_double(value)
    if isinstance(value, str):
        return _text_number(trim(value))
    return math.nan


def equal(left: Any, right: Any) -> bool:
    """7.2.15 IsStrictlyEqual, of JSON values; in Python `True == 1`."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def loosely_equal(left: Any, right: Any) -> bool:
    """7.2.14 IsLooselyEqual, where `left` is an id (a number or a string) and `right` any JSON value."""
    if right is None:
        return False
    if isinstance(right, (Mapping, list, tuple)):
        right = text(right)
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return number(left) == number(right)


def add(left: Any, right: Any) -> Any:
    """13.15.3, the operator `+`: strings are joined."""
    if isinstance(left, str) or isinstance(right, str):
        return text(left) + text(right)
    return number(left) + number(right)


def first_key(mapping: Mapping[str, Any]) -> str | None:
    """The first of `Object.keys`, where keys that are array indices come first (10.1.11)."""
    first = next(iter(mapping), None)
    if first is None or not any(key[:1].isdigit() for key in mapping):
        return first
    indices = [key for key in mapping if _is_index(key)]
    return min(indices, key=int) if indices else first


def utf8(value: str) -> bytes:
    """The bytes that TextEncoder gives: a lone surrogate becomes U+FFFD."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _digits(value: float) -> tuple[str, int]:
    """The shortest decimal digits of a positive number, and the power of ten by which `0.digits` makes it."""
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    zeros = len(whole + fraction) - len(digits)
    return digits.rstrip("0"), len(whole) + int(exponent or 0) - zeros


def _placed(digits: str, point: int) -> str:
    if 0 < point <= _MOST_WHOLE:
        return f"{digits[:point]:0<{point}}" + (f".{digits[point:]}" if len(digits) > point else "")
    if _MOST_ZEROS < point <= 0:
        return f"0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{tail}e{point - 1:+d}"


def _as_double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _mapping_text(value: Mapping[Any, Any]) -> str:
    if "toString" in value:
        # An own property of that name hides the method.
        raise Fault("a value with a property toString has no text")
    return "[object Object]"


def _text_number(value: str) -> float:
    if not value:
        return 0.0
    base = _OTHER_BASES.get(value[:2].lower())
    if base is not None:
        digits = value[2:]
        try:
            return _as_double(int(digits, base)) if digits.isalnum() and digits.isascii() else math.nan
        except ValueError:
            return math.nan
    found = _FLOAT_PREFIX.fullmatch(value)
    return float(found[0]) if found else math.nan


def _is_index(key: str) -> bool:
    return _INDEX.fullmatch(key) is not None and int(key) < 2**32 - 1
