"""What Optimizely's Python SDK tells its listeners, and a heap-export that is told in turn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.faulty_server import Answer, FaultyServer, Request
from tests.support.waiting import until

if TYPE_CHECKING:
    from heap_export.optimizely import DecisionListener

EXPOSURES = "/v1/exposures"


def decide(
    listener: DecisionListener,
    user: Any,
    flag: Any = "checkout",
    variation: Any = "treatment",
    *,
    attributes: Any = None,
    **info: Any,
) -> None:
    """Tell `listener` of a decision, in the four arguments of the SDK."""
    told = {
        "flag_key": flag,
        "enabled": True,
        "variables": {},
        "variation_key": variation,
        "rule_key": "rule",
        "reasons": [],
        "decision_event_dispatched": True,
        "experiment_id": "1",
        "variation_id": "2",
    }
    listener("flag", user, attributes, told | info)


class FakeExport(FaultyServer):
    """Takes all exposures, as heap-export does; `taken` are they, in the order of their coming."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[dict[str, Any]] = []
        self.routes[EXPOSURES] = self._take

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        until(lambda: len(self.taken) >= count, what=f"{count} exposures ({len(self.taken)} came)")
        return self.taken

    @property
    def users(self) -> list[str]:
        return [exposure["identity"] for exposure in self.taken]

    def _take(self, request: Request) -> Answer:
        exposures = json.loads(request.body)
        self.taken += exposures
        return Answer(body=json.dumps({"accepted": len(exposures), "repeated": 0, "refused": []}).encode())
