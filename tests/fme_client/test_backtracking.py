"""How much a regular expression may have to do, at the most: what is below a limit never takes long."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

import pytest

from fme_client.evaluation.regex import Regex, Unsupported
from tests.decisions.regexes import regex_job
from tests.decisions.values import Chance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

AT_ONCE = 20_000  # what an evaluation does by itself
AN_ADDRESS = "somebody.with.a.name@mail.example.com"
SECONDS = 20.0


def work(pattern: str, text: str) -> float:
    regex = Regex.parse(pattern)
    assert regex is not None
    return regex.work(text)


@contextlib.contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        pytest.fail(f"no end after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^.*@x\.com$", "a" * 1000),
        (r"@(x|y)\.com$", "a" * 1000),
        (r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$", AN_ADDRESS),
        (r"^(gold|silver|bronze)$", "a" * 1000),
        (r"^(?:\d{1,3}\.){3}\d{1,3}$", "1" * 1000),
        (r"^([a-z0-9]+\.)*example\.com$", "a" * 200),
        (r"^https?://([a-z]+\.)+[a-z]{2,}(/.*)?$", "https://www.example.com/a/b"),
        (r"^(?=.*\d)(?=.*[a-z]).{8,}$", "a" * 500),
        (r"^(a|b)+$", "a" * 1000),
        ("iPhone|iPad", "a" * 1000),
        (".*Chrome.*", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36"),
        (".*a.*|b*", "c" * 1000),
        ("(a+)+$", "a" * 6),
        ("", "a" * 1000),
    ],
)
def test_what_rules_are_mostly_made_of_is_found_out_at_once(pattern: str, text: str) -> None:
    assert work(pattern, text) <= AT_ONCE


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 28),
        (r"^(\w+\s?)+$", "a" * 40),
        ("(a|a)*$", "a" * 40),
        ("(?:a|ab|b)*c", "ab" * 20),
        ("^(a?){40}a{40}", "a" * 40),
        ("^a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?aaaaaaaaaaaaaaaaaaaaa", "a" * 30),
        ("^(?=(a+)+$)b", "a" * 40),
        ("^(?!(a+)+$)", "a" * 40),
        (r"^(a*)*\1b", "a" * 40),
        ("((a{1,9}){1,9}){1,9}$", "a" * 40),
        ("(.*)(.*)(.*)(.*)x", "a" * 65_536),
        (".*a.*a.*a.*a.*b", "a" * 65_536),
        ("x*y", "x" * 65_536),
        ("^(.*)(.*)y", "😀" * 200),
        ("(a?){100000}", "a"),
    ],
)
def test_what_may_take_long_is_known_before(pattern: str, text: str) -> None:
    assert work(pattern, text) > AT_ONCE


def test_no_random_pattern_takes_long_where_it_should_not() -> None:
    chance, looked_at, left_out = Chance(1), 0, 0
    with ends_within(SECONDS):
        for number in range(150):
            for one in regex_job(f"work {number}")["settings"]["campaigns"]:
                operand = one["variations"][0]["segments"]["or"][0]["custom_variable"]["x"]
                with contextlib.suppress(Unsupported):
                    regex = Regex.parse(operand.removeprefix("regex(").removesuffix(")"))
                    if regex is None:
                        continue
                    for length in (5, 20, 100, 1000):
                        text = (chance.choice(("a", "ab", "aab", "a b", "b")) * length)[: length - 1] + "!"
                        if regex.work(text) > AT_ONCE:
                            left_out += 1
                            break
                        regex.matches(text)
                        looked_at += 1
    assert looked_at > 1000
    assert left_out > 100


def test_case_makes_no_difference_where_it_is_ignored() -> None:
    """`[a-z]` and `[A-Z]` exclude each other only where it is not."""
    text = "a" * 64
    apart = Regex.parse("^([a-z]+[A-Z])+$")
    same = Regex.parse("^([a-z]+[A-Z])+$", ignore_case=True)
    assert apart is not None
    assert same is not None
    assert apart.work(text) <= AT_ONCE < same.work(text)


@pytest.mark.parametrize("pattern", ["(" * 3000 + ")" * 3000, "(?:" * 3000 + "a" + ")*" * 3000])
def test_groups_that_are_nested_too_deeply_are_not_supported(pattern: str) -> None:
    with pytest.raises(Unsupported):
        Regex.parse(pattern)
