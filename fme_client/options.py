"""The options of `init`, read once and checked. Python's spellings and those of the Node SDK mean the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from fme_client.errors import OptionError
from fme_client.logs import LEVELS, Log, Sink, to_console, to_logger
from fme_client.reading import Fields, Read, Wrong, flag, function, kind_of, mapping, number, text, whole
from fme_client.storage import Storage, read_storage

Callback = Callable[[dict[str, Any]], object]
FlushCallback = Callable[[Exception | None, dict[str, Any]], object]

VWO: Final = "https://dev.visualwebsiteoptimizer.com"
MOST_EVENTS_PER_REQUEST: Final = 5000  # VWO's own limit
LONGEST_SECONDS: Final = 30 * 86400  # of any wait; some systems know none beyond 49 days

_ELSEWHERE = {
    "client_storage": "it is for browsers",
    "proxy_url": "it is for browsers (HTTPS_PROXY of the environment is heeded where there is no gateway_service)",
    "edge_config": "it is for edge workers (should_wait_for_tracking_calls has events sent before a call returns)",
    "threading": "events are always sent in the background",
    "network": "this package makes its requests itself",
    "segmentation": "this package evaluates segments itself",
    "vwo_builder": "it is the Node SDK's own",
}


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """How often an event is sent again, the first time after `initial_delay` seconds, then each time later."""

    should_retry: bool = True
    max_retries: int = 3
    initial_delay: float = 2
    backoff_multiplier: float = 2


@dataclass(frozen=True, slots=True)
class BatchEventData:
    """Events go out together: so many, or what there is after so many seconds.

    `flush_callback` is called with an exception or None, and the batch as it was posted: `{"ev": [...]}`.
    """

    events_per_request: int = 100
    request_time_interval: float = 600
    flush_callback: FlushCallback | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What `init` was told, complete. Times are in seconds."""

    account_id: str
    sdk_key: str
    base: str  # of the gateway, or VWO's own
    has_gateway: bool
    log: Log
    poll_interval: float | None
    deadline: float
    init_timeout: float
    max_queued_events: int
    storage: Storage | None
    callback: Callback | None
    batch: BatchEventData | None
    retry: RetryConfig
    is_aliasing_enabled: bool
    settings: Mapping[str, Any] | None
    waits_for_tracking_calls: bool
    is_development_mode: bool


def read_options(given: Mapping[str, Any]) -> Options:
    """Raises `OptionError`, which names the option and says how to mend it."""
    fields = Fields(given)
    gateway = fields.take("gateway_service", _gateway, "")
    found = Options(
        account_id=fields.need("account_id", _account, "give the number of your VWO account"),
        sdk_key=fields.need("sdk_key", text, "give the SDK key of your environment"),
        base=gateway or VWO,
        has_gateway=bool(gateway),
        log=fields.take("logger", _logger, None) or Log([to_logger(logging.getLogger("fme_client"))]),
        poll_interval=fields.take("poll_interval", _milliseconds(1000), None),
        deadline=fields.take("deadline", _milliseconds(1), 0.5),
        init_timeout=fields.take("init_timeout", _milliseconds(0), 5.0),
        max_queued_events=fields.take("max_queued_events", whole(1, "events"), 10_000),
        storage=fields.take("storage", read_storage, None),
        callback=fields.take("integrations", _integrations, None),
        batch=fields.take("batch_event_data", _batch, None),
        retry=fields.take("retry_config", _retry, RetryConfig()),
        is_aliasing_enabled=fields.take("is_aliasing_enabled", flag, default=False),
        settings=fields.take("settings", mapping, None),
        waits_for_tracking_calls=fields.take("should_wait_for_tracking_calls", flag, default=False),
        is_development_mode=fields.take("is_development_mode", flag, default=False),
    )
    fields.take("is_usage_stats_disabled", flag, default=True)  # without effect: none are ever sent
    fields.nothing_else(_ELSEWHERE)
    if found.is_aliasing_enabled and not found.has_gateway:
        raise OptionError("is_aliasing_enabled needs a gateway, which keeps the aliases: give gateway_service too")
    return found


