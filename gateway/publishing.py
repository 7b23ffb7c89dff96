"""Keeps what is published of the served settings as they are, as soon as they change and once an hour."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from typing import TYPE_CHECKING, NamedTuple

from fme_client.evaluation import SettingsError
from foundation.background import keep_running
from foundation.pauses import Pauses
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.tasks import end
from gateway.published_settings import campaigns, document_of, references
from gateway.settings_copies import tag_of
from published.campaigns import Campaign, Campaigns
from published.references import Reference, References

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from foundation.crew import Crew
    from foundation.store import Store
    from gateway.flag_settings import FlagSettings, ServedSettings

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 3600.0
_LONGEST_PAUSE = 10.0
_LOOK_SECONDS = 2.0  # between looks whether the store still has it, and whether another process found new settings


class _Published(NamedTuple):
    """What is published of `settings`, and when that was done; before that `at` is minus infinity."""

    settings: FlagSettings
    campaigns: Mapping[str, Campaign]
    references: Sequence[Reference]
    at: float


class Publishing:
    """Of a crew, the process in slot 0 does it."""

    def __init__(self, served: ServedSettings, store: Store, crew: Crew) -> None:
        self._served = served
        self._campaigns = Campaigns(store)
        self._references = References(store)
        self._crew = crew
        self._done: dict[str, _Published] = {}  # by environment
        self._refused: dict[str, FlagSettings] = {}
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish while the block runs."""
        if self._crew.slot:
            yield
            return
        self._served.when_changed.append(self._changed.set)
        publishing = keep_running("publication of settings", self._keep_publishing)
        try:
            yield
        finally:
            self._served.when_changed.remove(self._changed.set)
            await end(publishing)

    async def _keep_publishing(self) -> None:
        pauses, fails = Pauses(0.2, _LONGEST_PAUSE), False
        while True:
            self._changed.clear()
            pause = _LOOK_SECONDS
            try:
                await self._served.catch_up()
                await self._publish_all()
                pauses, fails = Pauses(0.2, _LONGEST_PAUSE), False
            except STORE_ERRORS as error:
                if not fails:
                    log.warning("the names of flags and campaigns can't be published: %s; trying again", explain(error))
                pause, fails = pauses.next(), True
            except Exception:
                log.exception("the names of flags and campaigns can't be published")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause)

    async def _publish_all(self) -> None:
        current = {tag_of(found.account, found.sdk_key or ""): found for found in self._served.current}
        for known in (self._done, self._refused):
            for tag in known.keys() - current.keys():
                del known[tag]
        for tag, settings in current.items():
            await self._publish(tag, settings)

    async def _publish(self, tag: str, settings: FlagSettings) -> None:
        done = self._done.get(tag)
        if done is not None and done.settings is settings:
            is_old = done.at < time.monotonic() - _AGAIN_SECONDS
            if not is_old and await self._references.has(settings.account, tag):
                return
        elif self._refused.get(tag) is settings:
            return
        else:
            try:
                done = self._done[tag] = await asyncio.to_thread(_read, settings)  # large ones take a while
            except SettingsError as error:
                log.warning("nothing of the settings of %s is published, since no SDK can use them: %s", tag, error)
                self._refused[tag] = settings
                return
        await self._campaigns.publish(settings.account, done.campaigns)
        await self._references.publish(settings.account, tag, done.references)
        self._done[tag] = done._replace(at=time.monotonic())


def _read(settings: FlagSettings) -> _Published:
    document = document_of(settings.body)
    return _Published(settings, campaigns(document), list(references(document)), -math.inf)
