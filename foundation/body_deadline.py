"""A time limit for the bodies of requests: who sends a byte now and then would hold memory and a connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

from foundation.errors import TooSlowError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")
_GRACE = 1 / 6  # share of the time in which nobody asks for the pace


class BodyDeadline:
    """Middleware: reading a body raises `TooSlowError` once `seconds` have passed since its headers were there.

    Whatever is answered then is the last answer on that connection. `setting`: the variable that says how many seconds.
    `slowest`: bytes a second that must have come after a sixth of the time.
    """

    def __init__(self, app: ASGIApp, *, seconds: float, setting: str, slowest: float | None = None) -> None:
        self._app = app
        self._seconds = seconds
        self._slowest = slowest
        self._problem = f"the body must arrive within {seconds:g} s ({setting})"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in WITHOUT_BODY:
            await self._app(scope, receive, send)
            return
        start = asyncio.get_running_loop().time()
        received = 0
        is_whole = is_late = False

        async def receive_in_time() -> Message:
            nonlocal received, is_whole, is_late
            if is_whole:
                return await receive()  # waits for the end of the connection
            try:
                async with asyncio.timeout_at(start + self._patience(received)):
                    message = await receive()
            except TimeoutError:
                is_late = True
                raise TooSlowError(self._problem) from None
            received += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            return message

        async def send_last(message: Message) -> None:
            if is_late and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, receive_in_time, send_last)

    def _patience(self, received: int) -> float:
        if self._slowest is None:
            return self._seconds
        return min(self._seconds, self._seconds * _GRACE + received / self._slowest)
