"""Copies of the last good flag settings: in Redis, on disk, and where the processes of a crew find them.

The only place that knows the keys and files of these. SDK keys are let in no name: a digest stands for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from foundation.store import Store

log = logging.getLogger(__name__)

_STORE_SECONDS = 1.0
_UNKNOWN_KEYS_SECONDS = 30 * 86400  # of SDK keys that nobody configured; others stay


def tag_of(account: str, sdk_key: str) -> str:
    """What stands for an SDK key in names and logs."""
    return f"{account}-{hashlib.sha256(f'{account}:{sdk_key}'.encode()).hexdigest()[:20]}"


class Folder:
    """Copies as files, each there whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, tag: str) -> bytes | None:
        """Raises `OSError` where there is a copy that can't be read."""
        try:
            return self._file(tag).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, tag: str, body: bytes, *, lasting: bool) -> None:
        """Raises `OSError`. `lasting`: also through a power cut."""
        self._directory.mkdir(parents=True, exist_ok=True)
        aside = self._directory / f"{tag}.{os.getpid()}.new"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(self._file(tag))

    def delete(self, tag: str) -> None:
        with contextlib.suppress(OSError):
            self._file(tag).unlink()

    def prune(self, kept: Collection[str], *, seconds: float) -> None:
        """Delete copies of others than `kept` that were not right for so long."""
        with contextlib.suppress(OSError):
            for path in self._directory.glob("*.json"):
                if path.stem not in kept and (self.age(path.stem) or 0) > seconds:
                    path.unlink()

    def touch(self, tag: str) -> None:
        """Note that the copy is right by now."""
        with contextlib.suppress(OSError):
            os.utime(self._file(tag))

    def age(self, tag: str) -> float | None:
        """Seconds since the copy was right; None without one."""
        try:
            return max(0.0, time.time() - self._file(tag).stat().st_mtime)
        except OSError:
            return None

    @contextlib.contextmanager
    def claimed(self, tag: str) -> Iterator[bool]:
        """Whether nobody else has claimed the copy, which is ours then for the length of the block."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / f"{tag}.claim").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _file(self, tag: str) -> Path:
        return self._directory / f"{tag}.json"


class Copies:
    """Copies that outlive us, in Redis and below `data_dir`. Nothing here raises for a sick store or disk."""

    def __init__(self, store: Store, data_dir: Path) -> None:
        self._store = store
        self._disk = Folder(data_dir / "settings")
        self._disk_is_bad = False
        self._not_in_redis: set[str] = set()  # whose newest copy did not get there

    @property
    def trouble(self) -> list[str]:
        """What is wrong, in the words of `/readyz`: after a restart old settings would be served while VWO is away."""
        return ["settings_not_on_disk"] if self._disk_is_bad else []

    async def in_redis(self, tag: str) -> bytes | None:
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                found: Any = await self._store.get(_key(tag))
        except STORE_ERRORS as error:
            log.info("no look at the settings kept in Redis: %s", explain(error))
            return None
        return bytes(found) if found is not None else None

    async def on_disk(self, tag: str) -> bytes | None:
        try:
            return await asyncio.to_thread(self._disk.read, tag)
        except OSError as error:
            log.warning("can't read the settings kept on disk (DATA_DIR): %s", error.strerror)
            return None

    async def keep(self, tag: str, body: bytes, *, is_configured: bool) -> None:
        await asyncio.gather(self._keep_on_disk(tag, body), self._keep_in_redis(tag, body, is_configured=is_configured))

    async def keep_on(self, tag: str, body: bytes, *, is_configured: bool) -> None:
        """Nothing is new; see to it that the copy is still in Redis, which may have been away or emptied."""
        if self._disk_is_bad:
            await self._keep_on_disk(tag, body)
        await asyncio.to_thread(self._disk.touch, tag)
        with contextlib.suppress(*STORE_ERRORS):
            async with asyncio.timeout(_STORE_SECONDS):
                if is_configured:
                    is_there = await self._store.exists(_key(tag))
                else:
                    is_there = await self._store.expire(_key(tag), _UNKNOWN_KEYS_SECONDS)
            if not is_there or tag in self._not_in_redis:
                await self._keep_in_redis(tag, body, is_configured=is_configured)

    async def prune(self, configured: Collection[str]) -> None:
        """Delete copies on disk that belong to nobody any more; Redis does so by itself."""
        await asyncio.to_thread(self._disk.prune, configured, seconds=_UNKNOWN_KEYS_SECONDS)

    async def drop(self, tag: str) -> None:
        """From the disk; Redis forgets by itself, and others may want it there."""
        self._not_in_redis.discard(tag)
        await asyncio.to_thread(self._disk.delete, tag)

    async def _keep_on_disk(self, tag: str, body: bytes) -> None:
        try:
            await asyncio.to_thread(self._disk.write, tag, body, lasting=True)
        except OSError as error:
            if not self._disk_is_bad:
                log.warning("can't keep settings on disk: %s; make DATA_DIR writable for this user", error.strerror)
            self._disk_is_bad = True
        else:
            self._disk_is_bad = False

    async def _keep_in_redis(self, tag: str, body: bytes, *, is_configured: bool) -> None:
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                await self._store.set(_key(tag), body, ex=None if is_configured else _UNKNOWN_KEYS_SECONDS)
        except STORE_ERRORS as error:
            if not self._not_in_redis:
                log.warning("can't keep settings in Redis: %s", explain(error))
            self._not_in_redis.add(tag)
        else:
            self._not_in_redis.discard(tag)


def _key(tag: str) -> str:
    """String: the settings as they are served, JSON."""
    return f"cg:settings:{tag}"
