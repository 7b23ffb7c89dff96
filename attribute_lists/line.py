"""One connection to one server, over which all checks of its lists go: many at once, answered in order.

The checks of one turn of the event loop leave in one write, a batch: a look at the store's identity, then for each
list a look at it (is it there, does it answer) and one command with all that is asked of it, then other questions that
an SDK waits for, such as what a name stands for. Replies come in the order of the commands, so nothing but their place
tells whose they are. The server also tells over this connection, at its place among the replies, which keys change
(RESP3 tracking): what is remembered of an answer is right until then.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import hiredis

from attribute_lists.batches import Batch, Part
from attribute_lists.replies import MOVED, trouble_of, trouble_of_answers
from attribute_lists.states import State
from foundation.connections import forget_transport, take_over
from foundation.pauses import Pauses
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.wire import NOTHING, pack, reply_reader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from redis.asyncio.connection import AbstractConnection

    from attribute_lists.batches import Check, Query
    from attribute_lists.lists import AskedList, Question

log = logging.getLogger(__name__)

MOST_IN_FLIGHT = 20_000  # checks; more of them than a store answers within any deadline
_SILENT_SECONDS = 1.0  # past its deadline, before a connection is given up
LAG_SECONDS = 0.02  # of our own, from which on the store gets another chance
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.4  # seconds between attempts to connect

_TRACKING = pack("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "cg:{")
_epochs = itertools.count(1)  # of all lines: a list may go from one to another
_IN, _NOT_IN, _DOWN = State.IN, State.NOT_IN, State.STORE_DOWN


class Judge(Protocol):
    """What a line needs to know of what it can't see."""

    def remember(self, questions: Iterable[int], answers: Iterable[int], salt: int, /) -> object: ...
    def changed(self, key: bytes) -> None: ...
    def found(self, asked: AskedList) -> None: ...
    def is_same_store(self, identity: bytes | None) -> bool: ...
    def not_known(self, asked: AskedList, question: Question, check: Check, state: State) -> None: ...
    def moved(self, asked: AskedList, question: Question, check: Check) -> None: ...
    def failed(self, line: Line) -> None: ...


