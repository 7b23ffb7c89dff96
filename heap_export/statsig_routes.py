"""`POST /webhooks/statsig`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from foundation.errors import ForbiddenError
from heap_export import statsig
from heap_export.batches import Batches
from heap_export.keys import several
from heap_export.records import Source

if TYPE_CHECKING:
    from heap_export.exporter import Exporter

log = logging.getLogger(__name__)


def statsig_router(exporter: Exporter) -> APIRouter:
    router = APIRouter()
    settings = exporter.settings
    secret = settings.statsig_webhook_secret
    secrets = [] if secret is None else several(secret, "STATSIG_WEBHOOK_SECRET")
    batches = Batches(Source.STATSIG, statsig.record_of, exporter.intake, exporter.metrics)

    @router.post("/webhooks/statsig/", include_in_schema=False)
    @router.post("/webhooks/statsig")
    async def statsig_webhook(request: Request, integration: str | None = None) -> Response:
        with exporter.answering("statsig"), exporter.bodies.body_of(request) as body:
            raw = await body.receive()
            code = statsig.verification_code(raw)
            if code is not None:
                return JSONResponse({"verification_code": code})
            await _check(request, raw)
            report, _ = await batches.take(await body.content(), ("data",), integration=integration)
            return report.response()

    async def _check(request: Request, body: bytes) -> None:
        if not secrets:
            log.warning(
                "a webhook of Statsig is refused: set STATSIG_WEBHOOK_SECRET to the signing secret that Statsig shows "
                "with its integration"
            )
            raise ForbiddenError("this webhook is not set up", reason="not_set_up")
        await exporter.intake.turns.drive(
            statsig.check_signature(
                request.headers.get(statsig.SIGNATURE),
                request.headers.get(statsig.TIMESTAMP),
                body,
                secrets,
                tolerance=settings.statsig_timestamp_tolerance,
            )
        )

    return router
