"""What OpenAPI says about decisions for thin clients; explanations share its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from gateway.decisions_requests import User

_TEXT = {"type": "string"}
FLAG: dict[str, Any] = {
    "type": "object",
    "required": ["isEnabled", "variables"],
    "properties": {
        "isEnabled": {"type": "boolean"},
        "variables": {
            "type": "array",
            "description": "empty when the flag is off",
            "items": {
                "type": "object",
                "properties": {"id": {}, "key": {"type": "string"}, "type": {"type": "string"}, "value": {}},
            },
        },
    },
}
FLAGS: dict[str, Any] = {
    "type": "object",
    "required": ["flags"],
    "properties": {"flags": {"type": "object", "additionalProperties": FLAG}},
}
TRACKED: dict[str, Any] = {
    "type": "object",
    "description": "the event's name, and whether the settings know it",
    "additionalProperties": {"type": "boolean"},
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error", "reason"],
    "properties": {"error": {"type": "string"}, "reason": {"type": "string"}},
}
_ERRORS = {
    400: "a field is missing or wrong, and the answer names it; the body is too large; or the account is none of ours",
    408: "the body takes too long",
    503: "there are no settings to decide with, or no room for the body",
}


WHOSE: list[dict[str, Any]] = [
    {"name": "accountId", "in": "query", "description": "default: the account of `sdkKey`, or ours", "schema": _TEXT},
    {"name": "sdkKey", "in": "query", "description": "SDK key of the environment", "schema": _TEXT},
]


def request_body(kind: type[msgspec.Struct], *required: str) -> dict[str, Any]:
    """The OpenAPI description of who is asked about and of a JSON body of this kind, its schema spelled out."""
    schema, parts = msgspec.json.schema_components([kind], ref_template="{name}")
    body = {**parts[schema[0]["$ref"]], "required": list(required)}
    body["properties"] = {
        name: _required(about) if name in required else about for name, about in body["properties"].items()
    }
    return {
        "parameters": WHOSE,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
    }


def _required(about: dict[str, Any]) -> dict[str, Any]:
    """Neither null nor an empty text."""
    kinds = (kind for kind in about["anyOf"] if kind != {"type": "null"})
    return {"anyOf": [kind | {"minLength": 1} if kind == _TEXT else kind for kind in kinds]}


def error_responses(statuses: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of errors in our shape."""
    return {
        status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
        for status, text in statuses.items()
    }


def described(kind: type[User], answer: dict[str, Any] | None = None) -> dict[str, Any]:
    content = {"content": {"application/json": {"schema": answer}}} if answer else {}
    return {
        "openapi_extra": request_body(kind, *kind().missing()),
        "responses": {200: {"description": "OK", **content}, **error_responses(_ERRORS)},
    }
