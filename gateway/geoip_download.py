"""Get the database of locations from MaxMind, and keep it new."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import logging
import os
import random
import tarfile
import tempfile
import zlib
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import maxminddb

from foundation.background import keep_running
from foundation.errors import NoAnswerError
from foundation.http_client import HttpClient
from foundation.settings import MEBIBYTE
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from foundation.http_client import Incoming

log = logging.getLogger(__name__)

_DAY = 86400.0
_FIRST_PAUSE = 600.0  # seconds after a failure, twice as long each time: MaxMind allows 30 downloads a day
_LARGEST_ARCHIVE, _LARGEST_DATABASE = 512 * MEBIBYTE, 1024 * MEBIBYTE  # GeoLite2-City has 30 and 60 MB, GeoIP2 more
_LARGEST_DIGEST = 4096  # bytes; it is a line
_MOST_ENTRIES = 100  # of an archive; MaxMind's have four files
_PIECE = MEBIBYTE  # that is unpacked at a time
_SILENT_SECONDS = 30.0
_DOWNLOAD_SECONDS = 1800.0
_MOST_REDIRECTS = 5


class DownloadError(Exception):
    """No database from MaxMind; the message is for people."""


class GeoipDownload:
    """Keeps `target` the newest `edition`, with a look a day at `base` (MaxMind's own address, or a mirror's)."""

    def __init__(self, target: Path, *, user_id: str, license_key: str, base: str, edition: str) -> None:
        self._target = target
        self._edition = edition
        self._url = f"{base}/geoip/databases/{edition}/download"
        # As a header, which goes to nobody that MaxMind redirects to.
        login = base64.b64encode(f"{user_id}:{license_key}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}

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
                HttpClient(silence=_SILENT_SECONDS, whole=None) as client,
            ):
                published = await self._published(client)
                if published is not None and self._target.exists() and self._target.stat().st_mtime >= published:
                    return False
                await self._get(client, published)
        except NoAnswerError as error:
            raise DownloadError(f"MaxMind did not answer: {error}") from error
        except TimeoutError as error:
            raise DownloadError(f"MaxMind took more than {_DOWNLOAD_SECONDS / 60:g} minutes") from error
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

    async def _published(self, client: HttpClient) -> float | None:
        """When the newest one was published (Unix time); asking does not count as a download."""
        async with self._asked(client, "HEAD", "tar.gz") as answer:
            try:
                return parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp()
            except (KeyError, ValueError, OverflowError):
                return None

    async def _get(self, client: HttpClient, published: float | None) -> None:
        async with self._asked(client, "GET", "tar.gz.sha256") as answer:
            digest = (await answer.read(_LARGEST_DIGEST)).split()[:1]
        self._target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._target.parent) as directory:
            archive, database = Path(directory) / "archive", Path(directory) / "database"
            found = await self._save(client, archive)
            if [found.encode()] != digest:
                raise DownloadError("what arrived has another SHA-256 than MaxMind says")
            await asyncio.to_thread(_unpack, archive, f"{self._edition}.mmdb", database)
            if published is not None:
                os.utime(database, (published, published))
            database.replace(self._target)

    async def _save(self, client: HttpClient, path: Path) -> str:
        """Write the archive to `path`; its SHA-256 in hexadecimal."""
        digest = hashlib.sha256()
        async with self._asked(client, "GET", "tar.gz") as answer:
            with path.open("wb") as file:
                # Some servers call the packing of the file an encoding of the answer.
                async for chunk in answer.chunks(_LARGEST_ARCHIVE, encoded=True):
                    digest.update(chunk)
                    file.write(chunk)
        return digest.hexdigest()

    @contextlib.asynccontextmanager
    async def _asked(self, client: HttpClient, method: str, suffix: str) -> AsyncIterator[Incoming]:
        """MaxMind's answer, which is a good one. Raises `DownloadError`."""
        options: dict[str, Any] = {"params": {"suffix": suffix}, "headers": self._headers}
        async with client.stream(method, self._url, redirects=_MOST_REDIRECTS, **options) as answer:
            if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise DownloadError(
                    "MAXMIND_USER_ID and MAXMIND_LICENSE_KEY are not accepted, or don't include this database"
                )
            if answer.status != HTTPStatus.OK:
                raise DownloadError(f"MaxMind answered {answer.status}")
            yield answer


def _unpack(archive: Path, name: str, database: Path) -> None:
    """Take the file `name` out of `archive`, and see that it is a database. Raises `DownloadError`."""
    try:
        with gzip.open(archive) as packed:
            size = _find(packed, name)
            with database.open("wb") as file:
                for piece in _pieces(packed, size):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        maxminddb.open_database(database).close()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, maxminddb.InvalidDatabaseError) as error:
        raise DownloadError("what arrived is no database") from error


def _find(packed: gzip.GzipFile, name: str) -> int:
    """Read up to the content of the file `name`; its size. Raises `DownloadError`.

    Not by `tarfile` itself, which reads as much as an archive says it should: names of gigabytes, a million entries.
    """
    passed = 0
    for _ in range(_MOST_ENTRIES):
        header = packed.read(tarfile.BLOCKSIZE)
        if not header.strip(b"\0"):  # the end
            break
        entry = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        passed += entry.size
        if entry.size < 0 or passed > _LARGEST_DATABASE:
            raise DownloadError(f"what arrived unpacks to more than {_LARGEST_DATABASE // MEBIBYTE} MiB")
        if entry.isfile() and Path(entry.name).name == name:
            return entry.size
        for _ in _pieces(packed, -(-entry.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE):
            pass
    raise DownloadError(f"there is no {name} in what arrived")


def _pieces(packed: gzip.GzipFile, size: int) -> Iterator[bytes]:
    """The next `size` bytes. Raises `EOFError` where there are fewer."""
    while size:
        piece = packed.read(min(size, _PIECE))
        if not piece:
            raise EOFError
        size -= len(piece)
        yield piece
