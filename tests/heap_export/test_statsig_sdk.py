"""Statsig's own SDK decides, Statsig forwards what it logged, and Heap gets just that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.heap_export.statsig_webhook import forwarded, send
from tests.support.fake_heap_api import in_order
from tests.support.statsig_sdk import rule, specs, statsig_calls

if TYPE_CHECKING:
    from tests.heap_export.conftest import Service

SPECS = specs(
    gates={"new_nav": [rule("everyone", value=True, users=["ann"])]},
    configs={"banner": [rule("greeting", {"text": "hello"})]},
    experiments={
        "checkout": [rule("control", {"steps": 3}, users=["ann"]), rule("treatment", {"steps": 1})],
        "paused": [rule("control", {"steps": 3}, share=0)],
    },
)
GROUPS = {
    "checkout": {"rule_of_control": "control", "rule_of_treatment": "treatment"},
    "paused": {"rule_of_control": "control"},
}
CALLS = [
    ("check_gate", "ann", "new_nav"),
    ("check_gate", "bob", "new_nav"),
    ("get_config", "ann", "banner"),
    ("get_experiment", "ann", "checkout"),
    ("get_experiment", "bob", "checkout"),
    ("get_experiment", "ann", "paused"),
    ("log_event", "ann", "bought", 9.5, {"sku": "A1"}),
]


def test_what_the_sdk_decided_is_what_heap_gets(service: Service) -> None:
    logged = statsig_calls(SPECS, CALLS)
    assert logged.answers == [
        True,
        False,
        {"text": "hello"},
        ["control", {"steps": 3}],
        ["treatment", {"steps": 1}],
        ["control", {}],  # off for everybody, and still its group
        None,
    ]
    events = [forwarded(event, GROUPS) for event in logged.events]
    own = sum(event["eventName"] == "statsig::diagnostics" for event in events)
    for repeats in (0, 1):
        report = send(service, {"data": events}).json()
        assert report == {
            "accepted": len(CALLS) * (1 - repeats),
            "repeated": len(CALLS) * repeats,
            "skipped": own,
            "refused": [],
        }
    service.heap.wait_for_events(len(CALLS))
    service.heap.wait_for_users(2)
    of_each = in_order(service.heap.events)
    assert {who: [_shown(event) for event in events] for who, events in of_each.items()} == {
        "ann": [
            ("new_nav", "on", "true", "rule_of_everyone"),
            ("banner", "rule_of_greeting", "true", "rule_of_greeting"),
            ("checkout", "control", "true", "rule_of_control"),
            ("paused", "control", "false", "rule_of_control"),
            ("bought", {"sku": "A1", "value": "9.5"}),
        ],
        "bob": [
            ("new_nav", "off", "false", "default"),
            ("checkout", "treatment", "true", "rule_of_treatment"),
        ],
    }
    assert service.heap.properties_of("ann") == {
        "[Statsig] new_nav": "on",
        "[Statsig] banner": "rule_of_greeting",
        "[Statsig] checkout": "control",
        "[Statsig] paused": "control",
    }
    assert service.heap.properties_of("bob") == {"[Statsig] new_nav": "off", "[Statsig] checkout": "treatment"}
    assert set(service.heap.came.values()) == {1}
    assert not service.heap.refused


def _shown(event: dict[str, object]) -> tuple[object, ...]:
    properties = event["properties"]
    assert isinstance(properties, dict)
    if event["event"] != "Experiment Viewed":
        return event["event"], properties
    return tuple(properties[name] for name in ("flag_key", "variation_key", "enabled", "rule_key"))
