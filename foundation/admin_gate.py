"""The gate of an administration: the token is asked for first, then the body is read, within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from foundation.bearer import token_wanted
from foundation.body_deadline import WITHOUT_BODY
from foundation.errors import CohortGatewayError
from foundation.memory import Memory
from foundation.request_bodies import BodyLimits, BodyReader
from foundation.settings import MEBIBYTE
from foundation.turns import Turns
from foundation.web import error_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OPEN = frozenset(("/healthz", "/readyz", "/metrics", "/openapi.json"))
_LIMITS = BodyLimits(64 * 1024, "no call of the administration needs more", encodings=())
_MEMORY = 8 * MEBIBYTE


class AdminGate:
    """Middleware: all but what operations ask needs `Authorization: Bearer <token>`.

    FastAPI reads the whole body of a typed parameter, however large, before it asks a dependency for the token. So the
    application is handed bodies that were read here. A body to a method that has none is not read at all.
    """

    def __init__(self, app: ASGIApp, *, token: Callable[[], str]) -> None:
        self._app = app
        self._check = token_wanted(token)
        self._bodies = BodyReader(Memory(_MEMORY), Turns(), _LIMITS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            await self._check(request)
            if scope["method"] in WITHOUT_BODY:
                await self._app(scope, receive, send)
                return
            with self._bodies.body_of(request) as body:
                await self._app(scope, _again(await body.content(), receive), send)
        except CohortGatewayError as error:
            await error_response(error.status, str(error), error.reason)(scope, receive, send)


def _again(body: bytes, receive: Receive) -> Receive:
    """`receive` as it was before `body` was read."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return receive_again
