"""Following an Optimizely Agent that is well, rude or away, with a real store."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from foundation.errors import ConfigurationError, UnavailableError
from foundation.store import connect
from heap_export import optimizely_agent
from heap_export.intake import Intake
from heap_export.integrations import Integrations, default_integration
from heap_export.metrics import Metrics
from heap_export.optimizely_agent import AgentFollower
from heap_export.payloads import open_parcel
from heap_export.settings import HeapExportSettings
from heap_export.streams import stream_of
from tests.support.fake_agent import FakeAgent, fake_agent, notification
from tests.support.ports import free_ports
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from foundation.store import Store
    from heap_export.intake import Taken
    from heap_export.records import Record


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    with fake_agent() as agent:
        yield agent


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection counts as a good one earlier than usual."""
    monkeypatch.setattr(optimizely_agent, "_SURELY_UP_SECONDS", 0.05)


class SickIntake(Intake):
    """Has no room while `is_sick`."""

    is_sick = False

    async def take(self, records: Sequence[Record], *, integration: str | None = None) -> list[Taken]:
        if self.is_sick:
            raise UnavailableError("as the test wants")
        return await super().take(records, integration=integration)


class Following:
    """An `AgentFollower` at work, and what it has stored."""

    def __init__(self, store: Store, settings: HeapExportSettings) -> None:
        self.metrics = Metrics()
        self.integrations = Integrations(store, default=default_integration(settings))
        self.intake = SickIntake(store, settings, self.integrations, self.metrics)
        self.follower = AgentFollower(settings, self.intake, self.metrics)
        self._stream = stream_of("123", store, settings)

    async def exposures(self) -> list[dict[str, Any]]:
        """The events that wait for Heap, in their order."""
        parcels = [open_parcel(record.body) for record in await self._stream.read(b"", 100_000)]
        return [json.loads(parcel.event or b"{}") for parcel in parcels]

    async def users(self) -> list[str]:
        return [exposure["identity"] for exposure in await self.exposures()]

    async def wait_for(self, *users: str) -> None:
        """Until just these were stored, in this order."""

        async def are_there() -> bool:
            return await self.users() == list(users)

        await eventually(are_there, what=f"exposures of {users}")

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"heap_export_agent_{name}", labels) or 0.0

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        async def is_so() -> bool:
            return holds()

        await eventually(is_so)


@contextlib.asynccontextmanager
async def following(store_url: str, address: str, keys: str = "key") -> AsyncIterator[Following]:
    settings = HeapExportSettings(
        redis_url=store_url, heap_app_id="123", optimizely_agent_url=address, optimizely_sdk_keys=keys
    )
    store = connect(settings)
    try:
        found = Following(store, settings)
        async with found.integrations.running(), found.follower.running():
            yield found
    finally:
        await store.aclose()


def told(user: str, flag: str = "checkout", variation: str = "treatment", *, enabled: bool = True) -> dict[str, Any]:
    return notification(user, flag, variation, "rule" if variation else "", enabled=enabled)


async def test_decisions_of_the_agent_become_exposures(store_url: str, agent: FakeAgent) -> None:
    async with following(store_url, agent.address) as seen:
        await asyncio.to_thread(agent.wait_for_listeners)
        (listener,) = agent.listeners
        assert (listener.key, listener.path) == ("key", "/v1/notifications/event-stream?filter=decision")
        await seen.wait_until(lambda: seen.counted("connected") == 1)
        agent.tell(
            told("ann"), told("ben", variation="control", enabled=False), told("cat", "plain", "", enabled=False)
        )
        await seen.wait_for("ann", "ben", "cat")
        shown = [exposure["properties"] for exposure in await seen.exposures()]
        keys = ("flag_key", "variation_key", "rule_key", "enabled")
        assert [[properties.get(key) for key in keys] for properties in shown] == [
            ["checkout", "treatment", "rule", "true"],
            ["checkout", "control", "rule", "false"],
            ["plain", "off", None, "false"],
        ]
        assert not any("plan" in properties for properties in shown)  # attributes stay with the Agent


async def test_the_javascript_sdk_s_shape_is_understood_too(store_url: str, agent: FakeAgent) -> None:
    info = {"flagKey": "checkout", "enabled": True, "variationKey": "treatment", "ruleKey": "rule", "variables": {}}
    async with following(store_url, agent.address) as seen:
        await asyncio.to_thread(agent.wait_for_listeners)
        agent.tell({"type": "flag", "userId": "ann", "attributes": {}, "decisionInfo": info})
        await seen.wait_for("ann")


