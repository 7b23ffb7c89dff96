"""Aliases of users."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from attribute_lists.membership import Membership
from foundation.store import connect
from gateway.aliases import Aliases, forget_aliases
from gateway.lookup_health import LookupHealth
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from published.visitors import keys as visitor_keys
from tests.gateway.conftest import ACCOUNT, Wire
from tests.support import http, processes
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx
    import redis

    from foundation.settings import ServiceSettings
    from tests.support.processes import Program

SET, GET = "/user-alias/setUserAlias", "/user-alias/getAliasUserId"


def put(program: Program, user: str = "user1", alias: str = "tmp1", account: str = ACCOUNT) -> httpx.Response:
    """As the Node SDK does it."""
    parameters = {"accountId": account, "sdkKey": "k", "userId": user, "aliasId": alias}
    return http.post(program.address + SET, params=parameters, json={"userId": user, "aliasId": alias})


def user_of(program: Program, alias: str = "tmp1", account: str = ACCOUNT) -> Any:
    parameters = {"accountId": account, "sdkKey": "k", "userId": json.dumps([alias], ensure_ascii=False)}
    answer = http.get(program.address + GET, params=parameters)
    assert answer.status_code == 200
    [found] = answer.json()
    assert found.keys() == {"aliasId", "userId"}
    assert found["aliasId"] == alias
    return found["userId"]


def test_an_alias_stands_for_its_user_and_what_is_none_for_itself(gateway: Program, store: redis.Redis) -> None:
    del store  # empty
    # On a busy machine the store may be late: the answer says so, and the next one is right.
    until(lambda: bool(put(gateway).json() == {"isAliasSet": True}), what="the alias to be set")
    until(lambda: bool(user_of(gateway) == "user1"), what="the store to be asked in time")
    assert user_of(gateway, "tmp2") == "tmp2"
    assert user_of(gateway, account="999") == "tmp1"
    until(lambda: bool(put(gateway, user="user2").json() == {"isAliasSet": True}), what="the alias to be set anew")
    until(lambda: bool(user_of(gateway) == "user2"), what="the store to be asked in time")


@pytest.mark.parametrize("alias", ["José", "a b", 'a"b', "[1]", "[", "a:b", "日本", "x" * 1024])
def test_ids_are_taken_as_they_are(gateway: Program, store: redis.Redis, alias: str) -> None:
    del store  # empty
    put(gateway, alias=alias)
    assert user_of(gateway, alias) == "user1"


@pytest.mark.parametrize("sent", ['["tmp1"]', "%5B%22tmp1%22%5D", "[%22tmp1%22]", "tmp1"])
def test_every_spelling_of_the_question_is_understood(gateway: Program, store: redis.Redis, sent: str) -> None:
    del store  # empty
    put(gateway)
    for prefix in ("", "/as01"):
        answer = Wire(gateway.address).get(f"{prefix}{GET}?accountId={ACCOUNT}&sdkKey=k&userId={sent}")
        assert (answer.status, answer.body) == (200, b'[{"aliasId":"tmp1","userId":"user1"}]')
        assert answer.headers["content-type"] == "application/json"


RAW_IDS = ["tmp+1@x.com", "a&b", "a&accountId=999", "100%", "é%", "a=b;c", "a b+c", "José", "x+y@z&userId=q"]
RAW_IDS += ["jane%40x.com", "a%2Bb", "%41", "a#b", "&" * 100]


@pytest.mark.parametrize("alias", RAW_IDS)
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_ids_that_are_not_encoded_are_taken_to_the_letter(
    gateway: Program, store: redis.Redis, alias: str, encoding: str
) -> None:
    """No SDK encodes all of an id: Node writes Latin-1, Java UTF-8, both raw."""
    del store  # empty
    wire = Wire(gateway.address)
    asked = f"{GET}?accountId={ACCOUNT}&sdkKey=k&userId=".encode() + json.dumps([alias], ensure_ascii=False).encode(
        encoding
    )
    assert json.loads(wire.get(asked).body) == [{"aliasId": alias, "userId": alias}]
    put(gateway, alias=alias)
    for question in (asked, asked.replace(b'"', b"%22")):
        assert json.loads(wire.get(question).body) == [{"aliasId": alias, "userId": "user1"}]


def test_an_id_in_a_query_alone_is_taken_to_the_letter(gateway: Program, store: redis.Redis) -> None:
    del store  # empty
    query = f"accountId={ACCOUNT}&userId=a+b@x.com&aliasId=c&d+e@x.com"
    assert Wire(gateway.address).get(f"{SET}?{query}", method="POST").body == b'{"isAliasSet":true}'
    assert user_of(gateway, "c&d+e@x.com") == "a+b@x.com"


def test_an_account_in_an_id_is_a_part_of_the_id(gateway: Program, store: redis.Redis) -> None:
    del store  # empty
    user, alias = "a&accountId=999", "tmp&accountId=999&sdkKey=other"
    query = f"accountId={ACCOUNT}&sdkKey=k&userId={user}&aliasId={alias}"
    assert Wire(gateway.address).get(f"{SET}?{query}", method="POST").body == b'{"isAliasSet":true}'
    assert user_of(gateway, alias) == user


@pytest.mark.parametrize("query", ["userId=u&accountId=999&aliasId=v", "aliasId=v&accountId=999&userId=u"])
def test_an_account_may_stand_between_the_ids(gateway: Program, store: redis.Redis, query: str) -> None:
    del store  # empty
    answer = http.post(f"{gateway.address}{SET}?{query}", json={"userId": "u", "aliasId": "v"})
    assert answer.json() == {"isAliasSet": False}  # nothing names the account 999


def test_a_reading_that_is_too_long_is_none(gateway: Program, store: redis.Redis) -> None:
    """An `é` is two characters of Latin-1, and a `@` may stand for itself where it is encoded."""
    del store  # empty
    for alias in ("é" * 1000, "@" * 1000):
        put(gateway, alias=alias)
        assert user_of(gateway, alias) == "user1"


def test_the_start_of_an_id_is_nobody(gateway: Program, store: redis.Redis) -> None:
    """Node's fetch ends the target at the `#` of an id; the SDK does not find its id in the answer, and keeps it."""
    wire = Wire(gateway.address)
    for value in ("[%22a", "%5B%22a"):
        answer = json.loads(wire.get(f"{GET}?accountId={ACCOUNT}&sdkKey=k&userId={value}").body)
        assert answer == [{"aliasId": '["a', "userId": '["a'}]
    whole = "somebody-whole"
    assert user_of(gateway, whole) == whole
    new, _ = visitor_keys(ACCOUNT)
    until(lambda: whole.encode() in store.hvals(new), what="the visitors to be written down")
    assert b'["a' not in store.hvals(new)


