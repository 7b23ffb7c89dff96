"""`/check-attribute`, as the SDKs ask it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from redis.asyncio import Redis

from attribute_lists.membership import Membership
from attribute_lists.remembered import Remembered
from attribute_lists.states import State
from foundation.store import connect
from gateway.check import Checks
from gateway.file_settings import FileSettings
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from tests.gateway.conftest import ACCOUNT, Lists, Wire
from tests.support import processes

if TYPE_CHECKING:
    from pathlib import Path

LIST = "heap_premium_users"


def checks_of(membership: Membership) -> Checks:
    return Checks(membership, FileSettings(None, Metrics()), default_account=ACCOUNT)


def test_a_member_is_in_and_others_are_not(wire: Wire, lists: Lists) -> None:
    lists.put(LIST, "alice")
    member = wire.check(f"attribute=alice&listId={LIST}&accountId={ACCOUNT}")
    other = wire.check(f"attribute=bob&listId={LIST}&accountId={ACCOUNT}")
    assert (member.status, member.body, member.state) == (200, b"true", "in")
    assert (other.status, other.body, other.state) == (200, b"false", "not_in")
    for answer in (member, other):
        assert answer.headers["content-type"] == "application/json; x=application/javascript"
        assert answer.headers["content-length"] == str(len(answer.body))
        assert answer.headers["keep-alive"].startswith("timeout=")


@pytest.mark.parametrize(
    ("member", "sent"),
    [
        ("42", "42"),
        ("true", "true"),
        ("null", "null"),
        ("a,b", "a,b"),
        ("a+b@x.com", "a+b@x.com"),
        ("a+b@x.com", "a%2Bb%40x.com"),
        ("a b@x.com", "a+b%40x.com"),
        ("a b", "a+b"),
        ("a b", "a%20b"),
        ("a&b", "a&b"),
        ("a&b", "a%26b"),
        ("a&listId=other", "a&listId=other"),
        ("a#b", "a%23b"),
        ("José", "Jos%C3%A9"),
        ("José", "Jos%E9"),
        ("JosÃ©", "Jos%C3%83%C2%A9"),
        ("中文\t", quote("中文\t")),
        ("100%", "100%"),
        ("5B1AFB67-FB4E", "5B1AFB67-FB4E"),
    ],
)
def test_every_value_that_arrives_finds_its_member(wire: Wire, lists: Lists, member: str, sent: str) -> None:
    lists.put(LIST, member)
    assert wire.check(f"attribute={sent}&listId={LIST}&accountId={ACCOUNT}").body == b"true"


@pytest.mark.parametrize(
    ("member", "sent"),
    [
        ("a+b@x.com", "a+b%40x.com"),  # Go's form of `a b@x.com`
        ("a+b/c", "a+b%2Fc"),
        ("+1 2+3", "%2B1+2+3"),
        ("a b@x.com", "a+b@x.com"),  # Node's raw `a+b@x.com`
        ("a b c", "a%20b+c"),
    ],
)
def test_no_stranger_is_let_in_by_another_reading(wire: Wire, lists: Lists, member: str, sent: str) -> None:
    lists.put(LIST, member)
    assert wire.check(f"attribute={sent}&listId={LIST}&accountId={ACCOUNT}").state == "not_in"


@pytest.mark.parametrize(
    ("query", "state"),
    [
        ("attribute=alice&listId=nowhere", "unknown_list"),
        ("attribute=alice&listId=bad%20id%7B%7D", "unknown_list"),
        ("attribute=alice&listId=%FF%00", "unknown_list"),
        (f"attribute=alice&listId={LIST}&accountId=bad%3Aaccount", "unknown_list"),
        (f"attribute=alice&listId={LIST}&accountId=999", "unknown_list"),
        ("attribute=alice&listId=sleeping", "inactive_list"),
        ("attribute=alice", "incomplete"),
        (f"listId={LIST}", "incomplete"),
        (f"attribute=&listId={LIST}", "incomplete"),
        ("attribute=alice&listId=", "incomplete"),
        ("", "incomplete"),
        ("%%%&&==", "incomplete"),
    ],
)
def test_whatever_is_asked_the_answer_is_200_false(wire: Wire, lists: Lists, query: str, state: str) -> None:
    lists.put(LIST, "alice")
    lists.put("sleeping", "alice", active=False)
    answer = wire.check(query)
    assert (answer.status, answer.body, answer.state) == (200, b"false", state)
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/check-attribute", "/as01/check-attribute"])
def test_head_and_one_segment_in_front_are_understood(wire: Wire, lists: Lists, path: str, method: str) -> None:
    lists.put(LIST, "alice")
    answer = wire.get(f"{path}?attribute=alice&listId={LIST}", method=method)
    assert (answer.status, answer.state, answer.headers["content-length"]) == (200, "in", "4")
    assert answer.body == (b"true" if method == "GET" else b"")


def test_a_list_answers_to_its_aliases(wire: Wire, lists: Lists) -> None:
    lists.put(LIST, "alice")
    assert wire.check("attribute=alice&listId=67c858b8b8556:1741183160").state == "unknown_list"
    lists.alias("67c858b8b8556:1741183160", LIST)
    assert wire.check("attribute=alice&listId=67c858b8b8556:1741183160").body == b"true"
    assert wire.check("attribute=bob&listId=67c858b8b8556%3A1741183160").state == "not_in"
    assert wire.check("attribute=alice&listId=67c858b8b8556:1741183160&accountId=999").state == "unknown_list"


def test_an_account_sees_its_own_lists_only(wire: Wire, lists: Lists) -> None:
    lists.put(LIST, "alice")
    lists.put(LIST, "bob", account="999")
    assert wire.check(f"attribute=alice&listId={LIST}&accountId=999").body == b"false"
    assert wire.check(f"attribute=bob&listId={LIST}&accountId=999").body == b"true"
    assert wire.check(f"attribute=bob&listId={LIST}").body == b"false"


def test_account_then_sdk_key_then_default_tell_whose_list_it_is(store_url: str, tmp_path: Path, lists: Lists) -> None:
    lists.put(LIST, "of-settings")
    lists.put(LIST, "of-default", account="777")
    lists.put(LIST, "of-parameter", account="999")
    with processes.gateway(tmp_path, {"REDIS_URL": store_url, "ACCOUNT_ID": "777"}) as program:
        wire = Wire(program.address)
        for member, more in (
            ("of-default", ""),
            ("of-default", "&sdkKey=of_another_environment"),
            ("of-settings", "&sdkKey=sample_sdk_key"),
            ("of-parameter", "&accountId=999&sdkKey=sample_sdk_key"),
        ):
            assert wire.check(f"attribute={member}&listId={LIST}{more}").body == b"true"


def test_without_anything_that_names_an_account_a_check_is_incomplete(store_url: str, tmp_path: Path) -> None:
    with processes.gateway(tmp_path, {"REDIS_URL": store_url, "SETTINGS_FILE": ""}) as program:
        wire = Wire(program.address)
        assert wire.check(f"attribute=alice&listId={LIST}").state == "incomplete"
        assert wire.check(f"attribute=alice&listId={LIST}&accountId={ACCOUNT}").state == "unknown_list"


async def test_hundreds_of_checks_at_once_are_all_answered(store_url: str, lists: Lists) -> None:
    lists.put(LIST, "alice")
    client = connect(GatewaySettings(_env_file=None, redis_url=store_url), timeout=60.0, retries=0)
    membership = Membership(client, deadline=60.0)
    checks = checks_of(membership)
    query = f"attribute=alice&listId={LIST}".encode()
    async with membership.running():
        assert set(await asyncio.gather(*(checks.answer(query) for _ in range(3000)))) == {"in"}
    await client.aclose()


async def test_a_check_that_fails_to_be_told_harms_nobody_else(store_url: str, lists: Lists) -> None:
    lists.put(LIST, "alice")
    client = connect(GatewaySettings(_env_file=None, redis_url=store_url), timeout=60.0, retries=0)
    membership = Membership(client, deadline=60.0)

    class HungUp:
        def told(self, state: State) -> None:
            raise OSError(f"nobody to tell {state}")

    async with membership.running():
        asked = membership.list_named(ACCOUNT, LIST)
        assert asked is not None
        answers = []
        for _ in range(3):
            membership.ask(asked, b"alice", HungUp())
            answers.append(asyncio.create_task(membership.check(ACCOUNT, LIST, [b"alice"])))
        assert await asyncio.gather(*answers) == [State.IN] * 3
    await client.aclose()


async def test_a_fault_of_ours_is_false_and_counted() -> None:
    class Broken(Membership):
        def list_named(self, account: str, name: str) -> None:
            raise RuntimeError(account + name)

    metrics = Metrics()
    checks = checks_of(Broken(Redis()))
    metrics.count_checks(checks.counts)
    assert await checks.answer(b"attribute=a&listId=l") == State.ERROR
    metrics.flush()
    assert metrics.registry.get_sample_value("cohort_gateway_checks_total", {"state": "error"}) == 1


def test_remembered_answers_are_bounded_and_the_latest_stay() -> None:
    remembered = Remembered(1000)
    for number in range(1, 5000):
        remembered.put([number], [number % 2 == 0])
        assert len(remembered) <= 1000
    assert all(remembered.get(number) == (number % 2 == 0) for number in range(4500, 5000))
    assert remembered.get(1) is None


def test_what_is_raw_in_a_target_reaches_every_path(wire: Wire, lists: Lists) -> None:
    """A strict server refuses these bytes, and the SDK then waits for 14 s."""
    lists.put(LIST, "José", "a#b", "a b", "a\tb")
    raw = "José".encode("latin-1")
    assert wire.check(b"attribute=" + raw + b"&listId=" + LIST.encode()).body == b"true"
    assert wire.check(f"attribute=a#b&listId={LIST}").body == b"true"
    assert wire.check(f"attribute=a b&listId={LIST}").body == b"true"
    assert wire.check(f"attribute=a\tb&listId={LIST}").body == b"true"
    assert wire.check(f"listId={LIST}&accountId={ACCOUNT}&attribute=a\tb").body == b"true"
    for tail in (raw, b"a\tb", b"a b", b'a"<>^|', "日本".encode()):
        assert wire.get(b"/get-user-details?userAgent=" + tail).status == 200
        assert wire.get(b"/user-alias/getAliasUserId?userId=" + tail).status == 200
        assert wire.get(b"/server-side/v2-settings?i=k&a=123456&r=" + tail).status == 200
