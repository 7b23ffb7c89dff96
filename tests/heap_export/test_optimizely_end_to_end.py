"""Optimizely's real SDK, and an Agent, through a heap-export as a user runs it, to Heap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.heap_export.conftest import KEY
from tests.support.fake_agent import fake_agent, notification
from tests.support.optimizely_sdk import FORCED_TO_CONTROL, FORCED_TO_TREATMENT, Call, sdk_calls
from tests.support.processes import heap_export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.heap_export.conftest import Service
    from tests.support.fake_heap_api import FakeHeap


def viewed(heap: FakeHeap, identity: str) -> list[dict[str, Any]]:
    """What the events of somebody tell, which are all `Experiment Viewed`."""
    events = [event for _, who, event in heap.events if who == identity]
    assert {event["event"] for event in events} <= {"Experiment Viewed"}
    return [event["properties"] for event in events]


def test_what_the_sdk_decides_heap_gets_once(service: Service, heap: FakeHeap) -> None:
    calls: list[Call] = [
        ("decide", FORCED_TO_CONTROL, {}, "checkout"),
        ("decide", FORCED_TO_TREATMENT, {}, "checkout"),
        ("decide", "vera", {"plan": "gold", "email": "vera@example.com"}, "vip"),
        ("decide", "ben", {}, "banner"),
        ("decide", "pia", {}, "plain"),
    ]
    listener = {"service": service.program.address, "key": KEY, "attributes": ["plan"]}
    for _ in range(2):  # from two processes of the application, one after the other
        told = sdk_calls(listener, calls)
        assert told.counts["delivered"] == len(calls)
    heap.wait_for_users(len(calls))
    assert len(heap.events) == len(calls)
    keys = {"source": "optimizely"}
    assert {person: viewed(heap, person) for person in (FORCED_TO_CONTROL, FORCED_TO_TREATMENT, "vera")} == {
        FORCED_TO_CONTROL: [
            {
                **keys,
                "flag_key": "checkout",
                "variation_key": "control",
                "rule_key": "checkout_test",
                "enabled": "false",
            }
        ],
        FORCED_TO_TREATMENT: [
            {
                **keys,
                "flag_key": "checkout",
                "variation_key": "treatment",
                "rule_key": "checkout_test",
                "enabled": "true",
            }
        ],
        "vera": [
            {
                **keys,
                "flag_key": "vip",
                "variation_key": "gold",
                "rule_key": "vip_test",
                "enabled": "true",
                "plan": "gold",
            }
        ],
    }
    assert heap.properties_of(FORCED_TO_CONTROL) == {"[Optimizely] checkout": "control"}
    assert heap.properties_of("ben") == {"[Optimizely] banner": "shown"}
    assert heap.properties_of("pia") == {"[Optimizely] plain": "off"}
    assert set(heap.came.values()) == {1}


def test_what_the_agent_decides_heap_gets_too(tmp_path: Path, settings: dict[str, str], heap: FakeHeap) -> None:
    with fake_agent() as agent:
        more = {"OPTIMIZELY_AGENT_URL": agent.address, "OPTIMIZELY_SDK_KEYS": "sdk-key"}
        with heap_export(tmp_path, settings | more):
            agent.wait_for_listeners()
            agent.tell(
                notification("ann", "checkout", "control", "checkout_test", enabled=False),
                notification("ann", "checkout", "control", "checkout_test", enabled=False),
                notification("ben", "plain", "", "", enabled=False),
            )
            heap.wait_for_users(2)
    assert [properties["variation_key"] for properties in viewed(heap, "ann")] == ["control"]
    assert heap.properties_of("ann") == {"[Optimizely] checkout": "control"}
    assert heap.properties_of("ben") == {"[Optimizely] plain": "off"}
