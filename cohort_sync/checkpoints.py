"""Checkpoints: archives of everything, written now and then, so that the journal need not reach back for ever."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

import msgspec

from attribute_lists import keys
from attribute_lists.archive import erase_from_archive, read_archive, write_archive
from cohort_sync import audit
from foundation.errors import CohortGatewayError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from attribute_lists.archive import Progress
    from attribute_lists.work import Ordering
    from cohort_sync.connections import Connections
    from foundation.store import Store

log = logging.getLogger(__name__)

_KEPT = 2


class Checkpoints:
    """The checkpoints of one `DATA_DIR`, named by the time (ms) before which every change is in them."""

    def __init__(self, store: Store, directory: Path, connections: Connections, ordering: Ordering) -> None:
        self._store = store
        self._directory = directory
        self._connections = connections
        self._ordering = ordering
        self._one_at_a_time = asyncio.Lock()

    def newest(self) -> int:
        """The time (ms) of the newest checkpoint; 0 when there is none."""
        return max((int(path.stem) for path in self._paths()), default=0)

    async def write(self) -> int:
        """Write one, keep the last two; the time before which journal records are no longer needed.

        It appears whole (written aside, synced, renamed) or not at all. Raises `UnavailableError` when the store was
        emptied meanwhile, and looks like one without lists.
        """
        async with self._one_at_a_time:
            return await self._write()

    async def _write(self) -> int:
        identity = await self._identity()
        self._directory.mkdir(parents=True, exist_ok=True)
        started = int(time.time() * 1000)
        aside = self._directory / f"{started}.unfinished"
        try:
            with aside.open("wb") as file:
                await write_archive(self._store, file, extra=self._extra)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            await self._check_identity(identity)
            aside.rename(self._directory / f"{started}.archive")
            _sync_directory(self._directory)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        for old in self._paths()[:-_KEPT]:
            old.unlink()
        return started

    async def restore(self, progress: Callable[[Progress], None] | None = None) -> str | None:
        """Bring the newest readable checkpoint into the store; its name. None where there is none.

        Lists that another receiver restored already are left alone.
        """
        for path in reversed(self._paths()):
            try:
                with path.open("rb") as file:
                    summary = await read_archive(
                        self._store, file, existing="restore", ordering=self._ordering, progress=progress
                    )
            except CohortGatewayError as error:
                log.error("checkpoint %s can't be used: %s", path.name, error)  # noqa: TRY400 - the message says it all
                continue
            extra = [msgspec.msgpack.decode(record) for record in summary.extra]
            await self._connections.restore([record["connection"] for record in extra if "connection" in record])
            await audit.restore(self._store, [record["audit"] for record in extra if "audit" in record])
            return path.name
        return None

    async def erase(self, tag: bytes, at: int) -> int:
        """Rewrite the checkpoints without a person; how many there are."""
        # Not while one is being written, which would have the person still.
        async with self._one_at_a_time:
            return await self._erase(tag, at)

    async def _erase(self, tag: bytes, at: int) -> int:
        paths = self._paths()
        for path in paths:
            aside = path.with_suffix(".unfinished")
            try:
                with path.open("rb") as source, aside.open("wb") as target:
                    await erase_from_archive(source, target, {tag: at}, tag_key=self._ordering.tag_key)
                    target.flush()
                    await asyncio.to_thread(os.fsync, target.fileno())
                aside.rename(path)
            except BaseException:
                aside.unlink(missing_ok=True)
                raise
        return len(paths)

    async def _check_identity(self, identity: bytes | None) -> None:
        if identity is None or await self._identity() != identity:
            raise UnavailableError("the store was emptied; it gets a checkpoint when it is whole", reason="recovering")

    async def _identity(self) -> bytes | None:
        found: bytes | None = await self._store.execute_command("GET", keys.REGISTRY_IDENTITY)
        return found

    async def _extra(self) -> list[bytes]:
        connections = [{"connection": record} for record in await self._connections.export()]
        changes = [{"audit": change} for change in await audit.newest(self._store, audit.LENGTH)]
        return [msgspec.msgpack.encode(record) for record in [*connections, *changes]]

    def _paths(self) -> list[Path]:
        return sorted(self._directory.glob("*.archive"), key=lambda path: int(path.stem))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
