"""Values that an application hands in: what can't be sent costs its event, what can't be looked at costs its flag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from fme_client import Context
from tests.fme_client.sample import BROWSER, feature, rollout, sample_settings, settings
from tests.support.recording_server import EVENTS

if TYPE_CHECKING:
    from fme_client import Client
    from tests.fme_client.conftest import Connect
    from tests.support.recording_server import RecordingServer

SILENT = sample_settings(sdkMetaInfo={"wasInitializedEarlier": True})


class Plain:
    """An object of the application's."""


class Broken:
    """Nothing can be asked of it."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("secret")

    __str__ = __repr__ = __bool__ = __eq__ = __int__ = __float__ = _fail
    __hash__ = object.__hash__


class BrokenMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("secret")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("secret")

    def __len__(self) -> int:
        return 1


def ring() -> list[Any]:
    itself: list[Any] = []
    itself.append(itself)
    return itself


def deep() -> list[Any]:
    inner: list[Any] = []
    for _ in range(100_000):
        inner = [inner]
    return inner


UNSERIALISABLE: dict[str, Any] = {
    "NaN": float("nan"),
    "infinite": float("inf"),
    "NaN within": {"scores": [1, {"best": float("nan")}]},
    "circular": ring(),
    "deep": deep(),
    "an object": Plain(),
    "an object within": [Plain()],
    "a broken object": Broken(),
    "bytes": b"plan",
    "a set": {"gold"},
    "a long number": 10**5000,
    "a key that is no text": {(1, 2): "gold"},
    "a broken mapping": BrokenMapping(),
}
SERIALISABLE: dict[str, tuple[Any, Any]] = {
    "a time": (datetime(2026, 11, 22, 16, 45, tzinfo=UTC), "2026-11-22 16:45:00+00:00"),
    "a decimal number": (Decimal("49.90"), "49.90"),
    "a UUID": (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "a large number": (2**70, 2**70),
    "half a surrogate pair": ("\ud83d", "\ud83d"),
    "a mapping": ({"inner": MappingProxyType({"a": (1, None)})}, {"inner": {"a": [1, None]}}),
}


def shown(server: RecordingServer) -> list[dict[str, Any]]:
    """What the exposures tell of the user."""
    return [request.body["d"]["visitor"]["props"] for request in server.to(EVENTS)]


def visitor(value: Any) -> dict[str, Any]:
    return {"id": "user-1", "custom_variables": {"plan": value}, "post_segmentation_variables": ["plan"]}


@pytest.mark.parametrize("name", UNSERIALISABLE)
def test_an_exposure_that_can_not_be_sent_costs_no_flag(
    connect: Connect, server: RecordingServer, said: list[str], name: str
) -> None:
    client = connect(settings=SILENT)
    flags = client.get_flags(["open", "tested"], visitor(UNSERIALISABLE[name]))
    assert {key: flag.is_enabled() for key, flag in flags.items()} == {"open": True, "tested": True}
    assert client.dropped_events == {"unserialisable": 3}
    assert len([line for line in said if "unserialisable" in line]) == len(said) == 1
    assert client.get_flag("open", visitor("gold"))
    assert client.flush()
    assert [each["plan"] for each in shown(server)] == ["gold"]
    assert client.sent_events == 1


@pytest.mark.parametrize("name", SERIALISABLE)
def test_what_has_a_text_is_sent(connect: Connect, server: RecordingServer, name: str) -> None:
    given, sent = SERIALISABLE[name]
    client = connect(settings=SILENT)
    assert client.get_flag("open", visitor(given))
    assert client.track_event("open_used", {"id": "user-1"}, {"plan": given}) == {"open_used": True}
    assert client.flush()
    assert [each["plan"] for each in shown(server) if "plan" in each] == [sent]
    assert client.dropped_events == {}


@pytest.mark.parametrize("name", UNSERIALISABLE)
def test_an_event_that_can_not_be_sent_is_counted_and_no_other_is_lost(
    connect: Connect, server: RecordingServer, name: str
) -> None:
    client = connect(settings=SILENT, batch_event_data={"events_per_request": 100})
    for value in ("gold", UNSERIALISABLE[name], "silver"):
        client.track_event("open_used", {"id": "user-1"}, {"plan": value})
    assert client.flush()
    (batch,) = server.to("/server-side/batch-events-v2")
    assert [each["d"]["event"]["props"]["plan"] for each in batch.body["ev"]] == ["gold", "silver"]
    assert client.dropped_events == {"unserialisable": 1}


@pytest.mark.parametrize("field", ["user_agent", "ip_address"])
def test_half_a_surrogate_pair_beside_an_event_costs_that_event(
    connect: Connect, server: RecordingServer, field: str
) -> None:
    """Query and headers have no place for it."""
    client = connect(settings=SILENT)
    context = {"id": "user-1", field: f"{BROWSER} \ud83d"}
    assert client.get_flag("open", context)
    assert client.track_event("open_used", context) == {"open_used": False}
    assert not client.set_attribute("plan", "gold", context)
    assert client.dropped_events == {"unserialisable": 3}
    assert client.get_flag("open", {"id": "user-1"})
    assert client.flush()
    assert client.sent_events == len(server.to(EVENTS)) == 1


def on_plan(operand: str) -> dict[str, Any]:
    return {"and": [{"custom_variable": {"plan": operand}}]}


@pytest.mark.parametrize("name", ["circular", "deep", "a broken object"])
def test_a_value_that_breaks_one_flag_costs_no_other(
    connect: Connect, server: RecordingServer, said: list[str], name: str
) -> None:
    """Of one call the flags that don't look at it are as ever."""
    looking, listed = rollout(1, "looking", on_plan("gold")), rollout(2, "listed", on_plan("inlist(beta)"))
    member, opened = (
        rollout(3, "member", {"and": [{"custom_variable": {"user": "inlist(beta)"}}]}),
        rollout(4, "open", {}),
    )
    rules = [looking, listed, member, opened]
    features = [feature(at, rule["key"].partition("_")[0], rule) for at, rule in enumerate(rules, 1)]
    client = connect(settings=settings(features, rules))
    context = {"id": "user-1", "custom_variables": {"plan": UNSERIALISABLE[name], "user": "alice"}}
    flags = client.get_flags(["looking", "listed", "member", "open"], context)
    assert {key for key, flag in flags.items() if flag} == {"member", "open"}
    assert any("a value can't be evaluated" in line for line in said)
    assert server.members["beta"] == {"alice"}


