"""The busiest addresses, answered in front of the framework, which takes longer than the answers themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from foundation.errors import CohortGatewayError
from foundation.web import error_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_JSON = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The JSON that a GET is answered with, and headers of it beside its type and length."""

    answer: Callable[[Request], Awaitable[bytes]]
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Shortcuts:
    """Middleware: a GET of a path of `answers` is answered by its shortcut.

    A POST to a path of `takers` is answered by its function. What either refuses is answered as by the application,
    which is not asked again: a wait in vain would be another one. Everything else is for the application, whose own
    routes for these paths say the same.
    """

    def __init__(
        self,
        app: ASGIApp,
        answers: Mapping[str, Shortcut],
        takers: Mapping[str, Callable[[Request], Awaitable[Response]]],
    ) -> None:
        self._app = app
        self._answers = answers
        self._takers = takers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["type"] == "http" else ""
        taker = self._takers.get(scope["path"]) if method == "POST" else None
        if taker is not None:
            try:
                response = await taker(Request(scope, receive))
            except CohortGatewayError as error:
                response = error_response(error.status, str(error), error.reason)
            await response(scope, receive, send)
            return
        shortcut = self._answers.get(scope["path"]) if method == "GET" else None
        if shortcut is not None:
            try:
                body = await shortcut.answer(Request(scope))
            except CohortGatewayError as error:
                await error_response(error.status, str(error), error.reason)(scope, receive, send)
            else:
                headers = [*shortcut.headers, (b"content-length", b"%d" % len(body)), _JSON]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": body})
            return
        await self._app(scope, receive, send)
