"""Statsig's own Python SDK, run in processes of its own, and the Statsig that it logs to."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.faulty_server import Answer, FaultyServer
from tests.support.installed_apart import run_apart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STATSIG = "statsig==0.72.1"


class Logged(NamedTuple):
    """What each call answered, and the events that the SDK logged of all of them."""

    answers: list[Any]
    events: list[dict[str, Any]]


def rule(name: str, value: Any, *, users: Sequence[str] = (), share: float = 100) -> dict[str, Any]:
    """A rule of a gate, a config or an experiment (there a group), as Statsig gives rules to its SDKs.

    `users`: for them only; nobody means everybody. `share`: percent of these that pass.
    """
    condition: dict[str, Any] = {"type": "public", "targetValue": None, "operator": None, "field": None}
    if users:
        condition = {"type": "user_field", "targetValue": list(users), "operator": "any", "field": "userID"}
    return {
        "id": f"rule_of_{name}",
        "name": name,
        "groupName": name,
        "passPercentage": share,
        "conditions": [condition | {"additionalValues": {}, "isDeviceBased": False, "idType": "userID"}],
        "returnValue": value,
        "salt": name,
        "isDeviceBased": False,
        "idType": "userID",
    }


def specs(
    *,
    gates: Mapping[str, Sequence[Any]],
    configs: Mapping[str, Sequence[Any]],
    experiments: Mapping[str, Sequence[Any]],
) -> dict[str, Any]:
    """What the SDK starts from, given the rules of each."""

    def those(found: Mapping[str, Sequence[Any]], entity: str, kind: str, default: Any) -> list[dict[str, Any]]:
        shared = {"salt": "salt", "enabled": True, "isDeviceBased": False, "idType": "userID", "isActive": True}
        told = {"entity": entity, "type": kind, "defaultValue": default}
        return [{"name": name, "rules": list(rules)} | told | shared for name, rules in found.items()]

    return {
        "has_updates": True,
        "time": 1_700_000_000_000,
        "feature_gates": those(gates, "feature_gate", "feature_gate", default=False),
        "dynamic_configs": those(configs, "dynamic_config", "dynamic_config", {})
        + those(experiments, "experiment", "dynamic_config", {}),
        "layer_configs": [],
        "layers": {},
        "id_lists": {},
    }


def statsig_calls(specs: Mapping[str, Any], calls: Sequence[Sequence[Any]]) -> Logged:
    """Make the calls, each a method, a user, a name and so on, one after the other in a fresh process."""
    statsig = FaultyServer()
    statsig.routes = dict.fromkeys(("/v1/log_event", "/v1/get_id_lists"), lambda _: Answer(202))
    with statsig.serving():
        job = {"specs": dict(specs), "api": f"{statsig.address}/v1/", "calls": [list(call) for call in calls]}
        done = run_apart("statsig_calls.py", STATSIG, job)
    bodies = [request.body for request in statsig.requests if request.path == "/v1/log_event"]
    events = [event for body in bodies for event in json.loads(gzip.decompress(body))["events"]]
    return Logged(json.loads(done.stdout), events)
