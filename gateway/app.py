"""The application: its parts, and the lifespan that owns what must be closed."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING

from fastapi import FastAPI

from attribute_lists.membership import Membership
from foundation.body_deadline import BodyDeadline
from foundation.crew import Crew
from foundation.no_store import REVALIDATED_HEADER, NoStore
from foundation.query_bound import QueryBound
from foundation.store import connect, describe_store, embedded_socket
from foundation.turns import Turns
from foundation.web import health_router, install_error_handlers, operations_router
from gateway.aliases import Aliases, aliases_router
from gateway.bodies import Bodies
from gateway.check import Checks, check_router
from gateway.cors import allow_browsers, warn_of_browsers
from gateway.decisions_app import DecisionsPart
from gateway.decisions_routes import GET_FLAG
from gateway.event_queue import EventQueue
from gateway.events import Events, events_router, takers
from gateway.exposures import Exposures
from gateway.flag_settings import POLLED, polled_settings, settings_router
from gateway.known_accounts import KnownAccounts
from gateway.lookup_health import LookupHealth
from gateway.metrics import Metrics
from gateway.parts import Geography, configured_ids, served_settings
from gateway.publishing import Publishing
from gateway.readiness import Phase, Readiness
from gateway.shortcuts import Shortcut, Shortcuts
from gateway.user_details import PATH as USER_DETAILS
from gateway.user_details import UserAgents, UserDetails, user_details_router
from gateway.visitors import Visitors
from gateway.wishes import Wishes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from gateway.settings import GatewaySettings

log = logging.getLogger(__name__)

_DEADLINE = 0.1  # seconds; an SDK waits for every check, and a late answer helps it less than `false`
_STORE_TIMEOUT = _CONNECT_TIMEOUT = 1.0  # of what no check waits for


def create_app(settings: GatewaySettings, crew: Crew | None = None) -> FastAPI:
    """The gateway. Raises `ConfigurationError` for settings that can't be served."""
    crew = crew or Crew()
    metrics = Metrics(crew)
    store = connect(settings, timeout=_STORE_TIMEOUT, connect_timeout=_CONNECT_TIMEOUT, retries=0)
    served = served_settings(settings, store, metrics, crew)
    lookups = LookupHealth(metrics)
    membership = Membership(
        store,
        deadline=_DEADLINE,
        remember=settings.last_known_answers,
        serve_stale_for=settings.serve_stale_for,
        note_lookups=functools.partial(lookups.note, "list_name"),
    )
    checks = Checks(membership, served, default_account=settings.account_id)
    metrics.count_checks(checks.counts)
    queue = EventQueue(settings, store, metrics.event_fates) if settings.forwards_events else None
    turns = Turns()
    exposures = Exposures(store, metrics, turns, most=settings.events_waiting) if settings.exports_exposures else None
    visitors = Visitors(store, remember=settings.visitors_remembered)
    bodies = Bodies(settings.body_memory)
    metrics.watch(bodies.memory)
    accounts = KnownAccounts(configured_ids(settings), served, store, deadline=_DEADLINE)
    events = Events(
        metrics,
        served,
        accounts,
        visitors,
        queue,
        exposures,
        turns,
        bodies=bodies.events,
        default_account=settings.account_id,
    )
    readiness = Readiness(membership, served, lookups, crew, [part for part in (queue, exposures) if part is not None])
    geography = Geography(settings, crew)
    details = UserDetails(UserAgents(), geography.locations, trusted_proxies=settings.trusted_proxies)
    aliases = Aliases(membership.lines, metrics, lookups.note, remember=settings.aliases_remembered)
    deciding = DecisionsPart(
        settings,
        checks=checks,
        describe=details.describe,
        intake=events,
        visitors=visitors,
        bodies=bodies.decisions,
        turns=turns,
        store=store,
        metrics=metrics,
    )
    publishing = Publishing(served, store, crew)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        _tell(settings)
        try:
            async with (
                metrics.flushing(),
                membership.running(),
                contextlib.aclosing(aliases),
                served.running(),
                geography.running(),
                _running(queue),
                _running(exposures),
                visitors.running(),
                publishing.running(),
                deciding.running(),
            ):
                readiness.phase = Phase.SERVING
                yield
                readiness.phase = Phase.DRAINING
        finally:
            events.close()
            await store.aclose()

    app = FastAPI(title="Cohort Gateway", docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    install_error_handlers(app)
    app.add_middleware(
        Shortcuts,
        answers={
            POLLED: Shortcut(functools.partial(polled_settings, served), (REVALIDATED_HEADER,)),
            USER_DETAILS: Shortcut(details.answer),
        },
        takers=takers(events) | ({GET_FLAG: deciding.get_flag} if settings.decision_required else {}),
    )
    _add_middleware(app, settings)
    app.include_router(health_router())
    app.include_router(operations_router(metrics.scraped, readiness))
    routers = [
        check_router(checks),
        settings_router(served),
        user_details_router(details),
        aliases_router(aliases, served, accounts, visitors, bodies.aliases, default_account=settings.account_id),
        events_router(events),
    ]
    if settings.decision_required:
        routers.append(deciding.sdk_router)
    for router in routers:
        app.include_router(router)
        # Some SDKs put the account's collectionPrefix in front of every path.
        app.include_router(router, prefix="/{prefix}", include_in_schema=False)
    deciding.mount(app)
    app.state.checks, app.state.metrics = checks, metrics
    return app


def _add_middleware(app: FastAPI, settings: GatewaySettings) -> None:
    """What stands in front of every route; the last one is the outermost."""
    app.add_middleware(BodyDeadline, seconds=settings.body_seconds, setting="BODY_SECONDS")
    app.add_middleware(QueryBound)
    if settings.exports_exposures:
        app.add_middleware(Wishes)
    if settings.cors_config_required:
        allow_browsers(app, settings.cors_origins)
    app.add_middleware(NoStore)


def _running(part: EventQueue | Exposures | None) -> AbstractAsyncContextManager[None]:
    return contextlib.nullcontext() if part is None else part.running()


def _tell(settings: GatewaySettings) -> None:
    """What an operator should know from the start."""
    log.info("store: %s", describe_store(settings))
    if settings.uses_embedded_store and not embedded_socket(settings.data_dir).exists():
        log.warning(
            "no store is running for DATA_DIR %s: every check answers false until one is; start everything with "
            "scripts/serve, or set REDIS_URL",
            settings.data_dir,
        )
    if not settings.names_settings:
        log.warning(
            "no flag settings to serve: SDKs can't start here until ACCOUNT_ID and SDK_KEY, ACCOUNTS_FILE or "
            "SETTINGS_FILE is set"
        )
    if settings.cors_config_required:
        warn_of_browsers(settings.cors_origins)
    if not settings.forwards_events:
        log.info("events of SDKs are counted and not forwarded to VWO; FORWARD_EVENTS=true changes that")
