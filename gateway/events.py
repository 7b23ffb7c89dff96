"""Take the events that SDKs send, and answer exactly 200, since SDKs retry everything else.

The header `X-Events` tells what became of them: `stored` (they are in Redis), `buffered` (in memory, Redis does not
take them now), `dropped`, `counted` (nothing is forwarded here) or `unreadable`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from attribute_lists.names import is_account
from event_stream.stream import Event
from foundation.settings import MEBIBYTE
from gateway.accounts import is_sdk_key
from gateway.event_bodies import SdkEvent, parts_of_batch, read_event, sdk_key_in
from gateway.event_forwarding import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.event_queue import EventQueue
    from gateway.flag_settings import ServedSettings
    from gateway.metrics import Metrics

MAX_EVENT_BYTES = 8 * MEBIBYTE  # of a request; the largest batch of VWO (5,000 events) needs some 5 MiB
LARGEST_EVENT = 64 * 1024  # bytes; VWO's own have one or two thousand

COUNTED, DROPPED, UNREADABLE = "counted", "dropped", "unreadable"

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
        {"name": name, "in": "query", "description": described, "schema": {"type": "string"}}
        for name, described in (
            ("a", "account; default: that of `env`, or ours"),
            ("env", "SDK key; default: `Authorization`, or what an event names itself"),
        )
    ],
    "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
}


class Events:
    """Reads events and puts them into `queue`; without one they are counted, and that is all."""

    def __init__(
        self, metrics: Metrics, served: ServedSettings, queue: EventQueue | None, *, default_account: str | None
    ) -> None:
        self._events = metrics.events
        self._requests = metrics.event_requests
        self._count = metrics.event_fates
        self._served = served
        self._queue = queue
        self._default_account = default_account

    async def take(self, account: str, sdk_key: str, bodies: Sequence[bytes]) -> None:
        """Events of our own making, each as `/events/t` takes it. It never raises for a sick store."""
        events = [read_event(body, {}) for body in bodies]
        for name, _ in events:
            self._note(name)
        await self._put(events, account, sdk_key)

    async def take_one(self, request: Request) -> str:
        """What became of the event."""
        body = await self._body(request)
        if body is None:
            return DROPPED
        try:
            event = read_event(body, _beside(request))
        except ValueError:
            self._requests.labels("bad_json").inc()
            return UNREADABLE
        self._requests.labels("counted").inc()
        self._note(event.name)
        return await self._put([event], *self._whose(request))

    async def take_batch(self, request: Request) -> str:
        """What became of the events; `dropped` where any was."""
        body = await self._body(request)
        if body is None:
            return DROPPED
        try:
            parts = parts_of_batch(body)
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
        fate = await self._put(events, *self._whose(request))
        return fate if len(events) == len(parts) else DROPPED

    async def _put(self, events: Sequence[SdkEvent], account: str, sdk_key: str) -> str:
        if self._queue is None:
            return COUNTED
        kept = [event for event in events if len(event.body) <= LARGEST_EVENT]
        if len(kept) < len(events):
            self._count("dropped", len(events) - len(kept), "too_large")
        fate = await self._queue.put([self._addressed(event.body, account, sdk_key) for event in kept])
        return fate if len(kept) == len(events) else DROPPED

    def _addressed(self, body: bytes, account: str, sdk_key: str) -> Event:
        """Where an event goes. One that tells it by nothing goes nowhere: it will be a dead letter."""
        key = sdk_key or sdk_key_in(body)
        if not is_sdk_key(key):
            key = ""
        owner = account or self._served.account_of(key) or self._default_account or self._served.account or ""
        return Event(place_of(owner, key), body)

    def _whose(self, request: Request) -> tuple[str, str]:
        """Account and SDK key as the request tells them; empty where it doesn't."""
        account = request.query_params.get("a", "")
        sdk_key = request.query_params.get("env") or request.headers.get("Authorization", "")
        return account if is_account(account) else "", sdk_key

    def _note(self, name: str) -> None:
        self._events.labels(name if name in KNOWN_EVENTS else CUSTOM).inc()

    async def _body(self, request: Request) -> bytes | None:
        """The body; `None` where the sender hung up, or where it is too large.

        One that is too large is still read, and forgotten: a sender cut off would see an error and send it again.
        """
        body = bytearray()
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size <= MAX_EVENT_BYTES:
                    body += chunk
                else:
                    body.clear()
        except ClientDisconnect:
            self._requests.labels("cut_short").inc()
            return None
        if size > MAX_EVENT_BYTES:
            self._requests.labels("too_large").inc()
            return None
        return bytes(body)


def events_router(events: Events) -> APIRouter:
    router = APIRouter()

    @router.post("/events/t", summary="One event", response_model=None, openapi_extra=_OPENAPI)
    async def event(request: Request) -> Response:
        return _accepted(await events.take_one(request))

    @router.post(
        "/server-side/batch-events-v2", summary="A batch of events", response_model=None, openapi_extra=_OPENAPI
    )
    async def batch(request: Request) -> Response:
        return _accepted(await events.take_batch(request))

    return router


def _beside(request: Request) -> dict[str, str]:
    """What a request tells of its visitor beside the body."""
    told = {
        "visitor_ua": request.query_params.get("visitor_ua") or request.headers.get("X-Device-User-Agent", ""),
        "visitor_ip": request.query_params.get("visitor_ip") or request.headers.get("VWO-X-Forwarded-For", ""),
    }
    return {name: value for name, value in told.items() if value not in _UNKNOWN}


def _accepted(fate: str) -> Response:
    return Response(b"{}", headers={"X-Events": fate}, media_type="application/json")
