"""The two applications: what senders reach, and what operators do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request

from foundation.admin_gate import AdminGate
from foundation.body_deadline import BodyDeadline
from foundation.errors import UnavailableError
from foundation.guarded_http import Guard, guarded_protocol
from foundation.no_store import NoStore
from foundation.query_bound import QueryBound
from foundation.serving import Listener
from foundation.store import STORE_ERRORS
from foundation.web import error_response, health_router, install_error_handlers, operations_router
from heap_export.admin_routes import admin_router
from heap_export.generic_routes import generic_router
from heap_export.integration_routes import integration_router
from heap_export.readiness import Readiness
from heap_export.statsig_routes import statsig_router

if TYPE_CHECKING:
    from fastapi import Response

    from heap_export.exporter import Exporter


def create_apps(exporter: Exporter) -> tuple[FastAPI, FastAPI]:
    """The public application and the administration. Raises `ConfigurationError`."""
    return _public(exporter), _administration(exporter)


def listeners(exporter: Exporter) -> tuple[Listener, Listener]:
    """Both on their addresses, each guarded against whoever connects."""
    settings = exporter.settings
    public, administration = create_apps(exporter)
    guard = Guard(
        connections=settings.events_connections,
        head_seconds=settings.events_seconds / 3,
        count=lambda reason: exporter.metrics.connections_refused.labels(reason).inc(),
    )
    options = {"http": guarded_protocol(guard), "ws": "none"}
    return (
        Listener(public, settings.heap_export_host, settings.heap_export_port, options),
        Listener(administration, settings.heap_export_admin_host, settings.heap_export_admin_port, options),
    )


def _public(exporter: Exporter) -> FastAPI:
    """`POST /v1/events`, `/v1/exposures`, `/webhooks/statsig` and `GET /healthz`."""
    app = FastAPI(
        title="Cohort Gateway: events for Heap",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # the address would be made from the Host header, which is anybody's
    )
    _install_limits(app, exporter)
    app.add_middleware(QueryBound)
    for router in (health_router(), generic_router(exporter), statsig_router(exporter)):
        app.include_router(router)
    return app


def _administration(exporter: Exporter) -> FastAPI:
    """`/v1/admin/...` behind the token; what operations ask is open, since the port is private."""
    app = FastAPI(title="Cohort Gateway: administration of heap-export", docs_url=None, redoc_url=None)
    app.add_middleware(AdminGate, token=lambda: exporter.admin_token)
    _install_limits(app, exporter)
    app.include_router(health_router())
    app.include_router(operations_router(exporter.metrics.registry, Readiness(exporter)))
    for router in (admin_router, integration_router):
        app.include_router(router(exporter.store, exporter.settings, exporter.integrations))
    return app


def _install_limits(app: FastAPI, exporter: Exporter) -> None:
    """What holds for both: the shape of errors, the time for a body, and that no answer is stored."""
    install_error_handlers(app)
    for kind in STORE_ERRORS:
        app.add_exception_handler(kind, _store_away)
    app.add_middleware(BodyDeadline, seconds=exporter.settings.events_seconds, setting="EVENTS_SECONDS")
    app.add_middleware(NoStore)


async def _store_away(_: Request, __: Exception) -> Response:
    return error_response(UnavailableError.status, "the store is away; try again later", "store_away")
