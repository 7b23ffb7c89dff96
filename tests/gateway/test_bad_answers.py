"""Whatever VWO and MaxMind answer, a gateway stays small, answers others meanwhile, and says what was wrong."""

from __future__ import annotations

import json
import re
import tarfile
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from fme_client.evaluation import Settings
from gateway import large_json, upstream
from gateway.flag_settings import MOST_VALUES, BadSettingsError, parse_flag_settings
from gateway.upstream import Upstream, UpstreamError
from tests.gateway.event_posts import event, metric, send, settings_for
from tests.support import bad_servers, http, processes
from tests.support.bad_servers import HEAD, bad_server, dripping
from tests.support.beside import unharmed
from tests.support.fake_vwo import Answer, fake_vwo, times
from tests.support.faulty_server import behaves
from tests.support.geoip import EDITION, LICENSE_KEY, USER_ID, fake_maxmind
from tests.support.vwo_settings import ACCOUNT, KEY, POLLED, PULLED, VwoSettings, document
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bad_servers import Behaviour
    from tests.support.fake_vwo import FakeVwo
    from tests.support.processes import Program

BAD: dict[str, tuple[Behaviour, str]] = {
    "compressed": (bad_servers.gzip_bomb, "answer_encoded"),
    "endless": (bad_servers.endless, "answer_too_large"),
    "endless head": (bad_servers.endless_head, "answer_too_large"),
    "many headers": (bad_servers.many_headers, "answer_too_large"),
    "blanks": (bad_servers.blanks, "unreachable"),
}
SAID = {
    "answer_encoded": "compressed, which was not asked for",
    "answer_too_large": "more than 16,777,216 bytes|the head of its answer is too large",
    "unreachable": "it can't be reached",
}


@pytest.fixture(scope="module")
def polled_vwo() -> Iterator[VwoSettings]:
    with fake_vwo() as vwo:
        yield VwoSettings(vwo, etags=False)


