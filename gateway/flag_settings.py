"""The flag settings that SDKs start with: read from a file, checked, served as they are but for `collectionPrefix`."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from attribute_lists.names import is_account
from foundation.crew import Crew
from foundation.errors import BadRequestError, ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.metrics import Metrics

log = logging.getLogger(__name__)

_AccountParameter = Annotated[str | None, Query(description="account whose settings are asked for")]
_SdkKeyParameter = Annotated[str | None, Query(description="SDK key of the environment")]


class _Shape(msgspec.Struct, rename="camel"):
    """What every SDK needs to find in settings; VWO sends `{}` where there are no features or campaigns."""

    account_id: int | str
    version: int | float | str
    features: list[dict[str, Any]] | dict[str, Any]
    campaigns: list[dict[str, Any]] | dict[str, Any]
    sdk_key: str | None = None


@dataclass(frozen=True, slots=True)
class FlagSettings:
    """Settings of one account; `body` is what SDKs get."""

    account: str
    sdk_key: str | None
    body: bytes


def parse_flag_settings(raw: bytes, *, source: Path) -> FlagSettings:
    """Raises `ConfigurationError` that names `source`, the field and the way to mend it."""
    try:
        shape = msgspec.json.decode(raw, type=_Shape)
        settings: dict[str, Any] = msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"SETTINGS_FILE: {source} can't be served: {error}; it must hold the settings of a VWO account as VWO "
            "answers them at /server-side/v2-settings (examples/settings.json shows the shape)",
            reason="bad_settings",
        ) from error
    account = str(shape.account_id)
    if not is_account(account):
        raise ConfigurationError(
            f"SETTINGS_FILE: accountId in {source} is no account id; put the number of your VWO account there",
            reason="bad_settings",
        )
    # SDKs would put it in front of the paths that they ask us for.
    settings.pop("collectionPrefix", None)
    return FlagSettings(account, shape.sdk_key, msgspec.json.encode(settings))


class ServedSettings:
    """The settings being served: those of `path`, which is read now. Raises `ConfigurationError` where it can't be.

    Without a path there are none.
    """

    def __init__(self, path: Path | None, metrics: Metrics, crew: Crew | None = None) -> None:
        self._path = path
        self._reloads = metrics.settings_reloads
        self._crew = crew or Crew()
        self._known_news = self._crew.news
        self._current: FlagSettings | None = None
        self._raw = b""
        self._reloading = asyncio.Lock()
        self.newest_is_bad = False
        self.when_changed: list[Callable[[], None]] = []
        if path is not None:
            self._raw = _read(path)
            self._current = parse_flag_settings(self._raw, source=path)

    @property
    def account(self) -> str | None:
        return self._current.account if self._current else None

    def account_of(self, sdk_key: str | None) -> str | None:
        """The account that `sdk_key` belongs to, where that is known."""
        current = self._current
        return current.account if current and sdk_key and current.sdk_key == sdk_key else None

    async def reload(self) -> None:
        """Take up what the file says by now; what can't be served leaves the last good copy in place.

        The rest of the crew is told to do so, too.
        """
        if self._path is None:
            return
        async with self._reloading:
            # Told before we read: whoever reads at this word finds what we find, or newer.
            news = self._crew.spread_news()
            outcome = await self._take_up(self._path)
            self._known_news = news
        self._reloads.labels(outcome).inc()

    async def catch_up(self) -> None:
        """Reload where another of the crew was asked to; it counts as one reload, there."""
        if self._path is None or self._crew.news == self._known_news:
            return
        async with self._reloading:
            news = self._crew.news
            if news != self._known_news:
                await self._take_up(self._path)
                self._known_news = news

    async def _take_up(self, path: Path) -> str:
        try:
            outcome = await self._read_again(path)
            self.newest_is_bad = False
        except ConfigurationError as error:
            outcome = "refused"
            self.newest_is_bad = True
            log.warning("%s; the last good copy stays", error)
        return outcome

    async def _read_again(self, path: Path) -> str:
        raw = await asyncio.to_thread(_read, path)
        if raw == self._raw:
            return "unchanged"
        self._current = parse_flag_settings(raw, source=path)
        self._raw = raw
        for tell in self.when_changed:
            tell()
        return "changed"

    def body_for(self, account: str | None) -> bytes:
        """The settings as JSON. Raises `UnavailableError` without settings, `BadRequestError` for another account."""
        if self._current is None:
            raise UnavailableError(
                "no flag settings to serve: set SETTINGS_FILE to a file with your account's settings and start again",
                reason="no_settings",
            )
        if account and account != self._current.account:
            raise BadRequestError(
                f"a: these are the settings of account {self._current.account}; start the SDK with this accountId",
                reason="other_account",
            )
        return self._current.body


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"SETTINGS_FILE: can't read {path}: {error.strerror or error}; name a file that this user may read",
            reason="bad_settings",
        ) from error


def settings_router(served: ServedSettings) -> APIRouter:
    router = APIRouter()

    @router.get("/server-side/v2-settings", summary="Flag settings, for SDKs that start or poll", response_model=None)
    async def v2_settings(a: _AccountParameter = None, i: _SdkKeyParameter = None) -> Response:  # noqa: ARG001 - documents what SDKs send
        await served.catch_up()
        return Response(served.body_for(a), media_type="application/json")

    @router.get("/server-side/v2-pull", summary="Flag settings, read anew first", response_model=None)
    async def v2_pull(a: _AccountParameter = None, i: _SdkKeyParameter = None) -> Response:  # noqa: ARG001 - documents what SDKs send
        await served.reload()
        return Response(served.body_for(a), media_type="application/json")

    return router
