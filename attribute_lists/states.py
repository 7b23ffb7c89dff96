"""What may be known of a value and a list."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Three states inside (in, not in, can't know), of which the wire knows two: `true` for the first alone.

    Those after `INACTIVE_LIST` are the ways of not knowing; the stale ones stand for what was known last.
    """

    IN = "in"
    NOT_IN = "not_in"
    UNKNOWN_LIST = "unknown_list"
    INACTIVE_LIST = "inactive_list"
    LOST_LIST = "lost_list"  # it is in the registry, and not in the store
    STORE_EMPTIED = "store_emptied"  # or another store than before
    STORE_DOWN = "store_down"
    STALE_IN = "stale_in"
    STALE_NOT_IN = "stale_not_in"
    OVERLOADED = "overloaded"  # too many checks at once
    ERROR = "error"  # a fault of ours

    @property
    def is_member(self) -> bool:
        return self in (State.IN, State.STALE_IN)
