"""Values as large as a body may be, under many conditions: they cost time, but nobody waits for long."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.decisions.builders import ROLLOUT, campaign, document, feature
from tests.gateway.deciding import Deciding, deciding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import StoreServer

OPERANDS = {"above": "gt(5)", "below": "lt(5.1)", "same": "5.6", "text": "abc", "lower": "lower(abc)"}
CONDITIONS = 50
MOST_SECONDS = 20.0


def settings() -> dict[str, Any]:
    campaigns = [
        campaign(ROLLOUT, number, {"or": [{"custom_variable": {"x": operand}}] * CONDITIONS})
        for number, operand in enumerate(OPERANDS.values(), 1)
    ]
    features = [feature(number, key, [campaigns[number - 1]]) for number, key in enumerate(OPERANDS, 1)]
    return document(features, campaigns)


@pytest.fixture(scope="module")
def gateway(store_server: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    with deciding(tmp_path_factory.mktemp("large"), store_server.url, settings()) as running:
        yield running


@pytest.mark.parametrize(
    ("flag", "value", "is_on"),
    [
        ("above", "." * 1_000_000, False),
        ("above", "a." * 450_000 + "6", False),
        ("below", "1." * 450_000 + "x", True),
        ("same", "5.6" + ".0" * 450_000, True),
        ("same", "5.6" + ".0" * 450_000 + "x", False),
        ("text", [1.5] * 19_000, False),
        ("text", [[7, None, True]] * 4_000, False),
        ("lower", "É" * 100_000, False),
    ],
)
def test_a_megabyte_is_decided_on_within_seconds(gateway: Deciding, flag: str, value: Any, is_on: bool) -> None:
    content = json.dumps(
        {"featureKey": flag, "userId": "alice", "customVariables": {"x": value}}, separators=(",", ":")
    )
    began = time.monotonic()
    answer = gateway.post("/server-side/getFlag", content.encode())
    assert answer.json()["isEnabled"] is is_on
    assert time.monotonic() - began < MOST_SECONDS
