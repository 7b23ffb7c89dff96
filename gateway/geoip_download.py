"""Get the database of locations from MaxMind, and keep it new."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import logging
import os
import random
import shutil
import tarfile
import tempfile
import zlib
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import maxminddb

from foundation.background import keep_running
from foundation.settings import MEBIBYTE
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger(__name__)

_DAY = 86400.0
_FIRST_PAUSE = 600.0  # seconds after a failure, twice as long each time: MaxMind allows 30 downloads a day
_LARGEST = 1024 * MEBIBYTE
_TIMEOUT = httpx.Timeout(30.0)
_DOWNLOAD_SECONDS = 1800.0


class DownloadError(Exception):
    """No database from MaxMind; the message is for people."""


class GeoipDownload:
    """Keeps `target` the newest `edition`, with a look a day at `base` (MaxMind's own address, or a mirror's)."""

    def __init__(self, target: Path, *, user_id: str, license_key: str, base: str, edition: str) -> None:
        self._target = target
        self._edition = edition
        self._url = f"{base}/geoip/databases/{edition}/download"
        self._login = httpx.BasicAuth(user_id, license_key)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        following = keep_running("download of locations", self._follow)
        try:
            yield
        finally:
            await end(following)

    async def update(self) -> bool:
        """Get the database, if there is a newer one; whether there was. Raises `DownloadError`."""
        try:
            async with (
                asyncio.timeout(_DOWNLOAD_SECONDS),
                httpx.AsyncClient(auth=self._login, timeout=_TIMEOUT, follow_redirects=True) as client,
            ):
                published = await self._published(client)
                if published is not None and self._target.exists() and self._target.stat().st_mtime >= published:
                    return False
                await self._get(client, published)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise DownloadError(f"MaxMind can't be reached ({type(error).__name__})") from error
        except OSError as error:
            raise DownloadError(f"the database can't be written: {error.strerror}; see DATA_DIR") from error
        return True

    async def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                if await self.update():
                    log.info("a new %s came from MaxMind", self._edition)
                wait, pause = _DAY, _FIRST_PAUSE
            except DownloadError as error:
                wait, pause = pause, min(2 * pause, _DAY)
                log.warning("no new %s: %s; tried again in %.0f min", self._edition, error, wait / 60)
            except Exception:
                log.exception("getting %s failed", self._edition)
                wait = _DAY
            await asyncio.sleep(wait * random.uniform(0.9, 1.1))  # noqa: S311 - no secret

    async def _published(self, client: httpx.AsyncClient) -> float | None:
        """When the newest one was published (Unix time); asking does not count as a download."""
        answer = await client.head(self._url, params={"suffix": "tar.gz"})
        _check(answer)
        try:
            return parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp()
        except (KeyError, ValueError):
            return None

    async def _get(self, client: httpx.AsyncClient, published: float | None) -> None:
        expected = await client.get(self._url, params={"suffix": "tar.gz.sha256"})
        _check(expected)
        digest = expected.text.split()[:1]
        self._target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._target.parent) as directory:
            archive, database = Path(directory) / "archive", Path(directory) / "database"
            found = await self._save(client, archive)
            if [found] != digest:
                raise DownloadError("what arrived has another SHA-256 than MaxMind says")
            await asyncio.to_thread(_unpack, archive, f"{self._edition}.mmdb", database)
            if published is not None:
                os.utime(database, (published, published))
            database.replace(self._target)

    async def _save(self, client: httpx.AsyncClient, path: Path) -> str:
        """Write the archive to `path`; its SHA-256 in hexadecimal."""
        digest, size = hashlib.sha256(), 0
        async with client.stream("GET", self._url, params={"suffix": "tar.gz"}) as answer:
            _check(answer)
            with path.open("wb") as file:
                async for chunk in answer.aiter_raw():
                    size += len(chunk)
                    if size > _LARGEST:
                        raise DownloadError("what arrives is too large for a database")
                    digest.update(chunk)
                    file.write(chunk)
        return digest.hexdigest()


def _check(answer: httpx.Response) -> None:
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise DownloadError("MAXMIND_USER_ID and MAXMIND_LICENSE_KEY are not accepted, or don't include this database")
    if answer.status_code != httpx.codes.OK:
        raise DownloadError(f"MaxMind answered {answer.status_code}")


def _unpack(archive: Path, name: str, database: Path) -> None:
    """Take the file `name` out of `archive`, and see that it is a database. Raises `DownloadError`."""
    try:
        with tarfile.open(archive, "r:gz") as files:
            found = next((file for file in files if file.isfile() and Path(file.name).name == name), None)
            content = files.extractfile(found) if found is not None and found.size <= _LARGEST else None
            if content is None:
                raise DownloadError(f"there is no {name} in what arrived")
            with content, database.open("wb") as file:
                shutil.copyfileobj(content, file)
                file.flush()
                os.fsync(file.fileno())
        maxminddb.open_database(database).close()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, maxminddb.InvalidDatabaseError) as error:
        raise DownloadError("what arrived is no database") from error
