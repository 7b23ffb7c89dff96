"""Take the events that SDKs send, and answer exactly 200, since SDKs retry everything else.

The header `X-Events` tells what became of them: `stored` (they are in Redis), `buffered` (in memory, Redis does not
take them now), `dropped`, `counted` (nothing is forwarded here) or `unreadable`; the worst of it, where there is more
than one place for them.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from attribute_lists.names import is_account
from event_stream.spells import Spell
from event_stream.stream import Event
from event_stream.writer import MOST_AT_ONCE, MOST_BYTES_AT_ONCE, Fate
from fme_client.evaluation.events import VARIATION_SHOWN
from foundation.errors import BadRequestError, CohortGatewayError, TooLargeError
from gateway.accounts import is_sdk_key
from gateway.event_bodies import SdkEvent, read_batch, read_event, sdk_key_in, user_in
from gateway.event_forwarding import account_of, place_of
from gateway.exposures import Beside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence

    from foundation.request_bodies import BodyReader
    from foundation.turns import Turns
    from gateway.event_queue import EventQueue
    from gateway.exposures import Exposures
    from gateway.flag_settings import ServedSettings
    from gateway.known_accounts import KnownAccounts
    from gateway.metrics import Metrics
    from gateway.visitors import Visitors


COUNTED, DROPPED, UNREADABLE = "counted", "dropped", "unreadable"
_STRANGE = "unknown_account"
_FROM_WORST = (DROPPED, Fate.BUFFERED, Fate.STORED, COUNTED)

CUSTOM = "custom"
KNOWN_EVENTS = frozenset(
    (
        "vwo_variationShown",
        "vwo_syncVisitorProp",
        "vwo_log",
        "vwo_fmeSdkInit",
        "vwo_sdkUsageStats",
        "vwo_sdkDebug",
    )
)

_UNKNOWN = ("", "undefined")  # what SDKs write where they have nothing

_OPENAPI: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": place, "description": described, "schema": {"type": "string"}}
        for name, place, described in (
            ("a", "query", "account; default: that of `env`, or ours"),
            ("env", "query", "SDK key; default: `Authorization`, or what an event names itself"),
            ("X-User-Id", "header", "id of the user whom an event is about, percent-encoded; in a batch: `users`"),
        )
    ],
    "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
}


@dataclass(slots=True)
class _Some:
    """Events that leave in one write, each with its name. `is_one_lost`: before they were put together."""

    events: list[tuple[str, Event]] = field(default_factory=list)
    is_one_lost: bool = False
    are_last: bool = False


class Events:
    """Reads events and puts them into `queue`, exposures also into `exposures`; without these they are just counted.

    Those of an account that is not among `accounts` go nowhere. `visitors` learns of the users whose ids come beside
    events. Whatever arrives is read in `turns`.
    """

    def __init__(
        self,
        metrics: Metrics,
        served: ServedSettings,
        accounts: KnownAccounts,
        visitors: Visitors,
        queue: EventQueue | None,
        exposures: Exposures | None,
        turns: Turns,
        *,
        bodies: BodyReader,
        default_account: str | None,
    ) -> None:
        self._events = metrics.events
        self._requests = metrics.event_requests
        self._count = metrics.event_fates
        self._served = served
        self._accounts = accounts
        self._visitors = visitors
        self._queue = queue
        self._exposures = exposures
        self._bodies = bodies
        self._turns = turns
        self._default_account = default_account
        self._strange = Spell(
            "events of accounts that nothing names (ACCOUNTS_FILE may) are dropped", level=logging.WARNING
        )

    async def take(self, account: str, sdk_key: str, user: str, bodies: Iterable[bytes]) -> None:
        """Events of our own making about one user, each as `/events/t` takes it. It never raises for a sick store."""
        await self._take(map(self._read, bodies), account, sdk_key, [user])

    async def take_request(self, request: Request, take: Callable[[Request, bytes], Awaitable[str]]) -> str:
        """What `take` says of the body, or what became of a request whose body can't be had."""
        try:
            with self._bodies.body_of(request) as body:
                return await take(request, await body.content())
        except CohortGatewayError as error:
            self._requests.labels(error.reason).inc()
            return UNREADABLE if isinstance(error, BadRequestError) else DROPPED

    async def take_one(self, request: Request, body: bytes) -> str:
        """What became of the event."""
        try:
            event = read_event(body, _beside(request))
        except TooLargeError:
            self._requests.labels("counted").inc()
            self._count("dropped", 1, "too_large")
            return DROPPED
        except ValueError:
            self._requests.labels("bad_json").inc()
            return UNREADABLE
        self._requests.labels("counted").inc()
        self._note(event.name)
        return await self._take([event], *self._whose(request), user_in(request.headers.get("X-User-Id")))

    async def take_batch(self, request: Request, body: bytes) -> str:
        """What became of the events; `dropped` where any was."""
        try:
            parts, users = await self._turns.drive(read_batch(body))
        except TooLargeError as error:
            self._requests.labels(error.reason).inc()
            return DROPPED
        except ValueError:
            self._requests.labels("bad_json").inc()
            return UNREADABLE
        self._requests.labels("counted").inc()
        return await self._take(map(self._read, parts), *self._whose(request), users)

    def _read(self, part: bytes) -> SdkEvent | None:
        """None: it was counted as lost."""
        try:
            event = read_event(part, {})
        except (TooLargeError, ValueError) as error:
            self._count("dropped", 1, error.reason if isinstance(error, TooLargeError) else UNREADABLE)
            return None
        self._note(event.name)
        return event

    async def _take(self, events: Iterable[SdkEvent | None], account: str, sdk_key: str, users: Sequence[str]) -> str:
        """`events`: read one after the other, None for a lost one. `users`: ids that came with them."""
        rest, beside, fates = iter(events), Beside(users), {COUNTED}
        learnt: set[str] = set()
        while True:
            some = await self._turns.drive(self._gather(rest, account, sdk_key))
            accounts = {account_of(event.to) for _, event in some.events} or {self._owner(account, sdk_key)}
            for owner in accounts - learnt:
                await self._learn(owner, users)
            learnt |= accounts
            fates |= await self._put(some.events, beside)
            if some.is_one_lost:
                fates.add(DROPPED)
            if some.are_last:
                return min(fates, key=_FROM_WORST.index)

    async def _learn(self, account: str, users: Sequence[str]) -> None:
        """`users` are those whom events are about."""

        def steps() -> Generator[None, None, None]:
            for user in users:
                self._visitors.learn(account, user)
                yield

        if users and await self._accounts.has(account):
            await self._turns.drive(steps())

    def _gather(self, rest: Iterator[SdkEvent | None], account: str, sdk_key: str) -> Generator[None, None, _Some]:
        """The next events, with the places where they go, as many as leave in one write."""
        some, size = _Some(), 0
        for event in rest:
            if event is None:
                some.is_one_lost = True
            elif self._queue is not None or self._exposures is not None:
                some.events.append((event.name, self._addressed(event.body, account, sdk_key)))
                size += len(event.body)
            yield
            if len(some.events) >= MOST_AT_ONCE or size >= MOST_BYTES_AT_ONCE:
                return some
        some.are_last = True
        return some

    async def _put(self, events: Sequence[tuple[str, Event]], beside: Beside) -> set[str]:
        """What became of them."""
        known = {place: await self._accounts.has(account_of(place)) for place in {event.to for _, event in events}}
        wanted = [(name, event) for name, event in events if known[event.to]]
        writes: list[Awaitable[str]] = []
        if self._queue is not None:
            writes.append(self._queue.put([event for _, event in wanted]))
        shown = [event for name, event in wanted if name == VARIATION_SHOWN]
        if self._exposures is not None and shown:
            writes.append(self._exposures.put(shown, beside))
        fates = set(await asyncio.gather(*writes))
        if len(wanted) < len(events):
            self._count("dropped", len(events) - len(wanted), _STRANGE)
            self._strange.add(len(events) - len(wanted), _STRANGE)
            fates.add(DROPPED)
        return fates

    def close(self) -> None:
        """Say what was not said yet."""
        self._strange.close()

    def _addressed(self, body: bytes, account: str, sdk_key: str) -> Event:
        """Where an event goes. One that tells no SDK key goes nowhere: it will be a dead letter."""
        key = sdk_key or sdk_key_in(body)
        if not is_sdk_key(key):
            key = ""
        return Event(place_of(self._owner(account, key), key), body)

    def _owner(self, account: str, sdk_key: str) -> str:
        return account or self._served.account_of(sdk_key) or self._default_account or self._served.account or ""

    def _whose(self, request: Request) -> tuple[str, str]:
        """Account and SDK key as the request tells them; empty where it doesn't."""
        account = request.query_params.get("a", "")
        sdk_key = request.query_params.get("env") or request.headers.get("Authorization", "")
        return account if is_account(account) else "", sdk_key

    def _note(self, name: str) -> None:
        self._events.labels(name if name in KNOWN_EVENTS else CUSTOM).inc()


def events_router(events: Events) -> APIRouter:
    router = APIRouter()

    for (path, taker), summary in zip(takers(events).items(), ("One event", "A batch of events"), strict=True):
        router.add_api_route(
            path, taker, methods=["POST"], summary=summary, response_model=None, openapi_extra=_OPENAPI
        )
    return router


def takers(events: Events) -> dict[str, Callable[[Request], Awaitable[Response]]]:
    """What answers at each path."""

    async def event(request: Request) -> Response:
        return _accepted(await events.take_request(request, events.take_one))

    async def batch(request: Request) -> Response:
        return _accepted(await events.take_request(request, events.take_batch))

    return {"/events/t": event, "/server-side/batch-events-v2": batch}


def _beside(request: Request) -> dict[str, str]:
    """What a request tells of its visitor beside the body."""
    told = {
        "visitor_ua": request.query_params.get("visitor_ua") or request.headers.get("X-Device-User-Agent", ""),
        "visitor_ip": request.query_params.get("visitor_ip") or request.headers.get("VWO-X-Forwarded-For", ""),
    }
    return {name: value for name, value in told.items() if value not in _UNKNOWN}


def _accepted(fate: str) -> Response:
    return Response(b"{}", headers={"X-Events": fate}, media_type="application/json")
