"""One condition on one value: equal, `lower(..)`, `wildcard(..)`, `regex(..)`, or a comparison such as `gte(..)`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fme_client.evaluation.js import number_text, parse_float, text, trim
from fme_client.evaluation.view import View

if TYPE_CHECKING:
    from fme_client.evaluation.regex import Regexes

Matcher = Callable[[View, str], bool]

_LINE_END = re.compile("[\n\r\u2028\u2029]")
_COMPARISON = re.compile(r"(gte?|lte?)\(([0-9]+(?:\.[0-9]+)*|\.[0-9]+)\)")
_NOT_NUMERIC = re.compile(r"[^0-9.]").search
_NUMBER = re.compile(r"\.0*[1-9][0-9]*(?=\.|\Z)").search
_EXACT_DIGITS = 15


def matcher(operand: Any, regexes: Regexes) -> Matcher:
    """The condition for custom variables and user agents: a value of digits and dots is compared as a number."""
    kind, wanted = _split(operand)
    as_text = _comparison(kind, wanted, regexes)
    wanted_number = parse_float(wanted)
    if not _is_number(wanted_number):
        return as_text
    as_number = _comparison(kind, number_text(wanted_number), regexes)

    def matches(view: View, value: str) -> bool:
        if _NOT_NUMERIC(value) is None:
            value_number = parse_float(value)
            if _is_number(value_number):
                return as_number(view, number_text(value_number))
        return as_text(view, value)

    return matches


def plain_matcher(operand: Any, regexes: Regexes) -> Matcher:
    """The condition for addresses and versions: never compared as numbers; quotes around the operand don't count."""
    kind, wanted = _split(text(operand))
    return _comparison(kind, trim(wanted).replace('"', ""), regexes)


def _is_number(value: float) -> bool:
    return value == value and value != 0  # noqa: PLR0124 - neither NaN nor zero


def _split(operand: Any) -> tuple[str, str]:
    """Kind and inner text. What is no string is compared for equality, as text."""
    if not isinstance(operand, str):
        return "equal", text(operand)
    for kind in ("lower", "wildcard", "regex"):
        inner = _inner(operand, kind)
        if inner is not None:
            return _split_wildcard(inner) if kind == "wildcard" else (kind, inner)
    comparison = _COMPARISON.match(operand)
    if comparison:
        return comparison[1], comparison[2]
    return "equal", operand


def _inner(operand: str, kind: str) -> str | None:
    """What stands between `kind(` and the last `)` on the same line."""
    if not operand.startswith(kind + "("):
        return None
    line = _LINE_END.split(operand[len(kind) + 1 :], maxsplit=1)[0]
    inner, found, _ = line.rpartition(")")
    return inner if found else None


def _split_wildcard(inner: str) -> tuple[str, str]:
    starts, ends = inner.startswith("*"), inner.endswith("*")
    wanted = inner[1:] if starts else inner
    wanted = wanted.removesuffix("*") if ends else wanted
    return {(True, True): "contains", (True, False): "ends", (False, True): "starts"}.get(
        (starts, ends), "equal"
    ), wanted


def _comparison(kind: str, wanted: str, regexes: Regexes) -> Matcher:  # noqa: C901, PLR0911 - one branch a kind
    match kind:
        case "lower":
            lowered = wanted.lower()
            return lambda _, value: value.lower() == lowered
        case "contains":
            return lambda _, value: wanted in value
        case "ends":
            return lambda _, value: value.endswith(wanted)
        case "starts":
            return lambda _, value: value.startswith(wanted)
        case "regex":
            regex = regexes.get(wanted)
            return (lambda view, value: view.matches(regex, value)) if regex else (lambda _, __: False)
    parts = _parts(wanted)
    match kind:
        case "gt":
            return lambda _, value: _compare(value, parts) > 0
        case "gte":
            return lambda _, value: _compare(value, parts) >= 0
        case "lt":
            return lambda _, value: _compare(value, parts) < 0
        case "lte":
            return lambda _, value: _compare(value, parts) <= 0
    if _is_version(wanted):
        return lambda _, value: value == wanted or (_compare(value, parts) == 0 and _is_version(value))
    return lambda _, value: value == wanted


def _parts(version: str) -> list[float]:
    """The numbers between the dots, without zeros at the end; what is no number counts as zero."""
    parts = [_number(part) for part in version.split(".")]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _number(part: str) -> float:
    if not (part.isascii() and part.isdigit()):
        return 0
    return int(part) if len(part) <= _EXACT_DIGITS else float(part)


def _compare(version: str, parts: list[float]) -> int:
    """-1, 0 or 1: the numbers of `version` are below `parts`, equal to them, or above.

    Values may be a megabyte of dots, so no more of them is taken apart than there is to compare with.
    """
    pieces = version.split(".", len(parts))
    numbers = [_number(piece) for piece in pieces[: len(parts)]]
    numbers += [0] * (len(parts) - len(numbers))
    if numbers != parts:
        return 1 if numbers > parts else -1
    return int(any(map(_has_number, pieces[len(parts) :])))


def _has_number(pieces: str) -> bool:
    """Whether one of the numbers between the dots is more than zero."""
    return any(digit in pieces for digit in "123456789") and _NUMBER(f".{pieces}") is not None


def _is_version(value: str) -> bool:
    """Whether it is numbers with dots between them."""
    return _NOT_NUMERIC(value) is None and value[:1] not in ("", ".") and value[-1] != "." and ".." not in value
