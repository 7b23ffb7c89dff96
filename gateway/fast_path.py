"""`/check-attribute` answered from the raw bytes, inside the HTTP protocol class that uvicorn loads.

Most of the time of a plain route goes into the framework, and the SDKs send raw bytes that every common Python server
refuses. So a complete request without a body for this one path is answered here, in one write; everything else goes to
uvicorn's own class untouched. One check of a connection is under way at a time: what comes meanwhile waits, so that
answers keep the order of the requests.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any, TypeVar

from attribute_lists.states import State
from foundation.guarded_http import GuardedProtocol
from gateway.check import CONTENT_TYPE, body_of
from gateway.heads import Heads, Verdict

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from attribute_lists.lists import AskedList, Question
    from foundation.guarded_http import Guard
    from gateway.check import Asked, Checks

log = logging.getLogger(__name__)
T = TypeVar("T")

_LARGEST_HEAD = 64 * 1024  # bytes of a request that is not whole yet, and of those that wait behind it
_MOST_TAILS, _LONGEST_TAIL, _LONGEST_END = 4096, 512, 2048
_ANSWER_SECONDS = 0.5  # for which an answer is sent as it was put together, with its date

_USUAL = b"GET /check-attribute?"
_TO_VALUE = _USUAL + b"attribute="
_LIST_ID = b"&listId="
# With one segment in front, or without a query.
_UNUSUAL = re.compile(rb"GET /(?:[^/?#%\x00-\x20\x7f-\xff]+/)?check-attribute(?:\?|(?= ))", re.ASCII)
_VERSION = b" HTTP/1."
_STARTS = (b"GET /", b"HEAD /")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # Java's SDK sends a tab as it is
_ANY_TARGET = re.compile(rb"([A-Z]+ )([^\x00-\x1f\x7f?]*(?:\?[^\x00-\x08\x0a-\x1f\x7f]*)?)( HTTP/1\.[01])")
_STRICTLY_REFUSED = re.compile(rb"[\t\x80-\xff #]")
# Leaves a value alone that has one reading, which is sent as it is: visible ASCII but for `%`, `&` and `+`.
_PLAIN = set(range(0x21, 0x7F)) - set(b"%&+")
_SPOILS = bytes(byte if byte in _PLAIN else byte ^ 0x80 for byte in range(256))


class FastPath:
    """What the connections of a process share. `log_every`: one check in so many is logged; 0: none.

    `for_browsers`: what pages of other sites ask is answered by the application, which knows the headers for it.
    """

    def __init__(self, checks: Checks, *, log_every: int = 0, for_browsers: bool = False) -> None:
        self.checks = checks
        self.ask, self.counts = checks.membership.ask, checks.counts
        self.heads = Heads(handed_over=frozenset((b"origin",)) if for_browsers else frozenset())
        self.log_every = self._until_logged = log_every
        self._lists: dict[bytes, AskedList | None] = {}
        self._unknown: dict[bytes, tuple[str, str]] = {}  # account and name, where that is none of a list
        self.usual: dict[bytes, AskedList] = {}  # by what stands from `&listId=` on in a request
        self.answers: dict[str, bytes] = {}  # where the connection stays, by state
        checks.membership.when_names_change.append(self._forget_names)
        checks.served.when_changed.append(self._forget_names)

    def protocol(self, guard: Guard) -> type[HttpToolsProtocol]:
        """The class for uvicorn's `http` option."""
        return type("FastPathProtocol", (_FastPathProtocol,), {"guard": guard, "path": self})

    def learn(self, data: bytes, asked: AskedList) -> None:
        """`data` is one whole request that asks `asked` and keeps the connection: more like it are usual.

        Not for unknown names, of which strangers may send any number: those that are asked often would be forgotten.
        """
        head, _, end = data.partition(_LIST_ID)
        value = head.removeprefix(_TO_VALUE)
        # Where there is another `&listId=`, this one is a part of the value. Names of no list, of which strangers may
        # send as many as they like, are not learnt: they would make those forgotten that are asked all the time.
        if (
            asked.unknown is None
            and value is not head
            and len(end) <= _LONGEST_END
            and _LIST_ID not in end
            and _is_plain(value)
        ):
            _remember(self.usual, end, asked)

    def read(self, query: bytes) -> Asked | str | None:
        """What `query` asks, or the answer. None: it is no part of a valid request.

        Nearly every one is `attribute=VALUE&listId=REST` with a value that needs no decoding: then the last part has
        been read before, and tells the list.
        """
        if query.startswith(b"attribute="):
            value, _, tail = query[10:].rpartition(b"&listId=")
            if _is_plain(value):
                asked = self._list_of(tail)
                if asked is not None:
                    return asked, value
        if _CONTROL.search(query):
            return None
        try:
            return self.checks.read(query)
        except Exception:
            log.exception("a check failed and was answered false")
            return State.ERROR

    def _list_of(self, tail: bytes) -> AskedList | None:
        """The list that `tail`, which follows `&listId=`, names."""
        try:
            return self._lists[tail]
        except KeyError:
            pass
        name = self._unknown.get(tail)
        if name is not None:
            return self.checks.membership.list_named(*name)
        if _CONTROL.search(tail):
            return None
        found = self.checks.read(b"attribute=x&listId=" + tail)
        asked = None if isinstance(found, str) else found[0]
        if len(tail) > _LONGEST_TAIL:
            return asked
        if asked is None or asked.unknown is None:
            _remember(self._lists, tail, asked)
        else:
            _remember(self._unknown, tail, (asked.account, asked.list_id))
        return asked

    def sample(self, state: str) -> None:
        """Log one check of so many."""
        self._until_logged -= 1
        if self._until_logged <= 0:
            self._until_logged = self.log_every
            log.info("one check of %d: %s", self.log_every, state)

    def _forget_names(self) -> None:
        self._lists.clear()
        self._unknown.clear()
        self.usual = {}  # another one, so that no connection goes by it any more

    def answer(self, state: str, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The whole answer, where the connection stays, kept for a moment; `headers` are uvicorn's, with the date."""
        if not self.answers:
            asyncio.get_running_loop().call_later(_ANSWER_SECONDS, self.answers.clear)
        found = self.answers[state] = _answer(state, keep=True, headers=headers)
        return found


class _FastPathProtocol(GuardedProtocol):
    path: FastPath

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting = b""  # bytes that nobody has looked at, or that make no whole head yet
        self._asking = False
        self._keep = True
        self._handed_over = False
        self._is_one_too_many = False
        self._is_used = False  # since its idle timer was set
        self._idle_timer: Any = None
        self._usual: object = None
        self._usual_end = b""
        self._usual_list: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._is_one_too_many = len(self.connections) > self.guard.connections

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._waiting = b""
        self._asking = False
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._asking or self._waiting or self._in_head or self._handed_over or self.flow.write_paused:
            self._received_meanwhile(data)
        elif not self._asks_as_usual(data):
            self._read(data)

    def _received_meanwhile(self, data: bytes) -> None:
        """Take `data` where something is under way or not whole yet."""
        if self._handed_over:
            if self._in_message:
                super().data_received(data)
                return
            if self._is_idle():
                self._handed_over = False
                self._unset_keepalive_if_required()
        if self._asking or self._handed_over or self.flow.write_paused:
            self._waiting += data
            self._read_as_fits()
            return
        data, self._waiting = self._waiting + data, b""
        self._read(data)

    def _asks_as_usual(self, data: bytes) -> bool:
        """Ask, where nothing in `data` but a plain value is new: one look instead of a whole parse.

        A client's requests differ in nothing else. What stands from `&listId=` on is the same as in its last one, or as
        in one that somebody else sent.
        """
        head, _, end = data.partition(_LIST_ID)
        if end != self._usual_end or self._usual is not self.path.usual:
            asked = self.path.usual.get(end)
            if asked is None:
                return False
            self._usual, self._usual_end, self._usual_list = self.path.usual, end, asked
        value = head.removeprefix(_TO_VALUE)
        if value is head or not value or value.translate(_SPOILS) is not value:  # `_is_plain`, without a call
            return False
        part = self._usual_list.part
        if part is None:
            self._ask(self._usual_list, value, True)
        else:  # not the first one of this turn that asks of this list
            self._asking = self._keep = True
            part.questions.append(value)
            part.checks.append(self)
        return True

    def _read(self, data: bytes) -> None:
        """Take the requests in `data`, until one must be waited for."""
        while data and not self.transport.is_closing():
            end = data.find(b"\r\n\r\n")
            if end < 0 and self._may_become_ours(data):
                self._wait_for_the_rest(data)
                return
            # The target is whatever stands between the method and the version: SDKs put raw blanks into it.
            start = len(_USUAL) if data.startswith(_USUAL) else _start_of_query(data)
            stop = data.rfind(_VERSION, 0, data.find(b"\r\n"))
            if end < 0 or start < 0 or stop < start or self._is_one_too_many:
                self._hand_over(data, end + 4)
                return
            query, head = data[start:stop], data[stop + 1 : end + 4]
            verdict = self.path.heads.judge(head)
            asks = self.path.read(query) if verdict is not Verdict.HAND_OVER else None
            if asks is None:
                self._hand_over(data)
                return
            if self._in_head:
                self._stop_waiting()
                self._in_head = self._in_message = False
                self._head_bytes = 0
            keep = verdict is Verdict.KEEP and not self._is_draining
            if isinstance(asks, str):
                self._asking, self._keep = True, keep
                self.told(asks)
            else:
                if keep and end + 4 == len(data) and asks[0].unknown is None:
                    self.path.learn(data, asks[0])
                self._ask(*asks, keep)
            data = data[end + 4 :]
            if self._asking or self.flow.write_paused:  # the check is under way, or answers aren't read
                self._waiting = data
                return

    def _ask(self, asked: AskedList, question: Question, keep: bool) -> None:
        self._asking, self._keep = True, keep
        try:
            self.path.ask(asked, question, self)
        except Exception:
            log.exception("a check failed and was answered false")
            self.told(State.ERROR)

    def told(self, state: str) -> None:
        """The answer to the check under way."""
        if not self._asking:
            return
        self._asking = False
        path = self.path
        path.counts[state] += 1
        if path.log_every:
            path.sample(state)
        if not self._keep:
            self.transport.write(_answer(state, keep=False, headers=self.server_state.default_headers))
            self.transport.close()
            return
        self.transport.write(path.answers.get(state) or path.answer(state, self.server_state.default_headers))
        self._is_used = True
        if self._waiting:
            self.loop.call_soon(self._go_on)
        elif self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive / 2, self._close_if_idle)

    def _go_on(self) -> None:
        """Take what came while the check was under way."""
        if self._asking or self.flow.write_paused or self.transport.is_closing():
            return
        if self._handed_over:
            if not self._is_idle():
                return
            self._handed_over = False
            self._unset_keepalive_if_required()
        data, self._waiting = self._waiting, b""
        self._read(data)
        self._read_as_fits()

    def _read_as_fits(self) -> None:
        """Take no more from a client while so much of it waits."""
        if len(self._waiting) > _LARGEST_HEAD:
            self.flow.pause_reading()
        elif not self.transport.is_closing():
            self.flow.resume_reading()

    def _may_become_ours(self, data: bytes) -> bool:
        """Whether `data`, no whole head yet, may be the beginning of a request for the fast path."""
        return (
            not self._is_one_too_many
            and len(data) <= _LARGEST_HEAD
            and any(data[: len(start)] == start[: len(data)] for start in _STARTS)
        )

    def _wait_for_the_rest(self, data: bytes) -> None:
        self._waiting = data
        self._in_head = self._in_message = True
        if self._timer is None:
            self._wait(self.guard.head_seconds)

    def _hand_over(self, data: bytes, end: int = 0) -> None:
        """Let uvicorn's class take it from here, until it is done with it.

        Where the request ends with its head, at `end`, what follows waits for its turn: it may be for us again.
        """
        self._stop_waiting()
        self._in_head = self._in_message = False
        self._handed_over = True
        stop = data.rfind(_VERSION, 0, data.find(b"\r\n"))
        if 0 < end < len(data) and self.path.heads.judge(data[stop + 1 : end]) is Verdict.KEEP:
            data, self._waiting = data[:end], data[end:]
        super().data_received(_acceptable(data))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._waiting:
            self._read_as_fits()
            self.loop.call_soon(self._go_on)

    def _is_idle(self) -> bool:
        """Whether uvicorn's class is between two requests."""
        return not self._in_message and not self.pipeline and (self.cycle is None or self.cycle.response_complete)

    def _close_if_idle(self) -> None:
        self._idle_timer = None
        if self.transport.is_closing():
            return
        if not self._is_used and not self._asking and not self._handed_over:
            self.transport.close()
            return
        self._is_used = False
        self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def shutdown(self) -> None:
        """Answer the check under way, then close."""
        if self._asking:
            self._keep = False
            self._waiting = b""
        else:
            self._handed_over = True  # what comes now is looked at more closely
            super().shutdown()

    def _close_if_unused(self) -> None:
        if not self._asking:
            super()._close_if_unused()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._waiting:
            self.loop.call_soon(self._go_on)


