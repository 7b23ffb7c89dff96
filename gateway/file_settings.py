"""Flag settings from a file, instead of VWO."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from typing import TYPE_CHECKING

from foundation.background import keep_running
from foundation.crew import Crew
from foundation.errors import BadRequestError, ConfigurationError
from foundation.files import file_identity
from foundation.tasks import end
from gateway.flag_settings import BadSettingsError, FlagSettings, ServedSettings, no_settings, parse_flag_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from gateway.metrics import Metrics

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0  # between two looks whether the file is another one


class FileSettings(ServedSettings):
    """The settings of `path`, which is read now. Raises `ConfigurationError` where it can't be.

    Without a path there are none.
    """

    def __init__(self, path: Path | None, metrics: Metrics, crew: Crew | None = None) -> None:
        super().__init__()
        self._path = path
        self._reloads = metrics.settings_reloads
        self._crew = crew or Crew()
        self._known_news = self._crew.news
        self._current: FlagSettings | None = None
        self._raw = b""
        self._reloading = asyncio.Lock()
        self._newest_is_bad = False
        self._seen: tuple[int, ...] | None = None  # which file was looked at last
        if path is not None:
            self._seen = _identity(path)
            self._raw = _read(path)
            self._current = _parse(self._raw, path)

    @property
    def account(self) -> str | None:
        return self._current.account if self._current else None

    def account_of(self, sdk_key: str | None) -> str | None:
        current = self._current
        return current.account if current and sdk_key and current.sdk_key == sdk_key else None

    async def settings_for(self, account: str | None, sdk_key: str | None) -> FlagSettings:
        """Those of the file, whatever the SDK key: it may be a copy of another environment's."""
        del sdk_key
        if self._current is None:
            raise no_settings(
                "no flag settings to serve: set ACCOUNT_ID and SDK_KEY (or ACCOUNTS_FILE) to get them from VWO, or "
                "SETTINGS_FILE to a file with your account's settings, and start again"
            )
        if account and account != self._current.account:
            raise BadRequestError(
                f"a: these are the settings of account {self._current.account}; start the SDK with this accountId",
                reason="other_account",
            )
        return self._current

    async def pull(self, account: str | None, sdk_key: str | None) -> FlagSettings:
        """Read the file again; the rest of the crew is told to do so, too."""
        if self._path is not None:
            async with self._reloading:
                # Told before we read: whoever reads at this word finds what we find, or newer.
                news = self._crew.spread_news()
                outcome = await self._take_up(self._path)
                self._known_news = news
            self._reloads.labels(outcome).inc()
        return await self.settings_for(account, sdk_key)

    async def catch_up(self) -> None:
        """It counts as one reload, where it was asked for."""
        if self._path is None or self._crew.news == self._known_news:
            return
        async with self._reloading:
            news = self._crew.news
            if news != self._known_news:
                await self._take_up(self._path)
                self._known_news = news

    @property
    def current(self) -> Sequence[FlagSettings]:
        return [self._current] if self._current else []

    @property
    def trouble(self) -> list[str]:
        found = [] if self._current else ["no_settings"]
        return [*found, "bad_settings"] if self._newest_is_bad else found

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take up what is written to the file while the block runs."""
        if self._path is None:
            yield
            return
        watching = keep_running("watch over SETTINGS_FILE", functools.partial(self._watch, self._path))
        try:
            yield
        finally:
            await end(watching)

    async def _watch(self, path: Path) -> None:
        """Every process of a crew looks for itself."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if await asyncio.to_thread(_identity, path) != self._seen:
                async with self._reloading:
                    outcome = await self._take_up(path)
                if self._crew.slot == 0:  # one change is one reload
                    self._reloads.labels(outcome).inc()

    async def _take_up(self, path: Path) -> str:
        self._seen = await asyncio.to_thread(_identity, path)
        try:
            outcome = await self._read_again(path)
            self._newest_is_bad = False
        except ConfigurationError as error:
            outcome = "refused"
            self._newest_is_bad = True
            log.warning("%s; the last good copy stays", error)
        return outcome

    async def _read_again(self, path: Path) -> str:
        raw = await asyncio.to_thread(_read, path)
        if raw == self._raw:
            return "unchanged"
        self._current = await asyncio.to_thread(_parse, raw, path)
        self._raw = raw
        self.changed()
        return "changed"


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        return file_identity(path)
    except OSError:
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"SETTINGS_FILE: can't read {path}: {error.strerror or error}; name a file that this user may read",
            reason="bad_settings",
        ) from error


def _parse(raw: bytes, path: Path) -> FlagSettings:
    try:
        return parse_flag_settings(raw)
    except BadSettingsError as error:
        raise ConfigurationError(
            f"SETTINGS_FILE: {path} can't be served: {error}; it must hold the settings of a VWO account as VWO "
            "answers them at /server-side/v2-settings (examples/settings.json shows the shape)",
            reason="bad_settings",
        ) from error
