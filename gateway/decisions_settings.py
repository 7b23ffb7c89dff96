"""The settings that decisions are made with: those that are served, compiled once for each version."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from fme_client.evaluation import Settings, SettingsError
from foundation.errors import UnavailableError
from gateway import large_json

if TYPE_CHECKING:
    from gateway.flag_settings import FlagSettings, ServedSettings

log = logging.getLogger(__name__)

_MOST_COMPILED = 64  # environments; one more is compiled again when it is asked for


class DecisionSettings:
    """Compiles what `served` has. One environment is an account and an SDK key; None stands for the default one."""

    def __init__(self, served: ServedSettings) -> None:
        self._served = served
        self._compiled: dict[tuple[str, str | None], tuple[FlagSettings, Settings]] = {}
        self._compiling = asyncio.Lock()

    async def settings_for(self, account: str | None = None, sdk_key: str | None = None) -> Settings:
        """Raises `UnavailableError` without settings that can be decided with, `BadRequestError` for unknown ones."""
        await self._served.catch_up()
        found = await self._served.settings_for(account or None, sdk_key or None)
        name = found.account, found.sdk_key
        known = self._compiled.get(name)
        if known is not None and known[0] is found:
            return known[1]
        async with self._compiling:
            known = self._compiled.get(name)
            if known is None or known[0] is not found:
                # Large settings take a second; the checks of others go on meanwhile.
                known = found, await asyncio.to_thread(_compile, found.body)
                if len(self._compiled) >= _MOST_COMPILED:
                    self._compiled.clear()
                self._compiled[name] = known
        return known[1]


def _compile(body: bytes) -> Settings:
    try:
        settings = Settings.parse(large_json.decode(body))
    except SettingsError as error:
        raise UnavailableError(
            f"the served settings can't be decided with: {error}; publish them again in VWO, or mend SETTINGS_FILE",
            reason="bad_settings",
        ) from None
    if settings.unsupported:
        log.warning(
            "%d regular expressions in the settings can't be evaluated: they match nobody", len(settings.unsupported)
        )
    return settings
