"""A list as checks know it: its commands, ready to be sent, and what was last heard of it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import hiredis
from redis.crc import key_slot

from attribute_lists import keys
from foundation.wire import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attribute_lists.line import Line


class AskedList:
    """One list.

    `trouble`: what stood against answering when the store was last asked, and `right_at` when nothing did (the loop's
    clock). `epoch`: the connection over which it was last heard of. `salt` is a part of the number that stands for a
    remembered answer: with another one, all that was remembered of this list is forgotten. `has_changed`: it did while
    it could not be asked.
    """

    __slots__ = (
        *("about", "account", "batch", "epoch", "generation", "key", "line", "list_id", "look", "right_at"),
        *("has_changed", "salt", "slot", "trouble", "_prefix"),
    )

    def __init__(self, account: str, list_id: str) -> None:
        self.account = account
        self.list_id = list_id
        self.key = keys.members(account, list_id).encode()
        self.about = keys.about(account, list_id).encode()
        self._prefix = b"*3\r\n$9\r\nSISMEMBER\r\n$%d\r\n%b\r\n$" % (len(self.key), self.key)
        self.look = pack("HGET", self.about, "active")
        self.slot = key_slot(self.key)
        self.salt = random.getrandbits(62)
        self.epoch = 0
        self.trouble: str | None = None
        self.batch: object | None = None
        self.line: Line | None = None
        self.generation = -1
        self.right_at = 0.0
        self.has_changed = False

    def command(self, value: bytes) -> bytes:
        """The question whether `value` is in the list."""
        return b"%b%d\r\n%b\r\n" % (self._prefix, len(value), value)

    def command_of(self, readings: Sequence[bytes]) -> bytes:
        """The question whether any of `readings` is."""
        if len(readings) == 1:
            return self.command(readings[0])
        return pack("SMISMEMBER", self.key, *readings)

    def same_of(self, command: bytes, other: AskedList) -> bytes:
        """What `command` asks of this list, asked of the `other` one."""
        return other.command_of(self.words_of(command)[2:])

    @staticmethod
    def words_of(command: bytes) -> list[bytes]:
        """A command of this list, taken apart again."""
        reader = hiredis.Reader()
        reader.feed(command)
        words: list[bytes] = reader.gets()
        return words

    def forget(self) -> None:
        """What was remembered of this list is right no more."""
        self.has_changed = False
        self.salt = random.getrandbits(62)

    def heard_anew(self, epoch: int) -> None:
        """It may be asked again: what changed in between, nobody told, or it was not the time to forget."""
        self.epoch = epoch
        self.forget()
