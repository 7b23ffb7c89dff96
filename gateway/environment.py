"""The settings of one environment (an account and an SDK key), kept new."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gateway.flag_settings import BadSettingsError, FlagSettings, parse_flag_settings
from gateway.settings_copies import tag_of
from gateway.upstream import UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from foundation.crew import Crew
    from gateway.metrics import Metrics
    from gateway.settings_copies import Copies, Folder
    from gateway.upstream import Upstream

log = logging.getLogger(__name__)

_JITTER = 0.1  # of every pause, either way, so that gateways that start together don't ask together for ever
_FIRST_PAUSE = 1.0  # seconds after a failure while there is nothing to serve; twice as long each time
_LONGEST_PAUSE = 15.0
_LONGEST_BACKOFF = 300.0  # between two looks after a failure, while there is something to serve
_MOST_DOUBLINGS = 16
_CLAIMED_PAUSE = 0.05  # another process of the crew is asking VWO
_TELLING_FAILURES = 2  # in a row; one is nothing yet


class Means(NamedTuple):
    """What all environments of a process share. `interval`: seconds between two looks at VWO.

    `shared`: copies that the processes of a crew share, where there are several.
    """

    upstream: Upstream
    copies: Copies
    shared: Folder | None
    crew: Crew
    metrics: Metrics
    interval: float
    changed: Callable[[], None]


class Environment:
    """`current` are its last good settings."""

    def __init__(self, account: str, sdk_key: str, means: Means, *, is_configured: bool) -> None:
        self.account = account
        self.sdk_key = sdk_key
        self.is_configured = is_configured
        self.tag = tag_of(account, sdk_key)
        self.current: FlagSettings | None = None
        self.was_tried = asyncio.Event()
        self.used_at = time.monotonic()
        self.is_refused = False  # VWO does not know it
        self.newest_is_bad = False
        self._means = means
        self._etag: str | None = None  # of `current`
        self._failures = 0
        self._wait = 0.0  # that VWO asked for
        self._fetching = asyncio.Lock()
        self._fetched_from = 0.0  # when the last fetch that is over began
        self._shared_body: bytes | None = None

    @property
    def is_out_of_touch(self) -> bool:
        """Whether VWO has not been heard of for a while."""
        return self._failures >= _TELLING_FAILURES and not self.is_refused

    async def start(self) -> None:
        """Begin with what was good last: the crew's copy, that of Redis, that of the disk."""
        await self.catch_up()
        await self._take_kept()

    async def _take_kept(self) -> None:
        for copy in (self._means.copies.in_redis, self._means.copies.on_disk):
            if self.current is None:
                await self._take_copy(await copy(self.tag))

    async def follow(self) -> None:
        """Ask VWO again and again, or let another process of the crew do so."""
        pause = self._pause() if self.was_tried.is_set() else 0.0
        while True:
            await asyncio.sleep(pause)
            try:
                pause = await self._turn()
            except Exception:
                log.exception("looking at the settings of %s failed", self.tag)
                pause = self._means.interval

    async def catch_up(self) -> None:
        """Take up what another process of the crew has learnt."""
        if self._means.shared is not None:
            body = await asyncio.to_thread(self._means.shared.read, self.tag)
            if body != self._shared_body:
                self._shared_body = body
                await self._take_copy(body, is_shared=True)

    async def refresh(self, *, pulled: bool) -> None:
        """Ask VWO now; who comes while somebody asks shares the next asking."""
        came = time.monotonic()
        async with self._fetching:
            if self._fetched_from < came:
                async with self._claim():
                    await self.catch_up()
                    await self._ask(pulled=pulled)

    async def _turn(self) -> float:
        """Seconds until the next one."""
        async with self._fetching, self._claim():
            await self.catch_up()
            age = None if self._means.shared is None else self._means.shared.age(self.tag)
            if age is not None and age < self._means.interval * (1 - 2 * _JITTER):
                self._failures = 0
                self.was_tried.set()
                return _jittered(self._means.interval - age)
            await self._take_kept()  # the store may have had no time for it at the start
            await self._ask(pulled=False)
        return self._pause()

    @contextlib.asynccontextmanager
    async def _claim(self) -> AsyncIterator[None]:
        """Only one process of the crew asks VWO at a time, so that an older answer never replaces a newer one."""
        shared = self._means.shared
        while shared is not None:
            with shared.claimed(self.tag) as is_ours:
                if is_ours:
                    yield
                    return
            await asyncio.sleep(_CLAIMED_PAUSE)
        yield

    async def _ask(self, *, pulled: bool) -> None:
        began = time.monotonic()
        try:
            outcome = await self._fetch(pulled=pulled)
        except UpstreamError as error:
            outcome = self._note_failure(error)
        except Exception:
            log.exception("VWO can't be asked for the settings of %s, which is a fault of ours", self.tag)
            self._failures += 1
            outcome = "failed"
        else:
            self._failures = 0
            self._wait = 0.0
        finally:
            self._fetched_from = began
            self.was_tried.set()
        self._means.metrics.settings_reloads.labels(outcome).inc()

    def _pause(self) -> float:
        interval = self._means.interval
        if not self._failures:
            return _jittered(interval)
        if self.current is None:
            backoff = min(_FIRST_PAUSE * 2 ** min(self._failures - 1, _MOST_DOUBLINGS), _LONGEST_PAUSE)
        else:
            backoff = min(interval * 2 ** min(self._failures, _MOST_DOUBLINGS), max(interval, _LONGEST_BACKOFF))
        return _jittered(max(backoff, self._wait))

    async def _fetch(self, *, pulled: bool) -> str:
        means = self._means
        try:
            fetched = await means.upstream.fetch(self.account, self.sdk_key, etag=self._etag, pulled=pulled)
            if fetched is None:
                return await self._found_unchanged()
            settings = await self._parsed(fetched.body)
        except BadSettingsError as error:
            self._note_bad(error)
            return "refused"
        self.newest_is_bad = self.is_refused = False
        self._etag = fetched.etag
        if self.current is not None and settings.body == self.current.body:
            return await self._found_unchanged()
        self._take(settings, fetched.etag)
        await self._share(settings.body)
        await means.copies.keep(self.tag, settings.body, is_configured=self.is_configured)
        return "changed"

    async def _found_unchanged(self) -> str:
        assert self.current is not None  # noqa: S101 - else there would be nothing to be the same as
        self.newest_is_bad = self.is_refused = False
        await self._share(self.current.body)
        await self._means.copies.keep_on(self.tag, self.current.body, is_configured=self.is_configured)
        return "unchanged"

    async def _share(self, body: bytes) -> None:
        """Show the crew what is right by now."""
        shared = self._means.shared
        if shared is None:
            return
        if self._shared_body == body:
            shared.touch(self.tag)
            return
        try:
            await asyncio.to_thread(shared.write, self.tag, body, lasting=False)
        except OSError as error:  # then each asks VWO by itself
            log.warning("can't share settings with the other workers: %s", error.strerror)
            return
        self._shared_body = body
        self._means.crew.spread_news()

    def _take(self, settings: FlagSettings, etag: str | None) -> None:
        self.current, self._etag = settings, etag
        log.info("settings of %s: new ones", self.tag)
        self._means.changed()

    async def _take_copy(self, body: bytes | None, *, is_shared: bool = False) -> None:
        if body is None or (self.current is not None and self.current.body == body):
            return
        try:
            settings = await self._parsed(body)
        except BadSettingsError as error:
            log.warning("a kept copy of the settings of %s is damaged and not used: %s", self.tag, error)
            return
        if not is_shared or self._shared_body is body:  # else newer ones came meanwhile
            self._take(settings, None)

    async def _parsed(self, body: bytes) -> FlagSettings:
        settings = await asyncio.to_thread(parse_flag_settings, body)
        if settings.account != self.account:
            raise BadSettingsError("accountId is another account's")
        return replace(settings, sdk_key=self.sdk_key)

    def _note_bad(self, error: BadSettingsError) -> None:
        is_news, self.newest_is_bad = not self.newest_is_bad, True
        log.log(
            logging.WARNING if is_news else logging.DEBUG,
            "VWO's answer for %s can't be served: %s; %s",
            self.tag,
            error,
            "the last good copy stays" if self.current else "there are no settings to serve yet",
        )

    def _note_failure(self, error: UpstreamError) -> str:
        self._failures += 1
        self._wait = error.wait
        self.is_refused = error.is_refusal
        if self._failures == 1 or error.is_refusal:
            log.warning(
                "no settings of %s from VWO: %s; %s",
                self.tag,
                error,
                "the last good copy is served" if self.current else "there is none to serve yet",
            )
        return "refused" if error.is_refusal else "failed"


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
