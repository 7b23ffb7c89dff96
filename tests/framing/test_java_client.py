"""The HTTP client of Java's own library, whose every first request asks for HTTP/2."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.framing.ports import Installation, Port

_PROGRAM = Path(__file__).with_name("JavaClient.java")
_EVENT = {"d": {"msgId": "m", "visId": "5B1A", "event": {"name": "vwo_variationShown", "time": 1, "props": {"id": 2}}}}


def java(url: str, body: bytes, headers: dict[str, str]) -> list[str]:
    """What it printed of the answers to three requests in a row."""
    program = shutil.which("java")
    if program is None:
        pytest.skip("NOT TESTED: java is not installed, so its client was not tried")
    given = [part for header in headers.items() for part in header]
    command = [program, "-XX:TieredStopAtLevel=1", str(_PROGRAM), url, body.decode(), *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_bodies_arrive(port: Port) -> None:
    answers = java(port.address + port.target, port.body, port.headers)
    assert [answer.split()[0] for answer in answers] == ["200", "200", "200"]


@pytest.mark.parametrize(
    ("path", "body"), [("/events/t", _EVENT), ("/server-side/batch-events-v2", {"ev": [_EVENT, _EVENT]})]
)
def test_events_are_read(installation: Installation, path: str, body: object) -> None:
    address = f"{installation.gateway.address}{path}?a=123456&env=sample_sdk_key"
    assert java(address, json.dumps(body).encode(), {}) == ["200 counted {}"] * 3
