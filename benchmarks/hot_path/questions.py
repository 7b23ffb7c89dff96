"""What is asked: members of the lists and others by turns. `requests.lua` asks the same of wrk's side."""

from __future__ import annotations

from itertools import cycle
from typing import NamedTuple

ACCOUNT = "123456"
_AT_MOST = 50_000


class Lists(NamedTuple):
    """Lists of `members` members each."""

    names: tuple[str, ...]
    members: int


def value(number: int) -> str:
    """The first `members` numbers are in the list. redis-benchmark's `__rand_int__` has twelve digits, too."""
    return f"user-{number:012d}"


def path(list_id: str, number: int) -> str:
    return f"/check-attribute?attribute={value(number)}&listId={list_id}&accountId={ACCOUNT}"


def questions(lists: Lists) -> list[tuple[str, bool]]:
    """Paths, and whether the value is in the list; spread over the whole list."""
    stride = max(1, lists.members // _AT_MOST)
    return [
        (path(name, asked), is_member)
        for number, name in zip(range(0, lists.members, stride), cycle(lists.names), strict=False)
        for asked, is_member in ((number, True), (lists.members + number, False))
    ]
