"""Whether to send requests here. Something to answer with `false` beats nobody to answer, so much counts as ready."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from foundation.background import failed_tasks
from foundation.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attribute_lists.membership import Membership
    from gateway.flag_settings import ServedSettings


class Phase(Enum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class _Part(Protocol):
    @property
    def trouble(self) -> list[str]: ...


class Readiness:
    """503 while nobody of the crew serves (`starting` or `draining`), else 200: `ok`, or `degraded` with the reasons.

    An SDK that finds no gateway at all waits 14 s.
    """

    def __init__(
        self,
        membership: Membership,
        served: ServedSettings,
        lookups: _Part,
        crew: Crew | None = None,
        queues: Sequence[_Part] = (),
    ) -> None:
        self._membership = membership
        self._served = served
        self._lookups = lookups
        self._queues = queues
        self._crew = crew or Crew()
        self._phase = Phase.STARTING

    @property
    def phase(self) -> Phase:
        """What this process does; the whole crew knows whether it serves."""
        return self._phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._phase = phase
        self._crew.set_serving(phase is Phase.SERVING)

    async def __call__(self) -> tuple[int, dict[str, Any]]:
        serving = len(self._crew.serving())
        if not serving:
            return 503, {"status": self.phase.value}
        await self._served.catch_up()
        reasons = []
        if serving < self._crew.size:
            reasons.append(f"workers {serving} of {self._crew.size}")
        if self._membership.trouble is not None:
            reasons.append(self._membership.trouble.value)
        else:  # nothing that says it all
            reasons += self._lookups.trouble
            reasons += self._membership.receiver_reasons
        reasons += self._served.trouble
        reasons += failed_tasks()
        for queue in self._queues:
            reasons += queue.trouble
        return 200, {"status": "degraded", "reasons": reasons} if reasons else {"status": "ok"}
