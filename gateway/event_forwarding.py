"""VWO, as far as events go: batches out, and what its answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from event_stream import posting
from event_stream.delivery import Again, Refused
from fme_client._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from event_stream.delivery import Verdict
    from event_stream.stream import Record
    from foundation.http_client import Answer

BATCH = "/server-side/batch-events-v2"
_WHOLE_SECONDS = 30.0  # for a request from its beginning to the end of its answer

_SENT_AGAIN = frozenset((408, 425, 429))


def place_of(account: str, sdk_key: str) -> str:
    """Where the events of an environment go, as the stream has it."""
    return f"{account}/{sdk_key}"


def account_of(place: str) -> str:
    return place.partition("/")[0]


class Vwo:
    """VWO at `base`, a URL without a path; `patience`: seconds for which it may be silent. `aclose` ends it."""

    def __init__(self, base: str, *, patience: float) -> None:
        self._base = base.rstrip("/")
        self._poster = posting.Poster(patience=patience, whole=_WHOLE_SECONDS)

    async def send(self, place: str, records: Sequence[Record]) -> Verdict:
        """Send events of one environment as a batch, in their order."""
        account, _, sdk_key = place.partition("/")
        if not account or not sdk_key:
            return Refused("no_account" if not account else "no_sdk_key", because_of_some=False)
        answer = await self._poster.post(
            self._base + BATCH,
            b'{"ev":[' + b",".join(record.body for record in records) + b"]}",
            params={"a": account, "env": sdk_key, "sn": "cohort-gateway", "sv": VERSION},
            headers={"Authorization": sdk_key},
        )
        return answer if isinstance(answer, Again) else verdict_of(answer)

    async def aclose(self) -> None:
        await self._poster.aclose()


def verdict_of(answer: Answer) -> Verdict:
    """What VWO's answer to a batch says of its events."""
    status = answer.status
    if httpx.codes.is_client_error(status) and status not in _SENT_AGAIN | posting.BECAUSE_OF_SOME:
        return Refused(f"http_{status}", because_of_some=False)  # such as a wrong SDK key: no event is to blame
    return posting.verdict_of(answer)
