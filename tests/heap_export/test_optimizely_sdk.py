"""The real Python SDK of Optimizely, offline: what its decisions become at heap-export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.optimizely_sdk import FORCED_TO_CONTROL, FORCED_TO_TREATMENT, Call, sdk_calls

if TYPE_CHECKING:
    from tests.heap_export.decisions import FakeExport


def options(export: FakeExport, **more: Any) -> dict[str, Any]:
    return {"service": export.address, "key": "secret", **more}


def test_each_kind_of_decision_of_the_sdk_becomes_its_exposure(export: FakeExport) -> None:
    calls: list[Call] = [
        ("decide", FORCED_TO_TREATMENT, {}, "checkout"),
        ("decide", FORCED_TO_CONTROL, {}, "checkout"),
        ("decide", "vera", {"plan": "gold", "email": "vera@example.com"}, "vip"),
        ("decide", "nora", {"plan": "none"}, "vip"),
        ("decide", "ben", {}, "banner"),
        ("decide", "pia", {}, "plain"),
        ("decide", "uma", {}, "unknown"),
        ("is_feature_enabled", "lea", {}, "checkout"),
        ("decide", "dan", {}, "banner", ["DISABLE_DECISION_EVENT"]),
    ]
    told = sdk_calls(options(export, attributes=["plan"]), calls)
    shown = {
        exposure["identity"]: (
            exposure["flag_key"],
            exposure["variation_key"],
            exposure["rule_key"],
            exposure["enabled"],
            exposure["properties"],
        )
        for exposure in export.taken
    }
    assert shown == {
        FORCED_TO_TREATMENT: ("checkout", "treatment", "checkout_test", True, {}),
        FORCED_TO_CONTROL: ("checkout", "control", "checkout_test", False, {}),
        "vera": ("vip", "gold", "vip_test", True, {"plan": "gold"}),
        "nora": ("vip", None, None, False, {"plan": "none"}),
        "ben": ("banner", "shown", "banner_for_all", True, {}),
        "pia": ("plain", None, None, False, {}),
        "dan": ("banner", "shown", "banner_for_all", True, {}),
    }
    assert len(export.taken) == 7
    # The SDK tells four arguments with snake_case names, nothing of the unknown flag, and of the old call as well.
    assert [arguments[0] for arguments in told.told] == ["flag"] * 6 + ["feature", "flag"]
    assert told.told[0][1:3] == [FORCED_TO_TREATMENT, {}]
    assert told.counts == {"delivered": 7, "dropped": 0, "refused": 0, "ignored": 1, "waiting": 0}


def test_all_flags_of_a_person_at_once_are_one_exposure_each(export: FakeExport) -> None:
    sdk_calls(options(export), [("decide_all", "ann", {"plan": "gold"})])
    assert sorted(exposure["flag_key"] for exposure in export.taken) == ["banner", "checkout", "plain", "vip"]


def test_a_program_that_just_ends_delivers_first(export: FakeExport) -> None:
    sdk_calls(options(export, every=60), [("decide", "ann", {}, "checkout")], ends="")
    assert export.users == ["ann"]


def test_a_forked_child_delivers_its_own_decisions_and_not_its_parents(export: FakeExport) -> None:
    """As application servers do that load the application before they fork."""
    parent: list[Call] = [("decide", f"parent-{number}", {}, "checkout") for number in range(3)]
    child: list[Call] = [("decide", f"child-{number}", {}, "checkout") for number in range(3)]
    sdk_calls(options(export, every=60), parent, in_child=child)
    assert sorted(export.users) == [f"{who}-{number}" for who in ("child", "parent") for number in range(3)]


def test_a_dead_service_neither_fails_nor_holds_up_decisions() -> None:
    """Nothing listens on port 9 of loopback; all decisions are taken, and those beyond the bound are counted."""
    calls: list[Call] = [("decide", f"user-{number}", {}, "checkout") for number in range(60)]
    told = sdk_calls({"service": "http://127.0.0.1:9", "key": "secret", "most_waiting": 10}, calls, ends="")
    assert [arguments[3]["variation_key"] for arguments in told.told] == ["treatment"] * 60
    assert told.counts["dropped"] >= 40
    assert told.counts["waiting"] == 60 - told.counts["dropped"]
