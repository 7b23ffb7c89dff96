"""Hold conversations with one port of the installation, many at a time, and judge what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.fuzz.ports.answers import SILENCE, NoAnswerError, Outcome, failure, read_answers
from tests.fuzz.ports.conversations import Conversation, conversation
from tests.fuzz.run import FuzzError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fuzz.ports.installation import Installation
    from tests.fuzz.ports.routes import Port

_AT_ONCE = 24
_BATCH = 500  # conversations between two looks at the processes
_PATIENCE_SECONDS = 15.0
_IMPATIENCE_SECONDS = 4.5  # once it is known that some conversations end in silence
_UNFINISHED_SECONDS = 0.3  # then the rest of what is not whole is said never to come
_TROUBLE = "trouble in the log"
_LOG_SECONDS = 0.01  # until a line of the log has come
_MOST_SHOWN = 3  # of one kind
_LONGEST_SHOWN = 8000  # bytes
_MOST_TRIED_AGAIN = 10  # a silence is one when it is so twice: once, the machine may have been busy


@dataclass
class Tally:
    """`statuses` counts answers. `failures`: what was wrong, how often; `changes`: of the requests where it was so.

    `examples`: the shortest of each, as told.
    """

    requests: int = 0
    conversations: int = 0
    slowest: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    changes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    examples: dict[str, list[str]] = field(default_factory=dict)

    def fail(self, what: str, told: str, names: tuple[str, ...] = ()) -> None:
        self.failures[what] += 1
        self.changes[what].update(set(names))
        examples = [*self.examples.get(what, []), told]
        self.examples[what] = sorted(examples, key=len)[:_MOST_SHOWN]

    def told(self) -> str:
        """The examples, and how often what was wrong."""
        counts = []
        for what, count in self.failures.most_common():
            changes = "; ".join(f"{name} {times}" for name, times in self.changes[what].most_common())
            counts.append(f"  {count} times {what} ({changes})")
        return "\n".join((*itertools.chain(*self.examples.values()), *counts))

    def line(self) -> str:
        answers = " ".join(f"{status}:{count}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.requests} requests over {self.conversations} connections, slowest {self.slowest:.2f} s, "
            f"answers {answers}, failures {sum(self.failures.values())}"
        )


class PortFuzz:
    """Of one port, from conversation `start` on, until so many `requests` were sent."""

    def __init__(self, port: Port, installed: Installation, *, seed: int, start: int, requests: int) -> None:
        address = urlsplit(installed.addresses[port.name])
        self.tally = Tally()
        self._port = port
        self._installed = installed
        self._place = (str(address.hostname), address.port or 0)
        self._seed = seed
        self._numbers = itertools.count(start)
        self._wanted = requests
        self._begun = 0

    async def run(self, say: Callable[[str], None]) -> Tally:
        while self.tally.requests < self._wanted:
            batch = list(itertools.islice(self._numbers, _BATCH))
            numbers = iter(batch)
            await asyncio.gather(*(self._work(numbers) for _ in range(_AT_ONCE)))
            if trouble := self._installed.trouble():
                again = "" if self.tally.failures[_TROUBLE] else await self._culprit(batch)
                self.tally.fail(
                    _TROUBLE, f"FAILED {self._port.name}, seed {self._seed}, {batch[0]} on: {trouble}\n{again}"
                )
                if not self._installed.program_of(self._port.name).process.is_alive():
                    break
            say(f"{self._port.name}: {self.tally.line()}")
        for number in self._installed.smuggled(self._port.name):
            self.tally.fail("a planted request was obeyed", f"conversation {number}")
        return self.tally

    async def _work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            if self._begun >= self._wanted:
                return
            sent = conversation(self._port, self._seed, number)
            self._begun += sent.requests
            outcome, wrong = await self._tried(sent)
            self._note(sent, outcome)
            if wrong:
                self.tally.fail(wrong, self._told(sent, outcome, wrong), sent.names)

    async def _tried(self, sent: Conversation) -> tuple[Outcome, str]:
        outcome = await self._converse(sent)
        wrong = failure(sent, outcome, self._port.marker)
        if wrong == SILENCE and self._is_patient:
            outcome = await self._converse(sent)
            wrong = failure(sent, outcome, self._port.marker)
        return outcome, wrong

    @property
    def _is_patient(self) -> bool:
        return self.tally.failures[SILENCE] < _MOST_TRIED_AGAIN

    async def _culprit(self, numbers: list[int]) -> str:
        """Whose conversation alone makes the same trouble."""
        for number in numbers:
            sent = conversation(self._port, self._seed, number)
            outcome = await self._converse(sent)
            await asyncio.sleep(_LOG_SECONDS)
            if self._installed.trouble():
                return self._told(sent, outcome, "this alone does it")
        return "no conversation of these does it alone"

    def _note(self, sent: Conversation, outcome: Outcome) -> None:
        self.tally.requests += sent.requests
        self.tally.conversations += 1
        self.tally.slowest = max(self.tally.slowest, outcome.seconds)
        with contextlib.suppress(NoAnswerError):
            statuses = [str(answer.status) for answer in read_answers(outcome.received, sent.methods)]
            self.tally.statuses.update(statuses or ["closed" if sent.is_whole else "unfinished"])

    async def _converse(self, sent: Conversation) -> Outcome:
        begun = time.monotonic()
        try:
            _, peer = await asyncio.get_running_loop().create_connection(_Peer, *self._place)
        except OSError as error:
            raise FuzzError(f"{self._port.name} can't be reached any more: {error}") from None
        for number, piece in enumerate(sent.pieces):
            if number:
                await asyncio.sleep(0.001)
            await peer.send(piece)
        patience = _PATIENCE_SECONDS if self._is_patient else _IMPATIENCE_SECONDS
        if not sent.is_whole and not await peer.is_over(_UNFINISHED_SECONDS):
            peer.transport.write_eof()
        await peer.is_over(patience)
        peer.transport.abort()
        now = time.monotonic()
        return Outcome(bytes(peer.received), now - begun, now - peer.last)

    def _told(self, sent: Conversation, outcome: Outcome, wrong: str) -> str:
        return (
            f"FAILED {self._port.name}, seed {self._seed}, conversation {sent.number}: {wrong}\n"
            f"  changes: {', '.join(sent.names)}\n"
            f"  again: --port {self._port.name} --seed {self._seed} --start {sent.number} --requests 1\n"
            f"  sent: [{', '.join(map(_shown, sent.pieces))}]\n"
            f"  came, in {outcome.seconds:.2f} s: {_shown(outcome.received)}"
        )


class _Peer(asyncio.Protocol):
    """The client's end. What came before the server broke the connection counts, which asyncio's streams forget."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.last = time.monotonic()  # that a byte went or came
        self._over = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    async def send(self, piece: bytes) -> None:
        await self._writable.wait()
        if not self._over.is_set():
            self.transport.write(piece)
            self.last = time.monotonic()

    async def is_over(self, seconds: float) -> bool:
        """Whether the server closes within that time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)
        return self._over.is_set()

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.last = time.monotonic()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._over.set()
        self._writable.set()


def _shown(raw: bytes) -> str:
    """As a literal, the middle of a long one left out."""
    if len(raw) <= _LONGEST_SHOWN:
        return repr(raw)
    return f"{raw[: _LONGEST_SHOWN // 2]!r} + {len(raw) - _LONGEST_SHOWN} bytes + {raw[-_LONGEST_SHOWN // 2 :]!r}"
