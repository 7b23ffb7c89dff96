"""The public application: what Heap reaches from the internet, and nothing else."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response

from cohort_sync.connect_routes import callback_router
from cohort_sync.intake import Intake
from cohort_sync.signature import HEADER, REFUSED_FOR_THEIR_TIME, SignatureCheck
from cohort_sync.webhook_description import REFUSALS, WEBHOOK
from foundation.body_deadline import BodyDeadline
from foundation.errors import CohortGatewayError, UnavailableError
from foundation.no_store import NoStore
from foundation.query_bound import QueryBound
from foundation.store import STORE_ERRORS
from foundation.web import error_response, health_router, install_error_handlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cohort_sync.write_side import WriteSide

log = logging.getLogger(__name__)

_SLOWEST = 8 * 1024  # bytes a second


def create_public_app(receiver: WriteSide) -> FastAPI:
    """`POST /webhooks/heap`, `GET /connect/heap/callback` and `GET /healthz`."""
    intake = Intake(receiver.settings, receiver.take)
    receiver.metrics.watch(intake.memory)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await intake.aclose()

    app = FastAPI(
        title="Cohort Gateway: Heap webhook",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # the address would be made from the Host header, which is anybody's
        lifespan=lifespan,
    )
    app.add_middleware(QueryBound)
    install_error_handlers(app)
    for kind in STORE_ERRORS:
        app.add_exception_handler(kind, _store_away)
    seconds = receiver.settings.webhook_seconds
    app.add_middleware(BodyDeadline, seconds=seconds, setting="WEBHOOK_SECONDS", slowest=_SLOWEST)
    app.add_middleware(NoStore)
    app.include_router(health_router())
    app.include_router(callback_router(receiver.connecting))

    @app.post("/webhooks/heap/", include_in_schema=False)  # as some copy it into Heap's form
    @app.post("/webhooks/heap", openapi_extra=WEBHOOK, responses=REFUSALS)
    async def heap_webhook(request: Request) -> Response:
        try:
            check = SignatureCheck(_signature(request), receiver.secrets)
            is_projected = await intake.take(request, check)
        except CohortGatewayError as error:
            receiver.clock_is_doubtful |= error.reason in REFUSED_FOR_THEIR_TIME
            receiver.metrics.pushes.labels(error.reason).inc()
            log.warning("a push was answered %d: %s (%s)", error.status, error, error.reason)
            raise
        receiver.clock_is_doubtful = False
        headers = None if is_projected else {"X-Projection": "behind"}
        return Response(b"{}", media_type="application/json", headers=headers)

    return app


def _signature(request: Request) -> bytes | None:
    name = HEADER.lower().encode()
    found = [value for header, value in request.scope["headers"] if header == name]
    return b",".join(found) if found else None


async def _store_away(_: Request, __: Exception) -> Response:
    return error_response(UnavailableError.status, "the store is away; try again later", "store_away")
