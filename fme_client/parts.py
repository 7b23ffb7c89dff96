"""What a client works with. All of it is made anew in a forked child, which must not use its parent's connections."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fme_client.aliases import Aliases
from fme_client.answers import Answers, Gateway
from fme_client.event_queue import EventQueue
from fme_client.event_sender import EventSender
from fme_client.payloads import Payloads
from fme_client.settings_keeper import SettingsKeeper
from fme_client.storage import KeptDecisions
from fme_client.transport import Transport

if TYPE_CHECKING:
    from fme_client.evaluation import Settings
    from fme_client.options import Options


class Parts:
    """Starts no thread by itself. `current` are settings that a parent process has fetched.

    `wants_user_ids`: whether the gateway has asked the parent for the ids of users.
    """

    def __init__(self, options: Options, current: Settings | None = None, *, wants_user_ids: bool = False) -> None:
        self._options = options
        self._made = time.monotonic()
        self._transport = Transport(options.base, proxies=not options.has_gateway)
        self._transport.wants_user_ids = wants_user_ids
        self._gateway = Gateway(self._transport, options)
        self.settings = SettingsKeeper(self._transport, options, self._first_settings, current)
        self.payloads = Payloads(options.account_id, options.sdk_key, options.base)
        self._sender = EventSender(self._transport, options, self._prefix)
        self.events = EventQueue(self._sender, options)
        self.aliases = Aliases(self._transport, options) if options.is_aliasing_enabled else None
        self.storage = KeptDecisions(options.storage, options.log) if options.storage else None

    def start(self) -> None:
        """Have the threads; a second call does nothing. Some versions of Python start none once the program ends."""
        self.settings.start()
        self.events.start()

    def answers(self, user_id: str, deadline: float) -> Answers:
        """For one call about one user."""
        return Answers(self._gateway, self.storage, user_id, deadline, self._options.log)

    def again(self, options: Options) -> Parts:
        """The same for a forked child: no thread, no connection, no event and no lock of the parent's."""
        return Parts(options, self.settings.current, wants_user_ids=self._transport.wants_user_ids)

    def close(self, timeout: float) -> bool:
        """Send what events there are, within `timeout` seconds; whether all were sent."""
        self.settings.close()
        done = self.events.close(timeout)
        for part in (self._sender, self._gateway, self._transport):
            part.close()
        return done

    def _first_settings(self, settings: Settings, fetch_seconds: float) -> None:
        if not settings.was_initialized_earlier:
            init_seconds = time.monotonic() - self._made
            self.events.put(self.payloads.initialised(fetch_seconds=fetch_seconds, init_seconds=init_seconds))

    def _prefix(self) -> str:
        """VWO's own host has a path in front of the events of some accounts; the settings name it."""
        settings = self.settings.current
        if self._options.has_gateway or settings is None or not settings.collection_prefix:
            return ""
        return f"/{settings.collection_prefix}"
