"""Names of lists that there are none of, by the thousands: each is answered, and nobody else harmed."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from attribute_lists import keys
from tests.gateway.conftest import ACCOUNT, Lists, Wire
from tests.support import http, processes
from tests.support.flood import check, comes_out, flood, heard, meanwhile, states
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    import redis

    from tests.support.processes import Program, StoreServer

LIST = "heap_premium_users"
UNKNOWN = (200, b"false", "unknown_list")
_numbers = itertools.count()


def new_names(count: int, form: str = "nowhere_{}") -> list[str]:
    """Names that nobody has asked for yet."""
    return [form.format(next(_numbers)) for _ in range(count)]


def user_of(address: str, alias: str) -> str:
    ids = quote(json.dumps([alias]))
    return str(http.get(f"{address}/user-alias/getAliasUserId?accountId={ACCOUNT}&userId={ids}").json()[0]["userId"])


def put_alias(address: str, alias: str, user: str) -> None:
    answer = http.post(f"{address}/user-alias/setUserAlias?accountId={ACCOUNT}&userId={user}&aliasId={alias}")
    assert answer.json() == {"isAliasSet": True}


def test_thousands_at_once_harm_nobody(gateway: Program, lists: Lists) -> None:
    lists.put(LIST, "alice")
    put_alias(gateway.address, "before_login", "alice")

    def trial() -> tuple[object, ...]:
        targets = [check(name) for name in new_names(16_800)]
        with (
            meanwhile(lambda: user_of(gateway.address, "before_login")) as users,
            meanwhile(lambda: http.membership(gateway.address, "alice", LIST, account=ACCOUNT)) as known,
            meanwhile(lambda: http.get(f"{gateway.address}/readyz").text) as ready,
        ):
            answers = flood(gateway.address, targets)
        return states(answers), set(users), set(known), set(ready)

    comes_out(trial, ({UNKNOWN: 16_800}, {"alice"}, {"in"}, {'{"status":"ok"}'}))


FORMS = {"long": "{:0>256}", "like VWO's": "67c858b8b8556:{}", "nearly right": "heap_premium_users{}"}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_whatever_the_names_look_like(gateway: Program, lists: Lists, form: str) -> None:
    lists.put(LIST, "alice")
    comes_out(lambda: asked(gateway, [check(name) for name in new_names(2000, form)]), {UNKNOWN: 2000})


def test_lists_of_unknown_accounts(gateway: Program, lists: Lists) -> None:
    lists.put(LIST, "alice")
    comes_out(
        lambda: asked(gateway, [check(LIST, account=account) for account in new_names(2000, "{}")]), {UNKNOWN: 2000}
    )


def test_by_the_plain_route(gateway: Program, lists: Lists) -> None:
    lists.put(LIST, "alice")

    def trial() -> object:
        targets = [check(name) for name in new_names(400)]
        return states(flood(gateway.address, targets, connections=400, header="X-Route: plain\r\n"))

    comes_out(trial, {UNKNOWN: 400})


def asked(gateway: Program, targets: list[str]) -> Counter[tuple[int, bytes, str]]:
    return states(flood(gateway.address, targets))


def test_the_same_name_at_once(gateway: Program, store: redis.Redis) -> None:
    def trial() -> object:
        [name] = new_names(1)
        before = commands(store)
        answers = flood(gateway.address, [check(name, f"user-{number}") for number in range(3000)])
        return states(answers), commands(store) - before < 300

    comes_out(trial, ({UNKNOWN: 3000}, True))


def commands(store: redis.Redis) -> int:
    """How often the store was asked for anything of a hash or a set, by anybody."""
    stats = store.info("commandstats")
    return sum(found["calls"] for name, found in stats.items() if name in {"cmdstat_hget", "cmdstat_hmget"})


def test_a_name_that_is_asked_all_the_time_costs_the_store_next_to_nothing(
    gateway: Program, wire: Wire, store: redis.Redis
) -> None:
    [often] = new_names(1)
    for _ in range(2):
        assert wire.check(f"attribute=a&listId={often}").state == "unknown_list"
    flood(gateway.address, [check(name) for name in new_names(10_000)])
    before = commands(store)
    states = {wire.check(f"attribute=a{number}&listId={often}").state for number in range(500)}
    assert "unknown_list" in states
    assert commands(store) - before < 100


def test_a_list_that_is_made_is_known_at_once(wire: Wire, lists: Lists) -> None:
    for name in new_names(50):
        assert [state_of(wire, name) for _ in range(3)] == ["unknown_list"] * 3
        lists.put(name, "alice")
        assert state_of(wire, name) == "in"
        assert state_of(wire, name, "bob") == "not_in"


def test_a_list_that_is_deleted_and_made_again(wire: Wire, lists: Lists, store: redis.Redis) -> None:
    [name] = new_names(1)
    for _ in range(20):
        lists.put(name, "alice")
        assert state_of(wire, name) == "in"
        store.srem(keys.REGISTRY_LISTS, keys.qualified(ACCOUNT, name))
        store.delete(keys.about(ACCOUNT, name), keys.members(ACCOUNT, name))
        assert [state_of(wire, name) for _ in range(3)] == ["unknown_list"] * 3


def test_an_alias_that_is_given_is_known_at_once(wire: Wire, lists: Lists, store: redis.Redis) -> None:
    lists.put(LIST, "alice")
    for name in new_names(50):
        assert [state_of(wire, name) for _ in range(3)] == ["unknown_list"] * 3
        store.hset(keys.REGISTRY_ALIASES, keys.qualified(ACCOUNT, name), LIST)
        assert state_of(wire, name) == "in"


def test_a_list_whose_name_is_claimed_first_and_filled_later(wire: Wire, lists: Lists, store: redis.Redis) -> None:
    """As cohort-sync does it: nobody may take what was so in between for the last word."""
    del lists
    for name in new_names(50):
        assert state_of(wire, name) == "unknown_list"
        store.sadd(keys.REGISTRY_LISTS, keys.qualified(ACCOUNT, name))
        assert {state_of(wire, name) for _ in range(3)} <= {"unknown_list", "lost_list"}
        store.hset(keys.about(ACCOUNT, name), "active", "1")
        assert state_of(wire, name) == "not_in"
        store.sadd(keys.members(ACCOUNT, name), "alice")
        assert state_of(wire, name) == "in"


def test_a_list_that_is_made_while_it_is_switched_off(wire: Wire, lists: Lists, store: redis.Redis) -> None:
    for name in new_names(20):
        assert state_of(wire, name) == "unknown_list"
        lists.put(name, "alice", active=False)
        assert state_of(wire, name) == "inactive_list"
        store.hset(keys.about(ACCOUNT, name), "active", "1")
        assert state_of(wire, name) == "in"


@pytest.mark.parametrize("target", ["nowhere", "other"], ids=["of nothing", "of each other"])
def test_aliases_that_lead_nowhere(gateway: Program, wire: Wire, store: redis.Redis, target: str) -> None:
    """Nobody writes such; they come to an end, and the store is not asked about them for ever."""
    for name, stands_for in (("loose", target), ("other", "loose")):
        store.hset(keys.REGISTRY_ALIASES, keys.qualified(ACCOUNT, name), stands_for)
    assert {state_of(wire, name) for name in ("loose", "other") for _ in range(20)} == {"unknown_list"}
    comes_out(lambda: asked(gateway, [check("loose")] * 2000), {UNKNOWN: 2000})


def state_of(wire: Wire, name: str, value: str = "alice") -> str:
    return heard(lambda: wire.check(f"attribute={value}&listId={name}").state)


def test_memory_is_bounded(gateway: Program, store: redis.Redis) -> None:
    del store  # empty

    def ask(count: int) -> None:
        for _ in range(count // 10_000):
            flood(gateway.address, [check(name) for name in new_names(10_000, "{:0>256}")])

    ask(20_000)
    before = memory(gateway.pid)
    ask(100_000)
    assert memory(gateway.pid) - before < 16 << 20


def memory(pid: int) -> int:
    """Bytes that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4096