async def test_each_sdk_key_is_followed(store_url: str, agent: FakeAgent) -> None:
    async with following(store_url, agent.address, keys="one, two:token") as seen:
        await asyncio.to_thread(agent.wait_for_listeners, 2)
        assert sorted(listener.key for listener in agent.listeners) == ["one", "two:token"]
        await seen.wait_until(lambda: seen.counted("connected") == 2)


async def test_what_several_processes_hear_is_stored_once(store_url: str, agent: FakeAgent) -> None:
    async with following(store_url, agent.address) as one, following(store_url, agent.address) as other:
        await asyncio.to_thread(agent.wait_for_listeners, 2)
        agent.tell(told("ann"), told("ben"))
        await one.wait_until(lambda: one.counted("received_total", kind="decision") == 2)
        await other.wait_until(lambda: other.counted("received_total", kind="decision") == 2)
        await one.wait_for("ann", "ben")


async def test_an_agent_that_hangs_up_is_followed_again(store_url: str, agent: FakeAgent) -> None:
    async with following(store_url, agent.address) as seen:
        for number in range(3):
            await asyncio.to_thread(agent.wait_for_listeners, 1, after=number)
            agent.tell(told(f"user-{number}"))
            agent.hang_up()
        await seen.wait_for("user-0", "user-1", "user-2")


