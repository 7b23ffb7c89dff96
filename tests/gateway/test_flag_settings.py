"""The settings that SDKs start with."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from foundation.errors import ConfigurationError
from gateway.file_settings import FileSettings
from gateway.flag_settings import parse_flag_settings
from gateway.metrics import Metrics
from tests.support import processes
from tests.support.processes import ROOT
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Program

SAMPLE = ROOT / "examples" / "settings.json"
BOTH = pytest.mark.parametrize("path", ["/server-side/v2-settings", "/server-side/v2-pull"])


def sample(**changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(SAMPLE.read_bytes())
    return settings | changes


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    shutil.copy(SAMPLE, path)
    return path


@pytest.fixture
def own_gateway(tmp_path: Path, settings_file: Path, store_url: str) -> Iterator[Program]:
    """A gateway whose settings the test may change."""
    settings_file.write_text(json.dumps(sample(collectionPrefix="as01")))
    with processes.gateway(tmp_path, {"REDIS_URL": store_url, "SETTINGS_FILE": str(settings_file)}) as program:
        yield program


def ask(program: Program, path: str, **parameters: str) -> httpx.Response:
    return httpx.get(program.address + path, params=parameters)


@BOTH
def test_the_settings_are_served_bare_and_without_the_prefix(own_gateway: Program, path: str) -> None:
    for prefix in ("", "/as01"):
        answer = ask(own_gateway, prefix + path, a="123456", i="sample_sdk_key", platform="server", s="prod")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == sample()


@BOTH
def test_another_account_is_told_so(gateway: Program, path: str) -> None:
    answer = ask(gateway, path, a="999")
    assert answer.status_code == 400
    assert answer.json()["reason"] == "other_account"
    assert "123456" in answer.json()["error"]


@BOTH
def test_without_settings_the_operator_learns_what_to_set(tmp_path: Path, store_url: str, path: str) -> None:
    with processes.gateway(tmp_path, {"REDIS_URL": store_url, "SETTINGS_FILE": ""}) as program:
        answer = ask(program, path, a="123456")
        assert answer.status_code == 503
        assert answer.json()["reason"] == "no_settings"
        assert "SETTINGS_FILE" in answer.json()["error"]
        assert ask(program, "/readyz").json() == {"status": "degraded", "reasons": ["no_settings"]}


def test_pull_takes_up_a_changed_file_and_keeps_the_last_good_one(own_gateway: Program, settings_file: Path) -> None:
    settings_file.write_text(json.dumps(sample(version=2)))
    assert ask(own_gateway, "/server-side/v2-pull").json()["version"] == 2
    assert ask(own_gateway, "/server-side/v2-settings").json()["version"] == 2

    settings_file.write_text('{"version": 3')
    assert ask(own_gateway, "/server-side/v2-pull").json()["version"] == 2
    assert ask(own_gateway, "/readyz").json()["reasons"] == ["bad_settings"]
    assert "last good copy" in own_gateway.wait_for_line(str(settings_file))

    settings_file.unlink()
    assert ask(own_gateway, "/server-side/v2-pull").json()["version"] == 2

    settings_file.write_text(json.dumps(sample(version=4)))
    assert ask(own_gateway, "/server-side/v2-pull").json()["version"] == 4
    assert ask(own_gateway, "/readyz").json() == {"status": "ok"}


@pytest.mark.parametrize("in_place", [True, False], ids=["written over", "moved there"])
def test_a_file_that_is_edited_is_taken_up_by_itself(own_gateway: Program, settings_file: Path, in_place: bool) -> None:
    """A bad one is said, and the last good one stays."""

    def edit(content: str) -> None:
        aside = settings_file if in_place else settings_file.with_name("aside")
        aside.write_text(content)
        aside.replace(settings_file)

    def served() -> Any:
        return ask(own_gateway, "/server-side/v2-settings").json()["version"]

    edit(json.dumps(sample(version=2)))
    until(lambda: bool(served() == 2), what="the edited settings")
    edit(json.dumps(sample(version=3)))
    until(lambda: bool(served() == 3), what="the settings edited again")
    for bad in ('{"version": 4', json.dumps(sample(accountId="a:b"))):
        edit(bad)
        own_gateway.wait_for_line("last good copy stays")
        until(lambda: ask(own_gateway, "/readyz").json().get("reasons") == ["bad_settings"], what="readiness")
        assert served() == 3
    settings_file.unlink()
    own_gateway.wait_for_line("can't read")
    edit(json.dumps(sample(version=5)))
    until(lambda: bool(served() == 5), what="the mended settings")
    until(lambda: ask(own_gateway, "/readyz").json() == {"status": "ok"}, what="readiness")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Input data was truncated"),
        ("{", "truncated"),
        ("[]", "Expected `object`, got `array`"),
        ('"\xff"', "SETTINGS_FILE"),
        (json.dumps({"accountId": 1, "version": 1, "campaigns": []}), "`features`"),
        (json.dumps({"accountId": 1, "version": 1, "features": []}), "`campaigns`"),
        (json.dumps({"version": 1, "features": [], "campaigns": []}), "`accountId`"),
        (json.dumps({"accountId": 1, "features": [], "campaigns": []}), "`version`"),
        (json.dumps(sample(accountId=None)), "$.accountId"),
        (json.dumps(sample(accountId=True)), "$.accountId"),
        (json.dumps(sample(accountId="a:b")), "accountId"),
        (json.dumps(sample(features="none")), "$.features"),
        (json.dumps(sample(campaigns=[1])), "$.campaigns[0]"),
        (json.dumps(sample(sdkKey=7)), "$.sdkKey"),
        ("[" * 100_000, "SETTINGS_FILE"),
    ],
)
def test_a_bad_file_is_named_with_the_field_at_fault(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigurationError) as caught:
        FileSettings(path, Metrics())
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_empty_features_and_campaigns_may_be_objects_as_vwo_sends_them() -> None:
    raw = json.dumps({"accountId": "9", "version": "1", "features": {}, "campaigns": {}}).encode()
    settings = parse_flag_settings(raw)
    assert (settings.account, settings.sdk_key) == ("9", None)
    assert json.loads(settings.body) == json.loads(raw)


@pytest.mark.parametrize("content", [None, '{"accountId": 1}'])
def test_the_gateway_does_not_start_on_a_bad_file(tmp_path: Path, store_url: str, content: str | None) -> None:
    path = tmp_path / "settings.json"
    if content is not None:
        path.write_text(content)
    settings = {"REDIS_URL": store_url, "SETTINGS_FILE": str(path), "PORT": "0"}
    program = processes.start_program(["gateway"], settings, directory=tmp_path)
    said = program.wait_for_line("^error: ")
    assert program.wait() == 2
    assert "SETTINGS_FILE" in said
    assert str(path) in said
