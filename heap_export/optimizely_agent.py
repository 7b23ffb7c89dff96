"""Decisions that Optimizely Agent takes, followed by its stream of notifications.

Of the Agent's habits (its documentation, and its source for what that leaves out):

- It tells only what happens while somebody listens: nothing is told again, and there are no ids and no times.
- The head of its answer comes with the first notification. So a connection without an answer is a good one.
- `server.writeTimeout`, 10 seconds unless set, ends each answer: the first notification after that is lost. So a
  connection is replaced before it is that old, and for a moment both listen. What both tell is stored once.
- Whoever asks it for a decision waits until all listeners have read it. So reading never waits, not for the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import httpx

from foundation import http_client
from foundation.background import keep_running
from foundation.errors import ConfigurationError, NoAnswerError
from foundation.http_client import HttpClient
from foundation.pauses import Pauses
from foundation.tasks import end
from heap_export.backlog import Backlog
from heap_export.optimizely_decisions import decision_of, exposure_of
from heap_export.records import RefusedError
from heap_export.server_sent_events import EventReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from foundation.http_client import Incoming
    from heap_export.intake import Intake
    from heap_export.metrics import Metrics
    from heap_export.settings import HeapExportSettings

log = logging.getLogger(__name__)

STREAM = "/v1/notifications/event-stream"
MOST_WAITING = 50_000  # decisions that wait for a store that is away; further ones are dropped

_RENEWED_AFTER, _OVERLAP = 8.0, 1.0  # seconds; together below the Agent's 10
_CONNECT_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
_SURELY_UP_SECONDS = 1.0  # a refusal would have come by then
_AWAY_SECONDS = 10.0
_LARGEST_EVENT, _MOST_LINES = 256 * 1024, 4096  # a decision with its variables has some kB, on one line
_AT_A_TIME = 50  # notifications of a chunk, then others have their turn
_KEY = re.compile(r"[\x21-\x7e]+")


class AgentFollower:
    """Follows the Agent of OPTIMIZELY_AGENT_URL for each of OPTIMIZELY_SDK_KEYS. Raises `ConfigurationError`."""

    def __init__(self, settings: HeapExportSettings, intake: Intake, metrics: Metrics) -> None:
        self._url = f"{settings.optimizely_agent_url}{STREAM}" if settings.optimizely_agent_url else ""
        self._keys = [key.strip() for key in (settings.optimizely_sdk_keys or "").split(",") if key.strip()]
        if bool(self._url) != bool(self._keys):
            raise ConfigurationError("OPTIMIZELY_AGENT_URL and OPTIMIZELY_SDK_KEYS: set both or neither")
        if not all(_KEY.fullmatch(key) for key in self._keys):
            raise ConfigurationError("OPTIMIZELY_SDK_KEYS: an SDK key is made of letters, digits and the like")
        self._metrics = metrics
        self._backlog = Backlog(intake, most=MOST_WAITING, dropped=metrics.agent_dropped, whose="what Optimizely tells")
        self._connections: Counter[int] = Counter()  # by the key's number: how many are open
        self._changed: dict[int, float] = {}  # when that changed
        self._complained: set[object] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow while the block runs; not at all where no Agent is set."""
        if not self._url:
            yield
            return
        client = HttpClient(
            silence=httpx.Timeout(_CONNECT_SECONDS, read=None),
            whole=None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )
        tasks: list[asyncio.Task[NoReturn]] = []
        async with self._backlog.running(), client:
            for number, key in enumerate(self._keys, start=1):
                self._changed[number] = time.monotonic()
                tasks.append(keep_running(f"Optimizely Agent {number}", partial(self._follow, client, number, key)))
            try:
                yield
            finally:
                await end(*tasks)

    @property
    def trouble(self) -> list[str]:
        """What is wrong, in the words of `/readyz`."""
        now = time.monotonic()
        away = any(
            not self._connections[number] and now - changed > _AWAY_SECONDS for number, changed in self._changed.items()
        )
        return ["agent_away"] * away + ["agent_behind"] * self._backlog.is_behind

    async def _follow(self, client: HttpClient, number: int, key: str) -> None:
        """One connection after the other, each begun before the last one ends."""
        pauses = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        listening: set[asyncio.Task[str]] = set()
        try:
            while True:
                newest = asyncio.create_task(self._listen(client, number, key))
                listening.add(newest)
                newest.add_done_callback(listening.discard)
                done, _ = await asyncio.wait((newest,), timeout=_RENEWED_AFTER)
                trouble = newest.result() if done else ""
                if trouble:
                    self._complain(number, trouble)
                    await asyncio.sleep(pauses.next())
                else:
                    self._recovered(number)
                    pauses = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        finally:
            await end(*listening)

    async def _listen(self, client: HttpClient, number: int, key: str) -> str:
        """One connection from its beginning to its end; what was wrong with it."""
        connection = _Connection(partial(self._count_connections, number))
        try:
            async with (
                asyncio.timeout(_RENEWED_AFTER + _OVERLAP),
                client.stream(
                    "GET",
                    self._url,
                    params={"filter": "decision"},
                    headers={"X-Optimizely-SDK-Key": key, "Accept": "text/event-stream"},
                    extensions={"trace": connection.trace},
                ) as answer,
            ):
                trouble = _trouble_with(answer)
                if not trouble:
                    await self._read(answer, connection)
                    trouble = "it hangs up"
        except TimeoutError:
            trouble = ""
        except NoAnswerError as error:
            trouble = str(error)
            if error.reason in http_client.UNUSABLE:  # it would be the same without a pause
                self._metrics.agent_received.labels("malformed").inc()
                return trouble
        finally:
            connection.end()
        return "" if connection.was_good else trouble

    async def _read(self, answer: Incoming, connection: _Connection) -> None:
        """Take what it tells, up to its end. Raises `NoAnswerError`."""
        reader = EventReader(_LARGEST_EVENT, _MOST_LINES)
        async for chunk in answer.chunks(None):
            for number, data in enumerate(reader.feed(chunk), start=1):
                connection.is_good()
                self._take(data)
                if not number % _AT_A_TIME:
                    await asyncio.sleep(0)

    def _take(self, data: bytes) -> None:
        try:
            decision = decision_of(json.loads(data), received=time.time())
            exposure = decision and exposure_of(decision)
        except (ValueError, RecursionError, RefusedError) as error:
            self._metrics.agent_received.labels("malformed").inc()
            reason = error.reason if isinstance(error, RefusedError) else "no JSON"
            self._complain("malformed", f"it tells what can't be exported ({reason})")
            return
        self._metrics.agent_received.labels("decision" if exposure else "other").inc()
        if exposure is not None:
            self._backlog.put(exposure)

    def _count_connections(self, number: int, change: int) -> None:
        self._connections[number] += change
        self._changed[number] = time.monotonic()
        self._metrics.agent_connected.set(sum(1 for count in self._connections.values() if count))

    def _complain(self, about: object, what: str) -> None:
        """Once, until that is well again."""
        if about not in self._complained:
            self._complained.add(about)
            whom = f" (number {about} of OPTIMIZELY_SDK_KEYS)" if isinstance(about, int) else ""
            log.warning("Optimizely Agent%s: %s", whom, what)

    def _recovered(self, number: int) -> None:
        if number in self._complained:
            self._complained.discard(number)
            log.info("Optimizely Agent (number %d of OPTIMIZELY_SDK_KEYS) is followed again", number)


class _Connection:
    """Whether a connection was good: it told something, or was not refused for a while. `count` is told, +1 and -1."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self._timer: asyncio.TimerHandle | None = None
        self.was_good = False

    async def trace(self, step: str, _: object) -> None:
        """What httpx tells of it."""
        if step == "http11.receive_response_headers.started":
            self._timer = asyncio.get_running_loop().call_later(_SURELY_UP_SECONDS, self.is_good)

    def is_good(self) -> None:
        if not self.was_good:
            self.was_good = True
            self._count(1)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.was_good:
            self._count(-1)


def _trouble_with(answer: Incoming) -> str:
    if answer.status != httpx.codes.OK:
        return f"http_{answer.status}; it wants api.enableNotifications, and must know the SDK key"
    if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
        return "what answers is no stream of events; is OPTIMIZELY_AGENT_URL right?"
    return ""
