"""A stream that is given up, with everything that belongs to it."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from event_stream import keys
from event_stream.marks import all_sets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from event_stream.stream import Stream

_AT_A_TIME = 500


async def remove_stream(stream: Stream, kept: Iterable[int], tell: Callable[[int], object] = lambda _: None) -> None:
    """Delete what waits, dead letters, counts and marks. `kept`: for how many seconds marks are known (0: for good).

    `tell` hears how many keys were looked at since. Raises the store's errors; doing it again does the rest.
    """
    name = stream.name
    marks = chain.from_iterable(all_sets(name, seconds) for seconds in kept)
    left = chain([keys.entries(name), keys.dead(name), keys.counts(name)], marks)
    while some := list(islice(left, _AT_A_TIME)):
        await stream.store.execute_command("UNLINK", *some)
        tell(len(some))
