"""`POST /server-side/explain`: why a flag comes out as it does, for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from foundation.errors import NotFoundError
from gateway.decisions_description import error_responses, request_body
from gateway.decisions_requests import FlagQuestion, read, to_json
from gateway.decisions_routes import whose
from gateway.explain import explain
from gateway.ofrep_answers import catalogue

if TYPE_CHECKING:
    from fme_client.evaluation import Settings
    from gateway.decisions import Asking
    from gateway.decisions_routes import Decisions
    from gateway.explain import Explanation

_ERRORS = {
    400: "a field is missing or wrong, and the answer names it",
    401: "the admin token is missing or wrong",
    404: "the settings have no such flag",
    408: "the body takes too long",
    503: "there are no settings to decide with, or no room for the body",
}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": [
        *("flag", "isEnabled", "variation", "reason", "failure", "variables", "lists", "rules"),
        *("regexesGivenUp", "userDetails"),
    ],
    "properties": {
        "flag": {"type": "string"},
        "isEnabled": {"type": "boolean"},
        "variation": {"type": "string", "description": "key of the variation; `off`"},
        "reason": {"type": "string", "description": "OpenFeature's word for why"},
        "failure": {"type": ["string", "null"], "description": "why the Node SDK would fail; the flag is off then"},
        "variables": {"type": "array", "items": {"type": "object"}},
        "lists": {"type": "array", "items": {"type": "object"}, "description": "the lists asked, and what they said"},
        "rules": {"type": "array", "items": {"type": "object"}, "description": "in the order in which they are tried"},
        "regexesGivenUp": {
            "type": "array",
            "items": {"type": "string"},
            "description": "regular expressions that took too long for the value, and so match nothing",
        },
        "userDetails": {"type": ["object", "null"], "description": "place and device; null where no rule wants them"},
    },
}


def explain_router(decisions: Decisions) -> APIRouter:
    """Whoever mounts it asks for the token. Nothing is sent, learnt or counted as a decision."""
    router = APIRouter(prefix="/server-side")

    @router.post(
        "/explain",
        summary="Why a flag comes out as it does for a user",
        response_model=None,
        openapi_extra=request_body(FlagQuestion, *FlagQuestion().missing()),
        responses={
            200: {"description": "OK", "content": {"application/json": {"schema": _ANSWER}}},
            **error_responses(_ERRORS),
        },
    )
    async def explain_flag(request: Request) -> Response:
        with decisions.bodies.body_of(request) as body:
            asked = await read(await body.content(), FlagQuestion, decisions.turns)
            settings, asking = await decisions.begin(*whose(request))
            key = str(asked.feature_key)
            if key not in settings.features:
                raise NotFoundError(
                    "featureKey: the settings have no such flag; look at its key in VWO, and whether it is published",
                    reason="unknown_flag",
                )
            found = await asking.run(explain(settings, key, asked.context()), key)
            return Response(to_json(_answer(settings, found, asking)), media_type="application/json")

    return router


def _answer(settings: Settings, found: Explanation, asking: Asking) -> dict[str, Any]:
    decision = found.decision
    why = catalogue(settings).why(decision)
    return {
        "flag": decision.feature_key,
        "isEnabled": decision.is_enabled,
        "variation": why.variant,
        "reason": why.reason,
        "failure": decision.failure,
        "variables": decision.variables,
        "lists": [
            {
                "list": question.list_id,
                "value": question.value,
                "state": state,
                "isMember": state.is_member,
                "mattered": question in found.asked,
            }
            for question, state in asking.states.items()
        ],
        "rules": found.rules,
        "regexesGivenUp": sorted({question.regex.pattern for question in asking.given_up}),
        "userDetails": asking.details,
        "settingsVersion": settings.version,
        "accountId": settings.account_id,
    }
