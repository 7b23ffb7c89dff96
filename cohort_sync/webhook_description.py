"""The webhook in OpenAPI terms: the route takes raw bytes, so no framework can derive it."""

from __future__ import annotations

from typing import Any

from cohort_sync.pushes import DRAIN, SYNC
from cohort_sync.signature import HEADER

_ID = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 256}, {"type": "integer", "minimum": 0}]}
_MEMBERS = {
    "type": "array",
    "items": {"type": "object", "properties": {"id": {"type": ["string", "number"]}}, "required": ["id"]},
}
_SEGMENT = {"type": "object", "properties": {"id": _ID, "name": {"type": "string"}}, "required": ["id"]}
_PAGE = {"type": "integer", "minimum": 1, "maximum": 1_000_000}
_SYNC_INFO = {
    "type": "object",
    "properties": {"page_number": _PAGE, "total_pages": _PAGE, "sync_task_id": _ID},
    "required": ["page_number", "total_pages", "sync_task_id"],
}


def _push(action: str, data: dict[str, Any], *, required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "action_type": {"const": action},
            "id_token": {"type": "string"},
            "data": {"type": "object", "properties": {"segment": _SEGMENT} | data, "required": required},
        },
        "required": ["action_type", "data"],
    }


_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "reason": {"type": "string"}},
    "required": ["error", "reason"],
}


def _refusal(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ERROR}}}


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: _refusal("no signature, or a body that can't be understood or unpacked"),
    403: _refusal("the signature does not fit, is too old, or the id_token is unknown"),
    405: _refusal("an action_type that is not known here"),
    408: _refusal("the body took too long to arrive"),
    413: _refusal("the body is larger than MAX_WEBHOOK_BYTES, as it comes or unpacked"),
    415: _refusal("Content-Encoding is neither gzip nor deflate"),
    503: _refusal("come back later (Retry-After): the store is away, or there is no room"),
}

WEBHOOK: dict[str, Any] = {
    "parameters": [
        {
            "name": HEADER,
            "in": "header",
            "required": True,
            "schema": {"type": "string"},
            "description": "ts:<Unix milliseconds>,hmac:<base64 of HMAC-SHA256 over the timestamp and the raw body>",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        _push(
                            SYNC,
                            {"sync_info": _SYNC_INFO, "add": _MEMBERS, "remove": _MEMBERS},
                            required=["segment", "sync_info"],
                        ),
                        _push(DRAIN, {}, required=["segment"]),
                    ]
                }
            }
        },
    },
}
