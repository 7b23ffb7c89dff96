"""Everything about decisions, put together and mounted: thin clients, OpenFeature, and what operators may ask."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING

from fastapi import Depends
from fastapi.security import HTTPBearer

from foundation.bearer import token_wanted
from foundation.errors import ConfigurationError, UnavailableError
from gateway.decisions import Decider
from gateway.decisions_events import Sender
from gateway.decisions_routes import Decisions, decisions_router
from gateway.decisions_settings import DecisionSettings
from gateway.explain_routes import explain_router
from gateway.lists_admin import lists_router
from gateway.ofrep import Ofrep, ofrep_router
from gateway.ofrep_requests import ApiKeys
from gateway.regexes import RegexMatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fastapi import FastAPI

    from foundation.request_bodies import BodyReader
    from foundation.store import Store
    from foundation.turns import Turns
    from gateway.check import Checks
    from gateway.decisions import Describe
    from gateway.decisions_events import Intake
    from gateway.metrics import Metrics
    from gateway.settings import GatewaySettings
    from gateway.visitors import Visitors

log = logging.getLogger(__name__)


class DecisionsPart:
    """The part of the application that decides. Raises `ConfigurationError` for settings that can't be right."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        checks: Checks,
        describe: Describe,
        intake: Intake,
        visitors: Visitors,
        bodies: BodyReader,
        turns: Turns,
        store: Store,
        metrics: Metrics,
    ) -> None:
        compiled = DecisionSettings(checks.served)
        self._regexes = RegexMatcher(metrics)
        decisions = Decisions(
            Decider(checks.membership, describe, self._regexes, metrics, checks=checks.counts),
            compiled,
            Sender(intake),
            visitors,
            bodies,
            turns,
        )
        self._token = _token(settings)
        ofrep = Ofrep(decisions, ApiKeys(settings.ofrep_api_keys), bulk_exposures=settings.ofrep_bulk_exposures)
        self.get_flag = decisions.get_flag
        self.sdk_router = decisions_router(decisions)  # SDKs may put a prefix in front of these routes
        self._open = ofrep_router(ofrep)
        self._for_operators = (explain_router(decisions), lists_router(compiled, store))

    def mount(self, app: FastAPI) -> None:
        """All routes but those of `sdk_router`."""
        app.include_router(self._open)
        described = HTTPBearer(scheme_name="AdminToken", auto_error=False)
        for router in self._for_operators:
            app.include_router(router, dependencies=[Depends(described), Depends(token_wanted(self._token))])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The admin token is there from the start."""
        try:
            self._token()
        except UnavailableError as error:
            log.warning("%s", error)
        async with self._regexes.running():
            yield


def _token(settings: GatewaySettings) -> Callable[[], str]:
    @functools.cache
    def token() -> str:
        try:
            return settings.administration_token()
        except ConfigurationError as error:
            raise UnavailableError(f"there is no admin token: {error}; or set ADMIN_TOKEN", reason="no_token") from None

    return token
