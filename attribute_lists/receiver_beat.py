"""What the receiver says of itself, as gateways read it: an expiring key (`keys.RECEIVER`)."""

from __future__ import annotations

import msgspec

_MOST_REASONS, _LONGEST_REASON = 20, 200
_SILENT = "cohort-sync: it says nothing any more; start it, or see why it can't reach the store"


class _Beat(msgspec.Struct):
    reasons: list[str] = []


class ReceiverBeat:
    """`reasons`: what readiness says of the receiver; nothing before it was ever heard."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self._was_heard = False

    def read(self, value: bytes | None) -> None:
        """Take up the key's value; None where it has expired."""
        if value is None:
            self.reasons = [_SILENT] if self._was_heard else []
            return
        self._was_heard = True
        try:
            told = msgspec.json.decode(value, type=_Beat).reasons
        except msgspec.MsgspecError:
            told = ["what it says of itself can't be read"]
        self.reasons = [f"cohort-sync: {reason[:_LONGEST_REASON]}" for reason in told[:_MOST_REASONS]]
