"""Flags for users: what a rule asks is asked of the gateway, and a wrong argument gives a flag that is off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fme_client import Client, Context, get_uuid
from tests.fme_client.sample import LIST, feature, member, member_of, rollout, sample_settings, settings
from tests.support.recording_server import CHECK, DETAILS, EVENTS, GET_ALIAS, SETTINGS, RecordingServer

if TYPE_CHECKING:
    from tests.fme_client.conftest import Connect


def test_members_get_the_flag_with_its_variables(client: Client) -> None:
    flag = client.get_flag("premium", member("alice"))
    assert flag
    assert flag.is_enabled()
    assert flag.get_variable("layout") == "premium"
    assert flag.get_variables() == [{"id": 1, "key": "layout", "type": "string", "value": "premium"}]
    assert flag.get_variable("no such variable") is None
    assert flag.get_variable("no such variable", "a default") == "a default"


def test_others_get_it_off_and_without_variables(client: Client) -> None:
    flag = client.get_flag("premium", member("bob"))
    assert not flag
    assert not flag.is_enabled()
    assert flag.get_variables() == []
    assert flag.get_variable("layout", "classic") == "classic"


def test_a_caller_who_changes_variables_changes_no_other_flag(client: Client) -> None:
    flag = client.get_flag("open", member("alice"))
    flag.get_variables()[0]["value"] = "changed"
    assert flag.get_variable("layout") == "premium"
    assert client.get_flag("open", member("alice")).get_variable("layout") == "premium"


def test_the_spellings_of_node_work(client: Client) -> None:
    context = {"id": "user-1", "customVariables": {"heap_user_id": "alice"}}
    flag = client.getFlag("premium", context)
    assert flag.isEnabled()
    assert flag.getVariable("layout", "x") == "premium"
    assert flag.getVariables() == flag.get_variables()
    assert client.trackEvent("open_used", context) == {"open_used": True}
    client.setAttribute("plan", "gold", context)
    assert client.flushEvents() == {"status": "success", "events": []}
    assert client.updateSettings(sample_settings())


@pytest.mark.parametrize(
    "value", ["José", "a b@x.com", "a+b@x.com", "a&listId=other", "a#b", "100%", "中文", "a\nb", ""]
)
def test_every_value_arrives_as_it_is(client: Client, server: RecordingServer, value: str) -> None:
    server.members = {LIST: {value}}
    assert client.get_flag("premium", member(value))
    (check,) = server.to(CHECK)
    assert check.parameters == {"attribute": value, "listId": LIST, "accountId": "123456"}


def test_half_a_surrogate_pair_is_nobody(client: Client, server: RecordingServer, said: list[str]) -> None:
    assert not client.get_flag("premium", member("\ud83d"))
    assert server.to(CHECK) == []
    assert any("no Unicode text" in line for line in said)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"True"), (200, b'"true"'), (200, b"1"), (200, b"true "), (200, b""), (200, b"{}"), (200, b"true" * 99)]
    + [(status, b"true") for status in (201, 202, 302, 400, 401, 404, 429, 500, 503)],
)
def test_only_true_is_true(client: Client, server: RecordingServer, status: int, body: bytes) -> None:
    server.answers[CHECK] = (status, body)
    assert not client.get_flag("premium", member("alice"))
    server.answers[CHECK] = (200, b"true")
    assert client.get_flag("premium", member("alice"))


def test_several_flags_ask_each_membership_once(client: Client, server: RecordingServer) -> None:
    variables = {"heap_user_id": "alice", "beta_id": "alice"}
    context = {"id": "user-1", "custom_variables": variables, "ip_address": "203.0.113.9"}
    flags = client.get_flags(["premium", "both", "french", "open", "premium"], context)
    assert {key: flag.is_enabled() for key, flag in flags.items()} == {
        "premium": True,
        "both": True,
        "french": True,
        "open": True,
    }
    asked = [request.parameters["listId"] for request in server.to(CHECK)]
    assert sorted(asked) == ["beta", LIST]
    assert len(server.to(DETAILS)) == 1
    alone = {key: client.get_flag(key, context) for key in flags}
    assert {key: flag.get_variables() for key, flag in flags.items()} == {
        key: flag.get_variables() for key, flag in alone.items()
    }


def test_a_context_may_be_made_of_the_class(client: Client) -> None:
    assert client.get_flag("premium", Context("user-1", custom_variables={"heap_user_id": "alice"}))


def test_the_context_of_the_caller_stays_as_it_is(client: Client) -> None:
    context = member("alice")
    client.get_flag("premium", context)
    assert context == member("alice")


@pytest.mark.parametrize(
    ("key", "context", "told"),
    [
        ("premium", None, "context must be a mapping with an id, not None"),
        ("premium", {}, "context.id must be a string with something in it, not None"),
        ("premium", {"id": ""}, "context.id must be a string with something in it, not an empty string"),
        ("premium", {"id": 0}, "context.id must be a string with something in it"),
        ("premium", {"id": ["user-1"]}, "context.id must be a string with something in it, not list"),
        ("premium", {"id": "u\ud83d"}, "context.id is no Unicode text"),
        (
            "premium",
            {"id": "u", "custom_variables": "plan=gold"},
            "context.custom_variables must be a mapping, not str",
        ),
        ("premium", {"id": "u", "userAgent": 5}, "context.user_agent must be a string, not int"),
        ("premium", {"id": "u", "post_segmentation_variables": "plan"}, "must be a list of names, not str"),
        (None, {"id": "u"}, "feature_key must be a string, not None"),
        (["premium"], {"id": "u"}, "feature_key must be a string, not list"),
        ("no such flag", {"id": "u"}, "no such flag in the settings"),
    ],
)
def test_a_wrong_argument_gives_a_flag_that_is_off_and_a_reason(
    client: Client, said: list[str], key: Any, context: Any, told: str
) -> None:
    flag = client.get_flag(key, context)
    assert not flag.is_enabled()
    assert flag.get_variables() == []
    assert [line for line in said if told in line] != []


def test_one_key_is_no_list_of_keys(client: Client, said: list[str]) -> None:
    assert client.get_flags("premium", {"id": "u"}) == {}
    assert any("feature_keys must be a list of keys, not str" in line for line in said)


def test_what_is_wrong_is_said_once_and_not_with_every_call(client: Client, said: list[str]) -> None:
    for _ in range(50):
        client.get_flag("premium", {})
    assert len([line for line in said if "context.id" in line]) == 1


def test_a_list_without_a_gateway_holds_nobody(connect: Connect, said: list[str]) -> None:
    premium = rollout(1, "premium", member_of(LIST))
    client = connect(gateway_service=None, settings=settings([feature(1, "premium", premium)], [premium]))
    assert not client.get_flag("premium", member("alice"))
    assert any("only a gateway knows lists" in line for line in said)


def test_what_was_decided_is_stored_and_holds(connect: Connect, server: RecordingServer) -> None:
    kept = Kept()
    client = connect(storage=kept)
    assert client.get_flag("premium", member("alice"))
    assert kept.data == {
        ("premium", "user-1"): {
            "featureKey": "premium",
            "userId": "user-1",
            "rolloutId": 1,
            "rolloutKey": "premium_rule1",
            "rolloutVariationId": 1,
            "experimentId": None,
            "experimentKey": None,
            "experimentVariationId": None,
        }
    }
    server.members = {}
    assert client.get_flag("premium", member("alice"))
    assert not client.get_flag("premium", member("alice", user="user-2"))


def test_a_storage_that_fails_costs_only_what_it_stored(connect: Connect, said: list[str]) -> None:
    client = connect(storage=Broken())
    assert client.get_flag("premium", member("alice"))
    assert any("storage.get raised OSError" in line for line in said)
    assert any("storage.set raised OSError" in line for line in said)


def test_the_application_hears_of_each_decision(connect: Connect, said: list[str]) -> None:
    heard: list[dict[str, Any]] = []
    client = connect(integrations={"callback": heard.append})
    client.get_flag("premium", member("alice"))
    client.track_event("open_used", member("alice"))
    decided, tracked = heard
    assert decided["featureKey"] == "premium"
    assert decided["api"] == "getFlag"
    assert decided["userId"] == "user-1"
    assert decided["rolloutKey"] == "premium_rule1"
    assert tracked == {"eventName": "open_used", "api": "trackEvent"}
    failing = connect(integrations={"callback": lambda _: 1 / 0})
    assert failing.get_flag("premium", member("alice"))
    assert any("integrations.callback raised ZeroDivisionError" in line for line in said)


def test_an_alias_is_its_user(connect: Connect, server: RecordingServer) -> None:
    server.aliases = {"tmp-1": "user-1"}
    client = connect(is_aliasing_enabled=True)
    assert client.get_flags(["open", "tested"], {"id": "tmp-1"})["open"]
    assert len(server.to(GET_ALIAS)) == 1
    client.flush()
    shown = [request.body["d"]["visId"] for request in server.events("vwo_variationShown")]
    assert set(shown) == {get_uuid("user-1", "123456")}


def test_while_aliases_can_not_be_told_flags_are_off(
    connect: Connect, server: RecordingServer, said: list[str]
) -> None:
    """As in the Node SDK: another person's variation would be worse."""
    server.answers[GET_ALIAS] = (500, b"no")
    client = connect(is_aliasing_enabled=True)
    assert not client.get_flag("open", {"id": "tmp-1"})
    assert client.track_event("open_used", {"id": "tmp-1"}) == {"open_used": False}
    assert any("does not tell aliases" in line for line in said)


