"""The client: what an application calls."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, overload

from fme_client import living
from fme_client.contexts import read_context, read_id
from fme_client.errors import ContextError, FmeClientError, OptionError
from fme_client.evaluation import SettingsError, decide
from fme_client.failures import unforeseen
from fme_client.flag import Flag
from fme_client.options import read_options
from fme_client.parts import Parts
from fme_client.reading import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from fme_client.evaluation import Context, Decision, Settings
    from fme_client.options import Options
    from fme_client.payloads import Event

Attribute = str | int | float | bool

FLUSH_SECONDS = 10.0


def init(options: Mapping[str, Any] | None = None, /, **more: Any) -> Client:
    """A client that is ready, or becomes so as soon as it gets settings; docs/python-client.md has all options.

    It waits for the first settings, `init_timeout` milliseconds at most, and goes on without them: every flag is off
    until they come. Raises `OptionError` for an option that is missing, unknown or wrong.
    """
    if options is not None and not isinstance(options, Mapping):
        raise OptionError(f"options must be a mapping or keyword arguments, not {kind_of(options)}")
    return Client(read_options({**(options or {}), **more}))


class Client:
    """Safe to use from any thread, and after a fork. `with init(...) as client:` destroys it at the end.

    No call raises for what the network does, or for a wrong argument: what goes wrong is logged. No call waits for
    events to be sent, but for `flush`, and where `should_wait_for_tracking_calls` asks for it.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._log = options.log
        self._parts = Parts(options)
        self._destroyed = False
        if options.settings is not None:
            try:
                self._parts.settings.take(options.settings)
            except SettingsError as error:
                raise OptionError(f"settings can't be used: {error}") from error
        living.add(self)
        self._parts.start()
        if not self._parts.settings.wait(options.init_timeout):
            self._log.complain("not_ready", "no settings yet: every flag is off until they come")

    @property
    def is_ready(self) -> bool:
        """Whether there are settings to decide with."""
        return self._parts.settings.current is not None

    def wait_until_ready(self, timeout: float) -> bool:
        """Wait for settings, `timeout` seconds at most; whether there are some."""
        self._parts.start()
        return self._parts.settings.wait(timeout)

    @property
    def dropped_events(self) -> Mapping[str, int]:
        """How many were lost, by reason: `queue_full`, `undeliverable`, `refused`, `closed`, `unserialisable`."""
        return self._parts.events.dropped

    @property
    def queued_events(self) -> int:
        """Events that wait to be sent."""
        return self._parts.events.waiting

    @property
    def sent_events(self) -> int:
        """Events that the server has taken."""
        return self._parts.events.sent

    def get_flag(self, feature_key: str, context: Mapping[str, Any] | Context) -> Flag:
        """The flag for this user; off where anything is wrong.

        The network takes `deadline` milliseconds of it at most, a `storage` as long as it takes.
        """
        return next(iter(self.get_flags([feature_key], context).values()), Flag())

    def get_flags(self, feature_keys: Iterable[str], context: Mapping[str, Any] | Context) -> dict[str, Flag]:
        """Several flags for one user by their keys, within one deadline.

        Each membership is asked once, and what several flags want to know is asked at the same time.
        """
        deadline = time.monotonic() + self._options.deadline
        flags: dict[str, Flag] = {}
        with self._logged("get_flag", "; the flag is off"):
            flags = dict.fromkeys(_keys(feature_keys), Flag())
            settings, user = self._begin(context, deadline)
            for key, decision in self._decide(settings, flags, user, deadline).items():
                flags[key] = Flag(enabled=decision.is_enabled, variables=decision.variables)
        return flags

    def track_event(
        self,
        event_name: str,
        context: Mapping[str, Any] | Context,
        event_properties: Mapping[str, Any] | None = None,
    ) -> dict[str, bool]:
        """Tell VWO that something happened; whether it was taken, as `{event_name: True}`.

        It is taken where a metric of some flag has this name.
        """
        taken = False
        with self._logged("track_event"):
            settings, user = self._begin(context)
            if not isinstance(event_name, str):
                raise ContextError(f"event_name must be a string, not {kind_of(event_name)}")
            if event_name not in settings.event_names:
                raise ContextError("event_name is not the name of any flag's metric: check it in VWO's dashboard")
            if not isinstance(event_properties, (Mapping, type(None))):
                raise ContextError(f"event_properties must be a mapping, not {kind_of(event_properties)}")
            write = partial(self._parts.payloads.custom_event, user, event_name, event_properties or {})
            taken = self._put("track_event", write)
            if taken:
                self._wait_for_events()
                self._call_back(lambda: {"eventName": event_name, "api": "trackEvent"})
        return {event_name if isinstance(event_name, str) else kind_of(event_name): taken}

    @overload
    def set_attribute(self, attribute: str, value: Attribute, context: Mapping[str, Any] | Context, /) -> bool: ...

    @overload
    def set_attribute(self, attributes: Mapping[str, Attribute], context: Mapping[str, Any] | Context, /) -> bool: ...

    def set_attribute(self, attribute: Any, value: Any, context: Any = None, /) -> bool:
        """Tell VWO one attribute of a user, or several as a mapping; whether it was taken."""
        taken = False
        with self._logged("set_attribute"):
            settings, user = self._begin(context or value if isinstance(attribute, Mapping) else context)
            attributes = _attributes(attribute, value)
            write = partial(self._parts.payloads.attributes, user, attributes, settings.sdk_key)
            taken = self._put("set_attribute", write)
            self._wait_for_events()
        return taken

    def set_alias(self, context_or_user_id: Mapping[str, Any] | Context | str, alias_id: str) -> bool:
        """Have the gateway keep that `alias_id` is this user too; whether it does."""
        with self._logged("set_alias"):
            if self._parts.aliases is None:
                raise ContextError("aliases are not in use: give init is_aliasing_enabled=True and gateway_service")
            whole = context_or_user_id
            user_id = read_id(whole.strip(), "user_id") if isinstance(whole, str) else read_context(whole).id.strip()
            self._parts.aliases.set(user_id, read_id(alias_id, "alias_id").strip())
            return True
        return False

    def update_settings(self, settings: Mapping[str, Any] | None = None, is_via_webhook: bool = True) -> bool:
        """Decide with these settings from now on, or fetch them; whether good ones are in use.

        Call it without settings when VWO's webhook tells that they changed.
        """
        with self._logged("update_settings", "; the old ones stay"):
            if settings:
                self._parts.settings.take(settings)
            else:
                self._parts.settings.fetch(pulled=is_via_webhook)
            return True
        return False

    def flush(self, timeout: float = FLUSH_SECONDS) -> bool:
        """Send the events that wait, now; False where that failed or takes longer than `timeout` seconds."""
        return self._parts.events.flush(timeout)

    def flush_events(self) -> dict[str, Any]:
        """`flush`, answering as the Node SDK does."""
        return {"status": "success" if self.flush() else "error", "events": []}

    def destroy(self, timeout: float = FLUSH_SECONDS) -> bool:
        """Send what events there are and end all threads; whether everything was sent. All flags are off afterwards."""
        living.remove(self)
        self._destroyed = True
        return self._parts.close(timeout)

    def after_fork(self) -> None:
        """Start over in a forked child; called by itself. The parent keeps the events that wait, and sends them."""
        self._log = self._log.fork()
        self._options = replace(self._options, log=self._log)
        self._destroyed = True  # where the following fails: connections of the parent are not ours to use
        with self._logged("fork", "; every flag is off in this process"):
            self._parts = self._parts.again(self._options)
            self._destroyed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.destroy()

    def _begin(self, context: object, deadline: float | None = None) -> tuple[Settings, Context]:
        """The settings to go by, and the user, whom an alias may stand for. Raises `FmeClientError`."""
        user = read_context(context)
        if self._destroyed:
            raise FmeClientError("the client was destroyed")
        self._parts.start()  # a forked child's
        current = self._parts.settings.current
        if current is None:
            raise FmeClientError("there are no settings yet")
        if self._parts.aliases is not None:
            until = deadline or time.monotonic() + self._options.deadline
            user = replace(user, id=self._parts.aliases.user_of(user.id, until))
        return current, user

    def _decide(self, settings: Settings, keys: Iterable[str], user: Context, deadline: float) -> dict[str, Decision]:
        parts = self._parts
        stores = parts.storage is not None
        evaluations = {key: decide(settings, key, user, storage=stores) for key in keys}
        decisions = parts.answers(user.id, deadline).decide(evaluations)
        for key in keys:
            self._carry_out(decisions[key], user)
        self._wait_for_events()
        return decisions

    def _carry_out(self, decision: Decision, user: Context) -> None:
        """Store, send and tell what was decided."""
        parts = self._parts
        if decision.failure is not None:
            self._log.complain(f"decision_{decision.failure}", f"get_flag: the flag is off: {decision.failure}")
        if parts.storage is not None:
            for data in decision.to_store:
                parts.storage.set(data)
        for exposure in decision.exposures:
            self._put("get_flag", partial(parts.payloads.variation_shown, user, exposure))
        self._call_back(lambda: decision.integration)

    def _put(self, call: str, write: Callable[[], Event]) -> bool:
        """Queue the event that `write` makes. False where it can't be made: that costs this event, and nothing else."""
        try:
            event = write()
        except ContextError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - a value of the application's may raise anything
            why = unforeseen(error)
        else:
            self._parts.events.put(event)
            return True
        self._parts.events.drop_unserialisable(f"{call}: {why}")
        return False

    def _wait_for_events(self) -> None:
        if self._options.waits_for_tracking_calls:
            self._parts.events.settle(FLUSH_SECONDS)

    def _call_back(self, tell: Callable[[], dict[str, Any] | None]) -> None:
        """Call `integrations.callback` with what `tell` says, where it says anything."""
        if self._options.callback is not None:
            try:
                if (properties := tell()) is not None:
                    self._options.callback(properties)
            except Exception as error:  # noqa: BLE001 - the application's code, which may raise anything
                self._log.complain("integrations", f"integrations.callback raised {kind_of(error)}")

    @contextlib.contextmanager
    def _logged(self, call: str, so: str = "") -> Iterator[None]:
        """No call raises: what is wrong goes to the log."""
        try:
            yield
        except (FmeClientError, SettingsError) as error:
            self._log.complain(f"{call}_{error}", f"{call}: {error}{so}")
        except Exception as error:  # noqa: BLE001 - contexts, properties and settings are the application's
            why = unforeseen(error)
            self._log.complain(f"{call}_{why}", f"{call}: {why}{so}")

    # The Node SDK's spellings.
    getFlag = get_flag  # noqa: N815
    getFlags = get_flags  # noqa: N815
    trackEvent = track_event  # noqa: N815
    setAttribute = set_attribute  # noqa: N815
    setAlias = set_alias  # noqa: N815
    updateSettings = update_settings  # noqa: N815
    flushEvents = flush_events  # noqa: N815


def _keys(given: object) -> list[str]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ContextError(f"feature_keys must be a list of keys, not {kind_of(given)}")
    keys = list(given)
    for key in keys:
        if not isinstance(key, str):
            raise ContextError(f"feature_key must be a string, not {kind_of(key)}")
    return list(dict.fromkeys(keys))


def _attributes(attribute: object, value: object) -> Mapping[str, Attribute]:
    given: Mapping[Any, Any] = attribute if isinstance(attribute, Mapping) else {str(attribute): value}
    if not given or not isinstance(attribute, (str, Mapping)):
        raise ContextError("attribute must be a name, or a mapping of names to values with something in it")
    for name, one in given.items():
        if not isinstance(name, str):
            raise ContextError(f"an attribute's name must be a string, not {kind_of(name)}")
        if not isinstance(one, (str, int, float)):
            raise ContextError(f"an attribute's value must be a string, a number, True or False, not {kind_of(one)}")
    return given
