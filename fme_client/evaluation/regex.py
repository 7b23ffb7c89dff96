"""One regular expression of JavaScript: whether it matches, and how much work that may be."""

from __future__ import annotations

import re

from fme_client.evaluation import backtracking
from fme_client.evaluation.js_regex import translate, units

_SMALL = 64  # characters: texts up to here have a bound of their own, longer ones that of the next power of two


class Unsupported(ValueError):  # noqa: N818 - says what the pattern is
    """JavaScript would take the pattern, `re` can't: a lookbehind without a fixed width, groups nested too deeply."""


class Regex:
    """`RegExp(pattern).test`. `translated` and `flags` are what `re` is given; it wants a text's `units`."""

    __slots__ = ("_parts", "_search", "_work", "flags", "pattern", "translated")

    def __init__(self, pattern: str, translated: str, flags: int, parts: backtracking.Part) -> None:
        self.pattern = pattern
        self.translated = translated
        self.flags = flags
        self._search = re.compile(translated, flags).search
        self._parts = parts
        self._work: dict[int, float] = {}

    @classmethod
    def parse(cls, pattern: str, *, ignore_case: bool = False) -> Regex | None:
        """None where JavaScript throws a SyntaxError. Raises `Unsupported`."""
        try:
            found = translate(pattern, ignore_case=ignore_case)
            if found is None:
                return None
            return cls(pattern, found.text, re.IGNORECASE if ignore_case else 0, found.parts)
        except (re.error, OverflowError) as error:
            raise Unsupported(str(error)) from None
        except RecursionError:
            raise Unsupported("groups are nested too deeply") from None

    def work(self, text: str) -> float:
        """How many characters may be looked at to find out about `text`: a bound, which may be far too high."""
        length = len(text) if text.isascii() else 2 * len(text)  # a character may be two units
        if length > _SMALL:
            length = 1 << (length - 1).bit_length()
        known = self._work.get(length)
        if known is None:
            known = self._work[length] = backtracking.work(self._parts, length)
        return known

    def matches(self, text: str) -> bool:
        """It can't be stopped: look at `work` before."""
        return self._search(units(text)) is not None


class Regexes:
    """The regular expressions of one settings document, each parsed once."""

    def __init__(self) -> None:
        self._parsed: dict[tuple[str, bool], Regex | None] = {}

    def get(self, pattern: str, *, ignore_case: bool = False) -> Regex | None:
        """As `Regex.parse`."""
        key = pattern, ignore_case
        if key not in self._parsed:
            self._parsed[key] = Regex.parse(pattern, ignore_case=ignore_case)
        return self._parsed[key]
