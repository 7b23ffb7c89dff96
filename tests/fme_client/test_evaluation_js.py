"""Numbers and texts as JavaScript has them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fme_client.evaluation import js


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (5.0, "5"),
        (-1.5, "-1.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e20, "100000000000000000000"),
        (123456789012345680000, "123456789012345680000"),
        (1e21, "1e+21"),
        (1.25e25, "1.25e+25"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (5e-324, "5e-324"),
        (2**53 + 1, "9007199254740992"),
        (10**400, "Infinity"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (None, "null"),
        (True, "true"),
        ([1, [None, "a"], False], "1,,a,false"),
        ({"a": 1}, "[object Object]"),
    ],
)
def test_texts_of_values(value: Any, text: str) -> None:
    assert js.text(value) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5),
        (" 5px", 5),
        ("1.2.3", 1.2),
        (".5", 0.5),
        ("5e3x", 5000),
        ("-Infinityx", -math.inf),
        ("5.", 5),
        ("1e", 1),
    ],
)
def test_parse_float_takes_the_longest_beginning(text: str, number: float) -> None:
    assert js.parse_float(text) == number


@pytest.mark.parametrize("text", ["", "px5", ".", "+", "NaN", "\x1c5"])
def test_parse_float_of_no_number(text: str) -> None:
    assert math.isnan(js.parse_float(text))


@pytest.mark.parametrize(
    ("text", "number"), [("", 0), (" 7 ", 7), ("0x1F", 31), ("0b11", 3), ("1e2", 100), ("-.5", -0.5)]
)
def test_numbers_of_texts(text: str, number: float) -> None:
    assert js.number(text) == number


@pytest.mark.parametrize("text", ["5px", "0x", "-0x5", "1_000", "٣"])
def test_texts_that_are_no_numbers(text: str) -> None:
    assert math.isnan(js.number(text))


def test_true_is_not_one() -> None:
    assert not js.equal(True, 1)
    assert js.equal(1, 1.0)
    assert js.loosely_equal(5, " 5 ")
    assert not js.loosely_equal(5, None)


def test_keys_that_are_indices_come_first() -> None:
    assert js.first_key({"b": 0, "10": 1, "9": 2, "01": 3}) == "9"
    assert js.first_key({"b": 0, "-1": 1}) == "b"
    assert js.first_key({}) is None
