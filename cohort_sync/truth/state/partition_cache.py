"""Base partitions as they were read last, decoded, within a bound: who compares a set asks about all of them often."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from cohort_sync.truth.window import read_partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from cohort_sync.truth.bases import Partition

_BYTES_PER_MEMBER = 50  # beside the id itself


class PartitionCache:
    """By list and digest, so that one that was folded or rewritten is another."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[int, bytes], tuple[Sequence[bytes], int]] = OrderedDict()
        self._bytes = 0
        self._erasure = 0
        self._lock = threading.Lock()

    def read(self, connection: Connection, row: int, partition: Partition, erasure: int) -> Sequence[bytes]:
        """Its members, sorted. `erasure`: number of the newest one; what was kept before it may name the person."""
        key = (row, partition.digest)
        with self._lock:
            if self._erasure != erasure:
                self._erasure = erasure
                self._clear()
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        members = read_partition(connection, row, partition)
        size = sum(map(len, members)) + _BYTES_PER_MEMBER * len(members)
        with self._lock:
            if self._erasure == erasure and key not in self._kept:
                self._kept[key] = (members, size)
                self._bytes += size
                while self._bytes > self._most_bytes:
                    _, (_, freed) = self._kept.popitem(last=False)
                    self._bytes -= freed
        return members

    def forget(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        self._kept.clear()
        self._bytes = 0
