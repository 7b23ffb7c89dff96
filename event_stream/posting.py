"""Batches over HTTP, to whoever takes events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from event_stream.delivery import Again, Delivered, Refused
from foundation.errors import NoAnswerError
from foundation.http_client import TIMEOUT, Answer, HttpClient, seconds_to_wait

if TYPE_CHECKING:
    from event_stream.delivery import Verdict

BECAUSE_OF_SOME = frozenset((400, 413, 422))  # statuses for which a part of the batch may be to blame

# The other side's program failed, perhaps over one event; it does not say that it is away.
_STUMBLED = frozenset((500, 501, 502, 504, 505, 507, 508, 520))
_LARGEST_ANSWER = 256 * 1024  # bytes; the answers are `{}`, and the pages of a proxy that refuses some 10 kB


class Poster:
    """`patience`: seconds for which the other side may be silent; `whole`: for a request and all of its answer.

    It connects on first use and keeps connections; `aclose` ends it.
    """

    def __init__(self, *, patience: float, whole: float) -> None:
        self._client = HttpClient(silence=patience, whole=whole)

    async def post(self, address: str, body: bytes, **more: Any) -> Answer | Again:
        """The answer to `body`, which is JSON, or why there was none. `more` goes to httpx."""
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        try:
            return await self._client.request(
                "POST", address, most=_LARGEST_ANSWER, content=body, headers=headers, **more
            )
        except NoAnswerError as error:
            return Again(error.reason, because_of_some=error.reason == TIMEOUT)

    async def aclose(self) -> None:
        await self._client.aclose()


def verdict_of(answer: Answer) -> Verdict:
    """What an answer says of a batch, by HTTP's own meaning of its status."""
    reason = f"http_{answer.status}"
    if httpx.codes.is_success(answer.status):
        return Delivered()
    if answer.status in BECAUSE_OF_SOME:
        return Refused(reason, because_of_some=True)
    return Again(reason, after=seconds_to_wait(answer.headers), because_of_some=answer.status in _STUMBLED)
