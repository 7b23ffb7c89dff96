"""What others write can't forge a line of the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from foundation.logs import configure_logging, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

FORGED = "2026-11-29T00:00:00.000 INFO cohort-sync cohort_sync.receiver: all is well"
TEXTS = [
    *(f"7{end}{FORGED}" for end in ("\n", "\r", "\x85", "\u2028")),
    *(f"7{other}" for other in ("\x1b[2J\x1b[31mred", "\x00\x07", "\u202e")),
]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("text", TEXTS)
def test_an_event_is_one_line_of_what_can_be_printed(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", service="trial")
    log = logging.getLogger("cohort_sync")
    log.warning("segment %s is refused", text)
    log.error("segment %s failed", text, exc_info=ValueError(text))
    lines = capfd.readouterr().err.removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    ours = [line for line in lines if not line.startswith("    ")]
    assert len(ours) == 2
    assert all(" trial cohort_sync: segment 7" in line for line in ours)


def test_ordinary_text_stays_as_it_is() -> None:
    assert printable("Zażółć 日本 'a' \\ %s") == "Zażółć 日本 'a' \\ %s"
    assert printable("a\tb\ud800") == "a\\tb\\ud800"
