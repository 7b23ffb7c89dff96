"""Settings that can't be right are refused by name."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import pytest

from cohort_sync.settings import CohortSyncSettings
from foundation.errors import ConfigurationError
from foundation.settings import ServiceSettings, load_settings
from gateway.settings import GatewaySettings
from heap_export.settings import HeapExportSettings

SERVICES = [CohortSyncSettings, GatewaySettings, HeapExportSettings]

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "address",
    ["heap.example.com", "ftp://x", "https://", "https://u:p@x", "https://x?y", "https://x:y", "https://x/ y"],
)
def test_addresses_must_be_web_addresses(address: str) -> None:
    with pytest.raises(ConfigurationError, match="PUBLIC_URL"):
        load_settings(CohortSyncSettings, public_url=address)


@pytest.mark.parametrize("service", SERVICES)
def test_blanks_around_a_value_are_no_part_of_it(
    service: type[ServiceSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ADMIN_TOKEN=$(cat file)` in some tools, and files written by an editor, end in a newline."""
    texts = [name for name, field in service.model_fields.items() if field.annotation in (str, str | None)]
    texts = [name for name in texts if name not in ("log_level", "account_id")]
    given = {name: "https://x.example" if "base" in name or "url" in name else "value" for name in texts}
    for name, value in given.items():
        monkeypatch.setenv(name.upper(), f" {value}\r\n")
    monkeypatch.setenv("LOG_LEVEL", "WARN\n")
    monkeypatch.setenv("ACCOUNT_ID", "123456\n")
    settings = load_settings(service)
    assert {name: getattr(settings, name) for name in texts} == given
    assert (settings.log_level, settings.account_id) == ("WARNING", "123456")


@pytest.mark.parametrize("service", SERVICES)
def test_blanks_alone_are_nothing(service: type[ServiceSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADMIN_TOKEN", "REDIS_URL", "REDIS_PASSWORD", "ACCOUNT_ID", "REDIS_PORT"):
        monkeypatch.setenv(name, " \n")
    settings = load_settings(service)
    assert settings.admin_token is settings.redis_url is settings.redis_password is settings.account_id is None
    assert settings.redis_port == 6379


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("word", "level"),
    [("WARN", "WARNING"), ("warn", "WARNING"), ("TRACE", "DEBUG"), ("Error", "ERROR"), ("debug", "DEBUG")],
)
def test_log_levels_have_the_words_of_the_sdks(service: type[ServiceSettings], word: str, level: str) -> None:
    assert load_settings(service, log_level=word).log_level == level


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("word", ["LOUD", "30", "NOTSET", "INFO,DEBUG"])
def test_a_log_level_that_is_none_is_refused_by_name(service: type[ServiceSettings], word: str) -> None:
    with pytest.raises(ConfigurationError, match=r"LOG_LEVEL: .*TRACE, DEBUG, INFO, WARN"):
        load_settings(service, log_level=word)


def test_the_settings_that_name_the_account_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    settings = load_settings(CohortSyncSettings, settings_file=path)
    text = '{"accountId": 777}'
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    assert settings.default_account == "777"
    for encoding in ("utf-16", "utf-16-be"):
        path.write_bytes(text.encode(encoding))
        with pytest.raises(ConfigurationError, match=r"SETTINGS_FILE: .* UTF-16 .* as UTF-8"):
            _ = settings.default_account
