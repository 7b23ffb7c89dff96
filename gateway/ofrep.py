"""The OpenFeature Remote Evaluation Protocol 0.3: flags for any OpenFeature application, without an SDK of VWO."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import APIKeyHeader, HTTPBearer

from foundation.errors import CohortGatewayError
from foundation.no_store import CACHE_CONTROL
from foundation.web import RETRY_AFTER_SECONDS
from gateway.ofrep_answers import answer, catalogue
from gateway.ofrep_description import BULK, SINGLE
from gateway.ofrep_requests import FLAG_NOT_FOUND, OfrepError, TooManyError, code_of, read_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fme_client.evaluation import Context, Settings
    from foundation.request_bodies import Body
    from gateway.decisions import Asking
    from gateway.decisions_routes import Decisions
    from gateway.ofrep_requests import ApiKeys

# Of all flags of a user: the provider may keep them and ask with `If-None-Match`, nobody in between may.
_OWN_COPY = "private, no-cache"
MOST_AT_ONCE = 500  # evaluations under way; more are asked to come again


class Ofrep:
    """Evaluations as the protocol has them. `bulk_exposures`: whether a bulk evaluation sends exposures, too."""

    def __init__(self, decisions: Decisions, keys: ApiKeys, *, bulk_exposures: bool) -> None:
        self._decisions = decisions
        self._keys = keys
        self._bulk_exposures = bulk_exposures
        self._under_way = 0

    async def single(self, request: Request, key: str) -> Response:
        """Raises `CohortGatewayError`."""
        with self._decisions.bodies.body_of(request) as body:
            sdk_key, context, settings, asking = await self._begin(request, body)
            known = catalogue(settings)
            asked = known.find(key)
            if asked is None:
                raise OfrepError(
                    404, FLAG_NOT_FOUND, "the settings have no such flag, or the flag has no such variable"
                )
            decided = await self._decisions.decider.decide(settings, [asked.flag], context, asking, way="ofrep")
            decision = decided[asked.flag]
            await self._decisions.sender.exposures(settings, sdk_key, context, [decision])
            return _json(answer(asked, decision, known.why(decision)), asking)

    async def bulk(self, request: Request) -> Response:
        """Raises `CohortGatewayError`."""
        with self._decisions.bodies.body_of(request) as body:
            sdk_key, context, settings, asking = await self._begin(request, body)
            known = catalogue(settings)
            decided = await self._decisions.decider.decide(settings, known.flags, context, asking, way="ofrep_bulk")
            if self._bulk_exposures:
                await self._decisions.sender.exposures(settings, sdk_key, context, decided.values())
        why = {flag: known.why(decision) for flag, decision in decided.items()}
        flags = [answer(asked, decided[asked.flag], why[asked.flag]) for asked in known.all()]
        found = _json({"flags": flags}, asking)
        # Of the answer itself: the settings may be the same while the user, or a list, is another.
        tag = f'"{hashlib.blake2b(bytes(found.body), digest_size=16).hexdigest()}"'
        headers = {"ETag": tag, CACHE_CONTROL: _OWN_COPY}
        known_tags = ",".join(request.headers.getlist("If-None-Match"))
        if _names(known_tags, tag):
            return Response(status_code=304, headers=headers)
        found.headers.update(headers)
        return found

    async def limited(self, evaluate: Callable[[], Awaitable[Response]], key: str | None) -> Response:
        """What `evaluate` answers, its errors in the protocol's shape."""
        self._under_way += 1
        try:
            if self._under_way > MOST_AT_ONCE:
                raise TooManyError("too many evaluations at once; come again in a moment")
            return await evaluate()
        except CohortGatewayError as error:
            return _failure(error, key)
        finally:
            self._under_way -= 1

    async def _begin(self, request: Request, body: Body) -> tuple[str | None, Context, Settings, Asking]:
        sdk_key = self._keys.sdk_key_for(request)
        context = await read_context(await body.content(), self._decisions.turns)
        settings, asking = await self._decisions.begin(None, sdk_key)
        self._decisions.visitors.learn(settings.account_id, context.id)
        return sdk_key, context, settings, asking


def ofrep_router(ofrep: Ofrep) -> APIRouter:
    # For the description alone: `ApiKeys` reads and checks them.
    schemes = (
        HTTPBearer(scheme_name="OfrepBearer", auto_error=False),
        APIKeyHeader(name="X-API-Key", auto_error=False),
    )
    described = [Depends(scheme) for scheme in schemes]
    router = APIRouter(prefix="/ofrep/v1/evaluate/flags", tags=["OpenFeature"], dependencies=described)

    async def single(request: Request) -> Response:
        key = request.path_params["key"]
        return await ofrep.limited(lambda: ofrep.single(request, key), key)

    async def bulk(request: Request) -> Response:
        return await ofrep.limited(lambda: ofrep.bulk(request), None)

    for path, endpoint, summary, description in (
        ("/{key:path}", single, "One flag, or one of its variables", SINGLE),  # a key may hold a slash
        ("", bulk, "All flags and their variables", BULK),
    ):
        router.add_api_route(path, endpoint, methods=["POST"], summary=summary, response_model=None, **description)
    return router


def _failure(error: CohortGatewayError, key: str | None) -> Response:
    body: dict[str, Any] = {} if key is None else {"key": key}
    body |= {"errorCode": code_of(error), "errorDetails": str(error)}
    headers = {"Retry-After": "1" if isinstance(error, TooManyError) else str(RETRY_AFTER_SECONDS)}
    again = error.status in (TooManyError.status, 503)
    return Response(
        msgspec.json.encode(body),
        status_code=error.status,
        headers=headers if again else None,
        media_type="application/json",
    )


def _json(document: Any, asking: Asking) -> Response:
    headers = {"X-Membership": ", ".join(asking.unknown)} if asking.unknown else None
    return Response(msgspec.json.encode(document), headers=headers, media_type="application/json")


def _names(tags: str, tag: str) -> bool:
    """Whether the header `If-None-Match` names `tag`; how it is marked (`W/`) does not matter (RFC 9110, 13.1.2)."""
    return tags.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in tags.split(","))
