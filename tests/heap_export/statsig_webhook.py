"""Statsig's side of its webhook."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from tests.heap_export.conftest import STATSIG_SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from tests.heap_export.conftest import Service

PATH = "/webhooks/statsig"


def headers(body: bytes, *, secret: str = STATSIG_SECRET, age: float = 0.0) -> dict[str, str]:
    """What is sent with `body`, signed `age` seconds ago."""
    moment = str(int((time.time() - age) * 1000))
    digest = hmac.new(secret.encode(), f"v0:{moment}:".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Statsig-Request-Timestamp": moment, "X-Statsig-Signature": f"v0={digest}"}


def send(service: Service, body: Any, **options: Any) -> httpx.Response:
    """`body`: bytes as they are, anything else as JSON. `options` are those of `headers`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.post(PATH, raw, key=None, headers=headers(raw, **options))


def event(name: str, user: str | None = "ann", *, metadata: Any = None, **fields: Any) -> dict[str, Any]:
    """An event in the form that Statsig's documentation shows, a new message each time."""
    return {
        "eventName": name,
        "user": {"userID": user, "email": "ann@example.com"},
        "userID": user,
        "timestamp": "1769860800250",
        "value": "",
        "metadata": metadata or {},
        "statsigMetadata": {},
        "timeUUID": str(uuid.uuid4()),
        "unitID": "userID",
    } | fields


def gate(name: str, value: Any, user: str | None = "ann", **fields: Any) -> dict[str, Any]:
    metadata = {"gate": name, "gateValue": value, "ruleID": "rule", "reason": "Network", "time": "1769860800000"}
    return event("statsig::gate_exposure", user, metadata=metadata, **fields)


def experiment(name: str, group: str | None, user: str | None = "ann", **metadata: Any) -> dict[str, Any]:
    named = {} if group is None else {"experimentGroupName": group}
    told = {"config": name, "ruleID": "rule", "reason": "Network"} | named | metadata
    return event("statsig::experiment_exposure", user, metadata=told)


def forwarded(logged: Mapping[str, Any], groups: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """An event that an SDK logged, as Statsig would forward it.

    `groups`: of each experiment, rule ids and the names of their groups. Only Statsig knows which configs are
    experiments: SDKs log both alike.
    """
    name, metadata = logged["eventName"], {key: str(value) for key, value in logged.get("metadata", {}).items()}
    if name == "statsig::config_exposure" and metadata["config"] in groups:
        name = "statsig::experiment_exposure"
        metadata["experimentGroupName"] = groups[metadata["config"]][metadata["ruleID"]]
    user = logged.get("user", {})
    moment, value = str(logged["time"]), str(logged.get("value", ""))
    return event(name, user.get("userID"), metadata=metadata, timestamp=moment, value=value) | {"user": user}
