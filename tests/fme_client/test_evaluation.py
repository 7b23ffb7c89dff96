"""What the rules of a flag mean. That all of it is as in the Node SDK is shown by test_decisions.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fme_client.evaluation import (
    Context,
    Decision,
    Exposure,
    InList,
    Settings,
    SettingsError,
    Stored,
    UserDetails,
    answer_with,
    decide,
)
from tests.decisions.builders import PERSONALIZE, ROLLOUT, TESTING, campaign, document, feature, flag

if TYPE_CHECKING:
    from fme_client.evaluation import Answer, Question

NOBODY = {"user": "nobody"}


def decided(
    settings: dict[str, Any],
    user: str = "alice",
    *,
    key: str = "flag",
    stored: dict[str, Any] | None = None,
    members: tuple[str, ...] = (),
    asked: list[Question] | None = None,
    **context: Any,
) -> Decision:
    """The decision, where the storage has `stored` by key and every list has `members`."""

    def answer(question: Question) -> Answer:
        if asked is not None:
            asked.append(question)
        match question:
            case InList(value):
                return value in members
            case Stored(feature_key):
                kept: dict[str, Any] = (stored or {}).get(feature_key, {})
                return kept
        return question.unanswered

    evaluation = decide(Settings.parse(settings), key, Context(user, **context), storage=stored is not None)
    return answer_with(evaluation, answer)


def share(settings: dict[str, Any], **more: Any) -> dict[Any, int]:
    """How many of 1000 users get each color; None: the flag is off."""
    colors = [
        found.variables[0]["value"] if found.is_enabled else None
        for found in (decided(settings, f"user-{number}", **more) for number in range(1000))
    ]
    return {color: colors.count(color) for color in set(colors)}


def test_a_rollout_rule_turns_the_flag_on_with_its_variables() -> None:
    found = decided(flag(campaign(ROLLOUT, 1)))
    assert found.is_enabled
    assert found.variables == [
        {"id": 1, "key": "color", "type": "string", "value": "color 1.1"},
        {"id": 2, "key": "size", "type": "integer", "value": 1},
    ]
    assert found.exposures == (Exposure(1, 1),)
    assert found.failure is None


def test_a_rollout_takes_its_share_of_the_users_and_always_the_same_ones() -> None:
    settings = flag(campaign(ROLLOUT, 1, weights=(30,)))
    assert 250 < share(settings)["color 1.1"] < 350
    assert share(settings) == share(settings)


def test_the_salt_redraws_who_is_in() -> None:
    plain, salted = campaign(ROLLOUT, 1, weights=(50,)), campaign(ROLLOUT, 1, weights=(50,))
    salted["variations"][0]["salt"] = "other"
    users = [f"user-{number}" for number in range(50)]
    assert [decided(flag(plain), user).is_enabled for user in users] != [
        decided(flag(salted), user).is_enabled for user in users
    ]


def test_a_testing_rule_splits_by_weight_and_zero_is_nobody() -> None:
    found = share(flag(campaign(ROLLOUT, 1), campaign(TESTING, 2, weights=(70, 0, 30))))
    assert set(found) == {"color 2.1", "color 2.3"}
    assert 630 < found["color 2.1"] < 770


def test_who_is_in_no_experiment_keeps_what_the_rollout_gives() -> None:
    found = share(flag(campaign(ROLLOUT, 1), campaign(TESTING, 2, percentTraffic=0)))
    assert found == {"color 1.1": 1000}


def test_without_rollout_rules_the_experiment_alone_decides() -> None:
    assert decided(flag(campaign(TESTING, 2))).is_enabled
    assert not decided(flag(campaign(TESTING, 2, NOBODY))).is_enabled


def test_a_rollout_that_is_not_for_the_user_turns_experiments_off_too() -> None:
    assert not decided(flag(campaign(ROLLOUT, 1, NOBODY), campaign(TESTING, 2))).is_enabled


def test_the_first_personalise_rule_for_the_user_wins() -> None:
    personal = campaign(PERSONALIZE, 2, weights=(100, 100))
    personal["variations"][0]["segments"] = {"custom_variable": {"plan": "premium"}}
    settings = flag(campaign(ROLLOUT, 1), personal)
    assert decided(settings, custom_variables={"plan": "premium"}).variables[0]["value"] == "color 2.1"
    assert decided(settings).variables[0]["value"] == "color 2.2"


def test_a_forced_variation_comes_before_segments_and_traffic() -> None:
    forced = campaign(TESTING, 2, NOBODY, (50, 50), isForcedVariationEnabled=True, percentTraffic=0)
    forced["variations"][1]["segments"] = {"user": "alice,bob"}
    settings = flag(campaign(ROLLOUT, 1), forced)
    assert decided(settings).variables[0]["value"] == "color 2.2"
    assert decided(settings, "carol").variables[0]["value"] == "color 1.1"


def test_two_forced_variations_for_one_user_turn_the_flag_off_as_in_the_node_sdk() -> None:
    forced = campaign(TESTING, 2, weights=(50, 50), isForcedVariationEnabled=True)
    for variation in forced["variations"]:
        variation["segments"] = {"user": "alice"}
    found = decided(flag(forced))
    assert not found.is_enabled
    assert found.failure == "more than one forced variation"


def test_user_lists_by_vwos_id_of_the_user() -> None:
    rule = campaign(ROLLOUT, 1, {"user": "0BC4B2ECB2C85AD0AF2F0E28B65F3E5D"}, isUserListEnabled=True)
    settings = flag(rule)
    rule["variations"][0]["segments"] = {"user": Settings.parse(settings).visitor_id("alice")}
    assert decided(settings).is_enabled
    assert not decided(settings, "bob").is_enabled


def grouped(**group: Any) -> dict[str, Any]:
    """Two flags, each with a testing rule; the rules exclude each other."""
    ours = [campaign(ROLLOUT, 1), campaign(TESTING, 2)]
    theirs = [campaign(ROLLOUT, 3), campaign(TESTING, 4)]
    return document(
        [feature(1, "flag", ours), feature(2, "other", theirs)],
        ours + theirs,
        groups={"7": {"name": "group", "campaigns": ["2", "4"], **group}},
        campaignGroups={"2": 7, "4": 7},
    )


def test_rules_of_a_group_share_the_users_without_overlap() -> None:
    for number in range(200):
        colors = {decided(grouped(), f"u{number}", key=key).variables[0]["value"] for key in ("flag", "other")}
        assert colors in ({"color 2.1", "color 3.1"}, {"color 1.1", "color 4.1"})


def test_a_group_with_priorities_gives_every_user_to_the_first() -> None:
    assert share(grouped(et=2, p=["4"], wt={})) == {"color 1.1": 1000}
    assert share(grouped(et=2, p=["2"], wt={})) == {"color 2.1": 1000}


def test_a_group_with_weights_splits_by_them() -> None:
    found = share(grouped(et=2, p=[], wt={"2": 80, "4": 20}))
    assert 740 < found["color 2.1"] < 860


def test_the_winner_of_a_group_is_stored_and_found_again() -> None:
    found = decided(grouped(et=2, p=["4"], wt={}), stored={})
    meg, flag_decision = found.to_store
    assert (meg["featureKey"], meg["experimentId"], meg["experimentVariationId"]) == ("_vwo_meta_meg_7", 4, -1)
    assert flag_decision["rolloutId"] == 1
    kept = {"_vwo_meta_meg_7": {"experimentId": 2, "experimentKey": "rule2", "experimentVariationId": -1}}
    assert decided(grouped(et=2, p=["4"], wt={}), stored=kept).variables[0]["value"] == "color 2.1"


def test_a_stored_experiment_sticks_whatever_the_rules_say_now() -> None:
    settings = flag(campaign(ROLLOUT, 1, NOBODY), campaign(TESTING, 2, NOBODY, (50, 50)))
    kept = {"flag": {"experimentId": 2, "experimentKey": "rule2", "experimentVariationId": 2}}
    found = decided(settings, stored=kept)
    assert found.variables[0]["value"] == "color 2.2"
    assert found.exposures == ()
    assert found.to_store == ()
    assert found.integration is None


def test_a_stored_decision_for_a_variation_that_is_gone_is_decided_anew() -> None:
    kept = {"flag": {"experimentId": 2, "experimentKey": "rule2", "experimentVariationId": 9}}
    assert not decided(flag(campaign(TESTING, 2, NOBODY)), stored=kept).is_enabled


def test_a_stored_rollout_stays_and_experiments_are_still_looked_at() -> None:
    settings = flag(campaign(ROLLOUT, 1, NOBODY), campaign(TESTING, 2))
    kept = {"flag": {"rolloutId": 1, "rolloutKey": "rule1", "rolloutVariationId": 1}}
    assert decided(settings, stored=kept).variables[0]["value"] == "color 2.1"


def test_what_is_decided_is_given_to_the_storage() -> None:
    assert decided(flag(campaign(ROLLOUT, 1), campaign(TESTING, 2))).to_store == (
        {
            "featureKey": "flag",
            "userId": "alice",
            "rolloutId": 1,
            "rolloutKey": "rule1",
            "rolloutVariationId": 1,
            "experimentId": 2,
            "experimentKey": "rule2",
            "experimentVariationId": 1,
        },
    )


@pytest.mark.parametrize(("segments", "variation"), [({}, 2), (NOBODY, 1)])
def test_an_impact_campaign_is_told_whether_the_flag_is_on(segments: dict[str, Any], variation: int) -> None:
    found = decided(flag(campaign(ROLLOUT, 1, segments), impactCampaign={"campaignId": 90}))
    assert found.exposures[-1] == Exposure(90, variation)


def test_the_callback_is_told_what_was_decided_for_whom() -> None:
    assert decided(flag(campaign(ROLLOUT, 1)), custom_variables={"plan": "free"}).integration == {
        "featureName": "flag",
        "featureId": 1,
        "featureKey": "flag",
        "userId": "alice",
        "api": "getFlag",
        "customVariables": {"plan": "free", "_vwoUserId": "alice"},
        "rolloutId": 1,
        "rolloutKey": "rule1",
        "rolloutVariationId": 1,
    }


def test_an_unknown_flag_is_off_and_the_reason_is_said() -> None:
    found = decided(flag(), key="other")
    assert (found.is_enabled, found.failure, found.integration) == (False, "no such flag in the settings", None)


@pytest.mark.parametrize("user", ["", "\ud83d"])
def test_a_user_without_a_usable_id_gets_nothing(user: str) -> None:
    found = decided(flag(campaign(ROLLOUT, 1)), user)
    assert not found.is_enabled
    assert found.failure is not None


def test_membership_is_asked_only_when_it_matters() -> None:
    in_list = {"custom_variable": {"who": "inlist(premium)"}}
    settings = flag(campaign(ROLLOUT, 1, {"and": [{"custom_variable": {"plan": "team"}}, in_list]}))
    asked: list[Question] = []
    assert not decided(settings, asked=asked, custom_variables={"plan": "free", "who": "a b"}).is_enabled
    assert asked == [UserDetails(None, None)]
    assert decided(settings, asked=asked, members=("a b",), custom_variables={"plan": "team", "who": "a b"}).is_enabled
    assert asked[-1] == InList("a b", "premium")


@pytest.mark.parametrize(
    ("value", "text"), [(5, "5"), (5.0, "5"), (True, "true"), (None, "null"), ([1, None, "a"], "1,,a")]
)
def test_a_value_is_asked_for_as_the_text_that_javascript_makes_of_it(value: Any, text: str) -> None:
    asked: list[Question] = []
    settings = flag(campaign(ROLLOUT, 1, {"custom_variable": {"who": "inlist(premium)"}}))
    decided(settings, asked=asked, custom_variables={"who": value})
    assert asked[-1] == InList(text, "premium")


def test_what_is_not_answered_is_no_member_and_a_member_under_not() -> None:
    in_list = {"custom_variable": {"who": "inlist(premium)"}}
    who = {"who": "alice"}
    assert not decided(flag(campaign(ROLLOUT, 1, in_list)), custom_variables=who).is_enabled
    assert decided(flag(campaign(ROLLOUT, 1, {"not": in_list})), custom_variables=who).is_enabled


def test_variables_that_a_caller_changes_stay_as_they_are_in_the_settings() -> None:
    rule = campaign(ROLLOUT, 1)
    rule["variations"][0]["variables"][0] |= {"type": "json", "value": {"a": [1]}}
    settings = Settings.parse(flag(rule))
    first = answer_with(decide(settings, "flag", Context("alice")), lambda question: question.unanswered)
    first.variables[0]["value"]["a"].append(2)
    second = answer_with(decide(settings, "flag", Context("alice")), lambda question: question.unanswered)
    assert second.variables[0]["value"] == {"a": [1]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"accountId": None}, "settings.accountId: expected number or string, got null"),
        ({"campaigns": "x"}, "settings.campaigns: expected a list, got string"),
        ({"features": [{}]}, "settings.features[0].id: missing"),
        ({"sdkMetaInfo": {"other": 1}}, "settings.sdkMetaInfo.other: unknown field"),
        ({"pollInterval": True}, "settings.pollInterval: expected number, got boolean"),
    ],
)
def test_unusable_settings_are_refused_naming_the_field(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.parse(flag() | change)
    assert str(refused.value) == says


def test_a_rollout_rule_without_a_variation_is_refused() -> None:
    rule = campaign(ROLLOUT, 1)
    settings = flag(rule)
    rule["variations"].clear()
    with pytest.raises(SettingsError, match=r"campaign 1\.variations: empty"):
        Settings.parse(settings)


@pytest.mark.parametrize("empty", [{}, None, []])
def test_settings_without_flags_are_fine(empty: Any) -> None:
    settings = Settings.parse({"version": 1, "accountId": 1, "features": empty, "campaigns": empty})
    assert settings.features == {}


def test_what_else_a_client_needs_of_the_settings() -> None:
    settings = Settings.parse(flag() | {"pollInterval": 5000, "collectionPrefix": "eu01", "usageStatsAccountId": 8})
    assert (settings.account_id, settings.sdk_key, settings.version) == ("123456", "key", 1)
    assert settings.event_names == {"bought"}
    assert (settings.poll_interval, settings.collection_prefix, settings.usage_stats_account_id) == (5000, "eu01", 8)
    assert settings.was_initialized_earlier is False
