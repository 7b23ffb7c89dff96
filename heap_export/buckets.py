"""Heap's limits, kept by token buckets in Redis that all processes share: of an app id, and of each identity.

Heap takes so many events in any minute. A bucket never lets more through than that: it holds a tenth of the limit and
fills with eight tenths a minute. What leaves in a minute is at most a full bucket and what it is filled with; a second
tenth is for a request that left with a full bucket before that minute and arrived within it, since it was under way.
There is only one such request, as a deliverer sends them one after the other.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foundation.scripts import run_script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foundation.store import Store
    from heap_export.integrations import Integration

MINUTE = 60.0  # seconds; tests have shorter ones
_AT_A_TIME = 250  # buckets in one step, so that nothing else waits for more than a millisecond

# A bucket is one number: when it will be full, in milliseconds on the store's clock; no key is a full one.
# KEYS the bucket of the app id, then those of identities. ARGV: what the first bucket holds, the milliseconds that one
# token of it takes to come, the same for identities, then how many tokens each identity is to get. Gives for each how
# many it got, and for how many milliseconds to wait for more, of its own bucket (0: not short) and of the app id's.
_RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local told, waits, app_short = {}, {}, 0
local function room(full_at, most, each) return math.floor((now + most * each - full_at) / each + 1e-6) end
local function until_some(full_at, most, each, wanted)
  local some = math.max(1, math.min(wanted, math.floor(most / 4)))
  return math.max(1, math.ceil(full_at + some * each - now - most * each))
end
local function keep(key, full_at)
  if full_at > now then redis.call('SET', key, string.format('%.3f', full_at), 'PX', math.ceil(full_at - now)) end
end
local app_most, app_each, most, each = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local app_full_at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local app_room = math.max(0, room(app_full_at, app_most, app_each))
for n = 2, #KEYS do
  local wanted, full_at = tonumber(ARGV[n + 3]), math.max(now, tonumber(redis.call('GET', KEYS[n]) or 0))
  local got = math.max(0, math.min(wanted, room(full_at, most, each)))
  waits[n - 1] = 0
  if got < wanted then waits[n - 1] = until_some(full_at + got * each, most, each, wanted - got) end
  if got > app_room then
    app_short = app_short + got - app_room
    got = app_room
  end
  if got > 0 then
    keep(KEYS[n], full_at + got * each)
    app_full_at, app_room = app_full_at + got * app_each, app_room - got
  end
  told[n - 1] = got
end
keep(KEYS[1], app_full_at)
return {told, waits, app_short > 0 and until_some(app_full_at, app_most, app_each, app_short) or 0}
"""


@dataclass(frozen=True, slots=True)
class Reserved:
    """`granted`: how many of each identity may go now. `waits`: seconds until more of an identity that was short may.

    `wait`: the same for all of them, where the app id was short.
    """

    granted: Mapping[str, int]
    waits: Mapping[str, float]
    wait: float


class Buckets:
    """Raises the store's errors. Its keys hold no identity, and expire once their bucket is full again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reserve(self, integration: Integration, wanted: Mapping[str, int]) -> Reserved:
        """Take a token for each record of each identity, as far as there are any.

        One counts for the record's event and for its user properties as well: these are calls of their own, whose
        limits Heap does not tell, and which are taken to be the same.
        """
        app_most, app_each = _size(integration.events_per_minute)
        most, each = _size(integration.events_per_minute_of_person)
        identities = list(wanted)
        slices = [identities[start : start + _AT_A_TIME] for start in range(0, len(identities), _AT_A_TIME)]
        asked = [
            run_script(
                self._store,
                _RESERVE,
                [_key(integration.app_id), *(_key(integration.app_id, identity) for identity in some)],
                [app_most, app_each, most, each, *(wanted[identity] for identity in some)],
            )
            for some in slices
        ]
        granted: dict[str, int] = {}
        waits: dict[str, float] = {}
        longest = 0.0
        for some, (told, short, app_short) in zip(slices, await asyncio.gather(*asked), strict=True):
            granted.update(zip(some, told, strict=True))
            waits.update({identity: wait / 1000 for identity, wait in zip(some, short, strict=True) if wait})
            longest = max(longest, app_short / 1000)
        return Reserved(granted, waits, longest)


def most_at_once(limit: int) -> int:
    """The most that may ever go together of what Heap limits to `limit` a minute."""
    return max(1, limit // 10)


def _size(limit: int) -> tuple[int, float]:
    """What a bucket for `limit` a minute holds, and the milliseconds in which a token comes."""
    most = most_at_once(limit)
    return most, MINUTE * 1000 / (limit - 2 * most)


def _key(app_id: str, identity: str | None = None) -> str:
    """The hash tag keeps an app id's buckets together, so that a script may touch them on a cluster."""
    whose = "all" if identity is None else hashlib.sha256(f"{app_id} {identity}".encode()).hexdigest()[:24]
    return f"cg:heap:{{{app_id}}}:bucket:{whose}"
