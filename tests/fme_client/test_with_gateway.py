"""The client beside the real services: Heap pushes who is in a segment, and a flag follows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from fme_client import Client, init
from tests.end_to_end.conftest import running
from tests.end_to_end.installation import ACCOUNT, Installation
from tests.support.http import get

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAG = "premium_dashboard"
VALUES = ("alice", "José", "a+b@x.com", "a b", "a&listId=other", "100%", "中文", "a#b")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with running(tmp_path_factory.mktemp("installation")) as started:
        yield started


@pytest.fixture
def client(installation: Installation) -> Iterator[Client]:
    with init(
        account_id=ACCOUNT, sdk_key="sample_sdk_key", gateway_service=installation.gateway, deadline=5000
    ) as made:
        yield made


def is_on(client: Client, value: str) -> bool:
    flag = client.get_flag(FLAG, {"id": f"user of {value}", "custom_variables": {"heap_user_id": value}})
    assert flag.get_variable("layout") == ("premium" if flag else None)
    return flag.is_enabled()


def test_a_member_that_heap_pushes_has_the_flag_at_once(client: Client, installation: Installation) -> None:
    assert not is_on(client, "dave")
    installation.push(add=["dave"])
    assert is_on(client, "dave")
    installation.push(remove=["dave"])
    assert not is_on(client, "dave")


def test_whatever_a_members_id_looks_like(client: Client, installation: Installation) -> None:
    installation.push(add=VALUES)
    assert {value for value in (*VALUES, "Jose", "b", "other", "100") if is_on(client, value)} == set(VALUES)


def test_the_gateway_takes_all_events(client: Client, installation: Installation) -> None:
    installation.push(add=["erin"])
    before = _events(installation)
    assert is_on(client, "erin")
    assert client.track_event("premium_dashboard_opened", {"id": "erin"})["premium_dashboard_opened"]
    assert client.set_attribute("plan", "gold", {"id": "erin"})
    assert client.flush()
    assert client.dropped_events == {}
    after = _events(installation)
    came = {name: after[name] - before.get(name, 0) for name in after}
    assert {name: count for name, count in came.items() if count} == {
        "vwo_variationShown": 1,
        "custom": 1,
        "vwo_syncVisitorProp": 1,
    } | ({"vwo_fmeSdkInit": 1} if came.get("vwo_fmeSdkInit") else {})


def test_the_gateway_takes_batches(installation: Installation) -> None:
    before = _events(installation).get("custom", 0)
    with init(
        account_id=ACCOUNT,
        sdk_key="sample_sdk_key",
        gateway_service=installation.gateway,
        batch_event_data={"events_per_request": 100},
    ) as client:
        for _ in range(250):
            client.track_event("premium_dashboard_opened", {"id": "erin"})
        assert client.flush()
        assert client.sent_events == 251  # and the start
    assert _events(installation)["custom"] == before + 250


def _events(installation: Installation) -> dict[str, float]:
    """What the gateway counted so far, by the name of the event."""
    text = get(f"{installation.gateway}/metrics").text
    found = re.findall(r'^\w*events_total\{[^}]*?"(\w+)"[^}]*\} (\S+)$', text, re.MULTILINE)
    return {name: float(count) for name, count in found}