def test_an_alias_is_refused_where_it_makes_no_sense(connect: Connect, said: list[str]) -> None:
    client = connect(is_aliasing_enabled=True)
    assert client.set_alias("user-1", "tmp-1")
    assert not client.set_alias("user-1", " user-1 ")
    assert not client.set_alias({"id": ""}, "tmp-1")
    assert not client.set_alias("user-1", "")
    assert not connect().set_alias("user-1", "tmp-1")
    assert any("give init is_aliasing_enabled=True" in line for line in said)


def test_a_destroyed_client_has_every_flag_off(client: Client, server: RecordingServer) -> None:
    assert client.get_flag("open", {"id": "u"})
    assert client.destroy()
    assert not client.get_flag("open", {"id": "u"})
    assert len(server.events("vwo_variationShown")) == 1
    assert len(server.to(SETTINGS)) == 1


def test_tracking_calls_are_over_when_a_call_returns_where_that_is_wanted(
    connect: Connect, server: RecordingServer
) -> None:
    client = connect(should_wait_for_tracking_calls=True)
    client.get_flag("open", {"id": "u"})
    client.track_event("open_used", {"id": "u"})
    client.set_attribute("plan", "gold", {"id": "u"})
    names = [request.event for request in server.to(EVENTS)]
    assert sorted(names) == ["open_used", "vwo_fmeSdkInit", "vwo_syncVisitorProp", "vwo_variationShown"]


class Kept:
    def __init__(self) -> None:
        self.data: dict[tuple[str, str], dict[str, Any]] = {}

    def get(self, feature_key: str, user_id: str) -> dict[str, Any]:
        return self.data.get((feature_key, user_id), {})

    def set(self, data: dict[str, Any]) -> None:
        self.data[data["featureKey"], data["userId"]] = data


class Broken:
    def get(self, feature_key: str, user_id: str) -> dict[str, Any]:
        raise OSError(feature_key, user_id)

    def set(self, data: dict[str, Any]) -> None:
        raise OSError(data)
