"""Files and bodies may begin with the byte-order mark of UTF-8; what is UTF-16 is refused with the cure."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any

import pytest

from foundation.errors import ConfigurationError
from foundation.secrets import read_or_create_secret
from foundation.settings import load_settings
from gateway.accounts import Account, read_accounts
from gateway.settings import GatewaySettings
from tests.gateway.event_posts import KEY, event, send, settings_for
from tests.support import http, processes
from tests.support.fake_vwo import BATCH
from tests.support.processes import ROOT, Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.fake_vwo import FakeVwo
    from tests.support.processes import StoreServer

MARK = codecs.BOM_UTF8
UTF_16 = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]  # the first with a mark, as the fourth
TOKEN = "admin-token-of-the-tests"
USER = {"userId": "alice"}
BODIES: dict[str, dict[str, Any]] = {
    "/server-side/getFlag": {"featureKey": "premium_dashboard", **USER},
    "/server-side/getFlags": USER,
    "/server-side/trackEvent": {"eventName": "premium_dashboard_opened", **USER},
    "/server-side/setAttribute": {"attributeKey": "plan", "attributeValue": "gold", **USER},
    "/server-side/explain": {"featureKey": "premium_dashboard", **USER},
    "/ofrep/v1/evaluate/flags": {"context": {"targetingKey": "alice"}},
    "/ofrep/v1/evaluate/flags/premium_dashboard": {"context": {"targetingKey": "alice"}},
    "/user-alias/setUserAlias": {**USER, "aliasId": "tmp-1"},
}


@pytest.fixture(scope="module")
def gateway(emptied_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    options = {"REDIS_URL": emptied_store.url, "ADMIN_TOKEN": TOKEN}
    with processes.gateway(tmp_path_factory.mktemp("gateway"), options) as program:
        yield program


def answer(gateway: Program, path: str, content: bytes) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    sent = http.post(f"{gateway.address}{path}?accountId=123456&sdkKey={KEY}", content=content, headers=headers)
    return sent.status_code, sent.text


@pytest.mark.parametrize("path", BODIES)
def test_a_body_may_begin_with_a_mark(gateway: Program, path: str) -> None:
    content = json.dumps(BODIES[path]).encode()
    status, plain = answer(gateway, path, content)
    assert status == 200
    assert answer(gateway, path, MARK + content) == (status, plain)


@pytest.mark.parametrize("encoding", UTF_16)
@pytest.mark.parametrize("path", BODIES)
def test_a_body_in_utf_16_is_refused_with_the_cure(gateway: Program, path: str, encoding: str) -> None:
    status, told = answer(gateway, path, json.dumps(BODIES[path]).encode(encoding))
    assert status == 400
    assert "UTF-16" in told
    assert "as UTF-8" in told


def test_events_may_begin_with_a_mark(tmp_path: Path, store_server: StoreServer, vwo: FakeVwo) -> None:
    beside = {"env": KEY, "visitor_ua": "a browser"}
    with processes.gateway(tmp_path, settings_for(vwo, store_server.url)) as program:
        assert send(program, MARK + json.dumps(event(1)).encode()) == "stored"
        assert send(program, MARK + json.dumps(event(2)).encode(), parameters=beside) == "stored"
        assert send(program, MARK + json.dumps({"ev": [event(3)]}).encode(), BATCH) == "stored"
        assert sorted(each["d"]["msgId"] for each in vwo.wait_for_events(3)) == ["m1", "m2", "m3"]
        for encoding in UTF_16:
            assert send(program, json.dumps(event(4)).encode(encoding)) == "unreadable"
            assert send(program, json.dumps({"ev": [event(4)]}).encode(encoding), BATCH) == "unreadable"


def served_settings(directory: Path, content: bytes) -> str:
    path = directory / "settings.json"
    path.write_bytes(content)
    return str(path)


def test_the_settings_may_begin_with_a_mark(tmp_path: Path, store_server: StoreServer) -> None:
    whole = (ROOT / "examples" / "settings.json").read_bytes()
    options = {"REDIS_URL": store_server.url, "SETTINGS_FILE": served_settings(tmp_path, MARK + whole)}
    with processes.gateway(tmp_path, options) as program:
        served = http.get(f"{program.address}/server-side/v2-settings?a=123456&i={KEY}")
        assert served.content.startswith(b"{")
        assert served.json()["features"] == json.loads(whole)["features"]


@pytest.mark.parametrize("encoding", UTF_16)
def test_settings_in_utf_16_are_refused_with_the_cure(tmp_path: Path, encoding: str) -> None:
    whole = (ROOT / "examples" / "settings.json").read_text()
    options = {"PORT": "0", "SETTINGS_FILE": served_settings(tmp_path, whole.encode(encoding))}
    program = processes.start_program(["gateway"], options, directory=tmp_path)
    said = program.wait_for_line("^error: ")
    assert "SETTINGS_FILE" in said
    assert "UTF-16" in said
    assert "as UTF-8" in said
    assert program.wait() == 2


def test_the_accounts_may_begin_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    text = json.dumps({"accounts": [{"accountId": 1, "sdkKeys": ["k"]}]})
    path.write_bytes(MARK + text.encode())
    assert read_accounts(path) == [Account("1", ("k",))]
    for encoding in UTF_16:
        path.write_bytes(text.encode(encoding))
        with pytest.raises(ConfigurationError, match=r"ACCOUNTS_FILE: .* UTF-16 .* as UTF-8"):
            read_accounts(path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which services start, and nothing of theirs in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in GatewaySettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


def test_the_environment_file_may_begin_with_a_mark(here: Path) -> None:
    (here / ".env").write_bytes(MARK + b"ACCOUNT_ID=777\nSDK_KEY=k\xc3\xa9y\n")
    settings = load_settings(GatewaySettings)
    assert (settings.account_id, settings.sdk_key) == ("777", "k\u00e9y")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_an_environment_file_that_is_no_utf_8_is_refused_with_the_cure(here: Path, encoding: str) -> None:
    (here / ".env").write_bytes("ACCOUNT_ID=777\nSDK_KEY=k\u00e9y\n".encode(encoding))
    with pytest.raises(ConfigurationError, match=r"\.env: .*UTF-8"):
        load_settings(GatewaySettings)


def test_a_program_says_what_is_wrong_with_its_environment_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("ACCOUNT_ID=777\n".encode("utf-16"))
    program = processes.start_program(["gateway"], {"PORT": "0"}, directory=tmp_path)
    assert "UTF-8" in program.wait_for_line(r"^error: .*\.env")
    assert program.wait() == 2


def test_a_secret_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "sdk_key").write_bytes(MARK + b"key\n")
    assert GatewaySettings(_secrets_dir=tmp_path).sdk_key == "key"
    (tmp_path / "made").write_bytes(MARK + b"secret\n")
    assert read_or_create_secret(tmp_path / "made") == "secret"
    (tmp_path / "made").write_bytes("secret".encode("utf-16"))
    with pytest.raises(ConfigurationError, match="save it as UTF-8"):
        read_or_create_secret(tmp_path / "made")
