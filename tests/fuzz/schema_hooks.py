"""Hooks of schemathesis: each request is signed as Heap would, and no redirect is followed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import schemathesis

from cohort_sync.signature import HEADER, sign
from tests.fuzz.requests import SECRET

if TYPE_CHECKING:
    import requests


class _Signer:
    """What `requests` calls with the request as it goes out."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        raw = body.encode() if isinstance(body, str) else bytes(body)
        request.headers[HEADER] = sign(SECRET, raw, timestamp_ms=int(time.time() * 1000))
        return request


def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    del context
    kwargs["allow_redirects"] = False
    if case.path == "/webhooks/heap" and case.method.upper() == "POST":
        kwargs["auth"] = _Signer()


schemathesis.hook(before_call)
