"""The administration: an application of its own, for operators with the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request

from cohort_sync.admin_routes import Admin, changing_router, reading_router
from cohort_sync.connect_routes import connection_admin_router
from foundation.admin_gate import AdminGate
from foundation.body_deadline import BodyDeadline
from foundation.errors import UnavailableError
from foundation.no_store import NoStore
from foundation.store import STORE_ERRORS
from foundation.web import error_response, health_router, install_error_handlers, operations_router

if TYPE_CHECKING:
    from fastapi import Response

    from cohort_sync.write_side import WriteSide


def create_administration_app(receiver: WriteSide) -> FastAPI:
    """`/admin/api/v1/...` and `/connect/heap` behind the token; what operations ask is open: the port is private."""
    app = FastAPI(title="Cohort Gateway: administration", docs_url=None, redoc_url=None)
    install_error_handlers(app)
    for kind in STORE_ERRORS:
        app.add_exception_handler(kind, _store_away)
    app.add_middleware(AdminGate, token=lambda: receiver.admin_token)
    app.add_middleware(BodyDeadline, seconds=receiver.settings.webhook_seconds, setting="WEBHOOK_SECONDS")
    app.add_middleware(NoStore)

    async def readiness() -> tuple[int, dict[str, Any]]:
        reasons = await receiver.reasons_for_concern()
        return 200, {"status": "degraded", "reasons": reasons} if reasons else {"status": "ok"}

    app.include_router(health_router())
    app.include_router(operations_router(receiver.metrics.registry, readiness))
    admin = Admin(receiver)
    connections = connection_admin_router(receiver.connecting, default_account=receiver.default_account)
    for router in (reading_router(admin), changing_router(admin), connections):
        app.include_router(router)
    return app


async def _store_away(_: Request, __: Exception) -> Response:
    return error_response(UnavailableError.status, "the store is away; try again later", "store_away")
