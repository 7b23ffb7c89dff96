"""Heap's server-side API: bulk calls, and what its answers mean."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from event_stream import posting
from event_stream.delivery import Again
from foundation.logs import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from event_stream.delivery import Verdict
    from foundation.http_client import Answer
    from heap_export.integrations import Integration

MOST_AT_ONCE = 1000  # events or users that a bulk call may hold
_MOST_KEPT, _MOST_READ = 200, 2000  # characters of an answer, for the delivery log
_SHORTEST_PERSON = 3  # characters: single ones stand in every text
_ADDRESS = re.compile(r"[^\s\"'<>,;:]{1,64}@[^\s\"'<>,;:]{1,255}")

# It can't be the records: the app id or the address is wrong, or Heap has closed the door. An operator must look, and
# until then nothing may be thrown away.
_WRONG_DOOR = frozenset((401, 403, 404, 405))
_WRONG_DOOR_SECONDS = 30.0


class Call(StrEnum):
    """The bulk calls; the value is the path."""

    TRACK = "/api/track"
    ADD_USER_PROPERTIES = "/api/add_user_properties"


class Told(NamedTuple):
    """What Heap said: `status` 0 where it said nothing; `body` is the beginning of its answer."""

    verdict: Verdict
    status: int = 0
    body: str = ""


class Heap:
    """`patience`: seconds that a call may take from its beginning to the end of the answer. `aclose` ends it."""

    def __init__(self, *, patience: float) -> None:
        self.patience = patience
        self._poster = posting.Poster(patience=patience, whole=patience)

    async def send(
        self, integration: Integration, call: Call, entries: Sequence[bytes], *, people: Iterable[str] = ()
    ) -> Told:
        """Send up to `MOST_AT_ONCE` events or users, each as JSON, in their order. `people`: whom they are about."""
        name = b"events" if call is Call.TRACK else b"users"
        app_id = integration.app_id.encode()  # of letters, digits, - and _
        body = b'{"app_id":"%b","%b":[%b]}' % (app_id, name, b",".join(entries))
        answer = await self._poster.post(integration.base + call.value, body)
        if isinstance(answer, Again):
            return Told(answer)
        return Told(verdict_of(answer), answer.status, _without_people(answer.body, people))

    async def aclose(self) -> None:
        await self._poster.aclose()


def _without_people(body: bytes, people: Iterable[str]) -> str:
    """The beginning of an answer, for the delivery log: it may quote what was sent, and anything else."""
    text = body[:_MOST_READ].decode(errors="replace")
    for person in sorted(people, key=len, reverse=True):
        if len(person) >= _SHORTEST_PERSON:
            text = text.replace(person, "[identity]").replace(json.dumps(person)[1:-1], "[identity]")
    return printable(_ADDRESS.sub("[address]", text))[:_MOST_KEPT]


def verdict_of(answer: Answer) -> Verdict:
    """What an answer of Heap says of what it was sent."""
    if answer.status in _WRONG_DOOR:
        return Again(f"http_{answer.status}", after=_WRONG_DOOR_SECONDS)
    return posting.verdict_of(answer)
