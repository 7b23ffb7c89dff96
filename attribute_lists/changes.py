"""Apply the changes of a segment to its list."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attribute_lists import keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from foundation.store import Store

ONE_TRANSACTION = 1000  # members; what a page may hold to be applied in one go
SLICE = 500  # members; of larger pages, so that no check waits behind one for long
REMEMBERED_SECONDS = 30 * 86400  # how long an applied body is known; longer than any signature is accepted

# KEYS applied, members, task-pages, about
# ARGV body hash, now (ms), remembered since (ms), task, page, total, skipped, added and removed by earlier slices,
#      number of members to add, these members, members to remove
# Applies what is left of a page and the mark that it was applied, as one step. Answers false for a repeated body.
_FINISH = """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return false end
local last_added = 10 + tonumber(ARGV[10])
local added, removed = tonumber(ARGV[8]), tonumber(ARGV[9])
for first = 11, last_added, 500 do
  added = added + redis.call('SADD', KEYS[2], unpack(ARGV, first, math.min(first + 499, last_added)))
end
for first = last_added + 1, #ARGV, 500 do
  removed = removed + redis.call('SREM', KEYS[2], unpack(ARGV, first, math.min(first + 499, #ARGV)))
end
if redis.call('HGET', KEYS[4], 'task') ~= ARGV[4] then
  redis.call('DEL', KEYS[3])
  redis.call('HINCRBY', KEYS[4], 'tasks', 1)
end
redis.call('SADD', KEYS[3], ARGV[5])
redis.call('HSET', KEYS[4], 'task', ARGV[4], 'task_total', ARGV[6], 'last_page', ARGV[2])
redis.call('HINCRBY', KEYS[4], 'added', added)
redis.call('HINCRBY', KEYS[4], 'removed', removed)
redis.call('HINCRBY', KEYS[4], 'skipped', ARGV[7])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return {added, removed}
"""

# KEYS applied, members, task-pages, about; ARGV mark, now (ms), remembered since (ms)
_DRAIN = """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return false end
local removed = redis.call('SCARD', KEYS[2])
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[4], 'drained', ARGV[2])
redis.call('HDEL', KEYS[4], 'task', 'task_total')
redis.call('HINCRBY', KEYS[4], 'removed', removed)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return removed
"""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a sync task. Members are UTF-8; `remove` wins over `add`. `skipped` counts members left out."""

    task: str
    number: int
    total: int
    add: Sequence[bytes]
    remove: Sequence[bytes]
    skipped: int
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change did. `repeated`: the same change was there before, so that nothing happened now."""

    repeated: bool = False
    added: int = 0
    removed: int = 0


async def apply_page(store: Store, account: str, list_id: str, page: Page) -> Outcome:
    """Apply `page` to the list, wholly when this returns; what was applied before has no effect again.

    Interrupted half-way, a large page is completed by applying it again: adding and removing are idempotent, and only
    the last slice carries the mark. May raise the store's errors.
    """
    applied = keys.applied(account, list_id)
    removed = set(page.remove)
    add = [member for member in page.add if member not in removed]
    remove = list(removed)
    added_before = removed_before = 0
    if len(add) + len(remove) > ONE_TRANSACTION:
        if await store.execute_command("ZSCORE", applied, page.body_hash) is not None:
            return Outcome(repeated=True)
        members = keys.members(account, list_id)
        for part in _slices(add):
            added_before += await store.execute_command("SADD", members, *part)
        for part in _slices(remove):
            removed_before += await store.execute_command("SREM", members, *part)
        add = remove = []
    now = int(time.time() * 1000)
    done: list[int] | None = await store.execute_command(
        "EVAL",
        _FINISH,
        4,
        *_list_keys(account, list_id),
        *(page.body_hash, now, now - REMEMBERED_SECONDS * 1000),
        *(page.task, page.number, page.total, page.skipped),
        *(added_before, removed_before, len(add)),
        *add,
        *remove,
    )
    return Outcome(repeated=True) if done is None else Outcome(added=done[0], removed=done[1])


async def drain_list(store: Store, account: str, list_id: str, *, signed_at: int) -> Outcome:
    """Empty the list. A drain is known by its time (ms): the same one again has no effect. May raise store errors."""
    now = int(time.time() * 1000)
    arguments = (f"drain:{signed_at}", now, now - REMEMBERED_SECONDS * 1000)
    removed: int | None = await store.execute_command("EVAL", _DRAIN, 4, *_list_keys(account, list_id), *arguments)
    return Outcome(repeated=True) if removed is None else Outcome(removed=removed)


def _list_keys(account: str, list_id: str) -> tuple[str, str, str, str]:
    return (
        keys.applied(account, list_id),
        keys.members(account, list_id),
        keys.task_pages(account, list_id),
        keys.about(account, list_id),
    )


def _slices(members: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(members), SLICE):
        yield members[start : start + SLICE]
