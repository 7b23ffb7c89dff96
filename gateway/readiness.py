"""Whether to send requests here. Something to answer with `false` beats nobody to answer, so much counts as ready."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any

from foundation.store import STORE_ERRORS, ping

if TYPE_CHECKING:
    from foundation.store import Store
    from gateway.flag_settings import ServedSettings

_PING_SECONDS = 0.5


class Phase(Enum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Readiness:
    """503 while starting or draining, else 200: `ok`, or `degraded` with the reasons.

    An SDK that finds no gateway at all waits 14 s.
    """

    def __init__(self, store: Store, served: ServedSettings) -> None:
        self._store = store
        self._served = served
        self.phase = Phase.STARTING

    async def __call__(self) -> tuple[int, dict[str, Any]]:
        if self.phase is not Phase.SERVING:
            return 503, {"status": self.phase.value}
        reasons = []
        if not await self._store_answers():
            reasons.append("store_down")
        if self._served.account is None:
            reasons.append("no_settings")
        if self._served.newest_is_bad:
            reasons.append("bad_settings")
        return 200, {"status": "degraded", "reasons": reasons} if reasons else {"status": "ok"}

    async def _store_answers(self) -> bool:
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await ping(self._store)
        except STORE_ERRORS:
            return False
        return True
