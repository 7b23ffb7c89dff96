"""Answer `/check-attribute`: always 200, always `true` or `false`, whatever arrives and whatever is broken."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from attribute_lists.membership import State
from gateway.readings import read_question

if TYPE_CHECKING:
    from attribute_lists.membership import Membership
    from gateway.flag_settings import ServedSettings
    from gateway.metrics import Metrics

log = logging.getLogger(__name__)

# Beside the states of membership. The wire's answer to each is `false`.
INCOMPLETE = "incomplete"  # no value, no list, or nothing that tells the account
OVERLOADED = "overloaded"  # too many checks at once
ERROR = "error"  # a fault of ours

# Checks under way. More of them would only wait for each other, and while they do the store's deadline runs: a burst
# would then look like a store that is down. Each holds a connection of redis-py's pool, which refuses its 101st.
AT_ONCE = 8
_PATIENCE_SECONDS = 1.0  # for a turn and the answer

# Node wants application/json, Android wants application/javascript somewhere in it.
CONTENT_TYPE = "application/json; x=application/javascript"

_TEXT = {"schema": {"type": "string"}}
_OPENAPI: dict[str, Any] = {
    "parameters": [
        {"name": "attribute", "in": "query", "description": "the value to look for, encoded or not", **_TEXT},
        {"name": "listId", "in": "query", "description": "id or alias of the list", **_TEXT},
        {"name": "accountId", "in": "query", "description": "default: the account of `sdkKey`, or ours", **_TEXT},
        {"name": "sdkKey", "in": "query", "description": "names the account where `accountId` does not", **_TEXT},
    ]
}


class Checks:
    """Membership checks as the wire asks them, counted by state."""

    def __init__(
        self, membership: Membership, served: ServedSettings, metrics: Metrics, *, default_account: str | None
    ) -> None:
        self._membership = membership
        self._served = served
        self._default_account = default_account
        self._counter = metrics.checks
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def answer(self, query: bytes) -> str:
        """What is known of the raw `query`: a `State` or one of the words above. It never raises."""
        try:
            state = await self._ask(query)
        except Exception:
            log.exception("a check failed and was answered false")
            state = ERROR
        self._counter.labels(state).inc()
        return state

    async def _ask(self, query: bytes) -> str:
        question = read_question(query)
        account = (
            question.account
            or self._served.account_of(question.sdk_key)
            or self._default_account
            or self._served.account
        )
        if account is None or question.list_id is None or not question.readings:
            return INCOMPLETE
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._slots:
                answer = await self._membership.check(account, question.list_id, question.readings)
        except TimeoutError:
            return OVERLOADED
        return answer.state.value


def check_router(checks: Checks) -> APIRouter:
    router = APIRouter()

    async def check_attribute(request: Request) -> Response:
        state = await checks.answer(request.scope["query_string"])
        return Response(
            b"true" if state == State.IN else b"false", headers={"X-Membership": state}, media_type=CONTENT_TYPE
        )

    router.add_api_route(
        "/check-attribute",
        check_attribute,
        methods=["GET"],
        summary="Is the value in the list?",
        response_model=None,
        responses={200: {"content": {CONTENT_TYPE: {"schema": {"type": "boolean"}}}}},
        openapi_extra=_OPENAPI,
    )
    router.add_api_route("/check-attribute", check_attribute, methods=["HEAD"], include_in_schema=False)
    return router
