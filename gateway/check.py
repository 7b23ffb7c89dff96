"""Answer `/check-attribute`: always 200, always `true` or `false`, whatever arrives and whatever is broken.

`gateway.fast_path` answers nearly all of them; the route here answers what it hands on, in the very same bytes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from attribute_lists.membership import question_of
from attribute_lists.states import State
from foundation.query_bound import whole_query
from gateway.readings import read_question

if TYPE_CHECKING:
    from attribute_lists.lists import AskedList, Question
    from attribute_lists.membership import Membership
    from gateway.flag_settings import ServedSettings

log = logging.getLogger(__name__)

Asked = tuple["AskedList", "Question"]  # a list, and what is asked of it

# Beside the states of membership: no value, no list, or nothing that tells the account.
INCOMPLETE = "incomplete"

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

    def __init__(self, membership: Membership, served: ServedSettings, *, default_account: str | None) -> None:
        self.membership = membership
        self.counts: dict[str, int] = dict.fromkeys([*State, INCOMPLETE], 0)  # a Counter takes thrice as long to count
        self.served = served
        self._default_account = default_account

    def read(self, query: bytes) -> Asked | str:
        """What the raw `query` asks, or the answer where there is nothing to ask."""
        question = read_question(query)
        account = (
            question.account or self.served.account_of(question.sdk_key) or self._default_account or self.served.account
        )
        if account is None or question.list_id is None or not question.readings:
            return INCOMPLETE
        asked = self.membership.list_named(account, question.list_id)
        return State.UNKNOWN_LIST if asked is None else (asked, question_of(question.readings))

    async def answer(self, query: bytes) -> str:
        """What is known of the raw `query`: a `State` or `INCOMPLETE`. It never raises."""
        try:
            found = self.read(query)
            state = found if isinstance(found, str) else await self.membership.answer(*found)
        except Exception:
            log.exception("a check failed and was answered false")
            state = State.ERROR
        self.counts[state] += 1
        return state


def body_of(state: str) -> bytes:
    """What the wire says."""
    return b"true" if state in (State.IN, State.STALE_IN) else b"false"


def check_router(checks: Checks) -> APIRouter:
    router = APIRouter()

    async def check_attribute(request: Request) -> Response:
        state = await checks.answer(whole_query(request.scope))
        return Response(body_of(state), headers={"X-Membership": state}, media_type=CONTENT_TYPE)

    router.add_api_route(
        "/check-attribute",
        check_attribute,
        methods=["GET"],
        summary="Is the value in the list?",
        response_model=None,
        responses={200: {"content": {CONTENT_TYPE: {"schema": {"type": "boolean"}}}}},
        openapi_extra=_OPENAPI,
    )
    return router
