"""What caches are told: answers about a moment are not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CACHE_CONTROL = "cache-control"
NO_STORE = "no-store"
REVALIDATED = "no-cache"  # it may be kept, and is asked for each time before it is used (RFC 9111, 5.2.2.4)

REVALIDATED_HEADER = (CACHE_CONTROL.encode(), REVALIDATED.encode())
_NAME, _HEADER = CACHE_CONTROL.encode(), (CACHE_CONTROL.encode(), NO_STORE.encode())


class NoStore:
    """Middleware: answers that say nothing of caches may not be stored.

    Without a word a browser, a `fetch` with a cache, or a proxy with a rule of its own (nginx `proxy_cache_valid`, a
    CDN) may keep any GET: whoever has left a list would stay in it there, and a moment without settings or store would
    last.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                if all(name != _NAME for name, _ in headers):
                    message = {**message, "headers": [*headers, _HEADER]}
            await send(message)

        await self._app(scope, receive, send_told)
