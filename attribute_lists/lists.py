"""A list as checks know it, and what was last heard of it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from redis.crc import key_slot

from attribute_lists import keys
from foundation.wire import pack

if TYPE_CHECKING:
    from attribute_lists.batches import Part
    from attribute_lists.line import Line
    from attribute_lists.unknown_names import UnknownName

Question = bytes | tuple[bytes, ...]  # a value, UTF-8, or all values that a text may stand for


class AskedList:
    """One list.

    `part`: what of the next batch is about it.

    `trouble`: what stood against answering when the store was last asked, and `right_at` when nothing did (the loop's
    clock). `epoch`: the connection over which it was last heard of. `salt` is a part of the number that stands for a
    remembered answer: with another one, all that was remembered of this list is forgotten. `has_changed`: it did while
    it could not be asked. `unknown`: where it is only a name so far, what is known of that.
    """

    __slots__ = (
        *("about", "account", "epoch", "generation", "has_changed", "key", "line", "list_id", "look", "part"),
        *("right_at", "salt", "slot", "trouble", "unknown"),
    )

    def __init__(self, account: str, list_id: str) -> None:
        self.account = account
        self.list_id = list_id
        self.key = keys.members(account, list_id).encode()
        self.about = keys.about(account, list_id).encode()
        self.look = pack("HGET", self.about, "active")
        self.slot = key_slot(self.key)
        self.salt = random.getrandbits(62)
        self.epoch = 0
        self.trouble: str | None = None
        self.part: Part | None = None
        self.line: Line | None = None
        self.generation = -1
        self.right_at = 0.0
        self.has_changed = False
        self.unknown: UnknownName | None = None

    def forget(self) -> None:
        """What was remembered of this list is right no more."""
        self.has_changed = False
        self.salt = random.getrandbits(62)

    def heard_anew(self, epoch: int) -> None:
        """It may be asked again: what changed in between, nobody told, or it was not the time to forget."""
        self.epoch = epoch
        self.forget()
