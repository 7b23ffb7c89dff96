"""Exposures for heap-export: whatever way a gateway learns of one, it is in their stream before anybody is answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from event_stream import keys
from fme_client.identity import get_uuid
from published.exposures import NAME, open_shown
from tests.decisions.builders import TESTING, campaign, flag
from tests.gateway.deciding import Deciding, deciding
from tests.gateway.event_posts import readiness
from tests.support.processes import run_program
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    import redis

    from tests.support.processes import StoreServer

ACCOUNT, KEY = "123456", "key"
ONE, BATCH = f"/events/t?a={ACCOUNT}&env={KEY}", f"/server-side/batch-events-v2?a={ACCOUNT}&env={KEY}"
SETTINGS = flag(campaign(TESTING, 2))


@pytest.fixture(scope="module")
def gateway(emptied_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    """It lives as long as the tests of this file."""
    directory = tmp_path_factory.mktemp("gateway")
    with deciding(directory, emptied_store.url, SETTINGS, EXPORT_EXPOSURES="true") as started:
        yield started


def exposure(user: str, **more: Any) -> dict[str, Any]:
    """As an SDK sends it."""
    about = {"name": "vwo_variationShown", "time": 1795308506454, "props": {"id": 2, "variation": 1}}
    return {"d": {"msgId": f"m-{user}", "visId": get_uuid(user, ACCOUNT), "event": about, **more}}


def waiting(store: redis.Redis) -> list[tuple[str, dict[str, Any]]]:
    """What heap-export would get: place and record of each."""
    rows: Any = store.xrange(keys.entries(NAME))
    return [(fields[b"to"].decode(), json.loads(fields[b"body"])) for _, fields in rows]


def users(store: redis.Redis) -> list[str | None]:
    return [record.get("user") for _, record in waiting(store)]


def fate(answer: httpx.Response) -> str:
    assert (answer.status_code, answer.json()) == (200, {})
    return answer.headers["X-Events"]


def test_decisions_of_our_own_tell_their_user(gateway: Deciding, store: redis.Redis) -> None:
    gateway.post("/server-side/getFlag", {"featureKey": "flag", "userId": "alice"})
    gateway.post("/server-side/getFlags", {"userId": "José"})
    gateway.post("/ofrep/v1/evaluate/flags/flag", {"context": {"targetingKey": "carol"}})
    gateway.post("/server-side/trackEvent", {"eventName": "bought", "userId": "alice"})
    found = waiting(store)
    assert [record["user"] for _, record in found] == ["alice", "José", "carol"]
    assert {place for place, _ in found} == {f"{ACCOUNT}/{KEY}"}
    assert [record["event"] for _, record in found] == gateway.events()[:3]  # what VWO is sent


def test_what_sdks_send_comes_as_it_is(gateway: Deciding, store: redis.Redis) -> None:
    sent = [exposure("alice"), exposure("bob"), exposure("carol")]
    bought = {"d": {"event": {"name": "bought"}}}
    assert fate(gateway.post(ONE, sent[0])) == "stored"
    assert fate(gateway.post(ONE, bought)) == "stored"
    assert fate(gateway.post(BATCH, {"ev": [sent[1], bought, sent[2]]})) == "stored"
    assert [(place, record) for place, record in waiting(store)] == [
        (f"{ACCOUNT}/{KEY}", {"event": event}) for event in sent
    ]
    assert len(gateway.events()) == 5


def test_a_user_who_is_named_beside_an_event_is_known(gateway: Deciding, store: redis.Redis) -> None:
    gateway.post(ONE, exposure("Zoë"), {"X-User-Id": "Zo%C3%AB"})
    gateway.post(ONE, exposure("alice"), {"X-User-Id": "mallory"})
    gateway.post(ONE, exposure("alice"), {"X-User-Id": "%ff"})
    gateway.post(BATCH, {"ev": [exposure("bob"), exposure("carol")], "users": ["carol", "bob", "dave"]})
    assert users(store) == ["Zoë", None, None, "bob", "carol"]


def test_an_attribute_that_proves_to_be_the_user_s_id_tells_it(gateway: Deciding, store: redis.Redis) -> None:
    told = {"props": {"vwo_fs_environment": KEY, "plan": "gold", "user_id": "alice", "seats": 3}}
    gateway.post(ONE, exposure("alice", visitor=told))
    gateway.post(ONE, exposure("bob", visitor=told))
    assert users(store) == ["alice", None]


@pytest.mark.parametrize(
    "more",
    [
        {"visitor": None},
        {"visitor": {"props": []}},
        {"visitor": {"props": {"name": "\ud83d"}}},
        {"visId": 7},
        {"visId": None},
        {"visId": "\ud83d"},
        {"event": {"name": "vwo_variationShown"}},
    ],
)
def test_odd_events_do_no_harm(gateway: Deciding, store: redis.Redis, more: dict[str, Any]) -> None:
    fate(gateway.post(ONE, exposure("alice", **more), {"X-User-Id": "%ED%A0%BD"}))
    fate(gateway.post(BATCH, {"ev": [exposure("bob")], "users": {"\ud83d": "\ud83d"}}))
    assert fate(gateway.post(BATCH, {"ev": [exposure("carol")], "users": ["\ud83d", 7, None]})) == "stored"
    assert users(store)[-1] is None
    assert "Traceback" not in gateway.program.log()


def test_half_a_surrogate_pair_does_not_make_an_exposure_unreadable(gateway: Deciding, store: redis.Redis) -> None:
    whole = {"props": {"name": "\ud83d half", "other": "\U0001f600"}}
    gateway.post(ONE, exposure("alice", visitor=whole))
    gateway.post(BATCH, {"ev": [exposure("bob", visitor=whole)]})
    rows: Any = store.xrange(keys.entries(NAME))
    for _, fields in rows:
        event = msgspec.json.decode(open_shown(fields[b"body"]).event)
        assert event["d"]["visitor"] == {"props": {"name": "? half", "other": "\U0001f600"}}
    assert len(rows) == 2


@pytest.mark.parametrize(("named", "is_exported"), [("HEAP_APP_ID", True), ("LOG_LEVEL", False)])
def test_they_are_exported_where_there_is_a_heap(
    tmp_path: Path, store_server: StoreServer, store: redis.Redis, named: str, is_exported: bool
) -> None:
    with deciding(tmp_path, store_server.url, SETTINGS, **{named: "debug"}) as gateway:
        assert fate(gateway.post(ONE, exposure("alice"))) == "stored"
        answer = gateway.client.get("/server-side/v2-settings")
    assert (len(waiting(store)), answer.headers.get("X-Wants")) == ((1, "user-ids") if is_exported else (0, None))


def test_they_don_t_need_vwo(tmp_path: Path, store_server: StoreServer, store: redis.Redis) -> None:
    more = {"EXPORT_EXPOSURES": "true", "FORWARD_EVENTS": "false"}
    with deciding(tmp_path, store_server.url, SETTINGS, **more) as gateway:
        assert fate(gateway.post(ONE, exposure("alice"))) == "stored"
        assert fate(gateway.post(ONE, {"d": {"event": {"name": "bought"}}})) == "counted"
        assert gateway.events() == []
    assert len(waiting(store)) == 1


def test_a_store_that_is_silent_gets_them_later(
    gateway: Deciding, store_server: StoreServer, store: redis.Redis
) -> None:
    names = [f"cohort_gateway_exposures_{what}" for what in ("buffered", "stored")]
    before = [gateway.counted(name)[""] for name in names]
    with store_server.held_still():
        assert fate(gateway.post(ONE, exposure("alice"))) == "buffered"
        assert fate(gateway.post(BATCH, {"ev": [exposure("bob"), exposure("carol")]})) == "buffered"
        assert "exposures_in_memory" in readiness(gateway.program)["reasons"]
    until(lambda: len(waiting(store)) == 3, what="all of them")
    assert [gateway.counted(name)[""] - was for name, was in zip(names, before, strict=True)] == [3, 3]


def test_no_more_wait_than_there_is_room_for(tmp_path: Path, store_server: StoreServer, store: redis.Redis) -> None:
    more = {"EXPORT_EXPOSURES": "true", "FORWARD_EVENTS": "false", "EVENTS_WAITING": "2"}
    with deciding(tmp_path, store_server.url, SETTINGS, **more) as gateway:
        assert fate(gateway.post(BATCH, {"ev": [exposure(name) for name in ("a", "b", "c")]})) == "dropped"
        assert gateway.counted("cohort_gateway_exposures_dropped") == {"stream_full": 1}
        assert readiness(gateway.program) == {"status": "degraded", "reasons": ["exposures_dropped"]}
    assert len(waiting(store)) == 2


def test_an_erased_person_is_in_none_of_them(
    gateway: Deciding, store_server: StoreServer, store: redis.Redis, tmp_path: Path
) -> None:
    gateway.post("/server-side/getFlag", {"featureKey": "flag", "userId": "álice"})
    gateway.post(ONE, exposure("álice"))
    gateway.post(ONE, exposure("bob"))
    settings = {"REDIS_URL": store_server.url, "SETTINGS_FILE": str(gateway.settings_file)}
    done = run_program(["gateway", "erase", "álice", "--yes", "--json"], settings, directory=tmp_path)
    assert json.loads(done.stdout)["exposures"] == 2, done.stderr
    assert [record["event"] for _, record in waiting(store)] == [exposure("bob")]