WRONG: list[Any] = [
    None,
    {},
    {"id": Broken()},
    {"id": ["user-1"]},
    Context(""),
    Context(5.5),  # type: ignore[arg-type] # what nobody checked
    Context("u\ud83d"),
    Context("user-1", custom_variables=[]),  # type: ignore[arg-type] # as above
    BrokenMapping(),
]


@pytest.mark.parametrize("context", WRONG, ids=range(len(WRONG)))
def test_no_call_raises_for_a_wrong_context(connect: Connect, said: list[str], context: Any) -> None:
    client = connect(is_aliasing_enabled=True)
    assert not client.get_flag("open", context)
    assert client.track_event("open_used", context) == {"open_used": False}
    assert not client.set_attribute("plan", "gold", context)
    assert not client.set_alias(context, "tmp-1")
    assert {line.partition(":")[2].split(":")[0].strip() for line in said if "error" in line} == {
        "get_flag",
        "track_event",
        "set_attribute",
        "set_alias",
    }
    assert [line for line in said if "secret" in line] == []


@pytest.mark.parametrize("wrong", [Broken(), 5, {"a": Broken()}, BrokenMapping()], ids=range(4))
def test_no_call_raises_for_another_wrong_argument(client: Client, wrong: Any) -> None:
    context = {"id": "user-1"}
    assert not client.get_flag(wrong, context)
    assert not any(client.track_event(wrong, context).values())
    assert client.track_event("open_used", context, wrong) == {"open_used": False}
    assert not client.set_attribute(wrong, context)
    assert not client.set_alias("user-1", wrong)
    assert not client.update_settings(wrong)
    assert client.get_flag("open", context)


def test_the_callback_may_be_told_of_a_decision_that_can_not_be_described(connect: Connect) -> None:
    told: list[dict[str, Any]] = []
    client = connect(integrations={"callback": told.append})
    flags = client.get_flags(["open", "tested"], {"id": "user-1", "custom_variables": BrokenMapping()})
    assert all(flags.values())
    assert told == []