async def test_an_agent_that_is_away_and_comes_back_is_followed(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    (port,) = free_ports(1)
    async with following(store_url, f"http://127.0.0.1:{port}", keys="secret-key") as seen:
        await seen.wait_until(lambda: "can't be reached" in caplog.text)
        assert seen.counted("connected") == 0
        with fake_agent(port) as agent:
            await asyncio.to_thread(agent.wait_for_listeners)
            agent.tell(told("ann"))
            await seen.wait_for("ann")
    assert sum("can't be reached" in message for message in caplog.messages) == 1
    assert "secret-key" not in caplog.text


@pytest.mark.parametrize("status", [400, 403, 500])
async def test_an_agent_that_refuses_is_asked_again_and_the_log_says_what_it_wants(
    store_url: str,
    agent: FakeAgent,
    status: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent.refuses = status
    async with following(store_url, agent.address) as seen:
        await seen.wait_until(lambda: agent.refused > 1)
        assert f"http_{status}" in caplog.text
        assert "enableNotifications" in caplog.text
        monkeypatch.setattr(optimizely_agent, "_AWAY_SECONDS", 0)
        assert seen.follower.trouble == ["agent_away"]
        assert seen.counted("connected") == 0
        agent.refuses = 0
        await asyncio.to_thread(agent.wait_for_listeners)
        agent.tell(told("ann"))
        await seen.wait_for("ann")
        assert seen.follower.trouble == []


async def test_rubbish_is_counted_and_passed_over(store_url: str, agent: FakeAgent) -> None:
    rubbish = [
        b"data: {no json\n\n",
        b"data: [1, 2]\n\n",
        b'data: {"Type": 7}\n\n',
        b'data: {"Type": "flag"}\n\n',
        b'data: {"Type": "flag", "UserContext": {"ID": 7}, "DecisionInfo": {"flagKey": "f"}}\n\n',
        b'data: {"Type": "flag", "UserContext": {"ID": "null"}, "DecisionInfo": {"flagKey": "f"}}\n\n',
        b'data: {"Type": "flag", "UserContext": {"ID": "u"}, "DecisionInfo": {"variationKey": []}}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: \xff\xfe\n\n",
    ]
    others = [b": a comment\n\n", b"event: ping\nid: 7\n\n", b"\n\n\n", b"retry: 1\n\n"]
    async with following(store_url, agent.address) as seen:
        await asyncio.to_thread(agent.wait_for_listeners)
        for chunk in [*rubbish, *others]:
            agent.say(chunk)
        agent.tell({"Type": "ab-test", "UserContext": {"ID": "u"}, "DecisionInfo": {}}, told("ann"))
        await seen.wait_for("ann")
        assert seen.counted("received_total", kind="malformed") == len(rubbish)
        assert seen.counted("received_total", kind="other") == 1


async def test_a_flood_of_notifications_leaves_others_their_turns(store_url: str, agent: FakeAgent) -> None:
    async with following(store_url, agent.address) as seen:
        await asyncio.to_thread(agent.wait_for_listeners)
        in_a_turn: list[float] = []

        async def watch() -> None:
            before = 0.0
            while before < 20_000:
                await asyncio.sleep(0)
                so_far = seen.counted("received_total", kind="malformed")
                in_a_turn.append(so_far - before)
                before = so_far

        agent.say(b"data:x\n\n" * 20_000)
        async with asyncio.timeout(60):
            await watch()
        assert max(in_a_turn) <= 50


async def test_an_agent_s_event_that_is_too_large_ends_the_connection_and_the_log_says_so(
    store_url: str, agent: FakeAgent, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(store_url, agent.address) as seen:
        await asyncio.to_thread(agent.wait_for_listeners)
        agent.tell(told("ann"))
        await seen.wait_for("ann")
        agent.say(b"data: " + b"x" * 300_000)
        await asyncio.to_thread(agent.wait_for_listeners, 1, after=1)
        assert "an event of it has more than 262,144 bytes" in caplog.text
        assert seen.counted("received_total", kind="malformed") == 1
        agent.tell(told("ben"))
        await seen.wait_for("ann", "ben")


async def test_a_slow_trickle_and_several_lines_of_data_are_one_notification(store_url: str, agent: FakeAgent) -> None:
    body = json.dumps(told("änn"), ensure_ascii=False, indent=1).encode()
    event = b"".join(b"data: " + line + b"\r\n" for line in body.splitlines()) + b"\r\n"
    async with following(store_url, agent.address) as seen:
        await asyncio.to_thread(agent.wait_for_listeners)
        for at in range(len(event)):
            agent.say(event[at : at + 1])
        await seen.wait_for("änn")


async def test_while_the_store_is_away_decisions_wait_within_bounds(
    store_url: str, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(optimizely_agent, "MOST_WAITING", 5)
    async with following(store_url, agent.address) as seen:
        await asyncio.to_thread(agent.wait_for_listeners)
        seen.intake.is_sick = True
        agent.tell(*(told(f"user-{number}") for number in range(8)))
        await seen.wait_until(lambda: seen.counted("dropped_total") == 3)
        assert await seen.users() == []
        seen.intake.is_sick = False
        await seen.wait_for(*(f"user-{number}" for number in range(5)))
    assert sum("is lost" in message for message in caplog.messages) == 1


async def test_what_waits_at_the_end_is_stored_if_it_can_be(store_url: str, agent: FakeAgent) -> None:
    async with following(store_url, agent.address) as seen:
        await asyncio.to_thread(agent.wait_for_listeners)
        seen.intake.is_sick = True
        agent.tell(told("ann"))
        await seen.wait_until(lambda: seen.counted("received_total", kind="decision") == 1)
        seen.intake.is_sick = False
    settings = HeapExportSettings(redis_url=store_url, heap_app_id="123")
    store = connect(settings)
    try:
        assert [record.to for record in await stream_of("123", store, settings).read(b"", 10)] == ["ann"]
    finally:
        await store.aclose()


async def test_connections_are_renewed_without_a_gap(
    store_url: str, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Agent ends an answer of 10 seconds with a notification that nobody gets; here they are shorter."""
    monkeypatch.setattr(optimizely_agent, "_RENEWED_AFTER", 0.2)
    monkeypatch.setattr(optimizely_agent, "_OVERLAP", 0.1)
    async with following(store_url, agent.address) as seen:
        number = 0
        while agent.came < 6:
            await asyncio.to_thread(agent.wait_for_listeners)
            agent.tell(told(f"user-{number}"))
            number += 1
            await asyncio.sleep(0.02)
        await seen.wait_for(*(f"user-{at}" for at in range(number)))
        assert seen.counted("dropped_total") == 0
        assert seen.follower.trouble == []


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizely_agent_url": "http://127.0.0.1:8080"},
        {"optimizely_sdk_keys": "key"},
        {"optimizely_agent_url": "http://127.0.0.1:8080", "optimizely_sdk_keys": "kéy"},
    ],
)
async def test_settings_that_make_no_sense_are_named(store_url: str, settings: Any) -> None:
    whole = HeapExportSettings(redis_url=store_url, **settings)
    store = connect(whole)
    try:
        with pytest.raises(ConfigurationError, match="OPTIMIZELY_SDK_KEYS"):
            Following(store, whole)
    finally:
        await store.aclose()
