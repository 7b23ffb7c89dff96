"""What Optimizely's SDKs and its Agent tell, as exposures."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heap_export.optimizely_decisions import decision_of, exposure_of
from heap_export.records import Exposure, RefusedError, Source

_INFO = {"flagKey": "checkout", "enabled": False, "variationKey": "control", "ruleKey": "rule", "variables": {}}


@pytest.mark.parametrize(
    "notification",
    [
        {"type": "flag", "userId": "ann", "attributes": {}, "decisionInfo": _INFO},
        {"Type": "flag", "UserContext": {"ID": "ann", "Attributes": {}}, "DecisionInfo": _INFO},
    ],
)
def test_the_javascript_sdk_and_the_agent_tell_the_same_in_two_shapes(notification: Any) -> None:
    decision = decision_of(notification, received=5.0)
    assert decision is not None
    assert exposure_of(decision) == Exposure(
        Source.OPTIMIZELY, "checkout", "ann", 5.0, "control", "rule", enabled=False
    )


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_flag_without_a_rule_shows_whether_it_is_on(nothing: str | None) -> None:
    """JavaScript says null, and the Agent, whose language has no null text, an empty one."""
    info = _INFO | {"variationKey": nothing, "ruleKey": nothing}
    decision = decision_of({"type": "flag", "userId": "ann", "decisionInfo": info}, received=5.0)
    assert decision is not None
    exposure = exposure_of(decision)
    assert (exposure.variation_key, exposure.rule_key, exposure.shown) == (None, None, "off")


@pytest.mark.parametrize("kind", ["ab-test", "feature", "feature-test", "feature-variable", "all-feature-variables"])
def test_what_the_calls_before_decide_tell_is_no_decision(kind: str) -> None:
    assert decision_of({"type": kind, "userId": "ann", "decisionInfo": {}}, received=5.0) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ID", "flagKey", "variationKey", "ruleKey", "enabled"]), inner)
    ),
    max_leaves=8,
)
_NOTIFICATIONS = st.dictionaries(
    st.sampled_from(["Type", "type", "UserContext", "userId", "DecisionInfo", "decisionInfo"]), _JSON | st.just("flag")
)


@given(_NOTIFICATIONS | _JSON)
def test_whatever_is_told_is_an_exposure_or_nothing_or_refused(told: Any) -> None:
    with contextlib.suppress(RefusedError):
        decision = decision_of(told, received=1.0)
        if decision is not None:
            assert exposure_of(decision).flag_key == decision.flag_key
