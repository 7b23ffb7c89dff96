"""Exposures of the gateways become exposures of people, flags and variations, or dead letters that say why not."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from event_stream.stream import Event, seconds_of
from fme_client.identity import get_uuid
from heap_export import vwo
from heap_export.intake import Intake
from heap_export.integrations import Integration, Integrations
from heap_export.metrics import Metrics
from heap_export.payloads import open_parcel
from heap_export.settings import HeapExportSettings
from heap_export.streams import stream_of
from heap_export.vwo import VwoSource
from published.campaigns import IMPACT, PERSONALIZE, ROLLOUT, TESTING, Campaign, Campaigns, Variation
from published.exposures import exposure_stream
from published.visitors import VisitorMap
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from event_stream.stream import Record, Status
    from tests.support.processes import StoreServer

ACCOUNT, APP_ID = "123456", "11"
PLACE = f"{ACCOUNT}/key"
AT = 1795308506454  # milliseconds

CAMPAIGNS = {
    "1": Campaign("dashboard", ROLLOUT, {"1": Variation("Rollout-rule-1", "rollout")}),
    "2": Campaign("dashboard", TESTING, {"1": Variation("control", "test"), "2": Variation("grün", "test")}),
    "3": Campaign("checkout", PERSONALIZE, {"2": Variation("for premium", "personal")}),
    "9": Campaign("dashboard", IMPACT),
}


def shown(user: str, campaign: Any = 2, variation: Any = 1, *, known: bool = True, **event: Any) -> Event:
    """What a gateway writes. `known`: it knows the user."""
    props = {"id": campaign, "variation": variation, "isFirst": 1}
    about = {"name": "vwo_variationShown", "time": AT, "props": props} | event
    whole: dict[str, Any] = {"event": {"d": {"msgId": "m", "visId": get_uuid(user, ACCOUNT), "event": about}}}
    return Event(PLACE, json.dumps(whole | ({"user": user} if known else {})).encode())


@dataclass
class Export:
    """heap-export without its servers."""

    store: Redis
    settings: HeapExportSettings = field(default_factory=lambda: HeapExportSettings(heap_app_id=APP_ID))
    metrics: Metrics = field(default_factory=Metrics)
    integrations: Integrations = field(init=False)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.integrations = Integrations(self.store, default=Integration(name="default", app_id=APP_ID))

    def source(self) -> VwoSource:
        """One for each process."""
        self.metrics = metrics = Metrics()
        intake = Intake(self.store, self.settings, self.integrations, metrics)
        return VwoSource(self.store, self.settings, intake, metrics)

    async def put(self, *events: Event) -> None:
        await exposure_stream(self.store).append(events, writer="tests", number=next(self._numbers))

    async def learn(self, *users: str) -> None:
        await VisitorMap(self.store).put(ACCOUNT, {get_uuid(user, ACCOUNT): user for user in users}, most=100)

    async def stored(self) -> list[Record]:
        return await stream_of(APP_ID, self.store, self.settings).read(b"", 1000)

    async def events(self, count: int) -> list[dict[str, Any]]:
        """What waits for Heap, once it is so much."""

        async def are_there() -> bool:
            return len(await self.stored()) >= count

        await eventually(are_there, what=f"{count} exposures")
        parcels = [open_parcel(record.body) for record in await self.stored()]
        return [json.loads(bytes(parcel.event or b"null")) for parcel in parcels]

    async def all_read(self) -> Status:
        """Once nothing waits in the gateways' stream."""
        stream = exposure_stream(self.store)

        async def is_empty() -> bool:
            return (await stream.status()).waiting == 0

        await eventually(is_empty, what="the exposures to be read")
        return await stream.status()

    async def dead(self) -> dict[str, int]:
        await self.all_read()
        return await exposure_stream(self.store).count_dead()

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def export(store_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Export]:
    monkeypatch.setattr(vwo, "_WAIT_SECONDS", 0.5)
    monkeypatch.setattr(vwo, "_LOOK_AGAIN_SECONDS", 0.02)
    async with Redis.from_url(store_url, socket_timeout=2) as store:
        await Campaigns(store).publish(ACCOUNT, CAMPAIGNS)
        yield Export(store)


async def test_an_exposure_names_person_flag_variation_and_rule(export: Export) -> None:
    await export.put(shown("alice", 2, 2), shown("José", "3", "2"))
    async with export.source().running():
        first, second = await export.events(2)
        await export.all_read()
    assert (first["identity"], first["event"]) == ("alice", "Experiment Viewed")
    assert first["timestamp"] == "2026-11-22T00:48:26.454Z"
    assert first["properties"] == {
        "account_id": ACCOUNT,
        "campaign_id": "2",
        "source": "vwo",
        "flag_key": "dashboard",
        "variation_key": "grün",
        "rule_key": "test",
        "enabled": "true",
    }
    assert (second["identity"], second["properties"]["variation_key"]) == ("José", "for premium")
    [stored, _] = await export.stored()
    assert json.loads(bytes(open_parcel(stored.body).user or b"null")) == {
        "identity": "alice",
        "properties": {"[VWO] dashboard": "grün"},
    }


async def test_what_is_no_experiment_is_left_out_and_counted(export: Export) -> None:
    await export.put(shown("alice", 1), shown("stranger", 1, known=False), shown("bob", 9), shown("carol", 2))
    async with export.source().running():
        assert [event["identity"] for event in await export.events(1)] == ["carol"]
        assert await export.dead() == {}
    assert export.counted("heap_export_skipped_total", source="vwo", reason=ROLLOUT) == 2
    assert export.counted("heap_export_skipped_total", source="vwo", reason=IMPACT) == 1


