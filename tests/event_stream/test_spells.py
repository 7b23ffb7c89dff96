"""Trouble that comes in thousands is told when it begins and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from event_stream.spells import Spell
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import pytest

BEGIN = "sheep are lost: %s; how many is said when it is over"


async def test_one_line_at_the_beginning_and_one_with_the_numbers_after_a_while_of_quiet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def is_over(number: int) -> bool:
        return len(caplog.messages) == number

    spell = Spell("sheep are lost", quiet=0.05)
    for _ in range(100):
        spell.add(3, "wolf")
    assert caplog.messages == [BEGIN % "wolf"]
    await eventually(lambda: is_over(2))
    assert caplog.messages[1] == "sheep are lost: that is over; there were 300 wolf"
    spell.add(1, "wolf")
    await eventually(lambda: is_over(4))
    assert caplog.messages[2:] == [BEGIN % "wolf", "sheep are lost: that is over; there were 1 wolf"]


async def test_each_reason_is_told_when_it_comes_up(caplog: pytest.LogCaptureFixture) -> None:
    spell = Spell("sheep are lost")
    for number in range(1, 4):
        spell.add(number, "wolf")
        spell.add(number, "thief")
    spell.close()
    spell.close()
    assert caplog.messages == [
        BEGIN % "wolf",
        BEGIN % "thief",
        "sheep are lost: that is over; there were 6 wolf, 6 thief",
    ]
