"""What an exposure of VWO means: the flag and the variation behind its ids, and the user behind its visitor id."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from event_stream.stream import seconds_of
from heap_export.records import Exposure, Source
from published.campaigns import PERSONALIZE, TESTING, Campaign, Campaigns, id_text
from published.exposures import open_shown
from published.visitors import VisitorMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from event_stream.stream import Record
    from foundation.store import Store

_EXPERIMENTS = frozenset((TESTING, PERSONALIZE))

UNREADABLE = "unreadable"
NO_ACCOUNT = "no_account"
UNKNOWN_CAMPAIGN, UNKNOWN_VARIATION, UNKNOWN_VISITOR = "unknown_campaign", "unknown_variation", "unknown_visitor"


class NotKnown(NamedTuple):
    """Why an exposure can't be told. `may_become_known`: the names, or the user, may be published any moment."""

    reason: str
    may_become_known: bool


class LeftOut(NamedTuple):
    """An exposure that is none of an experiment; `kind` is that of its campaign."""

    kind: str


Meaning = Exposure | NotKnown | LeftOut


class _Props(msgspec.Struct):
    id: Any = None
    variation: Any = None


class _Happened(msgspec.Struct):
    props: _Props
    time: Any = None


class _Data(msgspec.Struct):
    event: _Happened
    visId: Any = None  # noqa: N815 - VWO's spelling
    msgId: Any = None  # noqa: N815 - VWO's spelling


class _Event(msgspec.Struct):
    d: _Data


class _Read(NamedTuple):
    """An exposure as it came. `campaign` and `variation` are ids; `user` is known for some."""

    campaign: str | None
    variation: str | None
    visitor: str
    user: str | None
    time: float
    message: str


_decode = msgspec.json.Decoder(_Event).decode


class Names:
    """Looks up what is published. Every call may raise the store's errors."""

    def __init__(self, store: Store) -> None:
        self._campaigns = Campaigns(store)
        self._visitors = VisitorMap(store)

    async def meanings(self, account: str, records: Sequence[Record]) -> list[Meaning]:
        """What each of `records`, exposures of one account, means by now."""
        if not account:
            return [NotKnown(NO_ACCOUNT, may_become_known=False) for _ in records]
        read = [_read(record) for record in records]
        campaigns = await self._campaigns.find(account, (one.campaign for one in read if one and one.campaign))
        strangers = [one.visitor for one in read if one and one.user is None]
        users = dict(zip(strangers, await self._visitors.users_of(account, strangers), strict=True))
        return [_meaning(account, one, campaigns, users) for one in read]


def _meaning(account: str, read: _Read | None, campaigns: dict[str, Campaign], users: dict[str, str | None]) -> Meaning:
    if read is None or read.campaign is None:
        return NotKnown(UNREADABLE, may_become_known=False)
    campaign = campaigns.get(read.campaign)
    if campaign is None:
        return NotKnown(UNKNOWN_CAMPAIGN, may_become_known=True)
    if campaign.kind not in _EXPERIMENTS:
        return LeftOut(campaign.kind)
    variation = campaign.variations.get(read.variation or "")
    if variation is None:
        return NotKnown(UNKNOWN_VARIATION, may_become_known=True)
    user = read.user if read.user is not None else users.get(read.visitor)
    if user is None:
        return NotKnown(UNKNOWN_VISITOR, may_become_known=True)
    return Exposure(
        source=Source.VWO,
        flag_key=campaign.flag,
        identity=user,
        time=read.time,
        variation_key=variation.key,
        rule_key=variation.rule,
        enabled=True,  # a flag is on for whoever gets a variation of an experiment, `control` too
        dedupe_key=read.message,
        properties={"account_id": account, "campaign_id": read.campaign},
    )


def _read(record: Record) -> _Read | None:
    try:
        shown = open_shown(record.body)
        data = _decode(shown.event).d
    except (msgspec.MsgspecError, RecursionError):
        return None
    return _Read(
        id_text(data.event.props.id),
        id_text(data.event.props.variation),
        data.visId if isinstance(data.visId, str) else "",
        shown.user,
        _seconds(data.event.time, record.id),
        data.msgId if isinstance(data.msgId, str) else "",
    )


def _seconds(milliseconds: Any, id_: bytes) -> float:
    """When it happened; where that is not told, when the store got it."""
    try:
        told = float(milliseconds) / 1000 if not isinstance(milliseconds, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        told = math.nan
    return told if math.isfinite(told) else seconds_of(id_)
