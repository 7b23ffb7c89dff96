"""Ask at a fixed rate, whether or not answers come: a crowd does so, while wrk waits for one before it asks again.

    python -m benchmarks.hot_path.open_loop http://127.0.0.1:8000 --rate 2000 --seconds 5 --members 1000 --lists some

Latency counts from the moment at which a request was due, so that a server that stalls is charged for everybody who
would have asked meanwhile. A program of its own, without an event loop's callbacks: at 10,000 requests a second
whatever it does between two of them is part of what it measures.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import select
import socket
import time
from array import array
from collections import deque
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.hot_path.questions import Lists, questions

_PR_SET_TIMERSLACK = 29
_GRACE_SECONDS = 0.5
_YES, _NO = b"\r\n\r\ntrue", b"\r\n\r\nfalse"


class Outcome(NamedTuple):
    """`answered`: the share of the requests due that were answered by the end (and a grace)."""

    answered: float
    wrong: int
    p50_ms: float
    p99_ms: float


class _Asked(NamedTuple):
    due: float
    is_member: bool


def ask(address: str, lists: Lists, *, rate: float, seconds: float, connections: int, always_true: bool) -> Outcome:
    """`always_true`: the server's answer is static. Raises `ConnectionError` when it hangs up."""
    requests = [
        (f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), is_member or always_true)
        for path, is_member in questions(lists)
    ]
    opened = {connection.fileno(): connection for connection in (_connect(address) for _ in range(connections))}
    poll = select.epoll()
    for number in opened:
        poll.register(number, select.EPOLLIN)
    idle, asked = deque(opened.values()), dict[int, _Asked]()
    partial: dict[int, bytes] = {}
    latencies, wrong, sent, count = array("d"), 0, 0, int(rate * seconds)
    started = time.perf_counter() + 0.05
    ends = started + seconds + _GRACE_SECONDS
    while len(latencies) < count and (now := time.perf_counter()) < ends:
        while sent < count and idle and (due := started + sent / rate) <= now:
            request, is_member = requests[sent % len(requests)]
            connection = idle.popleft()
            connection.send(request)
            asked[connection.fileno()] = _Asked(due, is_member)
            sent += 1
        until = started + sent / rate if sent < count and idle else ends
        # epoll waits for whole milliseconds, select for microseconds.
        select.select([poll], [], [], max(0.0, until - time.perf_counter()))
        for number, _ in poll.poll(0):
            received = opened[number].recv(4096)
            now = time.perf_counter()
            if not received:
                raise ConnectionError(f"{address} hung up")
            answer = partial.pop(number, b"") + received
            if not answer.endswith((_YES, _NO)):
                partial[number] = answer
                continue
            due, is_member = asked[number]
            latencies.append(now - due)
            wrong += answer.endswith(_YES) is not is_member or not answer.startswith(b"HTTP/1.1 200")
            idle.append(opened[number])
    for connection in opened.values():
        connection.close()
    found = sorted(latencies) or [float("nan")]
    p50, p99 = (found[int(len(found) * share)] * 1e3 for share in (0.5, 0.99))
    return Outcome(len(latencies) / count, wrong, p50, p99)


def _connect(address: str) -> socket.socket:
    parts = urlsplit(address)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=10)
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--members", type=int, required=True)
    parser.add_argument("--lists", nargs="+", required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--always-true", action="store_true")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)  # else the kernel wakes us up to 50 µs late, which counts as latency
    gc.disable()
    outcome = ask(
        options.address,
        Lists(tuple(options.lists), options.members),
        rate=options.rate,
        seconds=options.seconds,
        connections=options.connections,
        always_true=options.always_true,
    )
    print(json.dumps(outcome._asdict()))


if __name__ == "__main__":
    main()
