"""The application: its parts, and the lifespan that owns what must be closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from fastapi import FastAPI

from attribute_lists.membership import Membership
from foundation.store import STORE_ERRORS, connect, describe_store, embedded_socket, ping
from foundation.store_trouble import explain
from foundation.web import health_router, install_error_handlers, operations_router
from gateway.check import AT_ONCE, Checks, check_router
from gateway.events import Events, events_router
from gateway.flag_settings import ServedSettings, settings_router
from gateway.metrics import Metrics
from gateway.readiness import Phase, Readiness
from gateway.user_details import UserAgents, user_details_router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from foundation.store import Store
    from gateway.settings import GatewaySettings

log = logging.getLogger(__name__)

_STORE_TIMEOUT = 0.1  # seconds; an SDK waits for every check, and a late answer helps it less than `false`
_CONNECT_TIMEOUT = 1.0


def create_app(settings: GatewaySettings) -> FastAPI:
    """The gateway. Raises `ConfigurationError` for settings that can't be served."""
    metrics = Metrics()
    served = ServedSettings(settings.settings_file, metrics)
    store = connect(settings, timeout=_STORE_TIMEOUT, connect_timeout=_CONNECT_TIMEOUT, retries=0)
    membership = Membership(store, deadline=_STORE_TIMEOUT)
    readiness = Readiness(store, served)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        _tell(settings)
        try:
            await _open_connections(store)
            async with membership.following_aliases():
                readiness.phase = Phase.SERVING
                yield
                readiness.phase = Phase.DRAINING
        finally:
            await store.aclose()

    app = FastAPI(title="Cohort Gateway", docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    install_error_handlers(app)
    app.include_router(health_router())
    app.include_router(operations_router(metrics.registry, readiness))
    for router in (
        check_router(Checks(membership, served, metrics, default_account=settings.account_id)),
        settings_router(served),
        user_details_router(UserAgents()),
        events_router(Events(metrics)),
    ):
        app.include_router(router)
        # Some SDKs put the account's collectionPrefix in front of every path.
        app.include_router(router, prefix="/{prefix}", include_in_schema=False)
    return app


async def _open_connections(store: Store) -> None:
    """Open what the checks will use: handshakes during a first burst of requests would run into the deadline.

    A store that is away is no reason not to start.
    """
    answers = await asyncio.gather(*(ping(store) for _ in range(AT_ONCE)), return_exceptions=True)
    failed = next((answer for answer in answers if isinstance(answer, STORE_ERRORS)), None)
    if failed is not None:
        log.warning("the store can't be reached, so every check answers false: %s", explain(failed))


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