def _remember(known: dict[bytes, T], tail: bytes, meaning: T) -> None:
    if len(known) >= _MOST_TAILS:
        known.clear()
    known[tail] = meaning


def _is_plain(value: bytes) -> bool:
    """Whether it has one reading, which is itself."""
    return bool(value) and value.translate(_SPOILS) is value


def _start_of_query(data: bytes) -> int:
    """Where the query of an unusual request for this path begins; -1 where it is none."""
    found = _UNUSUAL.match(data)
    return found.end() if found else -1


def _acceptable(data: bytes) -> bytes:
    """`data`, with what a strict parser refuses in a target percent-encoded: the SDKs send raw bytes."""
    end = data.find(b"\r\n")
    line = data[:end]
    two_blanks = line.count(b" ") == 2  # noqa: PLR2004 - those around the target
    if end < 0 or (two_blanks and line.isascii() and b"#" not in line and b"\t" not in line):
        return data
    matched = _ANY_TARGET.fullmatch(line)
    if matched is None:
        return data
    target = _STRICTLY_REFUSED.sub(lambda byte: b"%%%02X" % byte[0][0], matched[2])
    return matched[1] + target + matched[3] + data[end:]


def _answer(state: str, *, keep: bool, headers: list[tuple[bytes, bytes]]) -> bytes:
    """In the bytes that uvicorn and Starlette would send."""
    body = body_of(state)
    own = [
        (b"x-membership", state.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"content-type", CONTENT_TYPE.encode()),
        (b"cache-control", b"no-store"),
    ]
    if not keep:
        own.append((b"connection", b"close"))
    lines = b"".join(b"%b: %b\r\n" % header for header in [*headers, *own])
    return b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n" + body
