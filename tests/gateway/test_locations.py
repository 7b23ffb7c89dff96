"""Where an address is."""

from __future__ import annotations

import asyncio
import logging
import shutil
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.datastructures import Headers

from gateway import geoip_download
from gateway.addresses import bare_address
from gateway.geoip_download import DownloadError, GeoipDownload
from gateway.locations import Locations
from gateway.user_details import UserAgents, UserDetails
from tests.support import http, processes
from tests.support.fake_vwo import Answer, answers, hangs_up, times
from tests.support.geoip import (
    EDITION,
    LICENSE_KEY,
    LONDON,
    SAN_FRANCISCO,
    USER_ID,
    FakeMaxMind,
    fake_maxmind,
    place,
    write_database,
)
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.fake_vwo import Fault
    from tests.support.processes import Program

HERE = {"country": "United States", "region": "California", "city": "San Francisco"}
THERE = {"country": "United Kingdom", "region": "England", "city": "London"}
PLACES: dict[str, Any] = {
    "203.0.113.0/24": SAN_FRANCISCO,
    "198.51.100.0/24": LONDON,
    "192.0.2.0/25": place("Liechtenstein"),
    "192.0.2.128/25": {"continent": {"names": {"en": "Europe"}}, "city": {"names": {"de": "Wien"}}, "subdivisions": []},
    "2001:db8::/32": SAN_FRANCISCO,
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "GeoLite2-City.mmdb"
    write_database(path, PLACES)
    return path


def location(program: Program, address: str = "203.0.113.9", **headers: str) -> Any:
    query = httpx.QueryParams(ipAddress=address) if address else ""
    answer = http.get(f"{program.address}/get-user-details?{query}", headers=headers)
    assert answer.status_code == 200
    return answer.json()["location"]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("203.0.113.9", HERE),
        (" 203.0.113.9 ", HERE),
        ("::ffff:203.0.113.9", HERE),
        ("2001:db8::1", HERE),
        ("2001:DB8:0::1", HERE),
        ("198.51.100.1", THERE),
        ("192.0.2.1", {"country": "Liechtenstein"}),
        ("192.0.2.200", {}),
        ("127.0.0.1", {}),
        ("fe80::1%eth0", {}),
        ("999.1.1.1", {}),
        ("203.0.113.9:8080", HERE),
        ("203.0.113.9:port", {}),
        ("nonsense", {}),
        ("9" * 10_000, {}),
        ("", {}),
    ],
)
async def test_names_are_english_and_what_is_unknown_is_left_out(
    database: Path, tmp_path: Path, address: str, found: dict[str, str]
) -> None:
    known = Locations(database, scratch=tmp_path)
    async with known.running():
        assert known.locate(address) == found
        assert known.locate(address) == found


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        ("GeoLite2-ASN", {"203.0.113.0/24": {"autonomous_system_number": 64496}}),
        ("Other", {"203.0.113.0/24": "a text"}),
        ("Other", {"203.0.113.0/24": {"country": "US", "city": {"names": "x"}, "subdivisions": [7]}}),
    ],
)
async def test_a_database_of_something_else_knows_no_place(
    tmp_path: Path, kind: str, places: Mapping[str, Any]
) -> None:
    write_database(tmp_path / "other.mmdb", places, kind=kind, ip_version=4)
    known = Locations(tmp_path / "other.mmdb", scratch=tmp_path)
    async with known.running():
        assert known.locate("203.0.113.9") == {}
        assert known.locate("2001:db8::1") == {}


