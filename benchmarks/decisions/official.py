"""The official Python SDK as a contender: a program of its own, since the SDK is none of our dependencies.

`python official.py DIRECTORY`: DIRECTORY has `vwo-fme-python-sdk`. Jobs and answers as in `tests/node/decisions.cjs`.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any


def client_for(settings: dict[str, Any]) -> Any:
    """The SDK with a network that answers at once: its settings, and nothing for events."""
    network = importlib.import_module("wingify.packages.network_layer.client.network_client").NetworkClient
    response = importlib.import_module("wingify.packages.network_layer.models.response_model").ResponseModel

    def answer(*_: Any) -> Any:
        answered = response()
        answered.set_status_code(200)
        answered.set_data(settings)
        return answered

    network.get = network.post = answer
    options = {
        "sdk_key": "key",
        "account_id": str(settings["accountId"]),
        # Without this each event gets a thread pool of its own.
        "threading": {"enabled": False},
        "logger": {"level": "ERROR", "transport": {"level": "ERROR"}},
        "is_usage_stats_disabled": True,
    }
    return importlib.import_module("vwo").init(options)


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    for line in sys.stdin:
        job = json.loads(line)
        client = client_for(job["settings"])
        cases = [
            (case["flag"], {"id": case["context"]["id"], "custom_variables": case["context"]["customVariables"]})
            for case in job["cases"]
        ]
        if "measure" not in job:
            flags = [client.get_flag(flag, dict(context)) for flag, context in cases]
            print(json.dumps([[flag.is_enabled(), flag.get_variables()] for flag in flags]), flush=True)
            continue
        decisions, began = 0, time.perf_counter()
        while time.perf_counter() - began < job["measure"]:
            for flag, context in cases:
                client.get_flag(flag, dict(context)).is_enabled()
            decisions += len(cases)
        print(json.dumps({"decisions": decisions, "seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
