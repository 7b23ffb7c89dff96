"""Settings from VWO: polled, kept, and never exchanged for anything worse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import http, processes
from tests.support.fake_vwo import Answer, Fault, answers, fake_vwo, hangs_up, says_nothing
from tests.support.vwo_settings import ACCOUNT, KEY, POLLED, PULLED, VwoSettings, document
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    import redis

    from tests.support.processes import Program

SLOWLY = {"POLLING_TIME": "86400000"}  # nothing is polled after the start
OFTEN = {"POLLING_TIME": "1000"}


@pytest.fixture
def upstream() -> Iterator[VwoSettings]:
    with fake_vwo() as vwo:
        yield VwoSettings(vwo)


@pytest.fixture
def settings(upstream: VwoSettings, store_url: str) -> dict[str, str]:
    """Of a gateway that serves one environment."""
    return {
        "REDIS_URL": store_url,
        "SETTINGS_FILE": "",
        "ACCOUNT_ID": ACCOUNT,
        "SDK_KEY": KEY,
        "VWO_BASE_URL": upstream.vwo.address,
    }


def ask(program: Program, path: str = POLLED, **parameters: str) -> httpx.Response:
    return http.get(program.address + path, params={"a": ACCOUNT, "i": KEY} | parameters)


def version(program: Program, path: str = POLLED) -> Any:
    return ask(program, path).json()["version"]


def ready(program: Program) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"{program.address}/readyz").json()
    return found


def reloads(program: Program, outcome: str) -> float:
    for line in http.get(f"{program.address}/metrics").text.splitlines():
        if line.startswith(f'cohort_gateway_settings_reloads_total{{outcome="{outcome}"}}'):
            return float(line.rpartition(" ")[2])
    return 0.0


def test_settings_of_vwo_are_served_without_the_prefix(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path
) -> None:
    upstream.put(collectionPrefix="as01")
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        for prefix in ("", "/as01"):
            answer = ask(program, prefix + POLLED)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
            assert answer.json() == document()
        assert ready(program) == {"status": "ok"}
    [asked] = upstream.asked()
    assert asked.path == POLLED
    named = {name: asked.parameters.get(name) for name in ("i", "a", "platform", "api-version")}
    assert named == {"i": KEY, "a": ACCOUNT, "platform": "server", "api-version": "1"}
    assert "r" in asked.parameters


@pytest.mark.parametrize("etags", [True, False])
def test_what_is_published_is_taken_up_and_what_is_known_counts_as_unchanged(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path, etags: bool
) -> None:
    upstream.etags = etags
    upstream.put(version=1)
    with processes.gateway(tmp_path, settings | OFTEN) as program:
        assert version(program) == 1
        until(lambda: reloads(program, "unchanged") > 0, what="a look that brings nothing new")
        upstream.put(version=2)
        until(lambda: version(program) == 2, what="the new settings")
        until(lambda: reloads(program, "changed") == 2, what="its count")
    assert etags == any("if-none-match" in request.headers for request in upstream.asked())


def test_a_copy_that_cannot_be_written_is_said_until_it_can(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path
) -> None:
    """Without one, nothing is served after a restart while VWO and Redis are away."""
    upstream.put(version=1)
    in_the_way = tmp_path / "data" / "settings"
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("a file where the directory should be")
    with processes.gateway(tmp_path, settings | OFTEN | {"DATA_DIR": str(tmp_path / "data")}) as program:
        assert version(program) == 1
        until(lambda: ready(program).get("reasons") == ["settings_not_on_disk"], what="readiness")
        in_the_way.unlink()
        until(lambda: bool(ready(program) == {"status": "ok"}), what="a copy")
        assert list(in_the_way.glob("*.json"))


def test_a_pull_asks_vwo_at_once(upstream: VwoSettings, settings: dict[str, str], tmp_path: Path) -> None:
    upstream.put(version=1)
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        assert version(program) == 1
        upstream.put(version=2)
        assert version(program) == 1
        assert version(program, PULLED) == 2
        assert version(program) == 2
        assert len(upstream.asked(PULLED)) == 1


BAD: list[tuple[bytes | Fault, list[str]]] = [
    (b'{"accountId": "123456", "version"', ["bad_settings"]),
    (b"<html>busy</html>", ["bad_settings"]),
    (b"", ["bad_settings"]),
    (json.dumps(document(account="999")).encode(), ["bad_settings"]),
    (json.dumps(document(features=None)).encode(), ["bad_settings"]),
    (answers(500), ["vwo_unreachable"]),
    (answers(429, {"Retry-After": "1"}), ["vwo_unreachable"]),
    (answers(400), ["unknown_sdk_key"]),
    (answers(301, {"Location": "/elsewhere"}), ["vwo_unreachable"]),
    (lambda _: Answer(304), ["vwo_unreachable"]),
    (hangs_up, ["vwo_unreachable"]),
]


@pytest.mark.parametrize(("wrong", "reasons"), BAD)
def test_nothing_worse_replaces_good_settings(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path, wrong: bytes | Fault, reasons: list[str]
) -> None:
    upstream.etags = False
    upstream.put(version=1)
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        assert version(program) == 1
        if isinstance(wrong, bytes):
            upstream.documents[ACCOUNT, KEY] = wrong
        else:
            upstream.vwo.fault = wrong
        for _ in range(2):
            assert version(program, PULLED) == 1
        assert version(program) == 1
        assert ready(program) == {"status": "degraded", "reasons": reasons}
        upstream.vwo.fault = None
        upstream.put(version=2)
        assert version(program, PULLED) == 2
        assert ready(program) == {"status": "ok"}
        assert KEY not in program.log()


def test_a_silent_vwo_holds_nobody_up(upstream: VwoSettings, settings: dict[str, str], tmp_path: Path) -> None:
    upstream.put(version=1)
    with processes.gateway(tmp_path, settings | OFTEN) as program:
        assert version(program) == 1
        upstream.vwo.fault = says_nothing
        before = len(upstream.asked())
        until(lambda: len(upstream.asked()) > before, what="a look that gets no answer")
        assert version(program) == 1


@pytest.mark.parametrize("kept", ["redis", "disk"])
def test_a_start_without_vwo_serves_the_last_good_copy(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path, store: redis.Redis, kept: str
) -> None:
    upstream.put(version=7)
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        assert version(program) == 7
    if kept == "disk":
        store.flushall()
    else:
        for copy in (tmp_path / "data" / "settings").iterdir():
            copy.unlink()
    upstream.vwo.fault = hangs_up
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        assert version(program) == 7
        assert KEY not in program.log()


@pytest.fixture
def copy_in_redis(upstream: VwoSettings, settings: dict[str, str], tmp_path: Path, store: redis.Redis) -> str:
    """Its key, left by a gateway that has served version 1 and ended."""
    upstream.put(version=1)
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        assert version(program) == 1
    [name] = store.keys("cg:settings:*")
    assert isinstance(name, bytes)
    return name.decode()


def test_redis_comes_before_the_disk(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path, store: redis.Redis, copy_in_redis: str
) -> None:
    store.set(copy_in_redis, json.dumps(document(version=2)))  # another gateway was the last to hear from VWO
    upstream.vwo.fault = hangs_up
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        assert version(program) == 2


def test_a_damaged_copy_is_passed_over(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path, store: redis.Redis, copy_in_redis: str
) -> None:
    store.set(copy_in_redis, b'{"accountId": "123456", "ver')
    upstream.vwo.fault = hangs_up
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        assert version(program) == 1
        assert "damaged" in program.log()


def test_redis_gets_its_copy_back(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path, store: redis.Redis
) -> None:
    upstream.put(version=1)
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        store.flushall()
        version(program, PULLED)
        until(lambda: len(store.keys("cg:settings:*")) == 1, what="the copy in Redis")


def test_a_start_with_nothing_at_all_says_so_and_recovers(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path
) -> None:
    upstream.vwo.fault = hangs_up
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        answer = ask(program)
        assert (answer.status_code, answer.json()["reason"]) == (503, "no_settings")
        assert "no_settings" in ready(program)["reasons"]
        upstream.put(version=3)
        upstream.vwo.fault = None
        until(lambda: ask(program).status_code == 200, what="settings of the VWO that is back")
        assert ready(program) == {"status": "ok"}


def test_a_key_that_vwo_does_not_know_is_told_at_once(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path
) -> None:
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        answer = ask(program)
        assert (answer.status_code, answer.json()["reason"]) == (400, "unknown_sdk_key")
        assert "SDK_KEY" in answer.json()["error"]
        assert "400" in program.wait_for_line("from VWO")
    assert upstream.asked()


def test_a_disk_that_cannot_be_written_is_told_and_harmless(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "settings").write_text("no directory")
    upstream.put(version=1)
    with processes.gateway(tmp_path, settings | SLOWLY) as program:
        assert version(program) == 1
        assert "DATA_DIR" in program.wait_for_line("can't keep settings on disk")


def test_without_redis_settings_are_served_all_the_same(
    upstream: VwoSettings, settings: dict[str, str], tmp_path: Path
) -> None:
    upstream.put(version=1)
    with processes.gateway(tmp_path, settings | SLOWLY | {"REDIS_URL": f"unix://{tmp_path}/nobody"}) as program:
        assert version(program) == 1
    upstream.vwo.fault = hangs_up
    with processes.gateway(tmp_path, settings | SLOWLY | {"REDIS_URL": f"unix://{tmp_path}/nobody"}) as program:
        assert version(program) == 1
