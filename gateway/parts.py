"""The parts that the settings choose between."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING

from foundation.errors import ConfigurationError
from gateway.accounts import configured_accounts
from gateway.file_settings import FileSettings
from gateway.geoip_download import GeoipDownload
from gateway.locations import Locations
from gateway.polled_settings import PolledSettings
from gateway.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from foundation.crew import Crew
    from foundation.store import Store
    from gateway.flag_settings import ServedSettings
    from gateway.metrics import Metrics
    from gateway.settings import GatewaySettings

log = logging.getLogger(__name__)


def configured_ids(settings: GatewaySettings) -> set[str]:
    """The accounts that the environment names. Raises `ConfigurationError`."""
    accounts = configured_accounts(settings.account_id, settings.sdk_key, settings.accounts_file)
    return {account.id for account in accounts} | ({settings.account_id} if settings.account_id else set())


def served_settings(settings: GatewaySettings, store: Store, metrics: Metrics, crew: Crew) -> ServedSettings:
    """What SDKs start with: from the file, else from VWO. Raises `ConfigurationError`."""
    read_accounts = functools.partial(
        configured_accounts, settings.account_id, settings.sdk_key, settings.accounts_file
    )
    accounts = []
    if settings.settings_file is None:
        accounts = read_accounts()
    elif settings.sdk_key is not None or settings.accounts_file is not None:
        log.warning("SETTINGS_FILE is set, so nothing is fetched from VWO for SDK_KEY and ACCOUNTS_FILE")
    if not accounts:
        return FileSettings(settings.settings_file, metrics, crew)
    return PolledSettings(
        accounts,
        accounts_file=settings.accounts_file,
        read_accounts=read_accounts,
        default=(settings.account_id, settings.sdk_key),
        upstream=Upstream(settings.vwo_base_url, patience=settings.socket_timeout),
        interval=settings.polling_time / 1000,
        store=store,
        data_dir=settings.data_dir,
        metrics=metrics,
        crew=crew,
    )


class Geography:
    """`locations`, and what keeps their database new where that is wanted. Raises `ConfigurationError`."""

    def __init__(self, settings: GatewaySettings, crew: Crew) -> None:
        self._crew = crew
        self._download: GeoipDownload | None = None
        folder = settings.data_dir / "geoip"
        path = settings.geoip_database
        user_id, license_key = settings.maxmind_user_id, settings.maxmind_license_key
        if (user_id is None) != (license_key is None):
            missing = "MAXMIND_USER_ID" if user_id is None else "MAXMIND_LICENSE_KEY"
            raise ConfigurationError(f"{missing}: set it too; MaxMind wants the account id and the license key")
        if path is None and user_id is not None and license_key is not None:
            path = folder / f"{settings.maxmind_edition}.mmdb"
            self._download = GeoipDownload(
                path,
                user_id=user_id,
                license_key=license_key,
                base=settings.maxmind_base_url,
                edition=settings.maxmind_edition,
            )
        self.locations = Locations(path, scratch=folder)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """One of a crew fetches; all see the new file."""
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.locations.running())
            if self._download is not None and self._crew.slot == 0:
                await stack.enter_async_context(self._download.running())
            yield
