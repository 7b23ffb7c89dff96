"""Regular expressions that take long for some values: `get_flag` returns, and leaves nothing running behind."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.fme_client.sample import feature, member, rollout, settings

if TYPE_CHECKING:
    from fme_client import Client
    from tests.fme_client.conftest import Connect

PATTERNS = {
    "doubling": "(a+)+$",
    "words": r"^(\w+\s?)+$",
    "dotted": ".*a.*a.*a.*a.*b",
    "reference": r"^(a*)*(\1)+b",
    "mail": r"^[\w.+-]+@[\w.-]+\.[a-z]{2,}$",
}
SLOW = {
    "doubling": "a" * 40 + "!",
    "words": "hello there general kenobi how are you today !",
    "dotted": "a" * 65_536,
    "reference": "a" * 40,
}
SECONDS = 5.0  # each of these would take minutes, at the least


def of(segments: dict[str, Any]) -> dict[str, Any]:
    campaigns = [rollout(number, key, segment) for number, (key, segment) in enumerate(segments.items(), 1)]
    features = [feature(number, key, campaigns[number - 1]) for number, key in enumerate(segments, 1)]
    return settings(features, campaigns)


@pytest.fixture
def client(connect: Connect) -> Client:
    wanted: dict[str, Any] = {
        key: {"or": [{"custom_variable": {"heap_user_id": f"regex({pattern})"}}]} for key, pattern in PATTERNS.items()
    }
    return connect(settings=of(wanted))


@pytest.mark.parametrize("key", SLOW)
def test_a_value_that_makes_it_slow_does_not_match(client: Client, said: list[str], key: str) -> None:
    threads, began = threading.active_count(), time.monotonic()
    for _ in range(3):
        assert not client.get_flag(key, member(SLOW[key]))
    assert time.monotonic() - began < SECONDS
    assert threading.active_count() <= threads
    lines = [line for line in said if "regular expression" in line]
    assert lines == [f"error: get_flag: a regular expression of {key} might take too long, and so does not match"]


@pytest.mark.parametrize(
    ("key", "value", "matches"),
    [
        ("doubling", "aaaaaa", True),
        ("doubling", "aaaaa!", False),
        ("words", "hello you", True),
        ("words", "hello !", False),
        ("dotted", "aaaaaab", True),
        ("mail", "somebody.with.a.rather.long.name@mail.of.some.example.com", True),
        ("mail", "a" * 400 + "@example.com", True),
        ("mail", "a" * 400, False),
    ],
)
def test_what_ends_soon_is_decided(client: Client, said: list[str], key: str, value: str, matches: bool) -> None:
    assert client.get_flag(key, member(value)).is_enabled() is matches
    assert not [line for line in said if "regular expression" in line]


def test_no_more_of_them_are_tried_after_the_deadline(connect: Connect, said: list[str]) -> None:
    many = [{"custom_variable": {"heap_user_id": f"regex(a*a*b{number})"}} for number in range(500)]
    client = connect(settings=of({"many": {"or": many}}), deadline=5)
    assert not client.get_flag("many", member("a" * 64))
    assert any("a regular expression of many might take too long" in line for line in said)
