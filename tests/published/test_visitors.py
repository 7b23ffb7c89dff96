"""The map of visitor ids, as heap-export reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fme_client.identity import get_uuid
from published.visitors import VisitorMap

if TYPE_CHECKING:
    from redis.asyncio import Redis

ACCOUNT = "123456"
ALICE, BOB, CAROL = (get_uuid(name, ACCOUNT) for name in ("alice", "bob", "carol"))


async def test_users_are_found_by_their_visitor_ids_of_one_account(client: Redis) -> None:
    visitors = VisitorMap(client)
    await visitors.put(ACCOUNT, {ALICE: "alice", BOB: "böb"}, most=100)
    assert await visitors.users_of(ACCOUNT, [BOB, CAROL, ALICE, BOB]) == ["böb", None, "alice", "böb"]
    assert await visitors.users_of(ACCOUNT, [ALICE.lower()]) == ["alice"]
    assert await visitors.users_of("7", [ALICE]) == [None]
    assert await visitors.users_of(ACCOUNT, []) == []


async def test_what_is_no_visitor_id_is_nobody(client: Redis) -> None:
    visitors = VisitorMap(client)
    await visitors.put(ACCOUNT, {ALICE: "alice"}, most=100)
    asked = ["", "5B1A", "not hexadecimal", ALICE + "00", "\ud800", ALICE]
    assert await visitors.users_of(ACCOUNT, asked) == [None] * 5 + ["alice"]


async def test_many_are_asked_for_at_once_and_the_old_are_found_too(client: Redis) -> None:
    visitors = VisitorMap(client)
    users = {get_uuid(f"user-{number}", ACCOUNT): f"user-{number}" for number in range(1500)}
    await visitors.put(ACCOUNT, users, most=2000)
    assert await visitors.users_of(ACCOUNT, list(users)) == list(users.values())
