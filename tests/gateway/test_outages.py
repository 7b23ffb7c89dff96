"""`/check-attribute` while the store is away, and when it comes back with other or with no lists."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from attribute_lists import keys
from tests.gateway.conftest import ACCOUNT, Lists, Wire
from tests.support import processes
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import StoreServer

LIST = "heap_premium_users"
CHECK = f"attribute=alice&listId={LIST}"


@pytest.fixture
def own_store() -> Iterator[StoreServer]:
    """A store that the test may kill."""
    with processes.running_store() as server:
        yield server


@pytest.fixture
def own_lists(own_store: StoreServer) -> Iterator[Lists]:
    with own_store.client() as client:
        yield Lists(client)


@pytest.fixture
def named_lists(own_lists: Lists) -> Lists:
    """In a store with an identity, one list that alice is in."""
    own_lists.store.set(keys.REGISTRY_IDENTITY, "one")
    own_lists.put(LIST, "alice")
    return own_lists


@contextlib.contextmanager
def asking(store: StoreServer, directory: Path, **settings: str) -> Iterator[Wire]:
    """A gateway of the test's own, which reads lists that are there when it starts."""
    with processes.gateway(directory, {"REDIS_URL": store.url} | settings) as program:
        yield Wire(program.address)


def test_while_the_store_is_down_what_was_known_is_served_and_it_recovers(
    own_store: StoreServer, own_lists: Lists, tmp_path: Path
) -> None:
    own_lists.put(LIST, "alice", "carol")
    with asking(own_store, tmp_path) as wire:

        def state_of(member: str) -> str:
            answer = wire.check(f"attribute={member}&listId={LIST}")
            assert answer.status == 200
            assert answer.headers["content-type"] == "application/json; x=application/javascript"
            assert answer.body == (b"true" if answer.state in ("in", "stale_in") else b"false")
            return answer.state

        assert [state_of("alice"), state_of("bob")] == ["in", "not_in"]
        own_store.kill()
        assert [state_of(member) for member in ("alice", "bob", "carol")] == ["stale_in", "stale_not_in", "store_down"]
        own_store.start()
        until(lambda: state_of("carol") == "in", seconds=10, what="a check by the store that is back")
        assert [state_of("alice"), state_of("bob")] == ["in", "not_in"]


@pytest.mark.parametrize("setting", ["LAST_KNOWN_ANSWERS", "SERVE_STALE_FOR"])
def test_what_was_known_is_not_served_where_nobody_wants_it(
    own_store: StoreServer, own_lists: Lists, tmp_path: Path, setting: str
) -> None:
    own_lists.put(LIST, "alice")
    with asking(own_store, tmp_path, **{setting: "0"}) as wire:
        assert wire.check(CHECK).state == "in"
        own_store.kill()
        assert wire.check(CHECK).state == "store_down"


def test_a_change_makes_what_was_known_of_its_list_unknown(
    own_store: StoreServer, own_lists: Lists, tmp_path: Path
) -> None:
    own_lists.put(LIST, "alice", "bob")
    own_lists.put("heap_other", "alice")
    with asking(own_store, tmp_path) as wire:
        queries = [CHECK, "attribute=alice&listId=heap_other"]
        assert [wire.check(query).state for query in queries] == ["in", "in"]
        own_lists.store.srem(keys.members(ACCOUNT, LIST), "alice")
        # An answer from the store comes after its word of the change, over the same connection.
        assert wire.check(queries[1]).state == "in"
        own_store.kill()
        assert [wire.check(query).state for query in queries] == ["store_down", "stale_in"]


def test_an_emptied_store_is_noticed_with_the_next_check(
    own_store: StoreServer, named_lists: Lists, tmp_path: Path
) -> None:
    with asking(own_store, tmp_path) as wire:
        assert wire.check(CHECK).state == "in"
        named_lists.store.flushall()
        assert wire.check(CHECK).state == "stale_in"
        assert wire.check(f"attribute=never-asked&listId={LIST}").state == "store_emptied"
        assert b"store_emptied" in wire.get("/readyz").body
        named_lists.put(LIST, "bob")
        named_lists.store.set(keys.REGISTRY_IDENTITY, "two")
        until(lambda: wire.check(CHECK).state == "not_in", seconds=10, what="the store that is built again")


def test_a_store_that_was_emptied_and_is_whole_again_is_known_before_anybody_asks(
    own_store: StoreServer, named_lists: Lists, tmp_path: Path
) -> None:
    with asking(own_store, tmp_path) as wire:
        assert wire.check(CHECK).state == "in"
        named_lists.store.flushall()
        until(lambda: b"store_emptied" in wire.get("/readyz").body, what="the loss to be noticed")
        named_lists.put(LIST, "bob")
        named_lists.store.set(keys.REGISTRY_IDENTITY, "two")  # and nobody tells
        until(lambda: b"store_emptied" not in wire.get("/readyz").body, seconds=5, what="the store that is whole")
        assert wire.check(CHECK).state == "not_in"


def test_what_was_known_is_served_until_an_emptied_store_is_whole_again(
    own_store: StoreServer, named_lists: Lists, tmp_path: Path
) -> None:
    named_lists.put("heap_other", "alice")
    other = "attribute=alice&listId=heap_other"
    with asking(own_store, tmp_path) as wire:
        assert [wire.check(CHECK).state, wire.check(other).state] == ["in", "in"]
        named_lists.store.flushall()
        named_lists.put("heap_other", "bob")  # nobody asked since it was lost
        assert [wire.check(CHECK).state, wire.check(other).state] == ["stale_in", "stale_in"]
        named_lists.put(LIST, "bob")
        assert wire.check(CHECK).state == "stale_in"
        named_lists.store.set(keys.REGISTRY_IDENTITY, "two")
        until(lambda: wire.check(CHECK).state == "not_in", seconds=10, what="the store that is whole")
        own_store.kill()
        assert wire.check(other).state == "store_down"  # what it was before the store lost it, nobody wants to know


def test_a_list_that_the_store_lost_is_no_unknown_list(
    own_store: StoreServer, named_lists: Lists, tmp_path: Path
) -> None:
    with asking(own_store, tmp_path) as wire:
        assert wire.check(CHECK).state == "in"
        named_lists.store.delete(keys.about(ACCOUNT, LIST))
        assert wire.check(f"attribute=bob&listId={LIST}").state == "lost_list"


def test_one_list_by_id_and_alias_is_remembered_and_forgotten_as_one(
    own_store: StoreServer, own_lists: Lists, tmp_path: Path
) -> None:
    own_lists.put(LIST, "alice")
    own_lists.alias("1:2", LIST)
    with asking(own_store, tmp_path) as wire:
        assert wire.check("attribute=alice&listId=1:2").state == "in"
        own_store.kill()
        assert wire.check(CHECK).state == "stale_in"
