"""What a gateway wants of our own client, `fme_client`: the ids of users beside their events, to tell heap-export."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADER = (b"x-wants", b"user-ids")
_PATHS = ("/server-side/v2-settings", "/server-side/v2-pull", "/events/t", "/server-side/batch-events-v2")


class Wishes:
    """Middleware: says so with settings, so that a client knows before its first event, and with answers to events."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith(_PATHS):
            await self._app(scope, receive, send)
            return

        async def send_with_wish(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], _HEADER]}
            await send(message)

        await self._app(scope, receive, send_with_wish)
