"""Aliases in VWO's own SDKs and in our client, whatever the ids hold: one visitor, one decision, one name in our map.

Each SDK sets aliases, and then decides by them in a process of its own. The flags are on for the users alone: `named`
has their ids in its rule, `listed` asks for a list that Heap pushed them to.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import pytest

from fme_client import init
from fme_client.identity import get_uuid
from published.visitors import keys as visitor_keys
from tests.decisions.builders import ROLLOUT, campaign, document, feature
from tests.end_to_end.conftest import running
from tests.end_to_end.installation import ACCOUNT, LIST
from tests.fme_client.node_calls import node_calls
from tests.support import http
from tests.support.official_sdk import OF_WINGIFY, OFFICIAL, official_calls
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.end_to_end.installation import Installation
    from tests.node.node_sdk import Stack
    from tests.support.fake_vwo import FakeVwo

KEY = "the-sdk-key-of-the-tests"
FLAGS = NAMED, LISTED = "named", "listed"

ODD = {
    "plus": "+",
    "address": "+1@x.com/",
    "ampersand": "&",
    "parameters": "&accountId=999&userId=",
    "percent": "%",
    "escape": "%40",
    "letter": "%41",
    "accent": "é",
    "quote": '"',
    "backslash": "\\",
    "bracket": "]",
    "blank": " ",
    "hash": "#",
    "equals": "=",
    "slash": "/",
    "emoji": "😀",
}
EVERY = frozenset(ODD)

Call = tuple[Any, ...]


@dataclass(frozen=True)
class Sdk:
    """An SDK, and the kinds of ids that it does not send, or not so that they can be told from others.

    `make`: what each call answers, at the gateway of that address. The calls: `("alias", user, alias)`,
    `("flag", key, id)` (whether it is on) and `("visitor", user)`.
    """

    name: str
    make: Callable[[str, Sequence[Call]], list[Any]]
    sets_none: frozenset[str] = frozenset()  # of the alias, no request, or another id
    asks_none: frozenset[str] = frozenset()  # by the alias: no request, so all is off, or another id, so it is itself
    lists_none: frozenset[str] = frozenset()  # of the user: no request for a list, or another value

    def user(self, kind: str) -> str:
        return f"{self.name}-user{ODD[kind]}z"

    def alias(self, kind: str) -> str:
        return f"{self.name}-guest{ODD[kind]}z"

    @property
    def nobody(self) -> str:
        return f"{self.name}-nobody"

    def plain(self, kind: str) -> str:
        """Another alias of the user, which any SDK can send."""
        return f"{self.name}-guest-of-{kind}"


def by_node(stack: Stack, gateway: str, calls: Sequence[Call]) -> list[Any]:
    options = {
        "accountId": ACCOUNT,
        "sdkKey": KEY,
        "gatewayService": {"url": gateway},
        "isAliasingEnabled": True,
        "shouldWaitForTrackingCalls": True,
    }
    spelt: dict[str, Callable[..., Call]] = {
        "alias": lambda user, alias: ("setAlias", user, alias),
        "flag": lambda key, who: ("getFlag", key, {"id": who}),
        "visitor": lambda user: ("getUUID", user, ACCOUNT),
    }
    return _told(node_calls(options, [spelt[name](*given) for name, *given in calls], stack=stack))


def by_python(requirement: str, gateway: str, calls: Sequence[Call]) -> list[Any]:
    options = {
        "account_id": ACCOUNT,
        "sdk_key": KEY,
        "gateway_service": {"url": gateway},
        "is_aliasing_enabled": True,
    }
    spelt: dict[str, Callable[..., Call]] = {
        "alias": lambda user, alias: ("set_alias", user, alias),
        "flag": lambda key, who: ("get_flag", key, {"id": who}),
        "visitor": lambda user: ("getUUID", user, ACCOUNT),
    }
    made = [spelt[name](*given) for name, *given in calls]
    return _told(official_calls(options, made, requirement=requirement).answers)


def by_our_client(gateway: str, calls: Sequence[Call]) -> list[Any]:
    with init(
        account_id=ACCOUNT, sdk_key=KEY, gateway_service=gateway, is_aliasing_enabled=True, deadline=20_000
    ) as client:
        does: dict[str, Callable[..., Any]] = {
            "alias": client.set_alias,
            "flag": lambda key, who: client.get_flag(key, {"id": who}).is_enabled(),
            "visitor": lambda user: get_uuid(user, ACCOUNT),
        }
        answers = [does[name](*given) for name, *given in calls]
        assert client.flush()
        return answers


def _told(answers: Sequence[Any]) -> list[Any]:
    return [answer["enabled"] if isinstance(answer, dict) else answer for answer in answers]


UNSENT = frozenset({"blank", "emoji"})  # Node's http sends no path with a blank or with more than Latin-1
CUT = frozenset({"hash"})  # nothing is encoded by the SDK, so a URL ends there
READ = frozenset({"escape", "letter"})  # in a check nothing tells who encoded the value

# Python's `set_alias` drops blanks, `requests` decodes `%41`, and they ask for no list (docs/python-client.md).
of_python = partial(Sdk, sets_none=frozenset({"blank"}), asks_none=CUT | {"letter"}, lists_none=EVERY)

SDKS = [
    Sdk("node-http", partial(by_node, "cjs"), UNSENT, UNSENT, UNSENT | READ),
    Sdk("node-fetch", partial(by_node, "esm"), asks_none=CUT, lists_none=CUT | READ),
    of_python("vwo-python", partial(by_python, OFFICIAL)),
    of_python("wingify-python", partial(by_python, OF_WINGIFY)),
    Sdk("fme-client", by_our_client),
]


@pytest.fixture(scope="module")
def installation(vwo: FakeVwo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Its gateway forwards events; the users are in the rule of `named` and in the list of `listed`."""
    directory = tmp_path_factory.mktemp("installation")
    users = [sdk.user(kind) for sdk in SDKS for kind in ODD]
    segments: dict[str, Any] = {
        NAMED: {"or": [{"user": ",".join(users)}]},
        LISTED: {"or": [{"custom_variable": {"_vwoUserId": f"inlist({LIST})"}}]},
    }
    rules = [campaign(ROLLOUT, number, segments[key]) for number, key in enumerate(FLAGS, 1)]
    features = [feature(number, key, [rules[number - 1]]) for number, key in enumerate(FLAGS, 1)]
    settings_file = directory / "settings.json"
    settings_file.write_text(json.dumps(document(features, rules) | {"sdkKey": KEY}))
    settings = {"VWO_BASE_URL": vwo.address, "FORWARD_EVENTS": "true", "FLUSH_EVENTS_INTERVAL": "0.05"}
    with running(directory, settings_file=settings_file, of_gateways=settings) as started:
        started.push(add=users)
        yield started


