"""`POST /v1/events` and `POST /v1/exposures`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from foundation.bearer import one_wanted
from foundation.errors import BadRequestError
from heap_export import keys
from heap_export.batches import Batches
from heap_export.generic import event_of, exposure_of
from heap_export.records import Source

if TYPE_CHECKING:
    from heap_export.exporter import Exporter


def generic_router(exporter: Exporter) -> APIRouter:
    """Behind the bearer key; `/v1/events` wants a signature as well where EVENTS_HMAC_SECRET is set."""
    router = APIRouter(prefix="/v1")
    settings = exporter.settings
    accepted = keys.api_keys(settings)
    secret = settings.events_hmac_secret
    secrets = [] if secret is None else keys.several(secret, "EVENTS_HMAC_SECRET")
    wanted = one_wanted(lambda: accepted, where=keys.WHERE)
    events = Batches(Source.GENERIC, event_of, exporter.intake, exporter.metrics)
    exposures = Batches(Source.GENERIC, exposure_of, exporter.intake, exporter.metrics)

    @router.post("/events/", include_in_schema=False)
    @router.post("/events")
    async def post_events(request: Request, integration: str | None = None) -> Response:
        with exporter.answering("events"):
            await wanted(request)
            with exporter.bodies.body_of(request) as body:
                signature = request.headers.get(keys.SIGNATURE)
                await exporter.intake.turns.drive(keys.check_signature(signature, await body.receive(), secrets))
                return await _take(events, await body.content(), ("batch", "events"), integration)

    @router.post("/exposures/", include_in_schema=False)
    @router.post("/exposures")
    async def post_exposures(request: Request, integration: str | None = None) -> Response:
        with exporter.answering("exposures"):
            await wanted(request)
            with exporter.bodies.body_of(request) as body:
                return await _take(exposures, await body.content(), ("exposures",), integration)

    return router


async def _take(batches: Batches, body: bytes, names: tuple[str, ...], integration: str | None) -> Response:
    report, is_single = await batches.take(body, names, integration=integration)
    if is_single and report.refused:
        raise BadRequestError(report.refused[0]["error"], reason=report.refused[0]["reason"])
    return report.response()
