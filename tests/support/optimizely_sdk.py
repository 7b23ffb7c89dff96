"""Optimizely's own Python SDK, run offline in processes of its own, on a datafile of ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.installed_apart import installed_apart, run_apart
from tests.support.processes import environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OPTIMIZELY = "optimizely-sdk==5.7.0"
Call = tuple[Any, ...]  # a method's name, a user, their attributes, and further arguments

FORCED_TO_CONTROL, FORCED_TO_TREATMENT = "carol", "tom"


class Told(NamedTuple):
    """`told`: what the SDK told its listeners, four arguments each. `counts`: those of ours. `log`: standard error."""

    told: list[list[Any]]
    counts: dict[str, int]
    log: str


def install_optimizely() -> Path:
    """The directory that has the SDK."""
    return installed_apart(OPTIMIZELY)


def sdk_calls(
    listener: dict[str, Any], calls: Sequence[Call], *, in_child: Sequence[Call] = (), ends: str = "flush"
) -> Told:
    """Make the calls in a fresh process whose SDK has a `DecisionListener(**listener)`, then those `in_child`.

    `ends`: what is called in the end, `flush` or `close`; nothing: the program just ends.
    """
    job = {"datafile": datafile(), "listener": listener, "calls": calls, "in_child": in_child, "ends": ends}
    done = run_apart("optimizely_calls.py", OPTIMIZELY, job, options=("-I", "-S"), environment=environment({}))
    return Told(**json.loads(done.stdout), log=done.stderr)


def datafile() -> dict[str, Any]:
    """Flags: `checkout` has an experiment, `banner` a rollout, `plain` no rule, `vip` an experiment for plan `gold`.

    `checkout` gives everybody `treatment`, which is on, but to `FORCED_TO_CONTROL` gives `control`, which is off.
    """
    control, treatment = _variation("control", enabled=False), _variation("treatment", enabled=True)
    forced = {FORCED_TO_CONTROL: "control", FORCED_TO_TREATMENT: "treatment"}
    checkout = _rule("checkout_test", [treatment, control], forced=forced)
    vip = _rule("vip_test", [_variation("gold", enabled=True)], audiences=["plan_is_gold"])
    banner = _rule("banner_for_all", [_variation("shown", enabled=True)])
    return {
        "version": "4",
        "accountId": "1",
        "projectId": "2",
        "revision": "3",
        "sdkKey": "key",
        "environmentKey": "production",
        "anonymizeIP": True,
        "botFiltering": False,
        "sendFlagDecisions": True,
        "attributes": [{"id": "plan_attribute", "key": "plan"}],
        "audiences": [{"id": "plan_is_gold", "name": "gold", "conditions": '["or", "unused"]'}],
        "typedAudiences": [
            {
                "id": "plan_is_gold",
                "name": "gold",
                "conditions": ["or", {"match": "exact", "name": "plan", "type": "custom_attribute", "value": "gold"}],
            }
        ],
        "experiments": [checkout, vip],
        "rollouts": [{"id": "banner_rollout", "experiments": [banner]}],
        "featureFlags": [
            _flag("checkout", experiments=["checkout_test"]),
            _flag("vip", experiments=["vip_test"]),
            _flag("banner", rollout="banner_rollout"),
            _flag("plain"),
        ],
        "events": [],
        "groups": [],
        "variables": [],
    }


def _variation(key: str, *, enabled: bool) -> dict[str, Any]:
    return {"id": f"{key}_variation", "key": key, "featureEnabled": enabled, "variables": []}


def _rule(
    key: str, variations: list[dict[str, Any]], *, forced: dict[str, str] | None = None, audiences: Sequence[str] = ()
) -> dict[str, Any]:
    """Everybody (of `audiences`) gets the first of `variations`, who is not `forced` to another one."""
    return {
        "id": key,
        "key": key,
        "layerId": f"{key}_layer",
        "status": "Running",
        "audienceIds": list(audiences),
        "forcedVariations": forced or {},
        "variations": variations,
        "trafficAllocation": [{"entityId": variations[0]["id"], "endOfRange": 10_000}],
    }


def _flag(key: str, *, experiments: Sequence[str] = (), rollout: str = "") -> dict[str, Any]:
    return {
        "id": f"{key}_flag",
        "key": key,
        "experimentIds": list(experiments),
        "rolloutId": rollout,
        "variables": [],
    }