class Met(NamedTuple):
    """What an SDK said of one kind of ids."""

    sdk: Sdk
    kind: str
    was_set: bool  # by `set_alias`
    visitor: str  # of the user, as the SDK computes it
    by_alias: dict[str, bool]  # whether the flags are on
    by_plain: dict[str, bool]
    by_nobody: dict[str, bool]  # an id that is no alias

    @property
    def shown(self) -> int:
        """Exposures of the user."""
        return sum([*self.by_alias.values(), *self.by_plain.values()])


@pytest.fixture(scope="module", params=SDKS, ids=lambda sdk: sdk.name)
def met(request: pytest.FixtureRequest, installation: Installation) -> dict[str, Met]:
    """By kind."""
    sdk: Sdk = request.param
    gateway = installation.gateway
    were_set = told_in_time(sdk, gateway, [("alias", sdk.user(kind), sdk.alias(kind)) for kind in ODD])
    for kind in ODD:
        set_alias(gateway, sdk.user(kind), sdk.plain(kind))
        if kind in sdk.sets_none:
            assert user_of(gateway, sdk.alias(kind)) == sdk.alias(kind)
            set_alias(gateway, sdk.user(kind), sdk.alias(kind))
    asked: list[Call] = []
    for kind in ODD:
        asked.append(("visitor", sdk.user(kind)))
        for who in (sdk.alias(kind), sdk.plain(kind), sdk.nobody):
            asked += [("flag", flag, who) for flag in FLAGS]
    answers = iter(told_in_time(sdk, gateway, asked))
    found = {}
    for kind, was_set in zip(ODD, were_set, strict=True):
        visitor = next(answers)
        decided = [{flag: next(answers) for flag in FLAGS} for _ in range(3)]
        found[kind] = Met(sdk, kind, was_set, visitor, *decided)
    return found


@pytest.fixture(params=ODD)
def one(request: pytest.FixtureRequest, met: dict[str, Met]) -> Met:
    return met[request.param]


def told_in_time(sdk: Sdk, gateway: str, calls: Sequence[Call]) -> list[Any]:
    """The answers of a run in which the store told the gateway all in time, which it may not on a busy machine."""
    for _ in range(5):
        before = untold(gateway)
        answers = sdk.make(gateway, calls)
        if untold(gateway) == before:
            return answers
    raise AssertionError("the store was late in each of five runs")


