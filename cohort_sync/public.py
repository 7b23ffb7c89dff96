"""The public application: what Heap reaches from the internet, and nothing else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from cohort_sync.signature import HEADER, SignatureCheck
from foundation.errors import BadRequestError, CohortGatewayError, TooLargeError
from foundation.web import health_router, install_error_handlers

if TYPE_CHECKING:
    from cohort_sync.receiver import Receiver

log = logging.getLogger(__name__)


def create_public_app(receiver: Receiver) -> FastAPI:
    """`POST /webhooks/heap` and `GET /healthz`."""
    app = FastAPI(title="Cohort Gateway: Heap webhook", docs_url=None, redoc_url=None)
    install_error_handlers(app)
    app.include_router(health_router())

    @app.post("/webhooks/heap")
    async def heap_webhook(request: Request) -> Response:
        try:
            check = SignatureCheck(_signature(request), receiver.secrets)
            body = await _read(request, check, limit=receiver.settings.max_webhook_bytes)
            check.verify(tolerance=receiver.settings.heap_timestamp_tolerance)
            await receiver.take(body, signed_at=check.signed_at)
        except CohortGatewayError as error:
            receiver.metrics.pushes.labels(error.reason).inc()
            log.warning("a push was answered %d: %s (%s)", error.status, error, error.reason)
            raise
        return Response(b"{}", media_type="application/json")

    return app


def _signature(request: Request) -> bytes | None:
    name = HEADER.lower().encode()
    found = [value for header, value in request.scope["headers"] if header == name]
    return b",".join(found) if found else None


async def _read(request: Request, check: SignatureCheck, *, limit: int) -> bytes:
    """The raw body, fed to `check` chunk by chunk. Raises `TooLargeError` before more than `limit` bytes are read."""
    too_large = TooLargeError(f"the body is larger than {limit} bytes (MAX_WEBHOOK_BYTES)")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            if len(body) + len(chunk) > limit:
                raise too_large
            check.feed(chunk)
            body += chunk
    except ClientDisconnect:
        raise BadRequestError("the sender hung up half-way", reason="cut_short") from None
    return bytes(body)
