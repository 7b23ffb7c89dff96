"""Requests of OFREP: who may ask, the context of an evaluation, and errors in the protocol's shape."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, NamedTuple

from fme_client.evaluation import Context
from foundation.errors import BadRequestError, CohortGatewayError, ConfigurationError, UnauthorizedError
from foundation.json import no_json
from gateway.addresses import bare_address
from gateway.decisions_requests import is_text, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

    from foundation.turns import Turns

PARSE_ERROR = "PARSE_ERROR"
TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
INVALID_CONTEXT = "INVALID_CONTEXT"
FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
GENERAL = "GENERAL"


class OfrepError(CohortGatewayError):
    """An error of the protocol: `code` is OpenFeature's word for it, the message goes out as `errorDetails`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message, reason=code.lower())
        self.status = status
        self.code = code


class TooManyError(CohortGatewayError):
    """More at once than we take: come back in a second."""

    status = 429
    reason = "too_many_requests"


class ApiKey(NamedTuple):
    """A key that may ask, and the SDK key of the environment that it asks about (None: the default one)."""

    secret: bytes
    sdk_key: str | None


class ApiKeys:
    """The keys of the setting `OFREP_API_KEYS`: `KEY` or `KEY:SDK_KEY`, commas between them; none: anybody may ask.

    Raises `ConfigurationError`.
    """

    def __init__(self, setting: str | None) -> None:
        entries = [entry.strip() for entry in (setting or "").split(",") if entry.strip()]
        self._keys = [_api_key(entry) for entry in entries]

    def sdk_key_for(self, request: Request) -> str | None:
        """The environment that `request` asks about. Raises `UnauthorizedError` where its key is missing or wrong."""
        if not self._keys:
            return None
        given = _given(request).encode()
        found = [key for key in self._keys if hmac.compare_digest(key.secret, given)]
        if not found:
            raise UnauthorizedError(
                "send one of OFREP_API_KEYS as Authorization: Bearer <key> or as X-API-Key: <key>", reason="bad_api_key"
            )
        return found[0].sdk_key


def _api_key(entry: str) -> ApiKey:
    secret, _, sdk_key = entry.partition(":")
    if not secret:
        raise ConfigurationError("OFREP_API_KEYS: an entry has no key; write KEY or KEY:SDK_KEY, commas between them")
    return ApiKey(secret.encode(), sdk_key or None)


def _given(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "").strip()


async def read_context(body: bytes, turns: Turns) -> Context:
    """Whom an evaluation is for. Raises `OfrepError`, which names the field, and `BodyTooLargeError`.

    `targetingKey` is the user's id, `userAgent` and `ipAddress` are what they say, all else are custom variables.
    """
    try:
        document = await read_json(body, turns)
    except ValueError as error:
        message = f'the body is {no_json(error)}; send {{"context": {{"targetingKey": "..."}}}}'
        raise OfrepError(400, PARSE_ERROR, message) from None
    if not isinstance(document, dict):
        raise OfrepError(400, PARSE_ERROR, 'the body is no JSON object; send {"context": {"targetingKey": "..."}}')
    given = document.get("context")
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise OfrepError(400, INVALID_CONTEXT, "context: must be an object")
    user = given.get("targetingKey")
    if user is None or user == "":
        raise OfrepError(400, TARGETING_KEY_MISSING, "context.targetingKey: missing; put the user's id there")
    if not isinstance(user, str) or not is_text(user):
        raise OfrepError(400, INVALID_CONTEXT, "context.targetingKey: must be a string of Unicode text")
    own = ("targetingKey", "userAgent", "ipAddress")
    return Context(
        id=user,
        custom_variables={name: value for name, value in given.items() if name not in own},
        user_agent=_text(given, "userAgent"),
        ip_address=bare_address(_text(given, "ipAddress") or "") or None,
    )


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise OfrepError(400, INVALID_CONTEXT, f"context.{name}: must be a string")
    return value


def code_of(error: CohortGatewayError) -> str:
    """OpenFeature's word for an error."""
    if isinstance(error, OfrepError):
        return error.code
    return PARSE_ERROR if isinstance(error, BadRequestError) else GENERAL
