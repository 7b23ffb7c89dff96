"""The segment language, condition by condition."""

from __future__ import annotations

from typing import Any

import pytest

from fme_client.evaluation import Context, Settings, answer_with, decide
from tests.decisions.builders import ROLLOUT, campaign, flag

DETAILS = {
    "location": {"country": "United States", "region": "California", "city": "San Francisco"},
    "userAgent": {"os": "macOS", "browser_string": "Chrome", "device_type": "desktop", "os_version": "10.15.7"},
}


def passes(segment: Any, value: Any = None, **context: Any) -> bool:
    """Whether the segment is for a user whose custom variable `x` is `value`."""
    settings = Settings.parse(flag(campaign(ROLLOUT, 1, segment)))
    user = Context("alice", custom_variables={} if value is None else {"x": value}, **context)
    return answer_with(decide(settings, "flag", user), lambda question: question.unanswered).is_enabled


@pytest.mark.parametrize(
    ("operand", "matching", "other"),
    [
        ("abc", "abc", "Abc"),
        ("lower(ABC)", "aBc", "abcd"),
        ("wildcard(*b*)", "abc", "ac"),
        ("wildcard(*c)", "abc", "cb"),
        ("wildcard(a*)", "abc", "ba"),
        ("wildcard(abc)", "abc", "xabcx"),
        ("regex(^a.c$)", "abc", "abcd"),
        ("regex(^\\d+$)", "42", "٣"),
        ("regex(b$)", "b", "b\n"),
        ("gt(5)", 6, 5),
        ("gt(9)", 10, 8.5),
        ("gte(5)", 5.0, 4.99),
        ("lt(5)", 4, 5),
        ("lte(1.10)", "1.1", "1.2"),
        ("5", 5.0, 5.1),
        ("1.0", 1, 2),
        ("true", True, False),
        ("1,2", [1, 2], [2, 1]),
    ],
)
def test_operators(operand: str, matching: Any, other: Any) -> None:
    assert passes({"custom_variable": {"x": operand}}, matching)
    assert not passes({"custom_variable": {"x": operand}}, other)


def test_a_variable_that_is_missing_matches_nothing_and_everything_under_not() -> None:
    condition = {"custom_variable": {"x": "wildcard(*)"}}
    assert not passes(condition)
    assert passes({"not": condition})


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("(?<year>\\d)\\k<year>", "11", "12"),
        ("(a)|\\1b", "b", "c"),
        ("^[^]$", "\n", "ab"),
        ("a{,2}", "a{,2}", "aa"),
        ("\\u{61}", "u" * 61, "a"),
        ("^.$", "é", "😀"),
        ("^..$", "😀", "é"),
        ("\\A", "A", "a"),
        ("[[a]", "[", "b"),
        ("(?<=b|cd)e", "cde", "ae"),
        ("^\\s$", "\ufeff", "\x1c"),
        ("\\bé", "aé", "é"),
        (".*b.*", "abc", "ac"),
        ("a*.b?$", "ab", "\n"),
        ("(a)*b\\1c", "xabac", "bac"),
    ],
)
def test_regular_expressions_are_those_of_javascript(pattern: str, matching: str, other: str) -> None:
    assert passes({"custom_variable": {"x": f"regex({pattern})"}}, matching)
    assert not passes({"custom_variable": {"x": f"regex({pattern})"}}, other)


@pytest.mark.parametrize("pattern", ["(", "a**", "a++", "(?i)a", "(?P<n>a)", "[z-a]", "*", "(?<=a)*"])
def test_what_is_no_regular_expression_in_javascript_matches_nothing(pattern: str) -> None:
    assert not passes({"custom_variable": {"x": f"regex({pattern})"}}, "aaaa")


def test_a_pattern_that_python_can_not_evaluate_is_reported() -> None:
    segment = {"custom_variable": {"x": "regex((?<=a*)b)"}}
    settings = Settings.parse(flag(campaign(ROLLOUT, 1, segment)))
    assert settings.unsupported == ("regex((?<=a*)b)",)
    assert not passes(segment, "ab")


def test_and_or_and_not() -> None:
    yes, no = {"user": "alice"}, {"user": "bob"}
    assert passes({"and": [yes, {"or": [no, yes]}, {"not": no}]})
    assert not passes({"and": [yes, no]})
    assert not passes({"or": [no, {"not": yes}]})


def test_users() -> None:
    assert passes({"user": "bob, alice ,carol"})
    assert not passes({"user": "Alice"})


@pytest.mark.parametrize(
    ("segment", "context"),
    [
        ({"ua": "wildcard(*Chrome*)"}, {"user_agent": "Mozilla Chrome/120"}),
        ({"ua": "a b"}, {"user_agent": "a%20b"}),
        ({"ip_address": "wildcard(203.0.*)"}, {"ip_address": "203.0.113.9"}),
        ({"os_version": "gte(10.15)"}, {"user_details": DETAILS}),
        ({"or": [{"os": "MACOS"}]}, {"user_details": DETAILS, "user_agent": "x"}),
        ({"or": [{"browser_string": "wildcard(chr*)"}]}, {"user_details": DETAILS, "user_agent": "x"}),
        ({"and": [{"country": "United States"}]}, {"user_details": DETAILS, "ip_address": "203.0.113.9"}),
        (
            {"and": [{"country": '"United States"'}, {"city": "San Francisco"}]},
            {"user_details": DETAILS, "ip_address": "203.0.113.9"},
        ),
    ],
)
def test_conditions_on_browser_and_place(segment: Any, context: dict[str, Any]) -> None:
    assert passes(segment, **context)
    assert not passes(segment)


def test_a_place_that_differs_in_case_is_another_place() -> None:
    assert not passes({"and": [{"country": "united states"}]}, user_details=DETAILS, ip_address="203.0.113.9")


@pytest.mark.parametrize("context", [{"user_agent": "x"}, {"ip_address": "203.0.113.9"}, {}])
def test_a_broken_percent_sign_in_the_user_agent_turns_the_flag_off(context: dict[str, Any]) -> None:
    segment = {"or": [{"user": "bob"}, {"not": {"ua": "y"}}]}
    assert passes(segment, **context)
    assert not passes(segment, **context | {"user_agent": "100%"})


@pytest.mark.parametrize(("state", "kept"), [("on", {"rolloutId": 1}), ("off", {})])
def test_conditions_on_another_flag_ask_the_storage(state: str, kept: dict[str, Any]) -> None:
    settings = Settings.parse(flag(campaign(ROLLOUT, 1, {"or": [{"featureId": {"1": state}}]})))
    user = Context("alice")
    answers = iter([{}, kept])
    assert answer_with(decide(settings, "flag", user, storage=True), lambda _: next(answers)).is_enabled


@pytest.mark.parametrize("segment", [[], {"custom_variable": {"x": 5}}, {"user": None}, {"and": None}, {"or": [None]}])
def test_a_segment_that_makes_no_sense_turns_the_flag_off(segment: Any) -> None:
    assert not passes(segment, 5)


def test_comparisons_of_what_is_no_number() -> None:
    """As in the Node SDK: a text counts as zero, and `1.2.3` as 1.2."""
    assert passes({"custom_variable": {"x": "lt(100)"}}, "abc")
    assert passes({"custom_variable": {"x": "1.2"}}, "1.2.3")
    assert not passes({"custom_variable": {"x": "gt(1.2.1)"}}, "1.2.3")
