"""`scripts/fuzz_gateway`: throw what nobody should send at every address of a gateway, and look whether it minds.

No answer may be 500 or take longer than a second, the log may hold no error and no secret, the process must live on,
and checks must go on to be answered rightly. The same seed gives the same requests.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from event_stream.keys import entries
from gateway.event_queue import NAME
from tests.fuzz.check_fast_path import OF_THE_MOMENT
from tests.fuzz.check_requests import LIST
from tests.fuzz.gateway_requests import gateway_request
from tests.fuzz.gateway_settings import fuzzed_gateway
from tests.fuzz.run import BATCH, THREADS, FuzzError, Tally, Target, command, shown, throw
from tests.gateway.conftest import ACCOUNT
from tests.gateway.deciding import TOKEN
from tests.support import http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SLOW_SECONDS = 1.0
_TRIES = 3  # an answer is slow when it is so each time: once, the machine may have been busy with something else


def fuzz_gateway(
    target: Target, *, seed: int, start: int, count: int, say: Callable[[str], None] = lambda _: None
) -> Tally:
    """Send the requests numbered from `start`. Raises `FuzzError` naming the seed and the number."""
    tally = Tally()
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(start, start + count, BATCH):
            numbers = range(first, min(first + BATCH, start + count))
            late = []
            for number, (answers, took) in zip(numbers, pool.map(partial(_send, target, seed), numbers), strict=True):
                tally.note(answers, took)
                if took > SLOW_SECONDS:
                    late.append(number)
            try:
                for number in late:
                    _check_speed(target, seed, number)
                target.check_health()
                target.store.xtrim(entries(NAME), maxlen=0)  # a full store drops events, and logs that as an error
                _check_membership(target)
            except FuzzError as error:
                raise FuzzError(f"seed {seed}, {numbers}: {error}") from None
            if tally.requests % 1000 == 0 or numbers.stop == start + count:
                say(tally.line(target))
    return tally


def _send(target: Target, seed: int, number: int) -> tuple[list[str], float]:
    return throw(target, gateway_request(seed, number), f"seed {seed}, number {number}")


def _check_speed(target: Target, seed: int, number: int) -> None:
    took = min(_send(target, seed, number)[1] for _ in range(_TRIES))
    if took > SLOW_SECONDS:
        raise FuzzError(f"number {number} takes {took:.1f} s: {shown(gateway_request(seed, number))}")


def _check_membership(target: Target) -> None:
    for member, expected in (("alice", "in"), ("mallory", "not_in")):
        for _ in range(_TRIES):
            state = http.membership(target.program.address, member, LIST, account=ACCOUNT)
            if state not in OF_THE_MOMENT:
                break
        if state not in {expected, *OF_THE_MOMENT}:
            raise FuzzError(f"whether {member} is in the list is answered {state}")


@contextlib.contextmanager
def fuzzed() -> Iterator[Target]:
    """A gateway of its own, to be fuzzed."""
    with fuzzed_gateway() as gateway:
        yield Target(gateway.program, gateway.store, secret=TOKEN)


if __name__ == "__main__":
    command(fuzzed, fuzz_gateway, about="Throw broken and odd requests at every address of a gateway of its own.")()
