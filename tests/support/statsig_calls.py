"""Runs in a process of its own: calls of Statsig's Python SDK, as a job on standard input tells."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

sys.path.insert(0, sys.argv[1])  # the SDK is installed apart

sdk = importlib.import_module("statsig")
statsig = importlib.import_module("statsig.statsig")


def call(method: str, user: str, name: str, value: Any = None, metadata: Any = None) -> Any:
    """What the SDK answers: of a gate a truth value, of an experiment its group and value."""
    who = sdk.StatsigUser(user, email=f"{user}@example.com")
    if method == "check_gate":
        return statsig.check_gate(who, name)
    if method == "get_config":
        return statsig.get_config(who, name).value
    if method == "get_experiment":
        experiment = statsig.get_experiment(who, name)
        return [experiment.group_name, experiment.value]
    return statsig.log_event(sdk.StatsigEvent(who, name, value, metadata))


def main() -> None:
    job = json.load(sys.stdin)
    names = ("api", "api_for_log_event", "api_for_download_config_specs", "api_for_get_id_lists")
    statsig.initialize(
        "secret-key", sdk.StatsigOptions(bootstrap_values=json.dumps(job["specs"]), **dict.fromkeys(names, job["api"]))
    )
    answers = [call(*asked) for asked in job["calls"]]
    statsig.shutdown()  # sends what was logged
    json.dump(answers, sys.stdout)


main()
