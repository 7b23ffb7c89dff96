"""What the campaigns of an account are called: events of VWO name campaigns and variations by their ids alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from foundation.store import Store

log = logging.getLogger(__name__)

KEPT_SECONDS = 30 * 86_400  # beyond the last time that settings held a campaign: events may come late
_AT_ONCE = 200  # campaigns in one go, so that nothing else waits for long

ROLLOUT, TESTING, PERSONALIZE = "FLAG_ROLLOUT", "FLAG_TESTING", "FLAG_PERSONALIZE"
IMPACT = "IMPACT"  # measures a flag as a whole; the settings have no more of it than its id


class Variation(msgspec.Struct, array_like=True, frozen=True):
    """`rule`: key of the rule that gives this variation."""

    key: str
    rule: str


class Campaign(msgspec.Struct, frozen=True):
    """`kind`: the type of its rules, or `IMPACT`. `variations`: by their ids."""

    flag: str
    kind: str
    variations: dict[str, Variation] = {}


_decode = msgspec.json.Decoder(Campaign).decode


def id_text(value: Any) -> str | None:
    """An id of VWO as a text, whether it is a number or a text there; None where it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, (int, str)) else None


def key_of(account: str, campaign: str) -> str:
    """String: a campaign, JSON; expires. It does not begin like the keys of lists, whose every change is told."""
    return f"cg:campaigns:{{{account}}}:{campaign}"


class Campaigns:
    """Every call may raise the store's errors."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def publish(self, account: str, campaigns: Mapping[str, Campaign]) -> None:
        """These are in the settings now, by their ids. Others are kept for a while."""
        items = list(campaigns.items())
        for start in range(0, len(items), _AT_ONCE):
            pipeline: Any = self._store.pipeline(transaction=False)
            for name, campaign in items[start : start + _AT_ONCE]:
                pipeline.set(key_of(account, name), msgspec.json.encode(campaign), ex=KEPT_SECONDS)
            await pipeline.execute()

    async def find(self, account: str, ids: Iterable[str]) -> dict[str, Campaign]:
        """Those of `ids` that are known."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Campaign] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            bodies = await self._store.execute_command("MGET", *(key_of(account, name) for name in some))
            for name, body in zip(some, bodies, strict=True):
                if body is not None:
                    try:
                        found[name] = _decode(body)
                    except msgspec.MsgspecError:
                        log.warning("what is published of a campaign of account %s can't be read", account)
        return found
