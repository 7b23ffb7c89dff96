"""Reading server-sent events from bytes that arrive as they like."""

from __future__ import annotations

import time

import pytest

from foundation.errors import NoAnswerError
from heap_export.server_sent_events import EventReader

SIZES = [1, 2, 3, 7, 100, 1000]


def read(whole: bytes, size: int, *, most_bytes: int = 1000, most_lines: int = 1000) -> list[bytes]:
    """The events of `whole`, which arrives in chunks of `size` bytes."""
    reader = EventReader(most_bytes, most_lines)
    return [event for at in range(0, len(whole), size) for event in reader.feed(whole[at : at + size])]


@pytest.mark.parametrize("size", SIZES)
def test_events_are_the_same_however_their_bytes_arrive(size: int) -> None:
    text = "\ufeffdata: one\n\ndata:two\ndata\ndata: \u2028three\r\n\r\n: no\revent: x\r\rdata: four\r\n\ndata: cut off"
    assert read(text.encode(), size) == [b"one", "two\n\n\u2028three".encode(), b"four"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("event", "said"),
    [
        (b"data: " + b"x" * 300 + b"\n\n", "100 bytes"),
        (b"data: " + b"x" * 300, "100 bytes"),
        (b"data: " + b"y" * 60 + b"\ndata: " + b"y" * 60 + b"\n\n", "100 bytes"),
        (b": " + b"z" * 60 + b"\n: " + b"z" * 60 + b"\n\n", "100 bytes"),
        (b"data\n" * 11 + b"\n", "10 lines"),
        (b":\r" * 11, "10 lines"),
        (b"x\r\n" * 11, "10 lines"),
    ],
)
def test_an_event_beyond_the_bounds_ends_the_reading(event: bytes, said: str, size: int) -> None:
    with pytest.raises(NoAnswerError, match=said) as caught:
        read(b"data: fine\n\n" + event, size, most_bytes=100, most_lines=10)
    assert caught.value.reason == "answer_too_large"


@pytest.mark.parametrize("size", SIZES)
def test_bounds_hold_for_each_event_by_itself(size: int) -> None:
    event = b"data: " + b"x" * 40 + b"\n: " + b"x" * 40 + b"\n" + b"data\n" * 2 + b"\n"
    assert read(event * 20, size, most_bytes=100, most_lines=10) == [b"x" * 40 + b"\n\n"] * 20
    assert len(read(b"\n" * 5000, size, most_bytes=100, most_lines=10)) == 0


def test_reading_takes_time_in_proportion_to_what_is_read() -> None:
    """200,000 lines took minutes where each was put behind a copy of those before it."""
    began = time.monotonic()
    (event,) = read(b"data: x\n" * 200_000 + b"\n", 65_536, most_bytes=1 << 24, most_lines=1 << 20)
    assert event.count(b"x") == 200_000
    assert time.monotonic() - began < 10
