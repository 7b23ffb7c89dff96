"""The HTTP client of the tests: to loopback, a connection a request."""

from __future__ import annotations

from typing import Any

import httpx


def request(method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
    # Without `verify=False` each call would load the system's certificates, which costs more than the request.
    with httpx.Client(verify=False, timeout=60) as client:  # noqa: S501 - plain HTTP, or our own certificate
        return client.request(method, url, **options)


def get(url: str, **options: Any) -> httpx.Response:
    return request("GET", url, **options)


def post(url: str, **options: Any) -> httpx.Response:
    return request("POST", url, **options)


def membership(gateway: str, who: str, list_id: str, *, account: str) -> str:
    """What the gateway at that address knows of somebody: `X-Membership` of one check."""
    question = {"attribute": who, "listId": list_id, "accountId": account}
    answer = get(f"{gateway}/check-attribute", params=question)
    state = str(answer.headers["X-Membership"])
    assert answer.status_code == 200
    assert answer.text == ("true" if state in ("in", "stale_in") else "false")
    return state
