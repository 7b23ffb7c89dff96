"""Flag settings from VWO, for every account and SDK key that is configured, and for those that open accounts bring."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, NoReturn

from foundation.background import keep_running
from foundation.errors import BadRequestError, ConfigurationError, UnavailableError
from foundation.files import file_identity
from foundation.tasks import Tasks, end
from gateway.accounts import is_sdk_key
from gateway.environment import Environment, Means
from gateway.flag_settings import FlagSettings, ServedSettings, no_settings
from gateway.settings_copies import Copies, Folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence
    from pathlib import Path

    from foundation.crew import Crew
    from foundation.store import Store
    from gateway.accounts import Account
    from gateway.metrics import Metrics
    from gateway.upstream import Upstream

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0  # between two looks whether ACCOUNTS_FILE is another one
_START_SECONDS = 2.0  # that the start waits for VWO, so that what is served from then on is new
_WAIT_SECONDS = 5.0  # that a request waits for VWO; an SDK that gets no settings waits 14 s
_MOST_UNKNOWN_KEYS = 256  # of open accounts that are kept; the one that was not used for longest makes room
_MOST_ASKED = 16  # of them that VWO is being asked about at a time
_REFUSED_SECONDS, _FAILED_SECONDS = 60.0, 5.0  # for which VWO is not asked again about a key that brought nothing
_MOST_REFUSED = 4096


class PolledSettings(ServedSettings):
    """The settings of `accounts` (one at least). `interval`: seconds between two looks at VWO.

    `accounts_file`: those that are written there while it runs take the place of `accounts`, read by `read_accounts`.
    `default`: account and SDK key of those who name none, where there are such. `upstream` is closed at the end.
    """

    def __init__(
        self,
        accounts: Sequence[Account],
        *,
        accounts_file: Path | None,
        read_accounts: Callable[[], Sequence[Account]],
        default: tuple[str | None, str | None],
        upstream: Upstream,
        interval: float,
        store: Store,
        data_dir: Path,
        metrics: Metrics,
        crew: Crew,
    ) -> None:
        super().__init__()
        self._accounts_file = accounts_file
        self._read_accounts = read_accounts
        self._seen = _identity(accounts_file)
        self._newest_accounts_are_bad = False
        self._named_account, self._default_key = default
        self._take_accounts(accounts)
        self._upstream = upstream
        self._crew = crew
        self._known_news = crew.news
        self._catching_up = asyncio.Lock()
        self._copies = Copies(store, data_dir)
        shared = Folder(crew.directory / "settings") if crew.directory is not None else None
        self._means = Means(self._upstream, self._copies, shared, crew, metrics, interval, self.changed)
        self._environments = {
            key: Environment(account.id, key, self._means, is_configured=True)
            for account in accounts
            for key in account.sdk_keys
        }
        self._asked: dict[str, asyncio.Task[Environment]] = {}  # unknown keys that VWO is asked about
        self._refused: dict[str, tuple[float, bool]] = {}  # until when, and whether VWO said so
        self._tasks = Tasks(lambda error: log.debug("no settings: %s", type(error).__name__))
        self._following: dict[str, asyncio.Task[NoReturn]] = {}
        self._watching: list[asyncio.Task[NoReturn]] = []

    @property
    def configured_accounts(self) -> Collection[str]:
        return self._accounts

    @property
    def account(self) -> str | None:
        return self._default_account

    def account_of(self, sdk_key: str | None) -> str | None:
        found = self._environments.get(sdk_key) if sdk_key else None
        return None if found is None else found.account

    async def settings_for(self, account: str | None, sdk_key: str | None) -> FlagSettings:
        environment = await self._find(account, sdk_key)
        if environment.current is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(environment.was_tried.wait(), _WAIT_SECONDS)
        return _settings_of(environment)

    async def pull(self, account: str | None, sdk_key: str | None) -> FlagSettings:
        environment = await self._find(account, sdk_key)
        asking = self._tasks.begin(environment.refresh(pulled=True))
        await asyncio.wait([asking], timeout=_WAIT_SECONDS)
        return _settings_of(environment)

    async def catch_up(self) -> None:
        if self._crew.news == self._known_news:
            return
        async with self._catching_up:
            news = self._crew.news
            if news != self._known_news:
                await asyncio.gather(*(environment.catch_up() for environment in self._environments.values()))
                self._known_news = news

    @property
    def current(self) -> Sequence[FlagSettings]:
        found = (environment.current for environment in self._environments.values())
        return [settings for settings in found if settings is not None]

    @property
    def trouble(self) -> list[str]:
        environments = [environment for environment in self._environments.values() if environment.is_configured]
        found = {
            "no_settings": any(environment.current is None for environment in environments),
            "bad_settings": any(environment.newest_is_bad for environment in environments),
            "bad_accounts": self._newest_accounts_are_bad,
            "unknown_sdk_key": any(environment.is_refused for environment in environments),
            "vwo_unreachable": any(environment.is_out_of_touch for environment in environments),
        }
        return [*(name for name, holds in found.items() if holds), *self._copies.trouble]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        environments = list(self._environments.values())
        try:
            await self._copies.prune({environment.tag for environment in environments})
            await asyncio.gather(*(environment.start() for environment in environments))
            for environment in environments:
                self._follow(environment)
            if environments:
                tried = [self._tasks.begin(environment.was_tried.wait()) for environment in environments]
                await asyncio.wait(tried, timeout=_START_SECONDS)
            if self._accounts_file is not None:
                self._watching.append(keep_running("watch over ACCOUNTS_FILE", self._watch_accounts))
            yield
        finally:
            await end(*self._watching, *self._following.values())
            await self._tasks.end()
            await self._upstream.aclose()

    def _take_accounts(self, accounts: Sequence[Account]) -> None:
        self._accounts = {account.id: account for account in accounts}
        only = next(iter(self._accounts)) if len(self._accounts) == 1 else None
        self._default_account = self._named_account if self._named_account in self._accounts else only

    async def _watch_accounts(self) -> None:
        """Every process of a crew looks for itself."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            seen = await asyncio.to_thread(_identity, self._accounts_file)
            if seen == self._seen:
                continue
            self._seen = seen
            try:
                accounts = await asyncio.to_thread(self._read_accounts)
            except ConfigurationError as error:
                self._newest_accounts_are_bad = True
                log.warning("%s; the accounts stay as they were", error)
                continue
            self._newest_accounts_are_bad = False
            if accounts:
                await self._change_accounts(accounts)

    async def _change_accounts(self, accounts: Sequence[Account]) -> None:
        """Whose SDK keys are not named any more is not served any more, unless the account is open."""
        owners = {key: account.id for account in accounts for key in account.sdk_keys}
        added = [
            Environment(account, key, self._means, is_configured=True)
            for key, account in owners.items()
            if key not in self._environments or self._environments[key].account != account
        ]
        await asyncio.gather(*(environment.start() for environment in added))
        # From here to the last change nothing is awaited: requests see all of what was, or all of what is.
        self._take_accounts(accounts)
        gone = []
        for key, environment in list(self._environments.items()):
            owner = self._accounts.get(environment.account)
            environment.is_configured = owners.get(key) == environment.account
            if not environment.is_configured and (key in owners or owner is None or not owner.is_open):
                del self._environments[key]
                gone.append(self._following.pop(key))
        self._refused.clear()
        for environment in added:
            if environment.sdk_key not in self._environments:
                self._environments[environment.sdk_key] = environment
                self._follow(environment)
        log.info("ACCOUNTS_FILE changed: %d accounts, %d SDK keys", len(accounts), len(owners))
        self.changed()
        await end(*gone)

    def _follow(self, environment: Environment) -> None:
        name = f"settings of account {environment.account}"
        self._following[environment.sdk_key] = keep_running(name, environment.follow)

    async def _find(self, account: str | None, sdk_key: str | None) -> Environment:
        environment = self._environments.get(sdk_key) if sdk_key else self._default_of(account)
        if environment is None:
            return await self._find_unknown(account, sdk_key or "")
        if account and account != environment.account:
            raise BadRequestError(
                "a: this SDK key belongs to another account; start the SDK with the accountId that goes with it",
                reason="other_account",
            )
        environment.used_at = time.monotonic()
        return environment

    def _default_of(self, account: str | None) -> Environment:
        owner = self._owner(account)
        if self._default_key in owner.sdk_keys:
            return self._environments[self._default_key]
        if len(owner.sdk_keys) != 1:
            raise BadRequestError("i: give the SDK key; several of the account are served", reason="no_sdk_key")
        return self._environments[owner.sdk_keys[0]]

    def _owner(self, account: str | None) -> Account:
        account = account or self._default_account
        if account is None:
            raise BadRequestError("a: give the account id; this gateway serves several", reason="no_account")
        if account not in self._accounts:
            raise BadRequestError(
                "a: this gateway does not serve the account; see ACCOUNT_ID and ACCOUNTS_FILE", reason="unknown_account"
            )
        return self._accounts[account]

    async def _find_unknown(self, account: str | None, sdk_key: str) -> Environment:
        """The environment of a key that nobody configured, where its account is open and VWO knows it."""
        owner = self._owner(account)
        if not owner.is_open or not is_sdk_key(sdk_key):
            raise _unknown_key()
        until, is_refusal = self._refused.get(sdk_key, (0.0, False))
        if time.monotonic() < until:
            raise (
                _unknown_key() if is_refusal else no_settings("VWO could not be asked about this SDK key a moment ago")
            )
        asking = self._asked.get(sdk_key)
        if asking is None:
            if len(self._asked) >= _MOST_ASKED:
                raise no_settings("VWO is being asked about too many SDK keys at once; try again in a moment")
            asking = self._asked[sdk_key] = self._tasks.begin(self._ask_about(owner.id, sdk_key))
            asking.add_done_callback(lambda _: self._asked.pop(sdk_key, None))
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                return await asyncio.shield(asking)
        except TimeoutError:
            raise _nothing_yet() from None

    async def _ask_about(self, account: str, sdk_key: str) -> Environment:
        environment = Environment(account, sdk_key, self._means, is_configured=False)
        await environment.start()
        if environment.current is None:
            await environment.refresh(pulled=False)
        if environment.current is None:
            is_refusal = environment.is_refused or environment.newest_is_bad
            if len(self._refused) >= _MOST_REFUSED:
                self._refused.clear()
            pause = _REFUSED_SECONDS if is_refusal else _FAILED_SECONDS
            self._refused[sdk_key] = time.monotonic() + pause, is_refusal
            raise (_unknown_key() if is_refusal else _nothing_yet())
        await self._make_room()
        self._environments[sdk_key] = environment
        self._follow(environment)
        self.changed()
        return environment

    async def _make_room(self) -> None:
        unknown = [environment for environment in self._environments.values() if not environment.is_configured]
        if len(unknown) >= _MOST_UNKNOWN_KEYS:
            oldest = min(unknown, key=lambda environment: environment.used_at)
            del self._environments[oldest.sdk_key]
            self._following.pop(oldest.sdk_key).cancel()
            await self._copies.drop(oldest.tag)


def _identity(path: Path | None) -> tuple[int, ...] | None:
    with contextlib.suppress(OSError):
        return None if path is None else file_identity(path)
    return None


def _settings_of(environment: Environment) -> FlagSettings:
    if environment.current is not None:
        return environment.current
    if environment.is_refused:
        raise BadRequestError(
            "i: VWO does not know this SDK key of the account; see ACCOUNT_ID, SDK_KEY and ACCOUNTS_FILE",
            reason="unknown_sdk_key",
        )
    raise _nothing_yet()


def _nothing_yet() -> UnavailableError:
    return no_settings("VWO has not answered with settings yet, and none are kept; the gateway's log says why")


def _unknown_key() -> BadRequestError:
    return BadRequestError(
        "i: no such SDK key here; see SDK_KEY and ACCOUNTS_FILE, where an account may be open to others",
        reason="unknown_sdk_key",
    )
