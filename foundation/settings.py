"""Settings that every service shares. Environment first, then a `.env` file, then files in `/run/secrets`."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from foundation.errors import ConfigurationError
from foundation.json import utf8
from foundation.secrets import read_or_create_secret

_ENVIRONMENT_FILE = ".env"
_SECRETS = Path("/run/secrets")
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,64}")

_AROUND = "\ufeff" + string.whitespace

MEBIBYTE = 1024 * 1024


def _account(value: str) -> str:
    if not _ACCOUNT.fullmatch(value):
        raise ValueError("an account id is made of letters, digits, _ and - (64 at the most)")
    return value


AccountId = Annotated[str, AfterValidator(_account)]


def _http_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("give an address such as https://example.com")
    return value.rstrip("/")


HttpAddress = Annotated[str, AfterValidator(_http_address)]

# By the words of VWO's SDKs and their gateway, and by Python's.
_LOG_LEVELS = {
    "TRACE": "DEBUG",
    "DEBUG": "DEBUG",
    "INFO": "INFO",
    "WARN": "WARNING",
    "WARNING": "WARNING",
    "ERROR": "ERROR",
}


def _log_level(value: str) -> str:
    try:
        return _LOG_LEVELS[value.upper()]
    except KeyError:
        raise ValueError(f"give one of {', '.join(_LOG_LEVELS)}") from None


LogLevel = Annotated[str, AfterValidator(_log_level)]


class ServiceSettings(BaseSettings):
    """What each service needs to know of its surroundings; a service adds its own fields in a subclass."""

    model_config = SettingsConfigDict(
        env_file=_ENVIRONMENT_FILE,
        env_ignore_empty=True,
        secrets_dir=_SECRETS if _SECRETS.is_dir() else None,
        extra="ignore",
    )

    data_dir: Path = Field(
        default=Path("./data"),
        description="embedded server's files, generated secrets, cached settings",
    )
    log_level: LogLevel = Field(default="INFO", description="TRACE or DEBUG, INFO, WARN or WARNING, ERROR")

    redis_url: str | None = Field(
        default=None,
        description="`redis://`, `rediss://` or `unix://` address of the store; unset (and no `REDIS_HOST`): "
        "the embedded server of `DATA_DIR`; docs/redis.md has Sentinel, Cluster and TLS",
    )
    redis_cluster: bool = Field(
        default=False,
        description="`true`: the address is a node of a Redis Cluster; `REDIS_URL` may name several, "
        "`redis://one:6379,two:6379`",
    )
    redis_sentinels: str | None = Field(default=None, description="`host:port,...` of the Sentinels")
    redis_sentinel_master: str = Field(default="mymaster", description="name of the master that Sentinel watches")
    redis_sentinel_password: str | None = Field(
        default=None, description="password of the Sentinels themselves, where they want one"
    )
    redis_host: str | None = Field(default=None, description="host of the store, where `REDIS_URL` is not used")
    redis_port: int = Field(default=6379, description="port that goes with `REDIS_HOST`")
    redis_password: str | None = Field(default=None, description="password of the store")
    redis_enable_tls: bool = Field(
        default=False, description="`true`: TLS to `REDIS_HOST`, or to the Sentinels and their master"
    )
    redis_tls_ca_path: Path | None = Field(default=None, description="certificate authority of the store, a PEM file")
    redis_tls_key_path: Path | None = Field(default=None, description="our client key, a PEM file")
    redis_tls_cert_path: Path | None = Field(default=None, description="our client certificate, a PEM file")
    redis_tls_reject_unauthorized: bool = Field(
        default=True, description="`false`: accept any certificate of the store (for trials only)"
    )

    account_id: AccountId | None = Field(
        default=None,
        description="default account: pushes without `id_token` and checks without `accountId` belong to it; "
        "unset: the `accountId` of `SETTINGS_FILE`",
    )
    settings_file: Path | None = Field(
        default=None, description="serve the flag settings of this file instead of polling VWO"
    )
    heap_app_id: str | None = Field(
        default=None, description="app id of the Heap environment that gets exposures; more are added by the API"
    )
    admin_token: str | None = Field(
        default=None,
        description="bearer token of the admin API; unset: made once and kept in `DATA_DIR/admin_token`",
    )

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Files and shells leave a newline behind a value, or a byte-order mark before it.

        What is nothing but blanks was not set.
        """
        texts = {name: value.strip(_AROUND) for name, value in given.items() if isinstance(value, str)}
        return {name: value for name, value in (given | texts).items() if value != ""}

    def administration_token(self) -> str:
        """The token that the admin API wants. Raises `ConfigurationError`."""
        return self.admin_token or read_or_create_secret(self.data_dir / "admin_token")

    @property
    def uses_embedded_store(self) -> bool:
        return self.redis_url is None and self.redis_host is None and self.redis_sentinels is None


Settings = TypeVar("Settings", bound=ServiceSettings)


def load_settings(cls: type[Settings], **overrides: Any) -> Settings:
    """Read `cls` from the environment; `overrides` that are None were not given.

    Raises `ConfigurationError`, naming each variable and what is wrong with it.
    """
    _check_encoding(Path(_ENVIRONMENT_FILE))
    try:
        return cls(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        # The value itself is left out: it may be a secret.
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}" for problem in error.errors()
        )
        raise ConfigurationError(f"bad configuration: {problems}") from None


def _check_encoding(file: Path) -> None:
    try:
        if file.is_file():
            utf8(file.read_bytes()).decode()
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be read: {error.strerror or error}; let this user read it") from error
    except ValueError:
        raise ConfigurationError(f"{file}: it is no UTF-8; save it as UTF-8") from None
