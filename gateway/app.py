"""The application: its parts, and the lifespan that owns what must be closed."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from fastapi import FastAPI

from attribute_lists.membership import Membership
from foundation.crew import Crew
from foundation.store import connect, describe_store, embedded_socket
from foundation.web import health_router, install_error_handlers, operations_router
from gateway.check import Checks, check_router
from gateway.events import Events, events_router
from gateway.flag_settings import ServedSettings, settings_router
from gateway.metrics import Metrics
from gateway.readiness import Phase, Readiness
from gateway.user_details import UserAgents, user_details_router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.settings import GatewaySettings

log = logging.getLogger(__name__)

_DEADLINE = 0.1  # seconds; an SDK waits for every check, and a late answer helps it less than `false`
_STORE_TIMEOUT = _CONNECT_TIMEOUT = 1.0  # of what no check waits for


def create_app(settings: GatewaySettings, crew: Crew | None = None) -> FastAPI:
    """The gateway. Raises `ConfigurationError` for settings that can't be served."""
    crew = crew or Crew()
    metrics = Metrics(crew)
    served = ServedSettings(settings.settings_file, metrics, crew)
    store = connect(settings, timeout=_STORE_TIMEOUT, connect_timeout=_CONNECT_TIMEOUT, retries=0)
    membership = Membership(
        store,
        deadline=_DEADLINE,
        remember=settings.last_known_answers,
        serve_stale_for=settings.serve_stale_for,
    )
    checks = Checks(membership, served, default_account=settings.account_id)
    metrics.count_checks(checks.counts)
    readiness = Readiness(membership, served, crew)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        _tell(settings)
        try:
            async with metrics.flushing(), membership.running():
                readiness.phase = Phase.SERVING
                yield
                readiness.phase = Phase.DRAINING
        finally:
            await store.aclose()

    app = FastAPI(title="Cohort Gateway", docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    install_error_handlers(app)
    app.include_router(health_router())
    app.include_router(operations_router(metrics.scraped, readiness))
    for router in (
        check_router(checks),
        settings_router(served),
        user_details_router(UserAgents()),
        events_router(Events(metrics)),
    ):
        app.include_router(router)
        # Some SDKs put the account's collectionPrefix in front of every path.
        app.include_router(router, prefix="/{prefix}", include_in_schema=False)
    app.state.checks, app.state.metrics = checks, metrics
    return app


def _tell(settings: GatewaySettings) -> None:
    """What an operator should know from the start."""
    log.info("store: %s", describe_store(settings))
    if settings.uses_embedded_store and not embedded_socket(settings.data_dir).exists():
        log.warning(
            "no store is running for DATA_DIR %s: every check answers false until one is; start everything with "
            "scripts/serve, or set REDIS_URL",
            settings.data_dir,
        )
    if settings.settings_file is None:
        log.warning("no flag settings to serve: SDKs can't start here until SETTINGS_FILE names some")
    log.info("events of SDKs are counted and not forwarded to VWO yet")
