"""Take the events that SDKs send, and answer exactly 200, since SDKs retry everything else.

The header `X-Events` tells what became of them: `stored` (they are in Redis), `buffered` (in memory, Redis does not
take them now), `dropped`, `counted` (nothing is forwarded here) or `unreadable`; the worst of it, where there is more
than one place for them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from attribute_lists.names import is_account
from event_stream.stream import Event
from event_stream.writer import Fate
from fme_client.evaluation.events import VARIATION_SHOWN
from foundation.errors import BadRequestError, CohortGatewayError
from gateway.accounts import is_sdk_key
from gateway.event_bodies import SdkEvent, read_batch, read_event, sdk_key_in, user_in
from gateway.event_forwarding import place_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from foundation.request_bodies import BodyReader
    from gateway.event_queue import EventQueue
    from gateway.exposures import Exposures
    from gateway.flag_settings import ServedSettings
    from gateway.metrics import Metrics
    from gateway.visitors import Visitors

LARGEST_EVENT = 64 * 1024  # bytes; VWO's own have one or two thousand

COUNTED, DROPPED, UNREADABLE = "counted", "dropped", "unreadable"
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

_A_TURN = 200  # events that are read in one turn of the event loop
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


class Events:
    """Reads events and puts them into `queue`, exposures also into `exposures`; without these they are just counted.

    `visitors` learns of the users whose ids come beside events.
    """

    def __init__(
        self,
        metrics: Metrics,
        served: ServedSettings,
        visitors: Visitors,
        queue: EventQueue | None,
        exposures: Exposures | None = None,
        *,
        bodies: BodyReader,
        default_account: str | None,
    ) -> None:
        self._events = metrics.events
        self._requests = metrics.event_requests
        self._count = metrics.event_fates
        self._served = served
        self._visitors = visitors
        self._queue = queue
        self._exposures = exposures
        self._bodies = bodies
        self._default_account = default_account

    async def take(self, account: str, sdk_key: str, user: str, bodies: Sequence[bytes]) -> None:
        """Events of our own making about one user, each as `/events/t` takes it. It never raises for a sick store."""
        events = [read_event(body, {}) for body in bodies]
        for name, _ in events:
            self._note(name)
        await self._put(events, account, sdk_key, [user])

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
        except ValueError:
            self._requests.labels("bad_json").inc()
            return UNREADABLE
        self._requests.labels("counted").inc()
        self._note(event.name)
        return await self._put([event], *self._whose(request), user_in(request.headers.get("X-User-Id")))

    async def take_batch(self, request: Request, body: bytes) -> str:
        """What became of the events; `dropped` where any was."""
        try:
            parts, users = read_batch(body)
        except ValueError:
            self._requests.labels("bad_json").inc()
            return UNREADABLE
        self._requests.labels("counted").inc()
        events = []
        for number, part in enumerate(parts, start=1):
            try:
                event = read_event(part, {})
            except ValueError:
                self._count("dropped", 1, UNREADABLE)
            else:
                self._note(event.name)
                events.append(event)
            if number % _A_TURN == 0:
                await asyncio.sleep(0)
        fate = await self._put(events, *self._whose(request), users)
        return fate if len(events) == len(parts) else DROPPED

    async def _put(self, events: Sequence[SdkEvent], account: str, sdk_key: str, users: Sequence[str]) -> str:
        """`users`: ids that came with them, of the users they are about."""
        for user in users:
            self._visitors.learn(self._owner(account, sdk_key), user)
        if self._queue is None and self._exposures is None:
            return COUNTED
        kept = [event for event in events if len(event.body) <= LARGEST_EVENT]
        if len(kept) < len(events):
            self._count("dropped", len(events) - len(kept), "too_large")
        found = [(event.name, self._addressed(event.body, account, sdk_key)) for event in kept]
        writes: list[Awaitable[str]] = []
        if self._queue is not None:
            writes.append(self._queue.put([event for _, event in found]))
        shown = [event for name, event in found if name == VARIATION_SHOWN] if self._exposures is not None else []
        if self._exposures is not None and shown:
            writes.append(self._exposures.put(shown, users))
        fates = [COUNTED, *await asyncio.gather(*writes)]
        return min(fates, key=_FROM_WORST.index) if len(kept) == len(events) else DROPPED

    def _addressed(self, body: bytes, account: str, sdk_key: str) -> Event:
        """Where an event goes. One that tells it by nothing goes nowhere: it will be a dead letter."""
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