def spoil(path: Path) -> None:
    path.write_bytes(b"half a database")


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("how", ["renamed", "overwritten"])
async def test_a_newer_file_is_taken_up_and_a_bad_one_is_not(
    database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    newer = tmp_path / "newer"
    write_database(newer, {"203.0.113.0/24": LONDON})
    known = Locations(database, scratch=tmp_path / "scratch")
    async with known.running():
        assert known.locate("203.0.113.9") == HERE
        # In place, as `cp` does it: what is mapped must not change under us.
        spoil(database)
        await known._look(database)
        assert known.locate("203.0.113.9") == HERE
        assert "the last good one stays" in caplog.text
        if how == "renamed":
            newer.replace(database)
        else:
            shutil.copy(newer, database)
        await known._look(database)
        assert known.locate("203.0.113.9") == THERE
        remove(database)
        await known._look(database)
        assert known.locate("203.0.113.9") == THERE
    assert not list((tmp_path / "scratch").iterdir())


def test_the_gateway_tells_where_a_visitor_is_and_sees_a_newer_file(
    database: Path, tmp_path: Path, store_url: str
) -> None:
    with processes.gateway(tmp_path, {"REDIS_URL": store_url, "GEOIP_DATABASE": str(database)}) as program:
        assert location(program) == HERE
        assert location(program, "") == {}
        write_database(database, {"203.0.113.0/24": LONDON})
        until(lambda: bool(location(program) == THERE), what="the newer database")


def test_without_a_database_the_log_says_once_how_to_get_one(tmp_path: Path, store_url: str) -> None:
    with processes.gateway(tmp_path, {"REDIS_URL": store_url}) as program:
        for _ in range(3):
            assert location(program) == {}
        program.wait_for_line("GEOIP_DATABASE")
        assert program.log().count("GEOIP_DATABASE") == 1
        assert "203.0.113.9" not in program.log()


def test_a_file_that_comes_later_is_taken_up(tmp_path: Path, store_url: str) -> None:
    path = tmp_path / "later.mmdb"
    with processes.gateway(tmp_path, {"REDIS_URL": store_url, "GEOIP_DATABASE": str(path)}) as program:
        assert location(program) == {}
        assert str(path) in program.wait_for_line("locations: can't read")
        write_database(path, PLACES)
        until(lambda: bool(location(program) == HERE), what="the database")


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        (0, ["203.0.113.9"], ""),
        (1, ["203.0.113.9"], "203.0.113.9"),
        (1, ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (1, ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (2, ["198.51.100.1, 203.0.113.9,10.0.0.1"], "203.0.113.9"),
        (1, ["198.51.100.1, 203.0.113.9:55220"], "203.0.113.9"),
        (2, ["[2001:db8::1]:443, 10.0.0.1:80"], "2001:db8::1"),
        (2, ["203.0.113.9"], ""),
        (1, [], ""),
    ],
)
def test_what_proxies_say_counts_only_as_far_as_they_are_trusted(
    tmp_path: Path, trusted: int, forwarded: list[str], address: str
) -> None:
    details = UserDetails(UserAgents(), Locations(None, scratch=tmp_path), trusted_proxies=trusted)
    headers = Headers(raw=[(b"x-forwarded-for", line.encode()) for line in forwarded])
    assert details.forwarded_address(headers) == address


@pytest.mark.parametrize(("trusted", "found"), [("0", {}), ("1", HERE)])
def test_the_address_of_the_request_goes_before_what_proxies_say(
    database: Path, tmp_path: Path, store_url: str, trusted: str, found: dict[str, str]
) -> None:
    settings = {"REDIS_URL": store_url, "GEOIP_DATABASE": str(database), "TRUSTED_PROXIES": trusted}
    with processes.gateway(tmp_path, settings) as program:
        assert location(program, "", **{"X-Forwarded-For": "203.0.113.9"}) == found
        assert location(program, "198.51.100.1", **{"X-Forwarded-For": "203.0.113.9"}) == THERE


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        (" 203.0.113.9 ", "203.0.113.9"),
        ("203.0.113.9:55220", "203.0.113.9"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "::ffff:203.0.113.9"),
        ("[::ffff:203.0.113.9]:1", "::ffff:203.0.113.9"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ('"[2001:db8::1]:4711"', "2001:db8::1"),
        ("", ""),
        ("unknown", "unknown"),
        ("203.0.113.9:port", "203.0.113.9:port"),
        ("[", "["),
    ],
)
def test_the_address_counts_and_not_its_port(written: str, address: str) -> None:
    assert bare_address(written) == address


@pytest.mark.parametrize("written", ["203.0.113.9:55220", "[::ffff:203.0.113.9]:443", "[::ffff:203.0.113.9]"])
def test_an_address_with_a_port_has_its_place(database: Path, tmp_path: Path, store_url: str, written: str) -> None:
    settings = {"REDIS_URL": store_url, "GEOIP_DATABASE": str(database), "TRUSTED_PROXIES": "1"}
    with processes.gateway(tmp_path, settings) as program:
        assert location(program, written) == HERE
        assert location(program, "", **{"X-Forwarded-For": written}) == HERE


@pytest.fixture
def maxmind(tmp_path: Path) -> Iterator[FakeMaxMind]:
    with fake_maxmind() as found:
        write_database(tmp_path / "published", PLACES)
        found.publish((tmp_path / "published").read_bytes())
        yield found