@pytest.fixture
def own_store() -> Iterator[StoreServer]:
    with processes.running_store() as server:
        yield server


def test_known_lists_are_not_forgotten_over_unknown_ones(own_store: StoreServer, tmp_path: Path) -> None:
    """What is remembered of them for an outage least of all."""
    with own_store.client() as client:
        for number in range(10):
            Lists(client).put(f"list_{number}", "alice")
    with processes.gateway(tmp_path, {"REDIS_URL": own_store.url}) as program:
        wire = Wire(program.address)
        names = [f"list_{number}" for number in range(10)]
        assert {state_of(wire, name) for name in names} == {"in"}
        flood(program.address, [check(name) for name in new_names(20_000)])
        own_store.kill()
        assert {wire.check(f"attribute=alice&listId={name}").state for name in names} == {"stale_in"}


def test_a_store_that_is_away_is_said_to_be_and_comes_back(own_store: StoreServer, tmp_path: Path) -> None:
    with processes.gateway(tmp_path, {"REDIS_URL": own_store.url}) as program:
        wire = Wire(program.address)
        [name] = new_names(1)

        def state() -> str:
            return wire.check(f"attribute=alice&listId={name}").state

        assert [state_of(wire, name) for _ in range(3)] == ["unknown_list"] * 3
        own_store.kill()
        until(lambda: state() == "store_down", what="the gateway to miss the store")
        own_store.start()
        with own_store.client() as client:
            Lists(client).put(name, "alice")
        until(lambda: state() != "store_down", what="the gateway to find the store")
        assert state_of(wire, name) == "in"
