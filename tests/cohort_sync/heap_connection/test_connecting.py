"""Connecting accounts to Heap, and disconnecting them."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from cohort_sync.oauth_states import LIFETIME_SECONDS
from tests.cohort_sync.heap_connection.conftest import ACCOUNT, OTHER, Installation, assert_refused
from tests.support import http
from tests.support.fake_heap_oauth import CLIENT_ID, FakeHeap

if TYPE_CHECKING:
    import redis

    from tests.support.processes import StoreServer


def test_the_whole_way(installation: Installation, heap: FakeHeap) -> None:
    started = installation.start()
    assert started.status_code == 303
    assert started.headers["cache-control"] == "no-store"
    parts = urlsplit(started.headers["location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{heap.address}/api/partner/oauth/authorize"
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert len(query.pop("state")) >= 43
    assert query == {
        "client_id": CLIENT_ID,
        "response_type": "code",
        "redirect_uri": f"{installation.public}/connect/heap/callback",
        "scope": "segment",
    }
    answer = installation.come_back(http.get(started.headers["location"]).headers["location"])
    assert answer.status_code == 200, answer.text
    assert "Account 123456 is connected to the Heap environment env_1" in answer.text
    assert "script" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    listed = http.get(f"{installation.admin}/admin/api/v1/connections").json()["connections"]
    assert [(row["account"], row["env_id"], row["authorized_by"], row["usable"]) for row in listed] == [
        (ACCOUNT, "env_1", "grace@example.com", True)
    ]
    assert (listed[0]["partner_app_id"], listed[0]["authorized_scope"]) == ("17", "segment")
    assert not {"sealed_token", "id_token_tag", "access_token", "id_token"} & set(listed[0])
    assert [record["account"] for record in installation.journal] == [ACCOUNT]
    assert "account 123456: connected to Heap environment 'env_1'" in installation.log.getvalue()


def test_a_command_line_gets_the_address_as_json(installation: Installation, heap: FakeHeap) -> None:
    answer = installation.start(None, Accept="application/json")
    assert answer.status_code == 200
    came = http.get(answer.json()["authorize_url"]).headers["location"]
    assert heap.address in answer.json()["authorize_url"]
    assert "Account 123456 is connected" in installation.come_back(came).text


def test_a_state_serves_once(installation: Installation, heap: FakeHeap) -> None:
    address = installation.authorized()
    assert installation.come_back(address).status_code == 200
    calls = len(heap.calls)
    assert_refused(installation.come_back(address), 400, "used already")
    assert len(heap.calls) == calls, "Heap is not asked for a state that is not ours"
    assert len(installation.journal) == 1


def test_an_unknown_state_gets_nowhere(installation: Installation, heap: FakeHeap) -> None:
    for state in ("", "x", "x" * 43, "\N{GREEK SMALL LETTER ALPHA}" * 43, "x" * 5000, "*"):
        for rest in ("code=abc", "error=access_denied", ""):
            answer = installation.come_back(f"{installation.public}/connect/heap/callback?state={state}&{rest}")
            assert_refused(answer, 400, "unknown")
    assert heap.calls == []


def test_a_state_expires(installation: Installation, store: redis.Redis) -> None:
    address = installation.authorized()
    (key,) = store.keys("*:state:*")
    assert LIFETIME_SECONDS - 60 < store.ttl(key) <= LIFETIME_SECONDS
    store.pexpire(key, 0)
    assert_refused(installation.come_back(address), 400, "older than ten minutes")


def test_a_state_dies_with_the_admin_token_it_was_made_for(installation: Installation, store: redis.Redis) -> None:
    address = installation.authorized()
    (key,) = store.keys("*:state:*")
    value = json.loads(store.get(key) or "")
    assert value["account"] == ACCOUNT
    store.set(key, json.dumps(value | {"admin": secrets.token_hex(32)}))
    assert_refused(installation.come_back(address), 400, "start again")


def test_a_parameter_that_comes_twice_is_refused(installation: Installation) -> None:
    address = installation.authorized()
    assert_refused(installation.come_back(f"{address}&code=other"), 400, "more than once")
    assert installation.come_back(address).status_code == 200, "the state was not spent"


def test_one_environment_an_account(installation: Installation, heap: FakeHeap) -> None:
    installation.connect()
    heap.env_id, heap.id_token = "env_2", ""
    assert_refused(installation.connect(), 409, "disconnect it first")
    heap.env_id, heap.id_token = "env_1", ""
    assert_refused(installation.connect(OTHER), 409, "belongs to account 123456")
    assert installation.connections() == {ACCOUNT: "env_1"}
    assert installation.disconnect().json() == {"account": ACCOUNT, "env_id": "env_1"}
    assert installation.connect(OTHER).status_code == 200
    assert installation.connections() == {OTHER: "env_1"}


def test_authorizing_again_renews_the_connection(installation: Installation, heap: FakeHeap) -> None:
    installation.connect()
    heap.id_token = ""
    assert installation.connect().status_code == 200
    first, second = installation.journal
    assert first["id_token_tag"] != second["id_token_tag"]
    assert installation.connections() == {ACCOUNT: "env_1"}


def test_disconnecting(installation: Installation) -> None:
    answer = installation.disconnect()
    assert (answer.status_code, answer.json()["reason"]) == (404, "not_connected")
    assert installation.disconnect("a%20b").status_code == 400
    installation.connect()
    assert installation.disconnect().status_code == 200
    assert installation.connections() == {}
    assert [record["connected"] for record in installation.journal] == [True, False]


@pytest.mark.parametrize("overrides", [{"heap_client_id": None, "heap_client_secret": None}])
def test_what_is_not_set_up_is_named(installation: Installation) -> None:
    answer = installation.start()
    assert (answer.status_code, answer.json()["reason"]) == (503, "not_configured")
    assert "HEAP_CLIENT_ID, HEAP_CLIENT_SECRET" in answer.json()["error"]
    assert "PUBLIC_URL" not in answer.json()["error"]
    page = installation.come_back(f"{installation.public}/connect/heap/callback?code=abc&state={'x' * 43}")
    assert_refused(page, 503, "HEAP_CLIENT_ID")


@pytest.mark.parametrize("account", ["", "a b", "a:b", "{x}", "x" * 65])
def test_a_bad_account(installation: Installation, account: str) -> None:
    answer = installation.start(account)
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad_account")


def test_no_connection_is_made_while_others_may_come_back(installation: Installation) -> None:
    address = installation.authorized()
    installation.complete = False
    assert_refused(installation.come_back(address), 503, "reload this page")
    installation.complete = True
    assert installation.come_back(address).status_code == 200


def test_a_connection_that_was_not_journalled_is_not_acknowledged(installation: Installation) -> None:
    installation.journal_fails = True
    assert_refused(installation.connect(), 503, "disk is full")
    installation.journal_fails = False
    assert installation.connect().status_code == 200
    installation.journal_fails = True
    assert installation.disconnect().status_code == 503
    installation.journal_fails = False
    assert installation.disconnect().status_code == 200
    assert [record["connected"] for record in installation.journal] == [True, False]


def test_the_store_is_away(installation: Installation, store_server: StoreServer) -> None:
    address = installation.authorized()
    store_server.kill()
    try:
        answer = installation.come_back(address)
    finally:
        store_server.start()
    assert_refused(answer, 503, "reload this page")
    assert int(answer.headers["retry-after"]) > 0
    assert installation.come_back(address).status_code == 200
