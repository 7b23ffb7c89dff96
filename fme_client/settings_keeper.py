"""The flag settings: fetched at the start, polled from then on, the last good ones kept whatever comes."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

from fme_client._version import NAME, VERSION
from fme_client.background import keep_going, start
from fme_client.errors import FmeClientError, NetworkError
from fme_client.evaluation import Settings, SettingsError
from fme_client.failures import unforeseen
from fme_client.options import LONGEST_SECONDS
from fme_client.transport import SETTINGS_LIMIT, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fme_client.options import Options
    from fme_client.transport import Transport

POLL_SECONDS = 600.0  # where neither `init` nor the settings say (the Node SDK's)
LEAST_POLL_SECONDS = 1.0
FETCH_SECONDS = 10.0
_FIRST_RETRY, _LONGEST_RETRY = 0.25, 30.0  # seconds between attempts until there are first settings

_POLLED, _PULLED = "/server-side/v2-settings", "/server-side/v2-pull"


class SettingsKeeper:
    """`current` are the settings to decide with, None until there are any.

    `on_first` is called, in the thread that got them, with the first settings that came over the network or from
    `init`, and the seconds that fetching took.
    """

    def __init__(
        self,
        transport: Transport,
        options: Options,
        on_first: Callable[[Settings, float], None],
        current: Settings | None = None,
    ) -> None:
        self.current = current
        self._transport = transport
        self._options = options
        self._log = options.log
        self._on_first = on_first
        self._raw: bytes | None = None
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._retry = _FIRST_RETRY
        if current is not None:
            self._ready.set()

    def start(self) -> None:
        """Poll from now on; at once where there are no settings yet. A second call does nothing."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._stop.is_set():
                    self._thread = start(self._run, name="fme-client-settings")

    def wait(self, timeout: float) -> bool:
        """Whether there are settings, after `timeout` seconds at most."""
        return self._ready.wait(timeout)

    def take(self, document: Mapping[str, Any], *, fetch_seconds: float = 0.0) -> None:
        """Decide with these from now on. Raises `SettingsError`; then the old ones stay."""
        settings = Settings.parse(document)
        if settings.unsupported:
            count = len(settings.unsupported)
            self._log.warn(
                f"settings: {count} conditions hold regular expressions that Python lacks, and match nothing"
            )
        with self._lock:
            is_first = self.current is None
            self.current = settings
        if is_first:
            self._on_first(settings, fetch_seconds)
        self._ready.set()

    def fetch(self, *, pulled: bool = False, seconds: float = FETCH_SECONDS) -> bool:
        """Get the settings now; whether they were new. Raises `NetworkError` and `SettingsError`."""
        started = time.monotonic()
        answer = self._transport.fetch(self._request(pulled=pulled), started + seconds)
        if answer.status != 200:  # noqa: PLR2004 - the only status with settings
            raise NetworkError("status", f"the server answered {answer.status}", status=answer.status)
        if answer.body == self._raw:
            return False
        document = answer.json()
        if not isinstance(document, dict):
            raise NetworkError("bad_answer", "the server's answer holds no settings")
        self.take(document, fetch_seconds=time.monotonic() - started)
        self._raw = answer.body
        return True

    def close(self) -> None:
        self._stop.set()

    def _request(self, *, pulled: bool) -> Request:
        parameters: dict[str, object] = {
            "i": self._options.sdk_key,
            "r": random.random(),  # noqa: S311 - against caches
            "a": self._options.account_id,
            "platform": "server",
            "sn": NAME,
            "sv": VERSION,
            "api-version": 1,
        }
        if not self._options.is_development_mode:
            parameters["s"] = "prod"
        return Request(_PULLED if pulled else _POLLED, parameters, limit=SETTINGS_LIMIT)

    def _run(self) -> None:
        keep_going(self._poll, what="settings", log=self._log, pause=self._stop.wait)

    def _poll(self) -> bool:
        """Try once, and wait; False at the end."""
        if self.current is None:
            self._try()
        delay = self._interval()
        if self.current is None:
            delay, self._retry = self._retry, min(2 * self._retry, _LONGEST_RETRY)
        if self._stop.wait(delay):
            return False
        if self.current is not None:
            self._try()
        return True

    def _try(self) -> None:
        try:
            if self.fetch():
                self._log.info("settings: new ones are in use")
            return
        except (FmeClientError, SettingsError) as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - what the server sends may be anything
            why = unforeseen(error)
        kept = "the last good ones stay in use" if self.current else "every flag is off until there are some"
        self._log.complain("settings", f"settings could not be fetched, {kept}: {why}")

    def _interval(self) -> float:
        if self._options.poll_interval is not None:
            return self._options.poll_interval
        named = self.current.poll_interval if self.current else None
        return max(min(named, LONGEST_SECONDS * 1000) / 1000, LEAST_POLL_SECONDS) if named else POLL_SECONDS
