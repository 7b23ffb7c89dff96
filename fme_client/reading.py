"""Mappings that people write, in Python's spelling or the Node SDK's, read field by field."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from fme_client.errors import OptionError

_T = TypeVar("_T")
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")

Read = Callable[[Any], _T]


def snake_case(name: str) -> str:
    """`customVariables` and `custom_variables` are both `custom_variables`."""
    return _HUMP.sub(r"_\1", name).lower()


class Wrong(ValueError):  # noqa: N818 - caught before anybody sees it
    """A value that can't be used; the text continues the field's name: `must be a string, not 3`."""


class Fields:
    """The fields of one mapping; `where` is what stands before their names in messages (`gateway_service.`)."""

    def __init__(self, given: object, where: str = "") -> None:
        if not isinstance(given, Mapping):
            raise Wrong(f"must be a mapping, not {kind_of(given)}")
        self._where = where
        self._known: list[str] = []
        self._given: dict[str, Any] = {}
        for key, value in given.items():
            name = snake_case(str(key))
            if name in self._given:
                raise OptionError(f"{where}{name} is given twice, in two spellings: leave one of them out")
            self._given[name] = value

    def take(self, name: str, read: Read[_T], default: _T) -> _T:
        """The field as `read` reads it; `default` where it is missing or None. Raises `OptionError`."""
        self._known.append(name)
        value = self._given.pop(name, None)
        if value is None:
            return default
        try:
            return read(value)
        except Wrong as error:
            raise OptionError(f"{self._where}{name} {error}") from None

    def need(self, name: str, read: Read[_T], cure: str) -> _T:
        """A field that must be there. Raises `OptionError` that ends with `cure` where it is not."""
        if self._given.get(name) in (None, ""):
            raise OptionError(f"{self._where}{name} is missing: {cure}")
        return cast("_T", self.take(name, read, None))

    def nothing_else(self, elsewhere: Mapping[str, str]) -> None:
        """Raises `OptionError` for a field that nobody took; `elsewhere` says why some exist in other SDKs only."""
        for name in self._given:
            if name in elsewhere:
                raise OptionError(f"{self._where}{name} has no meaning here, {elsewhere[name]}: leave it out")
            close = difflib.get_close_matches(name, self._known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(self._known))}"
            raise OptionError(f"{self._where}{name} is no option: {hint}")


def kind_of(value: object) -> str:
    """The type of a value, for a message that must not show the value."""
    if isinstance(value, str) and not value:
        return "an empty string"
    return "None" if value is None else type(value).__name__


def text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Wrong(f"must be a string with something in it, not {kind_of(value)}")
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"must be True or False, not {kind_of(value)}")
    return value


def number(least: float, unit: str, *, most: float = sys.float_info.max) -> Read[float]:
    """A number within these bounds; `unit` is part of the message."""
    bounds = f"{least:g} or more" + (f", {most:.0f} at most" if most < sys.float_info.max else "")

    def read(value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
            raise Wrong(f"must be a number of {unit}, {bounds}, not {value!r}")
        return value

    return read


def whole(least: int, unit: str) -> Read[int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise Wrong(f"must be a whole number of {unit}, {least} or more, not {value!r}")
        return value

    return read


def mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Wrong(f"must be a mapping, not {kind_of(value)}")
    return value


def function(value: object) -> Callable[..., object]:
    if not callable(value):
        raise Wrong(f"must be callable, not {kind_of(value)}")
    return value
