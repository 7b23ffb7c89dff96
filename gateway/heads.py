"""Request heads, as far as the fast path must understand them: everything after the target.

An SDK sends the same headers with every request of a connection, so a head is parsed once, by the strict parser that
uvicorn uses as well, and known by its bytes from then on.
"""

from __future__ import annotations

from enum import Enum

import httptools

_MOST_KNOWN = 1024
_LONGEST_KNOWN = 2048  # bytes
# A body, an answer before the answer, another protocol: those are uvicorn's. And who asks for the plain route gets it.
_NOT_OURS = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"x-route"))


class Verdict(Enum):
    """What to do with a request that has such a head. `HAND_OVER`: it is not for the fast path."""

    HAND_OVER = 0
    KEEP = 1
    CLOSE = 2


class Heads:
    """The heads seen lately. `handed_over`: names of headers (lower case) whose requests are not for the fast path."""

    def __init__(self, *, handed_over: frozenset[bytes] = frozenset()) -> None:
        self._known: dict[bytes, Verdict] = {}
        self._not_ours = _NOT_OURS | handed_over

    def judge(self, head: bytes) -> Verdict:
        """`head`: from `HTTP/1.` to the empty line. Raises nothing."""
        verdict = self._known.get(head)
        if verdict is None:
            verdict = _parsed(head, self._not_ours)
            if len(head) <= _LONGEST_KNOWN:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[head] = verdict
        return verdict


def _parsed(head: bytes, not_ours: frozenset[bytes]) -> Verdict:
    reading = _Reading()
    try:
        reading.parser.feed_data(b"GET / " + head)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return Verdict.HAND_OVER
    if reading.messages != 1 or reading.names & not_ours:
        return Verdict.HAND_OVER
    return Verdict.KEEP if reading.keeps else Verdict.CLOSE


class _Reading:
    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.messages = 0
        self.names: set[bytes] = set()
        self.keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        del value
        self.names.add(name.lower())

    def on_headers_complete(self) -> None:
        # The parser knows only now: after the message it has begun with the next one.
        self.keeps = self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()

    def on_message_complete(self) -> None:
        self.messages += 1
