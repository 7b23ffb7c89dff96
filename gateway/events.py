"""Take the events that SDKs send: count them and answer exactly 200, since SDKs retry everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from foundation.settings import MEBIBYTE

if TYPE_CHECKING:
    from gateway.metrics import Metrics

MAX_EVENT_BYTES = 8 * MEBIBYTE  # the largest batch of VWO (5,000 events) needs some 5 MiB

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

_OPENAPI: dict[str, Any] = {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}


class _Named(msgspec.Struct):
    name: str


class _Data(msgspec.Struct):
    event: _Named


class _Event(msgspec.Struct):
    d: _Data


class _Batch(msgspec.Struct):
    ev: list[_Event]


_EVENT = msgspec.json.Decoder(_Event)
_BATCH = msgspec.json.Decoder(_Batch)


class Events:
    """Counts events."""

    def __init__(self, metrics: Metrics) -> None:
        self._events = metrics.events
        self._requests = metrics.event_requests

    async def take_one(self, request: Request) -> None:
        body = await self._body(request)
        if body is not None:
            self._count(body, _EVENT)

    async def take_batch(self, request: Request) -> None:
        body = await self._body(request)
        if body is not None:
            self._count(body, _BATCH)

    def _count(self, body: bytes, decoder: msgspec.json.Decoder[_Event] | msgspec.json.Decoder[_Batch]) -> None:
        try:
            decoded = decoder.decode(body)
        except (ValueError, RecursionError):
            self._requests.labels("bad_json").inc()
            return
        for event in decoded.ev if isinstance(decoded, _Batch) else [decoded]:
            name = event.d.event.name
            self._events.labels(name if name in KNOWN_EVENTS else CUSTOM).inc()
        self._requests.labels("counted").inc()

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
        await events.take_one(request)
        return _accepted()

    @router.post(
        "/server-side/batch-events-v2", summary="A batch of events", response_model=None, openapi_extra=_OPENAPI
    )
    async def batch(request: Request) -> Response:
        await events.take_batch(request)
        return _accepted()

    return router


def _accepted() -> Response:
    return Response(b"{}", media_type="application/json")
