"""Regular expressions that may take long, matched in processes of their own, so that nobody else waits.

`re` holds Python's lock while it searches, and the event loop with it; a process can be stopped, whatever it does, and
decides as `re` does. PyPI `regex` knows a time limit and lets other threads go on, but of 20,000 random patterns two
came out otherwise than in Node, or never, where `re` had all of them right; `re2` knows no look-arounds and references.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from prometheus_client import Counter

from event_stream.spells import Spell
from gateway.regex_process import HEAD, MATCHES, STOPPED, TEXT_ENCODING

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from fme_client.evaluation.regex import Regex
    from gateway.metrics import Metrics

SECONDS = 0.05  # that the regular expressions of one request may take, waiting for a process included

_PROCESSES = 2
_PROGRAM = Path(__file__).with_name("regex_process.py")
_FIRST_SECONDS = 1.0  # that a request waits besides, where a process must be started or a pattern is new to it
_COMPILE_SECONDS = 10.0  # in which a new pattern must be compiled; that depends on the settings alone
_GRACE_SECONDS = 0.1  # after its time, until a process that does not stop by itself is ended
_LEAST_SECONDS = 0.001  # of a search: with none at all it would not be stopped
_PAUSE_SECONDS = 1.0  # before a process is replaced that failed by itself, or could not be started


@dataclass(slots=True)
class Allowance:
    """Seconds that are left for the regular expressions of one request.

    `first` is for starting a process, and for compiling a pattern that is new to it.
    """

    seconds: float = SECONDS
    first: float = _FIRST_SECONDS


class _Outcome(NamedTuple):
    """`matches`: None where it could not be found out. `seconds` that the search took."""

    matches: bool | None
    seconds: float


class _Search:
    """Something to find out within so many seconds; `outcome` comes then at the latest, but for what is `first`."""

    def __init__(self, regex: Regex, text: str, seconds: float) -> None:
        self.seconds = max(seconds, _LEAST_SECONDS)
        self.outcome: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        self._regex = regex
        self._text = text

    def request(self) -> bytes:
        """As `regex_process` wants it."""
        pattern, text = self._regex.translated.encode(), self._text.encode(TEXT_ENCODING, "surrogatepass")
        return HEAD.pack(self.seconds, self._regex.flags, len(pattern), len(text)) + pattern + text

    def end(self, matches: bool | None, seconds: float) -> None:
        """Set the outcome, unless there is one."""
        if not self.outcome.done():
            self.outcome.set_result(_Outcome(matches, seconds))

    def give_up(self) -> None:
        self.end(None, self.seconds)


class RegexMatcher:
    """A few processes, started when they are needed.

    A pattern has one of them at the most: values that make it slow do not keep other patterns waiting.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._idle: asyncio.LifoQueue[Process | None] = asyncio.LifoQueue()  # None: one that was not started yet
        for _ in range(_PROCESSES):
            self._idle.put_nowait(None)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by pattern
        self._processes: set[Process] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._given_up = Spell(f"regular expressions take more than {1000 * SECONDS:.0f} ms and match nothing")
        self._trouble = Spell("processes for regular expressions fail and are replaced")
        self._counter = Counter(
            "cohort_gateway_regexes_given_up",
            "Regular expressions that count as not matching because their time was over, by reason: too_slow, busy (no "
            "process was free in time), spent (others of the same request had taken it)",
            ["reason"],
            registry=metrics.registry,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All processes end with the block."""
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            for process in list(self._processes):
                await self._end(process)
            self._given_up.close()
            self._trouble.close()

    def tell(self, flag: str) -> None:
        """Have the log say that a regular expression of `flag` was given up; of many, the first and their number."""
        self._given_up.add(1, f"flag {flag!r}")

    async def match(self, regex: Regex, text: str, allowance: Allowance) -> bool | None:
        """Whether `regex` matches; None where the allowance is too small to find out. It never raises."""
        if allowance.seconds <= 0:
            return self._give_up("spent")
        turn = self._turns.setdefault(regex.translated, asyncio.Lock())
        began = time.monotonic()
        try:
            async with asyncio.timeout(allowance.seconds):
                process = await self._free_process(turn)
        except TimeoutError:
            allowance.seconds = 0
            return self._give_up("busy")
        started = time.monotonic()
        allowance.seconds -= started - began
        search = _Search(regex, text, allowance.seconds)
        self._tasks.add(task := asyncio.create_task(self._use(process, turn, search)))
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({search.outcome}, timeout=allowance.first + search.seconds)
        search.give_up()
        found = search.outcome.result()
        allowance.seconds -= found.seconds
        allowance.first -= min(allowance.first, time.monotonic() - started - found.seconds)
        return self._give_up("too_slow") if found.matches is None else found.matches

    def _give_up(self, reason: str) -> bool | None:
        self._counter.labels(reason).inc()
        return None

    async def _free_process(self, turn: asyncio.Lock) -> Process | None:
        """One of the processes, for whoever has the pattern's turn now; `_use` gives both back."""
        await turn.acquire()
        try:
            return await self._idle.get()
        except asyncio.CancelledError:
            turn.release()
            raise

    async def _use(self, process: Process | None, turn: asyncio.Lock, search: _Search) -> None:
        """Have `process` search; where it can't go on after that, see to its end and to another one."""
        try:
            if process is None or process.returncode is not None:
                process = await self._start()
            await _ask(process, search)
            failure = None
        except Exception as error:  # noqa: BLE001 - whatever it is, another process takes its place
            failure = error
        finally:
            search.give_up()
            turn.release()
        if failure is not None:
            process = await self._replace(process, failure)
        self._idle.put_nowait(process)

    async def _replace(self, process: Process | None, failure: Exception) -> Process:
        if process is not None:
            await self._end(process)
        while True:
            if not isinstance(failure, TimeoutError):
                self._trouble.add(1, type(failure).__name__)
                await asyncio.sleep(_PAUSE_SECONDS)
            try:
                return await self._start()
            except OSError as error:
                failure = error

    async def _start(self) -> Process:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_PROGRAM)),
            stdin=pipe,
            stdout=pipe,
            start_new_session=True,  # Ctrl-C is for us; it ends when we do, since its standard input ends then
        )
        self._processes.add(process)
        return process

    async def _end(self, process: Process) -> None:
        self._processes.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _ask(process: Process, search: _Search) -> None:
    """Have it searched for. Raises `TimeoutError` and others when the process can't be used any more."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(search.request())
    async with asyncio.timeout(_COMPILE_SECONDS):
        await process.stdout.readexactly(1)
    began = time.monotonic()
    try:
        async with asyncio.timeout(search.seconds):
            answer = await process.stdout.readexactly(1)
    except TimeoutError:
        search.give_up()
        async with asyncio.timeout(_GRACE_SECONDS):
            answer = await process.stdout.readexactly(1)
    if answer != STOPPED:
        search.end(answer == MATCHES, time.monotonic() - began)
