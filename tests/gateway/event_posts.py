"""Events posted to a gateway as SDKs do, and how a gateway that forwards them is asked about them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.fake_vwo import BATCH
from tests.support.processes import run_program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_vwo import FakeVwo
    from tests.support.processes import Program

ONE = "/events/t"
KEY = "sample_sdk_key"


def settings_for(vwo: FakeVwo, store_url: str, **others: str) -> dict[str, str]:
    fixed = {"REDIS_URL": store_url, "VWO_BASE_URL": vwo.address, "FORWARD_EVENTS": "true"}
    return fixed | {"FLUSH_EVENTS_INTERVAL": "0.05"} | others


def event(number: int, **data: Any) -> dict[str, Any]:
    about = {"name": "vwo_variationShown", "time": 1795308506454, "props": {"id": 2, "vwo_envKey": KEY}}
    return {"d": {"msgId": f"m{number}", "visId": "5B1A", "event": about, **data}}


def send(
    program: Program,
    body: object,
    path: str = ONE,
    parameters: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> str:
    """POST as SDKs do; what became of it."""
    asked = {"a": "123456", "env": KEY} if parameters is None else parameters
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with httpx.Client() as client:
        answer = client.post(program.address + path, params=asked, content=content, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()) == (200, {})
    return answer.headers["X-Events"]


def send_batch(program: Program, *numbers: int) -> str:
    return send(program, {"ev": [event(number) for number in numbers]}, BATCH)


def messages(*numbers: int) -> list[str]:
    return [f"m{number}" for number in numbers]


def metric(program: Program, name: str) -> float:
    """The sum over all labels."""
    lines = httpx.get(f"{program.address}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"cohort_gateway_{name}"))


def readiness(program: Program) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{program.address}/readyz").json()
    return answer


def run(tmp_path: Path, vwo: FakeVwo, store_url: str, *arguments: str) -> str:
    """`cohort-gateway events ...`; what it said."""
    settings = settings_for(vwo, store_url)
    done = run_program(["gateway", "events", *arguments], settings, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def status(tmp_path: Path, vwo: FakeVwo, store_url: str) -> Any:
    return json.loads(run(tmp_path, vwo, store_url, "status", "--json"))
