"""Packed by hiredis, a command is byte for byte what redis-py makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import Connection
from redis.exceptions import DataError

from foundation import packing

VALUES = st.one_of(st.binary(), st.text(st.characters(exclude_categories=["Cs"])), st.integers(), st.floats())


@given(st.lists(VALUES, max_size=8))
def test_the_same_bytes(values: list[Any]) -> None:
    arguments = ("SADD", "key", *values)
    assert b"".join(packing._pack(Connection(), *arguments)) == b"".join(packing._in_python(Connection(), *arguments))


def test_names_of_two_words_are_taken_apart() -> None:
    assert b"".join(packing._pack(Connection(), "CONFIG GET", "save")).startswith(b"*3\r\n$6\r\nCONFIG\r\n")


def test_what_redis_py_refuses_is_still_refused() -> None:
    with pytest.raises(DataError):
        packing._pack(Connection(), "SADD", "key", None)
