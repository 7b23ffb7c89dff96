"""Accounts that nobody knows leave no key in the store, whatever address they come to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from cohort_sync.connections import Connections
from cohort_sync.oauth import Authorization
from cohort_sync.sealing import Sealer
from event_stream import keys
from fme_client.identity import get_uuid
from gateway.event_queue import NAME
from published.references import key_of
from published.visitors import VisitorMap
from tests.decisions.builders import TESTING, campaign, flag
from tests.gateway.deciding import deciding
from tests.gateway.event_posts import event
from tests.support import http
from tests.support.processes import run_program
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    import redis as redis_

    from tests.gateway.deciding import Deciding
    from tests.support.processes import StoreServer

ACCOUNT, USAGE_ACCOUNT, IN_FILE, CONNECTED, LATER = "123456", "555555", "222222", "333333", "444444"
SETTINGS = flag(campaign(TESTING, 2)) | {"usageStatsAccountId": int(USAGE_ACCOUNT)}
KEY = "key"
STRANGERS = 2000

Request = tuple[str, str, Any]


@pytest.fixture
def gateway(tmp_path: Path, store_server: StoreServer, store: redis_.Redis) -> Iterator[Deciding]:
    """It has said by itself all that it says of its settings."""
    (tmp_path / "accounts.json").write_text(json.dumps({"accounts": [{"accountId": IN_FILE, "open": True}]}))
    more = {"ACCOUNTS_FILE": "accounts.json", "EXPORT_EXPOSURES": "true"}
    with deciding(tmp_path, store_server.url, SETTINGS, **more) as started:
        until(lambda: bool(store.exists(key_of(ACCOUNT))), what="what is published of the settings")
        yield started


def requests_of(account: str) -> list[Request]:
    """Method, target and body of what an SDK may send in the name of an account; each is answered 200."""
    of, to = f"a={account}&env=key-{account}", f"accountId={account}&sdkKey=key-{account}"
    shown = event(1, visitor={"props": {"user": f"user-{account}"}})
    alias = {"userId": f"user-{account}", "aliasId": f"alias-{account}"}
    return [
        ("POST", f"/events/t?{of}", shown),
        ("POST", f"/as01/events/t?{of}", shown),
        ("POST", f"/server-side/batch-events-v2?{of}", {"ev": [shown, shown], "users": [f"user-{account}"]}),
        ("POST", f"/user-alias/setUserAlias?{to}", alias),
        ("GET", f'/user-alias/getAliasUserId?{to}&userId=["alias-{account}"]', None),
        ("GET", f"/check-attribute?attribute=alice&listId=list-{account}&{to}", None),
        ("GET", f"/get-user-details?userAgent=agent-{account}&ipAddress=203.0.113.9&{to}", None),
    ]


def decisions_of(account: str) -> list[Request]:
    """The same of what needs settings of the account, and is refused without."""
    of, to = f"a={account}&i=key-{account}", f"accountId={account}&sdkKey=key-{account}"
    body = {"userId": f"user-{account}", "featureKey": "flag", "eventName": "bought"}
    body |= {"attributeKey": "a", "attributeValue": account}
    settings = [("GET", f"/server-side/{path}?{of}", None) for path in ("v2-settings", "v2-pull")]
    return settings + [
        ("POST", f"/server-side/{path}?{to}", body) for path in ("getFlag", "getFlags", "trackEvent", "setAttribute")
    ]


def send(gateway: Deciding, request: Request) -> httpx.Response:
    method, target, body = request
    headers = {"X-User-Id": f"user-{target}"} if "/events/t" in target else {}
    content = None if body is None else json.dumps(body).encode()
    return gateway.client.request(method, target, content=content, headers=headers)


def all_keys(store: redis_.Redis) -> set[bytes]:
    return set(store.scan_iter(count=1000))


def fate_of(gateway: Deciding, account: str) -> str:
    """Of an event of the account."""
    return gateway.post(f"/events/t?a={account}&env={KEY}", event(1)).headers["X-Events"]


def test_strangers_leave_no_key(gateway: Deciding, store: redis_.Redis) -> None:
    before = all_keys(store)
    for number in range(STRANGERS):
        account = str(900_000 + number)
        fine, refused = requests_of(account), decisions_of(account)
        request = (fine + refused)[number % (len(fine) + len(refused))]
        assert send(gateway, request).status_code == (200 if request in fine else 400), request
    assert gateway.program.stop() == 0  # users whom it met are written down at the end
    assert all_keys(store) == before
    assert "Traceback" not in gateway.program.log()


def test_strangers_are_answered_in_the_shape_that_sdks_know(gateway: Deciding, store: redis_.Redis) -> None:
    one, _, batch, set_alias, get_alias, *_ = (send(gateway, request) for request in requests_of("999"))
    for answer in (one, batch):
        assert (answer.json(), answer.headers["X-Events"]) == ({}, "dropped")
    assert gateway.counted("cohort_gateway_events_dropped") == {"unknown_account": 4}
    assert set_alias.json() == {"isAliasSet": False}
    assert get_alias.json() == [{"aliasId": "alias-999", "userId": "alias-999"}]
    assert gateway.client.get("/readyz").json() == {"status": "ok"}  # nobody's events were lost
    assert store.xlen(keys.dead(NAME)) == 0
    gateway.program.stop()
    told = [line for line in gateway.program.lines if "events of accounts that nothing names" in line]
    assert len(told) == 2
    assert told[1].endswith("that is over; there were 4 unknown_account\n")
    assert "999" not in "".join(told)


def test_the_accounts_that_are_known_go_on(gateway: Deciding, store: redis_.Redis) -> None:
    for account in (ACCOUNT, USAGE_ACCOUNT, IN_FILE):
        answers = [send(gateway, request) for request in requests_of(account)]
        assert [answer.headers["X-Events"] for answer in answers[:3]] == ["stored"] * 3
        assert answers[3].json() == {"isAliasSet": True}
        assert answers[4].json() == [{"aliasId": f"alias-{account}", "userId": f"user-{account}"}]
    usage = {"ev": [event(1), event(2)]}
    gateway.post(f"/server-side/batch-events-v2?a={USAGE_ACCOUNT}", usage)  # as SDKs tell of their use: without a key
    rows: Any = store.xrange(keys.entries(NAME))
    places = [fields[b"to"].decode() for _, fields in rows]
    assert places[-2:] == [f"{USAGE_ACCOUNT}/sample_sdk_key"] * 2
    assert {place.partition("/")[0] for place in places} == {ACCOUNT, USAGE_ACCOUNT, IN_FILE}


def test_an_account_that_becomes_known_counts_at_once(gateway: Deciding) -> None:
    assert fate_of(gateway, LATER) == "dropped"
    gateway.use({**SETTINGS, "accountId": int(LATER)})
    assert fate_of(gateway, LATER) == "stored"
    assert fate_of(gateway, ACCOUNT) == "dropped"  # nobody names it any more


def test_every_worker_knows_an_account_once_one_does(tmp_path: Path, store_server: StoreServer) -> None:
    with deciding(tmp_path, store_server.url, SETTINGS, WORKERS="2") as gateway:
        gateway.use({**SETTINGS, "accountId": int(LATER)})
        address = f"{gateway.program.address}/events/t?a={LATER}&env={KEY}"
        fates = {http.post(address, json=event(1)).headers["X-Events"] for _ in range(30)}  # a connection each
        assert fates == {"stored"}


async def test_an_account_that_is_connected_to_heap_is_known(gateway: Deciding, store_server: StoreServer) -> None:
    assert fate_of(gateway, CONNECTED) == "dropped"
    async with redis.asyncio.Redis.from_url(store_server.url) as client:
        connections = Connections(client, Sealer("the key of the tests"))
        await connections.connect(CONNECTED, Authorization(env_id="env", id_token="id", access_token="access"))
        until(lambda: fate_of(gateway, CONNECTED) == "stored", what="the account to be known")
        await connections.disconnect(CONNECTED)
    until(lambda: fate_of(gateway, "999") == fate_of(gateway, CONNECTED) == "dropped", what="it to be forgotten")


def test_strangers_don_t_wait_for_a_store_that_is_silent(gateway: Deciding, store_server: StoreServer) -> None:
    with store_server.held_still():
        assert fate_of(gateway, "999") == "dropped"
        assert fate_of(gateway, ACCOUNT) == "buffered"
    until(lambda: fate_of(gateway, ACCOUNT) == "stored", what="the store to take events again")


async def test_a_person_is_erased_under_every_account(
    gateway: Deciding, store_server: StoreServer, store: redis_.Redis, tmp_path: Path
) -> None:
    """Those that an older gateway believed are among them."""
    send(gateway, ("POST", "/user-alias/setUserAlias", {"userId": "alice", "aliasId": "x"}))
    gateway.post("/server-side/getFlag", {"featureKey": "flag", "userId": "alice"})
    async with redis.asyncio.Redis.from_url(store_server.url) as client:
        visitors = VisitorMap(client)
        for account, most in (("999", 100), ("888", 2)):
            for person in ("alice", "bob", "carol"):
                await visitors.put(account, {get_uuid(person, account): person}, most=most)
        assert await visitors.accounts() >= {"999", "888"}
    store.hset("cg:aliases:{all}:old", mapping={"999:y": "alice", "888:alice": "z", "777:x": "bob"})
    until(lambda: bool(store.exists(f"cg:visitors:{{{ACCOUNT}}}:new")), what="the visitor to be written down")
    settings = {"REDIS_URL": store_server.url, "SETTINGS_FILE": str(gateway.settings_file)}
    done = run_program(["gateway", "erase", "alice", "--yes", "--json"], settings, directory=tmp_path)
    erased = json.loads(done.stdout)
    assert (erased["visitor_ids"], erased["aliases"]) == (2, 3), done.stderr  # of 888 it had gone for others
    hashes = [key for key in all_keys(store) if key.startswith((b"cg:visitors:", b"cg:aliases:"))]
    left: Any = [pair for key in hashes for pair in store.hgetall(key).items()]
    assert b"alice" not in b" ".join(name + value for name, value in left)
    assert sum(value == b"bob" for _, value in left) == 3
