"""What the tests of archives have in common: lists as the engine leaves them, and everything that a store holds."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from attribute_lists.archive import write_archive
from attribute_lists.bodies import Names
from attribute_lists.changes import Changes, Page
from attribute_lists.definitions import Definitions
from attribute_lists.settling import tag_of
from attribute_lists.work import Ordering

if TYPE_CHECKING:
    import redis

    from foundation.store import Store

NOW = 1_800_000_000_000
TAG_KEY = b"key of erasures"
ORDERING = Ordering(tag_key=TAG_KEY)
GOLD = ("123456", "heap_gold")
SILVER = ("123456", "heap_silver")


def tag(member: bytes) -> bytes:
    return tag_of(member, TAG_KEY)


def page(
    task: str, number: int, total: int, add: list[bytes], remove: list[bytes] | None = None, *, at: int = 0
) -> Page:
    digest = hashlib.blake2b(repr((task, number, total, add, remove)).encode(), digest_size=16).hexdigest()
    return Page(task, number, total, Names(add, remove or []), 0, digest, NOW + at)


async def fill(store: Store) -> None:
    """Two lists with all that a list may have: late pages, a drain, an alias, an erasure, a snapshot half gathered."""
    definitions, changes = Definitions(store), Changes(store, ORDERING)
    for segment, label in (("1", "Gold"), ("2", "Silver \u2603")):
        await definitions.list_of_segment("123456", segment, label, source="heap")
    await definitions.set_aliases(*GOLD, ["1", "67c858b8b8556:1741183160"])
    await changes.drain(GOLD, at=NOW - 5, mark="drain:1")
    await changes.apply_page(GOLD, page("t1", 1, 1, [b"gold-%d" % number for number in range(3000)]))
    await changes.apply_page(GOLD, page("t2", 2, 2, [b"\xf0\x9f\xa6\x8a"], [b"gold-7", b"gold-8"], at=10))
    for name in (GOLD, SILVER):
        await store.execute_command("ZADD", keys.erased(*name), NOW, tag(b"gone"))
    await changes.apply_page(SILVER, page("t1", 1, 1, [b"silver-%d" % number for number in range(20)]))
    await changes.set_mode(SILVER, "snapshot")
    await changes.apply_page(SILVER, page("t3", 1, 3, [b"new-%d" % number for number in range(1500)], at=20))
    await changes.apply_page(SILVER, page("t3", 2, 3, [b"new-x", b"new-y"], [b"new-1", b"new-2"], at=20))
    await store.execute_command("ZADD", keys.REGISTRY_APPLIED, NOW, "op:1")
    await store.execute_command("ZADD", keys.REGISTRY_ERASED, NOW, tag(b"gone"))


async def written(store: Store, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    await write_archive(store, file, **options)
    file.seek(0)
    return file


def everything(store: redis.Redis) -> dict[str, Any]:
    """Every key with its value and whether it expires, but for the versions of ledgers, which are never the same."""
    found: dict[str, Any] = {}
    for raw in store.scan_iter(count=1000):
        key = raw.decode()
        kind = store.type(raw)
        match kind:
            case b"set":
                value: Any = store.smembers(raw)
            case b"hash":
                value = store.hgetall(raw)
                value.pop(b"version", None)
            case b"zset":
                value = sorted(store.zscan_iter(raw))
            case _:
                value = store.get(raw)
        found[key] = (kind, value, store.pttl(raw) > 0)
    return found


def members_of(store: redis.Redis, key: str) -> set[Any]:
    found: Any = store.smembers(key)
    return set(found)