class Line(asyncio.Protocol):
    """The checks of one server's lists.

    `open_connection` makes a connection by redis-py, open and on RESP3. `identity`: the command that asks for it, or
    nothing where another server has that key. `deadline`: seconds for an answer.
    """

    def __init__(
        self,
        open_connection: Callable[[], Awaitable[AbstractConnection]],
        judge: Judge,
        *,
        deadline: float,
        identity: bytes = b"",
    ) -> None:
        self.epoch = 0  # which connection it is
        self.heard_at = 0.0
        self.tracks = False
        self.has_failed = False  # to connect, at least once
        self._open_connection = open_connection
        self._judge = judge
        self._deadline = deadline
        self._identity = identity
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._connection: AbstractConnection | None = None
        self._ended = asyncio.Event()  # the connection, not the line
        self._reader = reply_reader()
        self._next: Batch | None = None
        self._sent: deque[Batch] = deque()
        self._wanted = 0  # replies that the first of them takes
        self._replies: list[Any] = []
        self._in_flight = 0
        self._overdue = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_up(self) -> bool:
        """Whether a check that is asked now may expect an answer."""
        return self._transport is not None and not self._overdue

    def ask(self, asked: AskedList, question: Question, check: Check) -> State | None:
        """Ask; `check` is told later. Or what stands against asking: the caller decides then."""
        batch = self._next
        if batch is None:  # as in `_begin_batch`, which takes a twentieth of what a batch of one check takes
            if self._overdue or self._transport is None:
                return _DOWN
            if self._in_flight >= MOST_IN_FLIGHT:
                return State.OVERLOADED
            batch = self._next = Batch()
            self._loop.call_soon(self._flush)
        part = asked.part
        if part is None:
            part = asked.part = Part(asked, [], [])
            batch.parts.append(part)
        part.questions.append(question)
        part.checks.append(check)
        return None

    def send(self, query: Query) -> State | None:
        """The same for commands of another kind."""
        batch = self._next or self._begin_batch()
        if isinstance(batch, State):
            return batch
        if batch.queries is None:
            batch.queries = []
        batch.queries.append((query, 0))
        return None

    def _begin_batch(self) -> Batch | State:
        if self._overdue or self._transport is None:
            return _DOWN
        if self._in_flight >= MOST_IN_FLIGHT:
            return State.OVERLOADED
        self._next = Batch()
        self._loop.call_soon(self._flush)
        return self._next

    async def run(self) -> None:
        """Keep a connection open until cancelled."""
        pauses, is_away = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE), False
        try:
            while True:
                try:
                    connection = await self._open_connection()
                except STORE_ERRORS as error:
                    if not is_away:
                        log.warning("the store can't be reached: %s; trying again", explain(error))
                    self.has_failed = is_away = True
                    self._judge.failed(self)
                else:
                    if is_away:
                        log.info("the store can be reached again")
                    self._take(connection)
                    await self._ended.wait()
                    self._judge.failed(self)
                    pauses, is_away = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE), True
                await asyncio.sleep(pauses.next())
        finally:
            self._drop()

    def _take(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._reader = reply_reader()
        self._replies = []
        self._ended.clear()
        self._overdue = self.tracks = False
        self.epoch = next(_epochs)
        self.heard_at = self._loop.time()
        _, self._transport = take_over(connection, self)
        greeting = Batch()
        greeting.given_up = True
        self._send(greeting, [_TRACKING])

    def _flush(self) -> None:
        batch, self._next = self._next, None
        if batch is None:
            return
        for part in batch.parts:
            part.asked.part = None
        if self._transport is None:
            self._give_up(batch)
            return
        commands = batch.commands()
        self._in_flight += batch.size
        self._send(batch, commands)

    def _send(self, batch: Batch, commands: list[bytes]) -> None:
        assert self._transport is not None  # noqa: S101 - both callers know
        batch.due = self._loop.time() + self._deadline
        batch.replies = len(commands)
        if self._identity:
            commands.insert(0, self._identity)
            batch.replies += 1
        if not self._sent:
            self._wanted = batch.replies
        self._sent.append(batch)
        if self._timer is None:
            self._timer = self._loop.call_at(batch.due, self._look_at_the_clock)
        self._transport.write(b"".join(commands))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        next_reply, replies = self._reader.gets, self._replies
        try:
            while (reply := next_reply()) is not NOTHING:
                if type(reply) is hiredis.PushNotification:
                    self._pushed(reply)
                    continue
                replies.append(reply)
                if len(replies) == self._wanted:
                    batch = self._sent.popleft()
                    self._replies = []
                    self._settle(batch, replies)
                    replies = self._replies
                    self._wanted = self._sent[0].replies if self._sent else 0
        except Exception:
            # Replies that can't be matched any more are worse than none.
            log.exception("the store's replies can't be read; connecting anew")
            self._drop()
            return
        self.heard_at = self._loop.time()
        self._overdue = False

    def _settle(self, batch: Batch, replies: list[Any]) -> None:
        """Tell everybody who asked."""
        if not batch.size:
            self._greeted(replies)
            return
        self._in_flight -= batch.size
        if batch.given_up:
            return
        if batch.queries is not None:
            replies = _tell_queries(batch.queries, replies)
        first, trouble = 0, None
        if self._identity:
            first = 1
            trouble = None if self._is_same_store(replies[0]) else State.STORE_EMPTIED
        remembers = self.tracks and not batch.in_doubt
        now = self._loop.time()
        for part, look, reply in zip(batch.parts, replies[first::2], replies[first + 1 :: 2], strict=True):
            asked = part.asked
            asked.trouble = trouble or trouble_of(look)
            if asked.trouble is None:
                asked.right_at = now
                if asked.has_changed or asked.epoch != self.epoch:
                    asked.heard_anew(self.epoch)
                    if asked.unknown is not None:
                        self._judge.found(asked)
            self._tell(part, asked.trouble or trouble_of_answers(reply), reply, remembers)

    def _is_same_store(self, identity: Any) -> bool:
        return isinstance(identity, Exception) or self._judge.is_same_store(identity)

    def _tell(self, part: Part, trouble: State | str | None, reply: Any, remembers: bool) -> None:
        """What is done for each check here is most of what a check costs."""
        asked = part.asked
        if trouble is not None:
            for question, check in zip(part.questions, part.checks, strict=True):
                try:
                    if trouble == MOVED:
                        self._judge.moved(asked, question, check)
                    else:
                        self._judge.not_known(asked, question, check, State(trouble))
                except Exception:
                    log.exception("a check's answer could not be delivered")
            return
        answers = part.answers(reply)
        if remembers:
            self._judge.remember(map(hash, part.questions), answers, asked.salt)
        for check, is_in in zip(part.checks, answers, strict=True):
            try:
                check.told(_IN if is_in else _NOT_IN)
            except Exception:
                log.exception("a check's answer could not be delivered")

    def _greeted(self, replies: list[Any]) -> None:
        if self._identity:
            self._is_same_store(replies[0])  # nobody asks yet, and what changes is judged by it
        reply = replies[-1]
        self.tracks = reply == b"OK"
        if not self.tracks:
            log.warning(
                "the store doesn't tell what changes (%s), so nothing is remembered for an outage: it must know CLIENT "
                "TRACKING, and the user must be allowed to use it",
                explain(reply) if isinstance(reply, Exception) else "an unexpected reply",
            )

    def _pushed(self, push: list[Any]) -> None:
        if push[0] != b"invalidate":
            return
        if self._replies and self._sent:
            self._sent[0].in_doubt = True
        if push[1] is None:  # the store was emptied: a fault, and no change of any list
            self._judge.is_same_store(None)
            return
        for key in push[1]:
            self._judge.changed(key)

    def _look_at_the_clock(self) -> None:
        self._timer = None
        now = self._loop.time()
        waiting = next((batch for batch in self._sent if not batch.given_up), None)
        first = self._sent[0] if self._sent else None
        if first is not None and first.given_up and now - first.due > _SILENT_SECONDS:
            log.warning("the store is silent; connecting anew")
            self._drop()
            return
        if waiting is not None and now >= waiting.due:
            if now - waiting.due > LAG_SECONDS and not waiting.spared:
                # We were late ourselves, and its answer may be here already, unread.
                waiting.spared = True
                self._timer = self._loop.call_later(0, self._look_again)
                return
            self._overdue = True
            for batch in self._sent:
                if not batch.given_up and now >= batch.due:
                    self._give_up(batch)
            waiting = next((batch for batch in self._sent if not batch.given_up), None)
        if waiting is not None:
            self._timer = self._loop.call_at(waiting.due, self._look_at_the_clock)
        elif self._sent:
            self._timer = self._loop.call_later(self._deadline, self._look_at_the_clock)

    def _look_again(self) -> None:
        self._timer = self._loop.call_later(0.001, self._look_at_the_clock)

    def _give_up(self, batch: Batch) -> None:
        batch.given_up = True
        for query, _ in batch.queries or ():
            _tell_query(query, None)
        for part in batch.parts:
            self._tell(part, _DOWN, None, remembers=False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            log.warning("the connection to the store was lost: %s", explain(exc) if exc else "the store closed it")
            self._drop()

    def _drop(self) -> None:
        """End the connection and answer those who wait. `run` makes another one."""
        transport, self._transport = self._transport, None
        connection, self._connection = self._connection, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        sent, self._sent = self._sent, deque()
        self._in_flight = 0
        for batch in sent:
            if not batch.given_up:
                self._give_up(batch)
        if transport is not None:
            transport.set_protocol(asyncio.Protocol())  # its end is no news, and by then there may be another one
            transport.abort()
        if connection is not None:
            forget_transport(connection)
        self._ended.set()


def _tell_queries(queries: list[tuple[Query, int]], replies: list[Any]) -> list[Any]:
    """The replies that are left for the parts of the batch."""
    at = len(replies) - sum(count for _, count in queries)
    others = replies[:at]
    for query, count in queries:
        _tell_query(query, replies[at : at + count])
        at += count
    return others


def _tell_query(query: Query, replies: list[Any] | None) -> None:
    try:
        query.told(replies)
    except Exception:
        log.exception("the answer to a query could not be delivered")