def test_several_are_answered_in_their_order(gateway: Program, store: redis.Redis) -> None:
    del store  # empty
    put(gateway)
    answer = http.get(gateway.address + GET, params={"accountId": ACCOUNT, "userId": '["other","tmp1",7]'})
    assert [found["userId"] for found in answer.json()] == ["other", "user1", "7"]


def test_the_query_alone_will_do_and_the_account_has_a_default(gateway: Program, store: redis.Redis) -> None:
    del store  # empty
    answer = http.post(gateway.address + SET, params={"userId": "user1", "aliasId": "tmp1"})
    assert answer.json() == {"isAliasSet": True}
    assert user_of(gateway) == "user1"  # the account of the served settings


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"{}", "userId"),
        (b'{"userId": "user1"}', "aliasId"),
        (b'{"aliasId": "tmp1"}', "userId"),
        (b'{"userId": "", "aliasId": "tmp1"}', "userId"),
        (b'{"userId": "one", "aliasId": "one"}', "aliasId"),
        (b'{"userId": ["one"], "aliasId": "two"}', "JSON"),
        (b"not json", "JSON"),
        (b"[" * 10_000, "JSON"),
        (b'{"userId": "\\ud800", "aliasId": "tmp1"}', "userId"),
        (json.dumps({"userId": "x" * 1025, "aliasId": "tmp1"}).encode(), "userId"),
        (b" " * 100_000, "65536 bytes"),
    ],
)
def test_what_is_missing_is_named(gateway: Program, content: bytes, named: str) -> None:
    answer = http.post(f"{gateway.address}{SET}?accountId={ACCOUNT}", content=content)
    assert answer.status_code == 400
    assert answer.json().keys() == {"error", "reason"}
    assert named in answer.json()["error"]


@pytest.mark.parametrize("query", ["", "userId=", "userId=[]", "userId=" + quote(json.dumps(["a"] * 101))])
def test_a_question_without_an_id_is_named(gateway: Program, query: str) -> None:
    answer = http.get(f"{gateway.address}{GET}?accountId={ACCOUNT}&{query}")
    assert answer.status_code == 400
    assert "userId" in answer.json()["error"]


@pytest.mark.parametrize("path", [SET, GET])
def test_an_account_that_is_none_is_named(gateway: Program, path: str) -> None:
    method = "POST" if path == SET else "GET"
    answer = http.request(method, f"{gateway.address}{path}?accountId=a:b&userId=u&aliasId=v")
    assert (answer.status_code, answer.json()["reason"]) == (400, "no_account")


def test_without_a_store_everybody_is_themselves(tmp_path: Path) -> None:
    with processes.gateway(tmp_path, {}) as program:
        answer = put(program)
        assert (answer.status_code, answer.json()) == (200, {"isAliasSet": False})
        assert user_of(program) == "tmp1"
        assert "user1" not in program.log()
        assert "tmp1" not in program.log()