def _account(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(value)


def _milliseconds(least: float) -> Read[float]:
    read = number(least, "milliseconds", most=LONGEST_SECONDS * 1000)
    return lambda value: read(value) / 1000


def _gateway(value: object) -> str:
    """`scheme://host[:port]`, from a mapping as the Node SDK takes it, or from an address alone."""
    fields = Fields({"url": value} if isinstance(value, str) else value, "gateway_service.")
    url = fields.need("url", text, "give the gateway's address, such as http://127.0.0.1:8000")
    protocol = fields.take("protocol", _protocol, "https")
    port = fields.take("port", _port, None)
    fields.nothing_else({})
    parts = urlsplit(url if "://" in url else f"{protocol}://{url}")
    try:
        scheme, host, port = _protocol(parts.scheme), parts.hostname, parts.port or port
    except ValueError as error:
        raise OptionError(f"gateway_service.url can't be read ({error}): give http://host:port") from None
    if not host:
        raise OptionError("gateway_service.url names no host: give http://host:port")
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}" if port else f"{scheme}://{name}"


def _protocol(value: object) -> str:
    if value not in ("http", "https"):
        raise Wrong("must be http or https")
    return str(value)


def _port(value: object) -> int | None:
    read = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(read, int) or isinstance(read, bool) or not 0 < read < 65536:  # noqa: PLR2004 - ports of TCP
        raise Wrong("must be a number from 1 to 65535")
    return read


def _integrations(value: object) -> Callback | None:
    fields = Fields(value, "integrations.")
    callback = fields.take("callback", function, None)
    fields.nothing_else({})
    return callback


def _batch(value: object) -> BatchEventData:
    fields = Fields(value, "batch_event_data.")
    events = fields.take("events_per_request", whole(1, "events"), None)
    seconds = fields.take("request_time_interval", number(1, "seconds", most=LONGEST_SECONDS), None)
    callback = fields.take("flush_callback", function, None)
    fields.nothing_else({})
    if events is None and seconds is None:
        raise Wrong("needs events_per_request, request_time_interval (seconds), or both")
    if events is not None and events > MOST_EVENTS_PER_REQUEST:
        raise OptionError(f"batch_event_data.events_per_request must be {MOST_EVENTS_PER_REQUEST} at most")
    default = BatchEventData()
    return BatchEventData(events or default.events_per_request, seconds or default.request_time_interval, callback)


def _retry(value: object) -> RetryConfig:
    fields = Fields(value, "retry_config.")
    default = RetryConfig()
    found = RetryConfig(
        should_retry=fields.take("should_retry", flag, default.should_retry),
        max_retries=fields.take("max_retries", whole(1, "retries"), default.max_retries),
        initial_delay=fields.take("initial_delay", number(1, "seconds", most=LONGEST_SECONDS), default.initial_delay),
        backoff_multiplier=fields.take("backoff_multiplier", number(2, "times"), default.backoff_multiplier),
    )
    fields.nothing_else({})
    return found


def _logger(value: object) -> Log:
    """A `logging.Logger`, or what the Node SDK takes: `level` and `prefix`, `transport`, `transports`."""
    if isinstance(value, logging.Logger):
        return Log([to_logger(value)])
    fields = Fields(value, "logger.")
    level = fields.take("level", _level, "error")
    prefix = fields.take("prefix", text, "VWO-SDK")
    several = fields.take("transports", _transports, None)
    one = fields.take("transport", _transport, None)
    fields.nothing_else({})
    return Log(several or ([one] if one else [to_console(level, prefix)]))


def _level(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in LEVELS:
        raise Wrong(f"must be one of {', '.join(level.upper() for level in LEVELS)}")
    return value.lower()


def _transports(value: object) -> list[Sink]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise Wrong(f"must be a list of transports, not {kind_of(value)}")
    return [_transport(transport) for transport in value]


def _transport(value: object) -> Sink:
    """`{"level": ..., "log": function(level, message)}`, or an object with these."""
    given = (
        value
        if isinstance(value, Mapping)
        else {"level": getattr(value, "level", None), "log": getattr(value, "log", None)}
    )
    fields = Fields(given, "logger.transport.")
    level = fields.take("level", _level, "error")
    log = fields.take("log", function, None)
    if log is None:
        raise Wrong("needs log, a function of (level, message)")
    return LEVELS[level], log
