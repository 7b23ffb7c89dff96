"""The official Python SDK makes the calls of a script, one after the other: `python -I official_calls.py DIRECTORY`.

DIRECTORY has the SDK. stdin, one JSON job: {"package", "options": {of init}, "calls": [{"method", "arguments"}]}, a
method of the client or a function of the package; stdout, one JSON list: what each call answered, of a flag {"enabled",
"variables"}; stderr: the SDK's log, warnings and worse.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import threading
from typing import Any


def stay_on_loopback() -> None:
    """Tests reach nothing else, so other names are not even asked for."""
    look_up = socket.getaddrinfo

    def refuse(host: Any, *rest: Any, **options: Any) -> Any:
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(f"{host} is not loopback")
        return look_up(host, *rest, **options)

    socket.getaddrinfo = refuse


def wait_for_events() -> None:
    """Return once the SDK's threads are done; those that send events end by themselves."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not isinstance(thread, threading.Timer):
            thread.join()


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    answers_go_to, sys.stdout = sys.stdout, sys.stderr  # the SDK prints its log
    stay_on_loopback()
    job = json.load(sys.stdin)
    logger = {"level": "WARN", "transport": {"level": "WARN"}}
    package = importlib.import_module(job["package"])
    client = package.init({"logger": logger, **job["options"]})
    answers = []
    for call in job["calls"]:
        method = call["method"]
        answer = getattr(client if hasattr(client, method) else package, method)(*call["arguments"])
        if method == "get_flag":
            answer = {"enabled": answer.is_enabled(), "variables": answer.get_variables()}
        answers.append(answer)
    json.dump(answers, answers_go_to)
    answers_go_to.flush()
    wait_for_events()
    os._exit(0)  # its timers of polling and batches would keep the process


if __name__ == "__main__":
    main()
