"""Whether all is well with heap-export, in words that an operator can look up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from foundation.background import failed_tasks
from foundation.store import STORE_ERRORS, ping

if TYPE_CHECKING:
    from heap_export.exporter import Exporter

_PATIENCE = 2.0  # seconds that the store has


class Readiness:
    """Always 200: `ok`, or `degraded` with the reasons. What can't be taken is answered 503 and sent again."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    async def __call__(self) -> tuple[int, dict[str, Any]]:
        reasons = await self.reasons()
        return 200, {"status": "degraded", "reasons": reasons} if reasons else {"status": "ok"}

    async def reasons(self) -> list[str]:
        """Empty when all is well."""
        exporter = self._exporter
        try:
            async with asyncio.timeout(_PATIENCE):
                await ping(exporter.store)
        except STORE_ERRORS:
            return ["store_away"]
        idle = not any(integration.enabled for integration in exporter.integrations.all)
        return [
            *(["no_integration"] if idle else []),
            *exporter.delivering.trouble,
            *exporter.agent.trouble,
            *exporter.vwo.trouble,
            *failed_tasks(),
        ]
