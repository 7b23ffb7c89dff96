"""Optimizely's Python SDK takes decisions: `python -I -S optimizely_calls.py SDK_DIRECTORY`.

With `-S` no package is there but the SDK and what that needs, and this project's own modules. stdin, one JSON job:
{"datafile", "listener": {options of `DecisionListener`}, "calls": [[method, user, attributes, *arguments]],
"in_child": calls of a forked child, "ends": how the program ends: "flush", "close" or "" (by itself)};
stdout, one JSON object: {"told": what each `decide` told the listener, "counts": those of the listener}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

SECONDS = 20.0


class NoEvents:
    """Optimizely itself is told nothing."""

    def dispatch_event(self, event: object) -> None:
        pass


def make(client: Any, calls: list[list[Any]]) -> None:
    for method, user, attributes, *arguments in calls:
        if method.startswith("decide"):
            options = arguments.pop() if method != "decide_all" and len(arguments) > 1 else []
            getattr(client.create_user_context(user, attributes), method)(*arguments, options)
        else:
            getattr(client, method)(*arguments, user, attributes)


def counts(listener: Any) -> dict[str, int]:
    return {name: getattr(listener, name) for name in ("delivered", "dropped", "refused", "ignored", "waiting")}


def main() -> None:
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), sys.argv[1]]
    importlib.import_module("tests.support.official_calls").stay_on_loopback()
    optimizely, enums = (importlib.import_module(f"optimizely.{name}") for name in ("optimizely", "helpers.enums"))
    job = json.load(sys.stdin)
    listener = importlib.import_module("heap_export.optimizely").DecisionListener(**job["listener"])
    client = optimizely.Optimizely(json.dumps(job["datafile"]), event_dispatcher=NoEvents())
    told: list[Any] = []
    decision = enums.NotificationTypes.DECISION
    client.notification_center.add_notification_listener(decision, lambda *arguments: told.append(arguments))
    client.notification_center.add_notification_listener(decision, listener)
    make(client, job["calls"])
    if job["in_child"] and os.fork() == 0:
        make(client, job["in_child"])
        os._exit(0 if listener.flush(SECONDS) else 1)
    if job["ends"]:
        getattr(listener, job["ends"])(SECONDS)
    json.dump({"told": told, "counts": counts(listener)}, sys.stdout)
    if job["in_child"]:
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))


if __name__ == "__main__":
    main()
