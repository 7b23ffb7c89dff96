"""What is answered in front of the framework is what the framework's own routes answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from foundation.errors import CohortGatewayError, NotFoundError, UnavailableError
from gateway.shortcuts import Shortcut, Shortcuts

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from tests.gateway.conftest import Wire


@pytest.mark.parametrize(
    "target",
    [
        "/server-side/v2-settings",
        "/server-side/v2-settings?a=123456&i=sample_sdk_key&r=0.1&platform=server",
        "/server-side/v2-settings?a=999",
        "/server-side/v2-settings?a=%FF%00&a=&i",
        "/get-user-details",
        "/get-user-details?userAgent=Mozilla/5.0+(iPhone;%20CPU)&ipAddress=203.0.113.9&accountId=1",
        "/get-user-details?userAgent=José&userAgent=%FF",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_both_answer_the_same_bytes(wire: Wire, target: str, method: str) -> None:
    """With a segment in front, a path is the framework's."""
    front, behind = (wire.get(prefix + target, method=method) for prefix in ("", "/as01"))
    for headers in (front.headers, behind.headers):
        headers.pop("date")
    assert front == behind


@pytest.mark.parametrize(
    "target",
    [
        "/events/t?a=123456",
        "/server-side/batch-events-v2",
        "/server-side/getFlag",
        "/server-side/getFlag?accountId=9",
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b'{"d":{"event":{"name":"bought"}}}',
        b'{"ev":[{"d":{"event":{"name":"x"}}}]}',
        b'{"featureKey":"premium_dashboard","userId":"alice","customVariables":{"heap_user_id":"alice"}}',
        b'{"featureKey":"premium_dashboard"}',
        b"{",
    ],
)
def test_what_is_posted_is_answered_in_the_same_bytes_as_well(wire: Wire, target: str, body: bytes) -> None:
    front, behind = (wire.send(post(prefix + target, body)) for prefix in ("", "/as01"))
    for headers in (front.headers, behind.headers):
        headers.pop("date")
    assert front == behind


def post(target: str, body: bytes) -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("error", [UnavailableError("no settings yet"), NotFoundError("no such account")])
async def test_what_is_refused_is_not_asked_again(error: CohortGatewayError) -> None:
    """A refusal may come after a long wait, which the application would repeat."""
    sent: list[Message] = []

    async def application(_scope: Scope, _receive: Receive, _send: Send) -> None:
        pytest.fail("the application was asked, too")

    async def refuse(_: Request) -> bytes:
        raise error

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/slow", "headers": [], "query_string": b""}
    await Shortcuts(application, {"/slow": Shortcut(refuse)}, {})(scope, receive, send)
    assert [message.get("status") for message in sent] == [error.status, None]
