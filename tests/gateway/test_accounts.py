"""Several accounts and SDK keys at one gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from foundation.errors import ConfigurationError
from gateway.accounts import Account, configured_accounts, read_accounts
from published.visitors import keys
from tests.gateway.conftest import Wire
from tests.support import http, processes
from tests.support.fake_vwo import fake_vwo, hangs_up
from tests.support.ports import free_ports
from tests.support.vwo_settings import POLLED, PULLED, VwoSettings, document
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    import redis

    from tests.gateway.conftest import Lists
    from tests.support.processes import Program

ONE, TWO, OPEN = "111", "222", "333"
ACCOUNTS = {
    "accounts": [
        {"accountId": ONE, "sdkKeys": ["one-a", "one-b"]},
        {"accountId": int(TWO), "sdkKeys": ["two-a"]},
        {"accountId": OPEN, "sdkKeys": [], "open": True},
    ]
}


@pytest.fixture
def upstream() -> Iterator[VwoSettings]:
    with fake_vwo() as vwo:
        found = VwoSettings(vwo)
        for account, key in ((ONE, "one-a"), (ONE, "one-b"), (TWO, "two-a"), (OPEN, "open-a"), (OPEN, "open-b")):
            found.put(account, key)
        yield found


@pytest.fixture
def settings(upstream: VwoSettings, store_url: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "accounts.json").write_text(json.dumps(ACCOUNTS))
    return {
        "REDIS_URL": store_url,
        "SETTINGS_FILE": "",
        "ACCOUNTS_FILE": "accounts.json",
        "VWO_BASE_URL": upstream.vwo.address,
        "POLLING_TIME": "86400000",
    }


@pytest.fixture
def program(settings: dict[str, str], tmp_path: Path) -> Iterator[Program]:
    with processes.gateway(tmp_path, settings) as running:
        yield running


def ask(program: Program, path: str = POLLED, **parameters: str) -> httpx.Response:
    return http.get(program.address + path, params=parameters)


def test_each_key_gets_the_settings_of_its_own_environment(program: Program) -> None:
    for account, key in ((ONE, "one-a"), (ONE, "one-b"), (TWO, "two-a"), (OPEN, "open-a")):
        assert ask(program, a=account, i=key).json() == document(account, key)
        assert ask(program, PULLED, a=account, i=key).json() == document(account, key)
    assert ask(program, i="one-b").json()["sdkKey"] == "one-b"
    assert ask(program, a=TWO).json()["sdkKey"] == "two-a"


@pytest.mark.parametrize("path", [POLLED, PULLED])
@pytest.mark.parametrize(
    ("parameters", "reason", "named"),
    [
        ({"a": ONE, "i": "unknown"}, "unknown_sdk_key", "ACCOUNTS_FILE"),
        ({"a": ONE, "i": "two-a"}, "other_account", "accountId"),
        ({"a": "999", "i": "unknown"}, "unknown_account", "ACCOUNTS_FILE"),
        ({"a": "../../etc", "i": "unknown"}, "unknown_account", "a:"),
        ({"a": ONE}, "no_sdk_key", "i:"),
        ({"i": "unknown"}, "no_account", "a:"),
        ({}, "no_account", "a:"),
        ({"a": OPEN, "i": "not a key"}, "unknown_sdk_key", "i:"),
        ({"a": OPEN, "i": "k" * 300}, "unknown_sdk_key", "i:"),
    ],
)
def test_what_nobody_serves_is_400_and_says_what_to_mend(
    program: Program, path: str, parameters: dict[str, str], reason: str, named: str
) -> None:
    answer = ask(program, path, **parameters)
    assert (answer.status_code, answer.json()["reason"]) == (400, reason)
    assert named in answer.json()["error"]


def test_a_key_of_an_open_account_that_vwo_does_not_know_is_asked_for_once(
    program: Program, upstream: VwoSettings
) -> None:
    for _ in range(3):
        answer = ask(program, a=OPEN, i="nobodys")
        assert (answer.status_code, answer.json()["reason"]) == (400, "unknown_sdk_key")
    assert len(upstream.asked(key="nobodys")) == 1
    assert not upstream.asked(key="unknown")


def test_an_open_key_is_kept_for_a_start_without_vwo(
    settings: dict[str, str], tmp_path: Path, upstream: VwoSettings
) -> None:
    with processes.gateway(tmp_path, settings) as program:
        assert ask(program, a=OPEN, i="open-a").status_code == 200
    upstream.vwo.fault = hangs_up
    with processes.gateway(tmp_path, settings) as program:
        assert ask(program, a=OPEN, i="open-a").json() == document(OPEN, "open-a")
        answer = ask(program, a=OPEN, i="open-b")
        assert (answer.status_code, answer.json()["reason"]) == (503, "no_settings")


def test_an_open_key_is_followed(settings: dict[str, str], tmp_path: Path, upstream: VwoSettings) -> None:
    with processes.gateway(tmp_path, settings | {"POLLING_TIME": "1000"}) as program:
        assert ask(program, a=OPEN, i="open-a").json()["version"] == 1
        upstream.put(OPEN, "open-a", version=2)
        until(lambda: bool(ask(program, a=OPEN, i="open-a").json()["version"] == 2), what="the new settings")


def test_a_check_knows_the_account_by_its_key(program: Program, lists: Lists) -> None:
    lists.put("a_list", "alice", account=TWO)
    lists.put("a_list", "bob", account=OPEN)
    wire = Wire(program.address)

    def states(query: str) -> list[str]:
        """By the fast path, and by the plain route."""
        plain = b"GET /check-attribute?%b HTTP/1.1\r\nHost: g\r\nX-Route: plain\r\nConnection: close\r\n\r\n"
        return [wire.check(query).state, wire.send(plain % query.encode()).state]

    assert states("attribute=alice&listId=a_list&sdkKey=two-a") == ["in", "in"]
    assert states("attribute=alice&listId=a_list&sdkKey=one-a") == ["unknown_list", "unknown_list"]
    assert states("attribute=alice&listId=a_list") == ["incomplete", "incomplete"]
    assert states("attribute=bob&listId=a_list&sdkKey=open-a") == ["incomplete", "incomplete"]
    ask(program, a=OPEN, i="open-a")
    assert states("attribute=bob&listId=a_list&sdkKey=open-a") == ["in", "in"]


def test_the_only_account_is_that_of_checks_that_name_none(
    settings: dict[str, str], tmp_path: Path, lists: Lists
) -> None:
    lists.put("a_list", "alice", account=TWO)
    own = {"ACCOUNTS_FILE": "", "ACCOUNT_ID": TWO, "SDK_KEY": "two-a"}
    with processes.gateway(tmp_path, settings | own) as program:
        assert Wire(program.address).check("attribute=alice&listId=a_list").state == "in"


def test_who_names_nothing_gets_the_environment_of_the_variables(settings: dict[str, str], tmp_path: Path) -> None:
    with processes.gateway(tmp_path, settings | {"ACCOUNT_ID": ONE, "SDK_KEY": "one-b"}) as program:
        for parameters in ({}, {"a": ONE}):
            assert ask(program, **parameters).json() == document(ONE, "one-b")
        assert ask(program, a=TWO).json() == document(TWO, "two-a")


def test_one_process_of_a_crew_asks_and_all_know(
    settings: dict[str, str], tmp_path: Path, upstream: VwoSettings
) -> None:
    crew = {"WORKERS": "3", "POLLING_TIME": "1500"}
    with processes.gateway(tmp_path, settings | crew) as program:

        def versions() -> set[int]:
            """As many connections as it takes to meet every worker, most likely."""
            return {int(ask(program, a=TWO).json()["version"]) for _ in range(20)}

        assert versions() == {1}
        assert len(upstream.asked(key="two-a")) == 1
        upstream.put(TWO, "two-a", version=2)
        assert ask(program, PULLED, a=TWO).json()["version"] == 2
        assert versions() == {2}
        upstream.put(TWO, "two-a", version=3)
        until(lambda: versions() == {3}, what="the settings that one of them has fetched")


def test_the_environment_adds_a_key_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps(ACCOUNTS))
    assert configured_accounts(TWO, "two-b", path) == [
        Account(ONE, ("one-a", "one-b")),
        Account(TWO, ("two-b", "two-a")),
        Account(OPEN, (), is_open=True),
    ]
    assert configured_accounts(TWO, "two-b", None) == [Account(TWO, ("two-b",))]
    assert configured_accounts(TWO, None, None) == []


def one(**entry: Any) -> str:
    return json.dumps({"accounts": [entry]})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "truncated"),
        ("[]", "`object`, got `array`"),
        ("{}", "`accounts`"),
        ('{"accounts": []}', "`accounts` is empty"),
        (one(sdkKeys=["k"]), "`accountId`"),
        (one(accountId="a:b", sdkKeys=["k"]), "`accounts[0].accountId`"),
        (one(accountId=1, sdkKeys="k"), "$.accounts[0].sdkKeys"),
        (one(accountId=1, sdkKeys=["a b"]), "`accounts[0].sdkKeys[0]`"),
        (one(accountId=1, sdkKeys=["k", ""]), "`accounts[0].sdkKeys[1]`"),
        (one(accountId=1), "`open` to true"),
        (one(accountId=1, sdkKeys=["k"], open="yes"), "$.accounts[0].open"),
        (one(accountId=1, sdkKeys=["k"], sdkkeys=["l"]), "sdkkeys"),
        (json.dumps({"accounts": [{"accountId": 1, "open": True}, {"accountId": "1", "open": True}]}), "twice"),
    ],
)
def test_a_bad_file_is_named_with_the_field_and_the_cure(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        read_accounts(path)
    for part in ("ACCOUNTS_FILE", str(path), said):
        assert part in str(caught.value)


def test_a_key_belongs_to_one_account(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps({"accounts": [{"accountId": n, "sdkKeys": ["the-key"]} for n in (1, 2)]}))
    with pytest.raises(ConfigurationError, match="accounts 1 and 2") as caught:
        configured_accounts(None, None, path)
    assert "the-key" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"SDK_KEY": "k"}, "ACCOUNT_ID"),
        ({"SDK_KEY": "a b", "ACCOUNT_ID": "1"}, "SDK_KEY"),
        ({"ACCOUNTS_FILE": "nowhere.json"}, "ACCOUNTS_FILE"),
        ({"ACCOUNT_ID": "1", "SDK_KEY": "k", "VWO_BASE_URL": "example.com"}, "VWO_BASE_URL"),
        ({"ACCOUNT_ID": "1", "SDK_KEY": "k", "POLLING_TIME": "1"}, "POLLING_TIME"),
    ],
)
def test_the_gateway_does_not_start_on_what_cannot_be(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    program = processes.start_program(["gateway"], settings | {"PORT": "0"}, directory=tmp_path)
    assert said in program.wait_for_line("^error: ")
    assert program.wait() == 2


def test_hundreds_of_keys_begin_with_what_redis_keeps(
    upstream: VwoSettings, settings: dict[str, str], store: redis.Redis, tmp_path: Path
) -> None:
    """There are more of them than connections to the store."""
    names = [f"key-{number}" for number in range(150)]
    for name in names:
        upstream.put(ONE, name)
    (tmp_path / "accounts.json").write_text(json.dumps({"accounts": [{"accountId": ONE, "sdkKeys": names}]}))
    with processes.gateway(tmp_path, settings):
        until(lambda: len(store.keys("cg:settings:*")) == len(names), seconds=60, what="all settings to be kept")
    settings |= {"VWO_BASE_URL": f"http://127.0.0.1:{free_ports(1)[0]}", "DATA_DIR": str(tmp_path / "other")}
    with processes.gateway(tmp_path, settings) as program:
        assert [ask(program, a=ONE, i=name).json() for name in names] == [document(ONE, name) for name in names]


def test_users_are_learnt_under_the_accounts_of_their_events(
    settings: dict[str, str], tmp_path: Path, store: redis.Redis
) -> None:
    """An event may name the SDK key of an environment itself, and so another account than its request."""

    def event(sdk_key: str) -> dict[str, Any]:
        return {"d": {"event": {"name": "bought", "props": {"vwo_envKey": sdk_key}}}}

    with processes.gateway(tmp_path, settings | {"ACCOUNT_ID": ONE, "FORWARD_EVENTS": "true"}) as program:
        for user, sdk_key in (("alice", "two-a"), ("bob", "one-b"), ("carol", "")):
            http.post(f"{program.address}/events/t", json=event(sdk_key), headers={"X-User-Id": user})
        batch = {"ev": [event("one-a"), event("two-a")], "users": ["dave"]}
        http.post(f"{program.address}/server-side/batch-events-v2", json=batch)
        program.stop()  # what it has learnt is written down at the end
    learnt = {account: set(store.hvals(keys(account)[0])) for account in (ONE, TWO)}
    assert learnt == {ONE: {b"bob", b"carol", b"dave"}, TWO: {b"alice", b"dave"}}


def test_accounts_that_are_written_to_the_file_count_at_once(program: Program, tmp_path: Path, lists: Lists) -> None:
    """As SETTINGS_FILE does: no restart, and a bad file changes nothing."""
    path = tmp_path / "accounts.json"
    lists.put("a_list", "alice", account="444")

    def write(content: str) -> None:
        (tmp_path / "new").write_text(content)
        (tmp_path / "new").replace(path)

    def status(account: str, key: str) -> int:
        return ask(program, a=account, i=key).status_code

    def reasons() -> list[str]:
        found: list[str] = http.get(f"{program.address}/readyz").json().get("reasons", [])
        return found

    assert status(ONE, "one-b") == 200
    assert status(OPEN, "open-a") == 200
    for bad in ("{", '{"accounts": []}', '{"accounts": [{"accountId": "444"}]}'):
        write(bad)
        until(lambda: "bad_accounts" in reasons(), what="the bad file to be told")
        assert status(ONE, "one-b") == 200
        write(json.dumps(ACCOUNTS))
        until(lambda: "bad_accounts" not in reasons(), what="the mended file")
    kept = {"accountId": ONE, "sdkKeys": ["one-a"]}
    write(json.dumps({"accounts": [kept, {"accountId": TWO, "open": True}, {"accountId": "444", "sdkKeys": ["four"]}]}))
    until(lambda: status(ONE, "one-b") == 400, what="the key that is not named any more")
    assert status(ONE, "one-a") == 200
    assert status(OPEN, "open-a") == 400
    assert status(TWO, "two-a") == 200  # served on, as its account is open now
    check = "attribute=alice&listId=a_list&sdkKey=four"
    until(lambda: Wire(program.address).check(check).state == "in", what="the new account")


def test_accounts_come_whole_or_not_at_all_while_the_store_says_nothing(
    settings: dict[str, str], upstream: VwoSettings, tmp_path: Path
) -> None:
    """What an environment begins with is looked for in the store; requests come meanwhile."""
    new = [f"9{number}" for number in range(5)]
    for account in new:
        upstream.put(account, f"key-{account}")
    upstream.put(ONE, "one-c")
    entries = [{"accountId": account, "sdkKeys": [f"key-{account}"]} for account in new]
    moved = {"accountId": OPEN, "sdkKeys": ["two-a"], "open": True}
    upstream.put(OPEN, "two-a")
    with (
        processes.running_store() as store,
        processes.gateway(tmp_path, settings | {"REDIS_URL": store.url}) as program,
    ):
        with store.held_still():
            changed = [{"accountId": ONE, "sdkKeys": ["one-c"]}, moved, *entries]
            (tmp_path / "new").write_text(json.dumps({"accounts": changed}))
            (tmp_path / "new").replace(tmp_path / "accounts.json")
            seen: set[tuple[int, ...]] = set()

            def all_are_there() -> bool:
                answers = [ask(program, a=account) for account in new]
                answers += [ask(program, a=ONE, i="one-c"), ask(program, a=OPEN, i="two-a")]
                seen.add(tuple(answer.status_code for answer in answers))
                return {answer.status_code for answer in answers} == {200}

            until(all_are_there, what="the accounts of the file", seconds=30)
        assert {status for statuses in seen for status in statuses} <= {200, 400}