def download(maxmind: FakeMaxMind, directory: Path, *, license_key: str = LICENSE_KEY) -> GeoipDownload:
    target = directory / "geoip" / f"{EDITION}.mmdb"
    return GeoipDownload(target, user_id=USER_ID, license_key=license_key, base=maxmind.site.address, edition=EDITION)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_database_is_fetched_from_maxmind(
    maxmind: FakeMaxMind, tmp_path: Path, store_url: str, workers: str
) -> None:
    settings = {
        "REDIS_URL": store_url,
        "MAXMIND_USER_ID": USER_ID,
        "MAXMIND_LICENSE_KEY": LICENSE_KEY,
        "MAXMIND_BASE_URL": maxmind.site.address,
        "WORKERS": workers,
    }
    for _ in range(2):
        with processes.gateway(tmp_path, settings) as program:
            until(lambda: all(location(program) == HERE for _ in range(8)), what="the database", seconds=20)
            assert LICENSE_KEY not in program.log()
    assert maxmind.downloads() == 1  # the second start finds that there is nothing newer


async def test_a_newer_one_is_fetched_and_an_old_one_is_not_again(maxmind: FakeMaxMind, tmp_path: Path) -> None:
    getting = download(maxmind, tmp_path)
    assert [await getting.update(), await getting.update()] == [True, False]
    write_database(tmp_path / "newer", {"203.0.113.0/24": LONDON})
    maxmind.publish((tmp_path / "newer").read_bytes())
    assert [await getting.update(), await getting.update()] == [True, False]
    assert maxmind.downloads() == 2
    assert (tmp_path / "geoip" / f"{EDITION}.mmdb").read_bytes() == (tmp_path / "newer").read_bytes()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (answers(401), "MAXMIND_LICENSE_KEY"),
        (answers(403), "MAXMIND_LICENSE_KEY"),
        (answers(429), "429"),
        (answers(500), "500"),
        (hangs_up, "can't be reached"),
        (lambda request: Answer(200, b"<html>") if request.method == "GET" else None, "SHA-256"),
        (
            lambda request: Answer(200, b"cut") if (request.method, request.path) == ("GET", "/storage") else None,
            "SHA-256",
        ),
    ],
)
async def test_what_is_no_good_never_replaces_the_database(
    maxmind: FakeMaxMind, tmp_path: Path, fault: Fault, said: str
) -> None:
    getting = download(maxmind, tmp_path)
    await getting.update()
    target = tmp_path / "geoip" / f"{EDITION}.mmdb"
    before = target.read_bytes()
    maxmind.publish(b"not looked at")
    maxmind.site.fault = fault
    with pytest.raises(DownloadError, match=said) as caught:
        await getting.update()
    assert LICENSE_KEY not in str(caught.value)
    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (lambda maxmind: maxmind.publish(b"rubbish"), "no database"),
        (lambda maxmind: maxmind.publish(b"", name="other.mmdb"), "no GeoLite2-City.mmdb"),
        (lambda maxmind: setattr(maxmind, "archive", b"no archive"), "no database"),
        (lambda maxmind: setattr(maxmind, "archive", maxmind.archive[:-100]), "no database"),
        (lambda maxmind: setattr(maxmind, "sha256", "0" * 64), "SHA-256"),
    ],
)
async def test_what_arrives_must_be_what_maxmind_says_and_a_database(
    maxmind: FakeMaxMind, tmp_path: Path, archive: Any, said: str
) -> None:
    archive(maxmind)
    with pytest.raises(DownloadError, match=said):
        await download(maxmind, tmp_path).update()
    assert not list((tmp_path / "geoip").iterdir())


async def test_a_failure_is_told_and_tried_again(
    maxmind: FakeMaxMind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(geoip_download, "_FIRST_PAUSE", 0.01)
    caplog.set_level(logging.INFO)
    maxmind.site.fault = times(2, answers(503))
    known = Locations(tmp_path / "geoip" / f"{EDITION}.mmdb", scratch=tmp_path)
    async with known.running(), download(maxmind, tmp_path).running():
        await asyncio.to_thread(until, lambda: "a new GeoLite2-City came" in caplog.text, what="the database")
        await known._look(tmp_path / "geoip" / f"{EDITION}.mmdb")
        assert known.locate("203.0.113.9") == HERE
    assert "503" in caplog.text


@pytest.mark.parametrize("given", ["MAXMIND_USER_ID", "MAXMIND_LICENSE_KEY"])
def test_half_a_login_is_told(tmp_path: Path, given: str) -> None:
    program = processes.start_program(["gateway"], {given: "7", "PORT": "0"}, directory=tmp_path)
    said = program.wait_for_line("^error: ")
    assert "MAXMIND_USER_ID" in said or "MAXMIND_LICENSE_KEY" in said
    assert f"error: {given}" not in said
    assert program.wait() == 2
