"""Reading server-sent events from bytes that arrive as they like."""

from __future__ import annotations

from collections import Counter

import pytest

from heap_export.server_sent_events import EventReader


def test_events_are_the_same_however_their_bytes_arrive() -> None:
    text = "\ufeffdata: one\n\ndata:two\ndata\ndata: \u2028three\r\n\r\n: no\revent: x\r\rdata: four\r\n\ndata: cut off"
    whole = text.encode()
    wanted = [b"one", "two\n\n\u2028three".encode(), b"four"]
    for size in (1, 2, 3, 7, len(whole)):
        reader = EventReader(1000)
        chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert [event for chunk in chunks for event in reader.feed(chunk)] == wanted, size


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_an_event_that_is_too_long_comes_out_empty_and_the_next_one_whole(size: int) -> None:
    whole = (
        b"data: " + b"x" * 300 + b"\n\n" + b"data: " + b"y" * 60 + b"\n" + b"data: " + b"y" * 60 + b"\n\ndata: z\n\n"
    )
    reader = EventReader(100)
    found = [event for at in range(0, len(whole), size) for event in reader.feed(whole[at : at + size])]
    assert Counter(found) == {b"": 2, b"z": 1}
