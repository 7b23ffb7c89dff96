"""Requests by the thousands at once: pipelined over many connections, all sent before any answer is read.

A machine that is busy with other work may keep a gateway or its store from their deadline of 100 ms, which is no fault
of theirs: `comes_out` tries again, `heard` asks again.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import TYPE_CHECKING

from tests.support.raw_http import Answer, connection, read_all, split_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TRIALS = 30  # on a busy machine the store may be late several times
_NOT_HEARD = ("store_down", "stale_in", "stale_not_in")
_LENGTH = {"GET": "", "POST": "Content-Length: 0\r\n"}


def flood(
    address: str, targets: Sequence[str], *, connections: int = 300, method: str = "GET", header: str = ""
) -> list[Answer]:
    """The answers to a request without a body for each of `targets`, in no order that matters."""
    shares = [share for share in (targets[number::connections] for number in range(connections)) if share]
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(connection(address, timeout=60.0)) for _ in shares]
        for peer, share in zip(peers, shares, strict=True):
            heads = [f"{method} {target} HTTP/1.1\r\nHost: x\r\n{_LENGTH[method]}{header}" for target in share]
            heads[-1] += "Connection: close\r\n"
            peer.sendall("".join(f"{head}\r\n" for head in heads).encode())
        return [answer for peer in peers for answer in split_answers(read_all(peer))]


def check(name: str, value: str = "alice", *, account: str = "123456") -> str:
    """The target of a check."""
    return f"/check-attribute?attribute={value}&listId={name}&accountId={account}"


def states(answers: Sequence[Answer]) -> Counter[tuple[int, bytes, str]]:
    """How many answers of each kind: status, body, `X-Membership`."""
    return Counter((answer.status, answer.body, answer.headers["x-membership"]) for answer in answers)


def comes_out(trial: Callable[[], object], wanted: object) -> None:
    """`trial` gives what is wanted, at the latest at its last time."""
    for _ in range(_TRIALS):
        if (found := trial()) == wanted:
            return
    raise AssertionError(f"{found} instead of {wanted}")


def heard(ask: Callable[[], str]) -> str:
    """The first state that says what the store said."""
    for _ in range(_TRIALS):
        if (state := ask()) not in _NOT_HEARD:
            return state
    return state


@contextlib.contextmanager
def meanwhile(ask: Callable[[], object]) -> Iterator[Counter[object]]:
    """What `ask` returns again and again while the block runs, once at least, and how often."""
    said: Counter[object] = Counter()
    over = threading.Event()

    def go_on() -> None:
        while not said or not over.is_set():
            said[ask()] += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield said
    finally:
        over.set()
        thread.join()
