"""What OpenAPI says about the routes of OFREP 0.3."""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_CONTEXT: dict[str, Any] = {
    "type": "object",
    "required": ["targetingKey"],
    "description": "all fields but these three are custom variables",
    "properties": {
        "targetingKey": {**_TEXT, "minLength": 1, "description": "the user's id"},
        "userAgent": {**_TEXT, "description": "for conditions on device and browser"},
        "ipAddress": {**_TEXT, "description": "for conditions on the place"},
    },
    "additionalProperties": True,
}
_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["context"], "properties": {"context": _CONTEXT}}
            }
        },
    },
}
_EVALUATION: dict[str, Any] = {
    "type": "object",
    "required": ["key", "reason", "variant"],
    "properties": {
        "key": _TEXT,
        "reason": {"enum": ["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "DEFAULT"]},
        "variant": {**_TEXT, "description": "key of the variation; `off` for a flag that is off"},
        "value": {"description": "left out where the application's own default counts"},
        "metadata": {"type": "object", "properties": {"rule": _TEXT}},
    },
}
_BULK_FAILURE: dict[str, Any] = {
    "type": "object",
    "required": ["errorCode", "errorDetails"],
    "properties": {
        "errorCode": {"enum": ["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]},
        "errorDetails": _TEXT,
    },
}
_FAILURE: dict[str, Any] = {
    **_BULK_FAILURE,
    "required": ["key", *_BULK_FAILURE["required"]],
    "properties": {"key": _TEXT, **_BULK_FAILURE["properties"]},
}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _errors(schema: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {
        400: _answer("the context is missing or wrong, or the body is too large", schema),
        401: _answer("OFREP_API_KEYS is set, and no such key was sent", schema),
        408: _answer("the body takes too long", schema),
        429: _answer("too many evaluations at once; `Retry-After` says when to come again", schema),
        503: _answer("there are no settings to decide with, or no room for the body", schema),
    }


_KEY: dict[str, Any] = {
    "name": "key",
    "in": "path",
    "required": True,
    "description": "`flag`, or `flag:variable` for the value of a variable",
    "schema": _TEXT,
}
_KNOWN: dict[str, Any] = {
    "name": "If-None-Match",
    "in": "header",
    "description": "the ETag of an answer that is known",
    "schema": _TEXT,
}

SINGLE: dict[str, Any] = {
    "openapi_extra": {"parameters": [_KEY], **_REQUEST},
    "responses": {
        200: _answer("the evaluation", _EVALUATION),
        404: _answer("no such flag, or no such variable", _FAILURE),
        **_errors(_FAILURE),
    },
}
BULK: dict[str, Any] = {
    "openapi_extra": {"parameters": [_KNOWN], **_REQUEST},
    "responses": {
        200: _answer(
            "all evaluations, with an ETag",
            {"type": "object", "required": ["flags"], "properties": {"flags": {"type": "array", "items": _EVALUATION}}},
        ),
        304: {"description": "the answer is the one that `If-None-Match` names"},
        **_errors(_BULK_FAILURE),
    },
}