async def test_a_user_whom_a_gateway_learnt_is_found_by_the_visitor_id(export: Export) -> None:
    await export.learn("alice", "José")
    await export.put(shown("José", known=False), shown("alice", known=False))
    async with export.source().running():
        assert [event["identity"] for event in await export.events(2)] == ["José", "alice"]


async def test_what_becomes_known_a_moment_later_is_waited_for_in_order(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vwo, "_WAIT_SECONDS", 60.0)
    late = Campaign("late", TESTING, {"1": Variation("control", "rule"), "2": Variation("blue", "rule")})
    await Campaigns(export.store).publish(
        ACCOUNT, {"4": Campaign("late", TESTING, {"1": Variation("control", "rule")})}
    )
    await export.put(shown("alice", known=False), shown("bob", 7), shown("carol", 4, 2), shown("dave"))
    async with export.source().running():

        async def is_in_hand() -> bool:
            return (await exposure_stream(export.store).status()).in_hand == 4

        await eventually(is_in_hand, what="the exposures to be looked at")
        assert await export.stored() == []
        await export.learn("alice")
        await Campaigns(export.store).publish(ACCOUNT, {"4": late, "7": late})
        assert [event["identity"] for event in await export.events(4)] == ["alice", "bob", "carol", "dave"]
        assert await export.dead() == {}


async def test_strangers_are_dead_letters_and_their_hash_is_nobody_s_identity(export: Export) -> None:
    await export.put(shown("alice"), shown("stranger", known=False), shown("bob"))
    async with export.source().running():
        assert [event["identity"] for event in await export.events(2)] == ["alice", "bob"]
        assert await export.dead() == {"unknown_visitor": 1}

        await export.learn("stranger")
        assert await exposure_stream(export.store).retry("unknown_visitor") == {"unknown_visitor": 1}
        assert [event["identity"] for event in await export.events(3)] == ["alice", "bob", "stranger"]
        assert await export.dead() == {}
    for record in await export.stored():
        assert get_uuid("stranger", ACCOUNT).encode() not in record.body
    assert export.counted("heap_export_vwo_exposures_total", what="dead", reason="unknown_visitor") == 1


async def test_what_can_t_be_told_is_a_dead_letter_that_says_why(export: Export) -> None:
    await export.put(
        shown("alice", 77),
        shown("alice", 2, 9),
        shown("alice", None),
        shown("alice", True),
        shown("null"),
        shown("x" * 256),
        shown("alice", time=1e300),
        Event(PLACE, b"{"),
        Event(PLACE, b'{"event":{"d":{}}}'),
        shown("alice")._replace(to="/key"),
        shown("bob"),
    )
    async with export.source().running():
        assert [event["identity"] for event in await export.events(1)] == ["bob"]
        assert await export.dead() == {
            "unknown_campaign": 1,
            "unknown_variation": 1,
            "unreadable": 4,
            "nobody_identity": 1,
            "long_identity": 1,
            "bad_time": 1,
            "no_account": 1,
        }


@pytest.mark.parametrize("time", [None, "soon", True, [], "nan"])
async def test_an_exposure_that_tells_no_time_has_that_of_its_coming(export: Export, time: Any) -> None:
    await export.put(shown("alice", time=time))
    async with export.source().running():
        [event] = await export.events(1)
    [record] = await export.stored()
    told = dt.datetime.fromisoformat(event["timestamp"]).timestamp()
    assert told == pytest.approx(seconds_of(record.id), abs=30)


async def test_the_same_again_is_one_exposure(export: Export) -> None:
    await export.put(*(shown("alice") for _ in range(700)), shown("alice", 2, 2), shown("bob"))
    async with export.source().running():
        await export.all_read()
    told = [(event["identity"], event["properties"]["variation_key"]) for event in await export.events(3)]
    assert told == [("alice", "control"), ("alice", "grün"), ("bob", "control")]


async def test_nothing_is_lost_while_there_is_no_heap_environment(export: Export) -> None:
    export.integrations = Integrations(export.store)
    await export.put(shown("alice"))
    async with export.source().running():

        async def was_tried() -> bool:
            return bool(export.counted("heap_export_vwo_exposures_total", what="retried", reason="no_integration"))

        await eventually(was_tried, what="an attempt")
        await export.integrations.add(Integration(name="one", app_id=APP_ID))
        assert [event["identity"] for event in await export.events(1)] == ["alice"]


async def test_one_process_reads_and_another_one_goes_on_when_it_ends(export: Export) -> None:
    first, second = export.source(), export.source()
    await export.put(shown("alice"))
    async with second.running():
        async with first.running():
            await export.events(1)
        await export.put(shown("bob"))
        assert [event["identity"] for event in await export.events(2)] == ["alice", "bob"]


async def test_a_store_that_is_silent_for_a_while_costs_nothing(export: Export, store_server: StoreServer) -> None:
    source = export.source()
    async with source.running():
        await export.put(shown("alice"))
        await export.events(1)
        with store_server.held_still():
            assert source.trouble == []
        await export.put(shown("bob"))
        assert [event["identity"] for event in await export.events(2)] == ["alice", "bob"]
        await export.put(shown("stranger", known=False))
        await export.dead()

        async def is_told() -> bool:
            return source.trouble == ["vwo_exposures_dead"]

        await eventually(is_told, what="a word about dead letters")
