"""What sources bring is made valid by Heap's limits, or refused with a reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heap_export.integrations import Integration
from heap_export.payloads import open_parcel, parcel_of
from heap_export.records import Exposure, PlainEvent, RefusedError, Source, UserProperties, checked
from tests.support.fake_heap_api import ADD_USER_PROPERTIES, TRACK, FakeHeap
from tests.support.faulty_server import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heap_export.records import Record


def exposure(**fields: Any) -> Exposure:
    about: dict[str, Any] = {"source": Source.VWO, "flag_key": "checkout", "identity": "alice", "time": 1.0}
    return Exposure(**about | fields)


def event(**fields: Any) -> PlainEvent:
    about: dict[str, Any] = {"source": Source.GENERIC, "name": "bought", "identity": "alice", "time": 1.0}
    return PlainEvent(**about | fields)


def user(properties: Mapping[str, Any]) -> UserProperties:
    return UserProperties(Source.GENERIC, "alice", 1.0, properties)


def test_values_become_what_heap_takes() -> None:
    told = {"yes": True, "no": False, "n": 1.5, "text": "ä", "none": None, "list": [1, "ä"], "object": {"a": None}}
    assert checked(event(properties=told)).properties == {
        "yes": "true",
        "no": "false",
        "n": 1.5,
        "text": "ä",
        "list": '[1,"ä"]',
        "object": '{"a":null}',
    }


@pytest.mark.parametrize(
    ("record", "reason", "field"),
    [
        (exposure(identity=7), "bad_identity", "identity"),
        (exposure(identity=""), "nobody_identity", "identity"),
        (event(identity="undefined"), "nobody_identity", "identity"),
        (event(identity=" NULL "), "nobody_identity", "identity"),
        (event(identity="user"), "nobody_identity", "identity"),
        (event(identity="a" * 256), "long_identity", "identity"),
        (event(identity="\ud800"), "bad_text", "identity"),
        (exposure(flag_key=None), "bad_name", "flag_key"),
        (exposure(flag_key="f" * 1020), "long_name", "flag_key"),  # with its label it is too long for a property
        (exposure(variation_key="v" * 1024), "long_name", "variation_key"),
        (exposure(rule_key=""), "bad_name", "rule_key"),
        (event(name=""), "bad_name", "event"),
        (event(name="n" * 1024), "long_name", "event"),
        (event(properties={"": 1}), "bad_name", "a name in properties"),
        (event(properties={"n" * 1024: 1}), "long_name", "a name in properties"),
        (event(properties={"big": "v" * 1024}), "long_value", "properties.big"),
        (event(properties={"nan": float("nan")}), "bad_value", "properties.nan"),
        (event(properties={"odd": object()}), "bad_value", "properties.odd"),
        (event(properties=[1]), "bad_properties", "properties"),
        (event(time=-1.0), "bad_time", "time"),
        (event(time=float("nan")), "bad_time", "time"),
        (user({"ID": 1}), "reserved_property", "traits"),
    ],
)
def test_what_heap_would_not_take_is_refused_with_the_field_and_a_reason(
    record: Record, reason: str, field: str
) -> None:
    with pytest.raises(RefusedError, match=f"^{field}: ") as refused:
        checked(record)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "record",
    [
        event(identity="a" * 255, name="n" * 1023, properties={"n" * 1023: "v" * 1023}),
        event(properties={"id": 1}),  # reserved for users alone
        event(identity="users"),
    ],
)
def test_what_is_just_within_the_limits_is_taken(record: Record) -> None:
    checked(record)


@pytest.mark.parametrize(
    ("variation", "enabled", "shown"),
    [("control", False, "control"), ("blue", True, "blue"), (None, True, "on"), (None, False, "off")],
)
def test_a_control_whose_flag_is_off_is_still_control(variation: str | None, enabled: bool, shown: str) -> None:
    assert exposure(variation_key=variation, enabled=enabled).shown == shown


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_PROPERTIES = st.dictionaries(st.text(), _JSON, max_size=5) | _JSON
_COMMON = {"source": st.sampled_from(Source), "identity": st.text(max_size=300), "time": st.floats()}
_RECORDS = (
    st.builds(
        Exposure,
        **_COMMON,
        flag_key=st.text(max_size=1100),
        variation_key=st.none() | st.text(),
        rule_key=st.none() | st.text(),
        enabled=st.booleans(),
        properties=_PROPERTIES,
    )
    | st.builds(PlainEvent, **_COMMON, name=st.text(max_size=1100), properties=_PROPERTIES)
    | st.builds(UserProperties, **_COMMON, properties=_PROPERTIES)
)


@given(record=_RECORDS)
def test_heap_takes_whatever_is_not_refused(record: Record) -> None:
    heap = FakeHeap()
    try:
        addressed = parcel_of(checked(record), Integration(name="trial", app_id="1"), received=1.0)
    except RefusedError:
        return
    if addressed is None:
        return
    parcel = open_parcel(addressed.event.body)
    for path, name, entry in ((TRACK, "events", parcel.event), (ADD_USER_PROPERTIES, "users", parcel.user)):
        if entry is not None:
            body = json.dumps({"app_id": "1", name: [json.loads(entry)]}).encode()
            assert heap.answer(Request("POST", path, {}, {}, body, heap.over)).status == 200, heap.refused