@pytest.fixture(scope="module")
def polling(polled_vwo: VwoSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A gateway that asks VWO for settings when it is told to, and has none of a store."""
    polled_vwo.put(version=1)
    directory = tmp_path_factory.mktemp("polling")
    settings = {"SETTINGS_FILE": "", "ACCOUNT_ID": ACCOUNT, "SDK_KEY": KEY, "POLLING_TIME": "86400000"}
    store = {"REDIS_URL": f"unix://{directory}/nobody"}
    with processes.gateway(directory, settings | store | {"VWO_BASE_URL": polled_vwo.vwo.address}) as program:
        yield program


def version(program: Program, path: str) -> Any:
    return http.get(program.address + path, params={"a": ACCOUNT, "i": KEY}).json()["version"]


def reasons(program: Program) -> list[str]:
    found: list[str] = http.get(f"{program.address}/readyz").json()["reasons"]
    return found


def assert_said(program: Program, pattern: str, *, seconds: float = 20) -> None:
    until(lambda: re.search(pattern, program.log()) is not None, seconds=seconds, what=f"{pattern!r} in the log")


def is_mended(program: Program, vwo: VwoSettings) -> bool:
    vwo.vwo.fault = None
    vwo.put(version=1)
    return bool(version(program, PULLED) == 1) and not {"bad_settings", "vwo_unreachable"} & set(reasons(program))


@pytest.mark.parametrize("kind", BAD)
def test_bad_settings_leave_the_last_good_ones(polling: Program, polled_vwo: VwoSettings, kind: str) -> None:
    behave, reason = BAD[kind]
    with unharmed(polling):
        polled_vwo.vwo.fault = behaves(behave)
        for _ in range(2):
            assert version(polling, PULLED) == 1
    assert_said(polling, SAID[reason])
    assert ("vwo_unreachable" if reason == "unreachable" else "bad_settings") in reasons(polling)
    assert is_mended(polling, polled_vwo)


def large(unit: bytes, size: int, **changes: Any) -> bytes:
    """Settings with a field of so many bytes that holds `unit` again and again."""
    small = json.dumps(document(**changes)).encode()
    return small[:-1] + b',"x":[' + unit * ((size - len(small)) // len(unit)) + b"0]}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (large(b'[1.5,""],', 31 << 20), "more than 16,777,216 bytes"),
        (large(b"{},", 15 << 20), "more than 1,000,000 values"),
        (large(b"0,", 15 << 20), "more than 1,000,000 values"),
    ],
    ids=["bytes", "objects", "numbers"],
)
def test_settings_beyond_the_bounds_are_bad_ones(
    polling: Program, polled_vwo: VwoSettings, body: bytes, said: str
) -> None:
    with unharmed(polling):
        polled_vwo.documents[ACCOUNT, KEY] = body
        assert version(polling, PULLED) == 1
    assert_said(polling, f"can't be served: .*{said}")
    assert "bad_settings" in reasons(polling)
    assert is_mended(polling, polled_vwo)


def many_flags(size: int) -> dict[str, Any]:
    """The sample settings with as many flags as there is room for."""
    sample = document()
    known = {name: len(json.dumps(sample[name])) for name in ("features", "campaigns")}
    flags = size // sum(known.values())
    [feature], [campaign] = sample["features"], sample["campaigns"]
    [rule] = feature["rules"]
    features = [
        feature | {"id": number, "key": f"flag-{number}", "rules": [rule | {"campaignId": number}]}
        for number in range(flags)
    ]
    campaigns = [campaign | {"id": number, "key": f"flag-{number}_rule"} for number in range(flags)]
    return sample | {"features": features, "campaigns": campaigns}


def test_large_settings_are_served_and_hold_nobody_up(polling: Program, polled_vwo: VwoSettings) -> None:
    published = many_flags(13 << 20) | {"version": 2}
    polled_vwo.documents[ACCOUNT, KEY] = json.dumps(published).encode()
    with unharmed(polling):  # and nobody reads the answer in here, where who asks meanwhile would have to wait
        answer = http.get(polling.address + PULLED, params={"a": ACCOUNT, "i": KEY})
    assert answer.json() == published
    assert is_mended(polling, polled_vwo)


def test_large_settings_are_decoded_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """While msgspec decodes, no other thread runs."""
    sizes: list[int] = []
    decode = msgspec.json.decode

    def noted(raw: Any) -> Any:
        sizes.append(len(raw))
        return decode(raw)

    monkeypatch.setattr(msgspec.json, "decode", noted)
    published = many_flags(2 << 20)
    parsed = parse_flag_settings(json.dumps(published).encode())
    assert json.loads(parsed.body) == published
    assert large_json.decode(parsed.body) == published
    assert Settings.parse(large_json.decode(parsed.body))
    assert sum(sizes) > 3 * (1 << 20)
    assert max(sizes) <= 64 * 1024


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (b'"\xff"', "utf-8"),
        (b"1e999", "out of range"),
        (b"[" * 100_000 + b"]" * 100_000, "recursion"),  # more than any Python takes
    ],
)
@pytest.mark.parametrize("size", [10_000, 500_000])
def test_what_no_sdk_can_read_is_found_wherever_it_stands(spoilt: bytes, said: str, size: int) -> None:
    whole = large(b'{"a": [1, "b"]},', size).removesuffix(b"0]}") + b'{"deep": ' + spoilt + b"}]}"
    with pytest.raises(BadSettingsError, match=said):
        parse_flag_settings(whole)
    with pytest.raises((ValueError, RecursionError)):
        large_json.decode(whole)


@pytest.mark.parametrize("name", ["features", "campaigns"])
def test_a_flag_that_is_no_object_is_named(name: str) -> None:
    with pytest.raises(BadSettingsError, match=name):
        parse_flag_settings(json.dumps(document() | {name: [{}, 7]}).encode())


def test_values_are_bounded_whatever_they_are() -> None:
    with pytest.raises(BadSettingsError, match="values"):
        parse_flag_settings(large(b"0,", 2 * MOST_VALUES + 2000))
    assert parse_flag_settings(large(b"0,", MOST_VALUES)).account == ACCOUNT


@pytest.mark.parametrize("text", [HEAD % 1000, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 103 Hints\r\n\r\n" * 1000])
async def test_a_vwo_that_drips_is_given_up(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "_FETCH_SECONDS", 0.5)
    with bad_server(dripping(text, 0.01)) as address:
        asked = Upstream(address, patience=5)
        with pytest.raises(UpstreamError, match="no answer in time"):
            await asked.fetch(ACCOUNT, KEY, etag=None, pulled=False)
        await asked.aclose()


@pytest.mark.parametrize("etag", ['"\xe9"', "x" * 1000, "a b"])
async def test_an_etag_that_can_not_be_sent_back_is_not_kept(etag: str) -> None:
    with fake_vwo() as vwo:
        vwo.routes[POLLED] = lambda _: Answer(200, b"{}", {"ETag": etag})
        asked = Upstream(vwo.address, patience=5)
        first = await asked.fetch(ACCOUNT, KEY, etag=None, pulled=False)
        assert first is not None
        assert await asked.fetch(ACCOUNT, KEY, etag=first.etag, pulled=False) is not None
        await asked.aclose()


@pytest.mark.parametrize("wait", ["\xb2", "Fri, 31 Dec 99999999999999999999 23:59:00 GMT", "9" * 5000])
async def test_a_wish_that_is_no_time_is_no_reason_to_fail(wait: str) -> None:
    with fake_vwo() as vwo:
        vwo.routes[POLLED] = lambda _: Answer(503, b"{}", {"Retry-After": wait})
        asked = Upstream(vwo.address, patience=5)
        with pytest.raises(UpstreamError, match="503") as caught:
            await asked.fetch(ACCOUNT, KEY, etag=None, pulled=False)
        assert caught.value.wait <= 600
        await asked.aclose()


@pytest.fixture(scope="module")
def forwarding(emptied_store: Any, vwo_server: FakeVwo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    directory = tmp_path_factory.mktemp("forwarding")
    with processes.gateway(directory, settings_for(vwo_server, emptied_store.url)) as program:
        yield program


@pytest.mark.parametrize("kind", BAD)
def test_a_batch_with_a_bad_answer_is_sent_again(forwarding: Program, vwo: FakeVwo, kind: str) -> None:
    behave, reason = BAD[kind]
    before = metric(forwarding, f'events_retried_total{{reason="{reason}"}}')
    with unharmed(forwarding):
        vwo.fault = times(1, behaves(behave))
        assert send(forwarding, event(1)) == "stored"
        vwo.wait_for_events(1)
    assert vwo.requests[0].headers["accept-encoding"] == "identity"
    assert metric(forwarding, f'events_retried_total{{reason="{reason}"}}') == before + 1


@pytest.mark.parametrize("kind", [*BAD, "endless redirect"])
def test_a_maxmind_that_answers_badly_is_told_and_harmless(tmp_path: Path, store_url: str, kind: str) -> None:
    behave, reason = BAD.get(kind, (bad_servers.endless_redirect, ""))
    said = {"answer_too_large": "too large|more than 4,096 bytes"}.get(reason, SAID.get(reason, "answered 302"))
    with fake_vwo() as site:
        settings = {
            "REDIS_URL": store_url,
            "MAXMIND_USER_ID": USER_ID,
            "MAXMIND_LICENSE_KEY": LICENSE_KEY,
            "MAXMIND_BASE_URL": site.address,
        }
        until_told = behaves(behave)
        site.fault = lambda request: Answer() if request.method == "HEAD" and reason else until_told(request)
        with processes.gateway(tmp_path, settings) as program, unharmed(program):
            assert_said(program, f"no new GeoLite2-City: .*({said})")
    until(lambda: bool(site.requests))


GIB = 1 << 30


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([(f"{EDITION}.mmdb", 2 * GIB, tarfile.REGTYPE)], "unpacks to more than 1024 MiB"),
        ([("LICENSE.txt", 2 * GIB, tarfile.REGTYPE)], "unpacks to more than 1024 MiB"),
        ([("x", GIB, tarfile.XHDTYPE)], "no GeoLite2-City.mmdb"),
        ([("x", GIB, tarfile.GNUTYPE_LONGNAME)], "no GeoLite2-City.mmdb"),
        ([("x", 700 << 20, tarfile.XHDTYPE), ("y", 700 << 20, tarfile.XHDTYPE)], "no GeoLite2-City.mmdb"),
        ([("x", 0, tarfile.REGTYPE)], "no GeoLite2-City.mmdb"),
        ([("x", -512, tarfile.REGTYPE)], "unpacks to more than 1024 MiB"),
        ([(f"{EDITION}.mmdb", 64 << 20, tarfile.REGTYPE)], "no database"),
    ],
    ids=["database", "other file", "pax header", "long name", "several", "entries", "negative", "zeros"],
)
def test_an_archive_that_unpacks_to_gigabytes_is_told_and_harmless(
    tmp_path: Path, store_url: str, entries: list[tuple[str, int, bytes]], said: str
) -> None:
    with fake_maxmind() as maxmind:
        maxmind.pack(*entries, many=entries[0][1] == 0)
        settings = {
            "REDIS_URL": store_url,
            "MAXMIND_USER_ID": USER_ID,
            "MAXMIND_LICENSE_KEY": LICENSE_KEY,
            "MAXMIND_BASE_URL": maxmind.site.address,
        }
        with processes.gateway(tmp_path, settings) as program:
            with unharmed(program):
                assert_said(program, f"no new {EDITION}: .*{said}", seconds=60)
            assert list((tmp_path / "data" / "geoip").iterdir()) == []
