"""Readers of the gateway's bodies: one budget of memory, and limits of each kind of address."""

from __future__ import annotations

from foundation.errors import BadRequestError, TooLargeError
from foundation.memory import Memory
from foundation.request_bodies import BodyLimits, BodyReader
from foundation.settings import MEBIBYTE
from foundation.turns import Turns

MAX_EVENT_BYTES = 8 * MEBIBYTE  # of a request; the largest batch of VWO (5,000 events) needs some 5 MiB
_MAX_DECISION_BYTES = MEBIBYTE
_MAX_ALIAS_BYTES = 64 * 1024


class BodyTooLargeError(TooLargeError):
    """A body beyond its limit. SDKs send again for 14 s what gets 413."""

    status = 400


class Bodies:
    """The readers of a process. `budget`: bytes that all bodies together may take.

    A body that is too large, or whose encoding is not known, gets 400: SDKs send again for 14 s what gets 413 or 415.
    """

    def __init__(self, budget: int) -> None:
        self.memory = Memory(budget)
        turns = Turns()

        def reader(most: int, cure: str, *, drains: bool = False) -> BodyReader:
            limits = BodyLimits(most, cure, refusal=BadRequestError, too_large=BodyTooLargeError, drains=drains)
            return BodyReader(self.memory, turns, limits)

        # A sender of events that is cut off would see an error, and send them again.
        self.events = reader(MAX_EVENT_BYTES, "send smaller batches", drains=True)
        self.decisions = reader(_MAX_DECISION_BYTES, "send fewer variables")
        self.aliases = reader(_MAX_ALIAS_BYTES, "it holds userId and aliasId")
