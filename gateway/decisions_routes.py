"""Decisions for thin clients and for direct use: what VWO's own gateway answers at these addresses, and `getFlags`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from foundation.errors import BadRequestError
from gateway.decisions_description import FLAG, FLAGS, TRACKED, described
from gateway.decisions_requests import MAX_FLAGS, Attribute, FlagQuestion, FlagsQuestion, Tracked, read, to_json
from gateway.ofrep_answers import catalogue

if TYPE_CHECKING:
    from fme_client.evaluation import Decision, Settings
    from foundation.request_bodies import BodyReader
    from foundation.turns import Turns
    from gateway.decisions import Asking, Decider
    from gateway.decisions_events import Sender
    from gateway.decisions_settings import DecisionSettings
    from gateway.visitors import Visitors

GET_FLAG = "/server-side/getFlag"


@dataclass(frozen=True, slots=True)
class Decisions:
    """What it takes to decide, and to tell of it."""

    decider: Decider
    settings: DecisionSettings
    sender: Sender
    visitors: Visitors
    bodies: BodyReader
    turns: Turns

    async def begin(self, account: str | None, sdk_key: str | None) -> tuple[Settings, Asking]:
        """Raises `UnavailableError` without settings, `BadRequestError` for an account that is not ours."""
        settings = await self.settings.settings_for(account, sdk_key)
        return settings, self.decider.asking(settings)

    async def get_flag(self, request: Request) -> Response:
        """What is answered to `GET_FLAG`. Raises `CohortGatewayError`."""
        with self.bodies.body_of(request) as body:
            asked = await read(await body.content(), FlagQuestion, self.turns)
            account, sdk_key = whose(request)
            settings, asking = await self.begin(account, sdk_key)
            context, key = asked.context(), str(asked.feature_key)
            decided = await self.decider.decide(settings, [key], context, asking, way="get_flag")
            self.visitors.learn(settings.account_id, context.id)
            await self.sender.exposures(settings, sdk_key, context, decided.values())
            return _json(_flag(decided[key]), asking)


def decisions_router(decisions: Decisions) -> APIRouter:
    router = APIRouter(prefix="/server-side")

    router.add_api_route(
        "/getFlag",
        decisions.get_flag,
        methods=["POST"],
        summary="One flag for one user",
        response_model=None,
        **described(FlagQuestion, FLAG),
    )

    @router.post(
        "/getFlags", summary="Several flags for one user", response_model=None, **described(FlagsQuestion, FLAGS)
    )
    async def get_flags(request: Request) -> Response:
        with decisions.bodies.body_of(request) as body:
            asked = await read(await body.content(), FlagsQuestion, decisions.turns)
            account, sdk_key = whose(request)
            settings, asking = await decisions.begin(account, sdk_key)
            keys = catalogue(settings).flags if asked.feature_keys is None else asked.feature_keys
            if asked.feature_keys is not None and len(keys) > MAX_FLAGS:
                raise BadRequestError(f"featureKeys: {MAX_FLAGS} at the most; ask in parts", reason="too_many_flags")
            context = asked.context()
            decided = await decisions.decider.decide(settings, keys, context, asking, way="get_flag")
            decisions.visitors.learn(settings.account_id, context.id)
            await decisions.sender.exposures(settings, sdk_key, context, decided.values())
            return _json({"flags": {key: _flag(decision) for key, decision in decided.items()}}, asking)

    @router.post("/trackEvent", summary="A user did something", response_model=None, **described(Tracked, TRACKED))
    async def track_event(request: Request) -> Response:
        with decisions.bodies.body_of(request) as body:
            asked = await read(await body.content(), Tracked, decisions.turns)
            account, sdk_key = whose(request)
            settings, _ = await decisions.begin(account, sdk_key)
            name, context = str(asked.event_name), asked.context()
            known = name in settings.event_names
            if known:
                decisions.visitors.learn(settings.account_id, context.id)
                await decisions.sender.tracked(settings, sdk_key, context, name, asked.event_properties or {})
            return _json({name: known})

    @router.post(
        "/setAttribute",
        summary="Something is known of a user",
        response_model=None,
        response_class=Response,
        **described(Attribute),
    )
    async def set_attribute(request: Request) -> Response:
        with decisions.bodies.body_of(request) as body:
            asked = await read(await body.content(), Attribute, decisions.turns)
            account, sdk_key = whose(request)
            settings, _ = await decisions.begin(account, sdk_key)
            context = asked.context()
            decisions.visitors.learn(settings.account_id, context.id)
            attributes = {str(asked.attribute_key): asked.attribute_value}
            await decisions.sender.attributes(settings, sdk_key, context, attributes)
            return Response(status_code=200)

    return router


def whose(request: Request) -> tuple[str | None, str | None]:
    """Account and SDK key as `request` names them; empty ones count as none."""
    return request.query_params.get("accountId") or None, request.query_params.get("sdkKey") or None


def _flag(decision: Decision) -> dict[str, Any]:
    return {"isEnabled": decision.is_enabled, "variables": decision.variables}


def _json(answer: Any, asking: Asking | None = None) -> Response:
    """`X-Membership` says why lists could not be asked, where some could not."""
    unknown = asking.unknown if asking is not None else []
    headers = {"X-Membership": ", ".join(unknown)} if unknown else None
    return Response(to_json(answer), headers=headers, media_type="application/json")
