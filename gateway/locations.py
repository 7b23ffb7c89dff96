"""Where an address is, by a database in MaxMind's format."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import logging
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import maxminddb

from foundation.background import keep_running
from foundation.files import file_identity
from foundation.tasks import end
from gateway.addresses import bare_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0  # between two looks whether the file is another one
_REMEMBERED = 4096  # addresses
_LONGEST_ADDRESS = 64  # characters
_HOW_TO = (
    "no location is known for an address, since there is no database: set GEOIP_DATABASE to a GeoLite2-City.mmdb, or "
    "MAXMIND_USER_ID and MAXMIND_LICENSE_KEY to have it fetched (such an account is free of charge; docs/migrating.md)"
)


class Locations:
    """Locations by the file at `path`; one that is exchanged, or comes later, is taken up. None: there are none.

    `scratch`: a directory where a copy may be made.
    """

    def __init__(self, path: Path | None, *, scratch: Path) -> None:
        self._path = path
        self._scratch = scratch
        self._reader: maxminddb.Reader | None = None
        self._seen: tuple[int, ...] | None = None  # of the file that was looked at last
        self._has_told = False
        self._locate = functools.lru_cache(_REMEMBERED)(self._look_up)

    def locate(self, address: str) -> dict[str, str]:
        """`country`, `region` and `city`, as far as they are known: English names, as VWO's segments have them."""
        if not address:
            return {}
        if self._reader is None:
            self._tell_once()
            return {}
        return self._locate(address[:_LONGEST_ADDRESS])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read the database, and keep looking for another one while the block runs."""
        if self._path is None:
            yield
            return
        await self._look(self._path)
        following = keep_running("watch over GEOIP_DATABASE", functools.partial(self._follow, self._path))
        try:
            yield
        finally:
            await end(following)

    async def _follow(self, path: Path) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look(path)

    async def _look(self, path: Path) -> None:
        """Take up the file, where it is another one than before; a bad one changes nothing."""
        try:
            newer = await asyncio.to_thread(self._read, path)
        except (OSError, maxminddb.InvalidDatabaseError, ValueError) as error:
            problem = error.strerror if isinstance(error, OSError) else "it is no database in MaxMind's format"
            self._note_trouble(path, problem or type(error).__name__)
            return
        if newer is not None:
            self._reader = newer
            self._locate.cache_clear()
            self._has_told = False
            log.info("locations: %s of %s", newer.metadata().database_type, path)

    def _read(self, path: Path) -> maxminddb.Reader | None:
        """None where the file is the same as before, or somebody is still writing. Raises what `_look` catches."""
        seen = file_identity(path)
        if seen == self._seen:
            return None
        # The file is mapped into memory, so that nothing but what is asked for is read. A copy without a name, because
        # whoever copies a new database over the old one, in place, would take the mapped pages away, and us along.
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as directory:
            reader = maxminddb.open_database(shutil.copy(path, directory))
        if file_identity(path) != seen:
            return None
        self._seen = seen
        return reader

    def _note_trouble(self, path: Path, problem: str) -> None:
        if not self._has_told:
            stays = "the last good one stays" if self._reader else "locations stay empty"
            log.warning("locations: can't read %s: %s; %s until it can be read", path, problem, stays)
        self._has_told = True

    def _look_up(self, address: str) -> dict[str, str]:
        try:
            parsed = ipaddress.ip_address(bare_address(address))
            mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
            record: Any = self._reader.get(mapped or parsed) if self._reader else None
        except (ValueError, maxminddb.InvalidDatabaseError):  # no address, or one that this database has none of
            return {}
        if not isinstance(record, dict):
            return {}
        subdivisions = record.get("subdivisions")
        found = {
            "country": _name(record.get("country")),
            "region": _name(subdivisions[0]) if isinstance(subdivisions, list) and subdivisions else None,
            "city": _name(record.get("city")),
        }
        return {what: name for what, name in found.items() if name}

    def _tell_once(self) -> None:
        if self._path is None and not self._has_told:
            self._has_told = True
            log.warning(_HOW_TO)


def _name(place: Any) -> str | None:
    names = place.get("names") if isinstance(place, dict) else None
    name = names.get("en") if isinstance(names, dict) else None
    return name if isinstance(name, str) else None