def untold(gateway: str) -> float:
    """How many questions the store did not answer in time, so far."""
    text = http.get(f"{gateway}/metrics").text
    counts: list[tuple[str, str]] = []
    for name in ("cohort_gateway_lookups_failed", "cohort_gateway_checks"):
        assert f"# HELP {name}_total " in text
        counts += re.findall(rf"^{name}_total\{{(.*)\}} (\S+)$", text, re.MULTILINE)
    told = ('state="in"', 'state="not_in"', 'state="incomplete"')
    return sum(float(count) for labels, count in counts if not labels.endswith(told))


def set_alias(gateway: str, user: str, alias: str) -> None:
    body = {"userId": user, "aliasId": alias}

    def is_set() -> bool:
        answer = http.post(f"{gateway}/user-alias/setUserAlias?accountId={ACCOUNT}", json=body)
        return bool(answer.json()["isAliasSet"])

    until(is_set, what="the alias to be kept")


def user_of(gateway: str, alias: str) -> str:
    asked = quote(json.dumps([alias]), safe="")
    [pair] = http.get(f"{gateway}/user-alias/getAliasUserId?accountId={ACCOUNT}&userId={asked}").json()
    assert pair["aliasId"] == alias
    return str(pair["userId"])


def shown_to(vwo: FakeVwo, visitor: str) -> list[str]:
    """The flags of the visitor's exposures that came to VWO, which may come twice."""
    events = [event["d"] for _, event in list(vwo.taken)]
    return [
        FLAGS[event["event"]["props"]["id"] - 1]
        for event in events
        if event["event"]["name"] == "vwo_variationShown" and event["visId"] == visitor
    ]


def users_known(installation: Installation) -> dict[str, str]:
    """The map of the gateway: who is behind which visitor id."""
    with installation.store.client() as store:
        pairs = [pair for key in visitor_keys(ACCOUNT) for pair in store.hgetall(key).items()]
    return {visitor.hex().upper(): user.decode() for visitor, user in pairs}


def test_an_alias_that_an_sdk_sets_stands_for_the_user(installation: Installation, one: Met) -> None:
    # Python's says that it set the other alias.
    assert one.was_set == (one.kind not in one.sdk.sets_none or one.sdk.name.endswith("python"))
    assert user_of(installation.gateway, one.sdk.alias(one.kind)) == one.sdk.user(one.kind)


def test_the_flag_is_that_of_the_user(one: Met) -> None:
    lists = one.kind not in one.sdk.lists_none
    can_ask = one.kind not in one.sdk.asks_none
    assert one.by_plain == {NAMED: True, LISTED: lists}
    assert one.by_alias == {NAMED: can_ask, LISTED: can_ask and lists}
    assert one.by_nobody == {NAMED: False, LISTED: False}


def test_exposures_name_the_visitor_that_the_sdk_computes_for_the_user(vwo: FakeVwo, one: Met) -> None:
    until(lambda: len(shown_to(vwo, one.visitor)) >= one.shown, what="the exposures")
    assert set(shown_to(vwo, one.visitor)) == {flag for flag in FLAGS if one.by_alias[flag] or one.by_plain[flag]}
    assert shown_to(vwo, get_uuid(one.sdk.alias(one.kind), ACCOUNT)) == []


def test_the_gateway_learns_who_the_visitor_is(installation: Installation, one: Met) -> None:
    until(lambda: one.visitor in users_known(installation), what="the visitor in the map")
    assert users_known(installation)[one.visitor] == one.sdk.user(one.kind)


@pytest.mark.usefixtures("met")
def test_the_gateway_learns_of_nobody_else(installation: Installation) -> None:
    users = {sdk.user(kind) for sdk in SDKS for kind in ODD}
    themselves = {sdk.nobody for sdk in SDKS}
    for sdk in SDKS:
        # Those that stood for nobody yet when they were asked for, or where the store was late.
        kinds = EVERY if untold(installation.gateway) else sdk.sets_none | sdk.asks_none
        themselves |= {sdk.alias(kind) for kind in kinds}
        themselves |= {sdk.alias(kind).replace("%41", "A") for kind in sdk.asks_none}
        if kinds is EVERY:
            themselves |= {sdk.plain(kind) for kind in ODD}
    known = users_known(installation)
    assert set(known.values()) <= users | themselves
    assert all(get_uuid(user, ACCOUNT) == visitor for visitor, user in known.items())
