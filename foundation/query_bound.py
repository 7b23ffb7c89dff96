"""A bound on the parameters of a query: taking many apart would hold up everybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_MOST = 64
_WHOLE = "whole_query_string"


class QueryBound:
    """Middleware: of a query the application is shown the first parameters; what it knows has a few."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["query_string"].count(b"&") >= _MOST:
            whole = scope["query_string"]
            scope = {**scope, "query_string": b"&".join(whole.split(b"&", _MOST)[:_MOST]), _WHOLE: whole}
        await self._app(scope, receive, send)


def whole_query(scope: Scope) -> bytes:
    """All of it, as it was sent."""
    query: bytes = scope.get(_WHOLE, scope["query_string"])
    return query
