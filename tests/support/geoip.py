"""Databases of locations made by the tests, and a small MaxMind that gives them out over real HTTP."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import tarfile
import zlib
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from tests.support.fake_vwo import Answer, FakeVwo, Request, fake_vwo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

EDITION = "GeoLite2-City"
USER_ID, LICENSE_KEY = "1234", "license-key-of-the-tests"
MIB = 1 << 20
DOWNLOAD = f"/geoip/databases/{EDITION}/download"


def place(country: str | None = None, *regions: str, city: str | None = None) -> dict[str, Any]:
    """A record as MaxMind has it: names in several languages, the largest region first."""
    found: dict[str, Any] = {}
    if country:
        found["country"] = {"iso_code": "XX", "names": {"de": f"{country} (de)", "en": country}}
    if regions:
        found["subdivisions"] = [{"names": {"de": f"{region} (de)", "en": region}} for region in regions]
    if city:
        found["city"] = {"names": {"de": f"{city} (de)", "en": city}}
    return found


SAN_FRANCISCO = place("United States", "California", city="San Francisco")
LONDON = place("United Kingdom", "England", "Greater London", city="London")


def write_database(path: Path, places: Mapping[str, Any], *, kind: str = EDITION, ip_version: int = 6) -> None:
    """`places` by network."""
    writer = MMDBWriter(ip_version, kind, languages=["en", "de"], ipv4_compatible=ip_version == 6)
    for network, record in places.items():
        writer.insert_network(IPSet([network]), record)
    aside = path.with_name(f"{path.name}.new")
    writer.to_db_file(str(aside))
    aside.replace(path)


@dataclass
class FakeMaxMind:
    """Its login is `USER_ID` and `LICENSE_KEY`. `archive` is what it gives out, `published` since when (Unix time).

    The archive itself comes from elsewhere, by a redirect, as with the real one.
    """

    site: FakeVwo
    archive: bytes = b""
    published: float = 1_700_000_000.0
    sha256: str | None = None  # said instead of the right one

    def __post_init__(self) -> None:
        self.site.routes[DOWNLOAD] = self._download
        self.site.routes["/storage"] = self._give

    def publish(self, database: bytes, *, name: str = f"{EDITION}.mmdb") -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as files:
            for path, content in ((f"{EDITION}_1/LICENSE.txt", b"..."), (f"{EDITION}_1/{name}", database)):
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                files.addfile(entry, io.BytesIO(content))
        self.archive = gzip.compress(packed.getvalue())
        self.published += 86400

    def pack(self, *entries: tuple[str, int, bytes], many: bool = False) -> None:
        """An archive of 2 GiB: the heads of `entries` (name, size, type), then zeros; with `many`, only such heads."""
        heads = b"".join(_head(*entry) for entry in entries)
        packer = zlib.compressobj(9, wbits=-15)
        filling = packer.compress(heads * (MIB // len(heads)) if many else bytes(MIB))
        filling += packer.flush(zlib.Z_FULL_FLUSH)  # may stand there again and again
        gzipped = b"\x1f\x8b\x08\0\0\0\0\0\0\3" + filling * 2048 + packer.flush() + bytes(8)
        self.archive = gzip.compress(heads) + gzipped

    def downloads(self) -> int:
        return sum(request.method == "GET" and request.path == "/storage" for request in list(self.site.requests))

    def _download(self, request: Request) -> Answer:
        login = base64.b64encode(f"{USER_ID}:{LICENSE_KEY}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {login}":
            return Answer(401, b"Invalid license key")
        if request.parameters["suffix"] == "tar.gz.sha256":
            digest = self.sha256 or hashlib.sha256(self.archive).hexdigest()
            return Answer(200, f"{digest}  {EDITION}.tar.gz".encode())
        elsewhere = self.site.address.replace("127.0.0.1", "localhost")
        return Answer(302, b"", {"Location": f"{elsewhere}/storage"})

    def _give(self, request: Request) -> Answer:
        assert "authorization" not in request.headers, "the login is nobody else's business"
        headers = {"Last-Modified": formatdate(self.published, usegmt=True), "Content-Type": "application/gzip"}
        return Answer(200, b"" if request.method == "HEAD" else self.archive, headers)


def _head(name: str, size: int, kind: bytes) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


@contextlib.contextmanager
def fake_maxmind() -> Iterator[FakeMaxMind]:
    with fake_vwo() as site:
        yield FakeMaxMind(site)