def test_a_silent_store_holds_nobody_up(tmp_path: Path) -> None:
    with processes.running_store() as own, processes.gateway(tmp_path, {"REDIS_URL": own.url}) as program:
        put(program)
        assert user_of(program) == "user1"
        with own.held_still():
            assert user_of(program) == "tmp1"
            assert put(program).json() == {"isAliasSet": False}
        until(lambda: bool(user_of(program) == "user1"), what="the gateway to hear the store again")


def test_look_ups_that_fail_are_counted_and_told(tmp_path: Path) -> None:
    with processes.running_store() as own, processes.gateway(tmp_path, {"REDIS_URL": own.url}) as program:

        def readiness() -> Any:
            return http.get(f"{program.address}/readyz").json()

        put(program)
        until(lambda: user_of(program) == "user1" and readiness() == {"status": "ok"}, what="the gateway to be well")
        with own.held_still():
            until(lambda: user_of(program) == "tmp1", what="the store to be missed")
            assert put(program).json() == {"isAliasSet": False}
            assert readiness()["reasons"] == ["store_down"]
        # Every alias was somebody of their own for a moment: that is not over with the silence.
        until(lambda: readiness().get("reasons") == ["lookups_failed"], what="the failures to be told")
        until(lambda: user_of(program) == "user1" and put(program).json()["isAliasSet"], what="the store to answer")
        assert readiness() == {"status": "ok"}
        metrics = http.get(f"{program.address}/metrics").text
        for kind in ("user_alias", "set_user_alias"):
            assert f'cohort_gateway_lookups_failed_total{{kind="{kind}",reason="store_down"}}' in metrics
        assert "user1" not in program.log()
        assert "tmp1" not in program.log()


@contextlib.asynccontextmanager
async def aliases_of(settings: ServiceSettings, *, remember: int) -> AsyncIterator[Aliases]:
    """Aliases by themselves, on a store that has time."""
    client = connect(settings)
    membership, lookups = Membership(client, deadline=10), LookupHealth(Metrics())
    try:
        async with (
            membership.running(),
            contextlib.aclosing(Aliases(membership.lines, Metrics(), lookups.note, remember=remember)) as aliases,
        ):
            yield aliases
    finally:
        await client.aclose()


@pytest.fixture
async def few(store_url: str) -> AsyncIterator[Aliases]:
    """Room for ten aliases."""
    async with aliases_of(GatewaySettings(_env_file=None, redis_url=store_url), remember=10) as aliases:
        yield aliases


async def test_the_number_is_bounded_and_who_is_asked_for_stays(few: Aliases, store: redis.Redis) -> None:
    await few.put(ACCOUNT, "old", "user1")
    for number in range(100):
        assert await few.put(ACCOUNT, f"tmp{number}", "user")
        assert await few.users_of(ACCOUNT, ["old"]) == ["user1"]
        assert sum(store.hlen(key) for key in store.keys("cg:aliases:*")) <= 10
    assert await few.users_of(ACCOUNT, ["tmp99", "tmp0"]) == ["user", "tmp0"]


async def test_the_newest_user_of_an_alias_counts_however_old_the_alias_is(few: Aliases) -> None:
    await few.put(ACCOUNT, "tmp", "before")
    for number in range(5):
        await few.put(ACCOUNT, f"other{number}", "user")
    await few.put(ACCOUNT, "tmp", "now")
    for _ in range(2):
        assert await few.users_of(ACCOUNT, ["tmp"]) == ["now"]


async def test_an_old_alias_that_was_erased_meanwhile_stays_so(
    few: Aliases, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        await few.put(ACCOUNT, f"tmp{number}", "user")  # the last one made the others old
    sent = few._sent
    old = "cg:aliases:{all}:old"

    def erased_first(script: str, *arguments: str) -> Any:
        store.delete(old)
        return sent(script, *arguments)

    monkeypatch.setattr(few, "_sent", erased_first)
    assert await few.users_of(ACCOUNT, ["tmp0"]) == ["user"]
    assert await few.users_of(ACCOUNT, ["tmp0"]) == ["tmp0"]


async def test_a_person_is_forgotten_wherever_they_are(few: Aliases, store_url: str) -> None:
    for account, alias, user in (
        ("1", "a", "alice"),
        ("1", "b", "alice"),
        ("1", "alice", "c"),
        ("1", "d", "bob"),
        ("2", "a", "alice"),
    ):
        await few.put(account, alias, user)
    client = connect(GatewaySettings(_env_file=None, redis_url=store_url))
    assert await forget_aliases(client, "alice") == 4
    await client.aclose()
    assert await few.users_of("1", ["a", "b", "alice", "d"]) == ["a", "b", "alice", "bob"]
    assert await few.users_of("2", ["a"]) == ["a"]
