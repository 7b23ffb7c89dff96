"""`init` tells what is wrong with its options, and how to mend it; Node's spellings are as good as Python's."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fme_client import OptionError, init
from fme_client.options import read_options

IDENTITY = {"account_id": "123456", "sdk_key": "any text at all: ключ"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"sdk_key": "k"}, "account_id is missing: give the number of your VWO account"),
        ({"account_id": 1, "sdk_key": ""}, "sdk_key is missing"),
        ({"account_id": 1, "sdk_key": 5}, "sdk_key must be a string"),
        ({"account_id": 1.5, "sdk_key": "k"}, "account_id must be a string"),
        ({"poll_intervall": 1000}, "poll_intervall is no option: did you mean poll_interval?"),
        ({"pollInterval": 10}, "poll_interval must be a number of milliseconds, 1000 or more"),
        ({"deadline": "soon"}, "deadline must be a number of milliseconds"),
        ({"deadline": 0.5}, "deadline must be a number of milliseconds, 1 or more"),
        ({"deadline": True}, "deadline must be a number"),
        ({"deadline": 10**13}, "deadline must be a number of milliseconds, 1 or more, 2592000000 at most"),
        ({"poll_interval": 10**400}, "poll_interval must be a number of milliseconds, 1000 or more, 2592000000 at"),
        ({"retry_config": {"initialDelay": 1e12}}, "initial_delay must be a number of seconds, 1 or more, 2592000 at"),
        ({"batch_event_data": {"requestTimeInterval": 1e12}}, "request_time_interval must be a number of seconds"),
        ({"poll_interval": float("nan")}, "poll_interval must be a number"),
        ({"accountId": 1}, "account_id is given twice"),
        ({"gateway_service": {"port": 8000}}, "gateway_service.url is missing"),
        ({"gateway_service": {"url": "http://", "port": 8000}}, "gateway_service.url names no host"),
        ({"gateway_service": {"url": "h", "protocol": "ftp"}}, "gateway_service.protocol must be http or https"),
        ({"gateway_service": {"url": "http://h:99999"}}, "gateway_service.url can't be read"),
        ({"gateway_service": {"url": "h", "port": "many"}}, "gateway_service.port must be a number from 1 to 65535"),
        ({"gateway_service": 8000}, "gateway_service must be a mapping"),
        ({"is_aliasing_enabled": True}, "is_aliasing_enabled needs a gateway"),
        ({"is_aliasing_enabled": "yes", "gateway_service": "http://h"}, "is_aliasing_enabled must be True or False"),
        ({"storage": {}}, "storage must be an object with get(feature_key, user_id) and set(data)"),
        ({"integrations": {"callback": "call me"}}, "integrations.callback must be callable"),
        ({"batch_event_data": {}}, "batch_event_data needs events_per_request"),
        ({"batch_event_data": {"eventsPerRequest": 0}}, "batch_event_data.events_per_request must be a whole number"),
        ({"batch_event_data": {"eventsPerRequest": 5001}}, "events_per_request must be 5000 at most"),
        ({"retry_config": {"maxRetries": 0}}, "retry_config.max_retries must be a whole number of retries, 1 or more"),
        ({"retry_config": {"retries": 3}}, "retry_config.retries is no option"),
        ({"logger": {"level": "LOUD"}}, "logger.level must be one of TRACE, DEBUG, INFO, WARN, ERROR"),
        ({"logger": {"transport": {"level": "INFO"}}}, "logger.transport needs log, a function"),
        ({"settings": {"version": 1}}, "settings can't be used"),
        ({"client_storage": {}}, "client_storage has no meaning here, it is for browsers: leave it out"),
        ({"edgeConfig": {}}, "should_wait_for_tracking_calls"),
    ],
)
def test_a_wrong_option_is_named_with_its_cure(given: dict[str, Any], told: str) -> None:
    whole = given if "account_id" in given or "sdk_key" in given else IDENTITY | given
    with pytest.raises(OptionError) as caught:
        init(whole, init_timeout=0)
    assert told in str(caught.value)


def test_options_must_be_a_mapping() -> None:
    given: Any = "123456"
    with pytest.raises(OptionError, match="mapping or keyword arguments"):
        init(given)


def test_the_spellings_of_node_mean_the_same() -> None:
    def callback(_: object) -> None:
        pass

    pythonic = read_options(
        {
            "account_id": 123456,
            "sdk_key": "k",
            "gateway_service": {"url": "localhost", "port": 8000, "protocol": "http"},
            "poll_interval": 2000,
            "integrations": {"callback": callback},
            "batch_event_data": {"events_per_request": 10, "request_time_interval": 5, "flush_callback": callback},
            "retry_config": {"should_retry": False, "max_retries": 1, "initial_delay": 3, "backoff_multiplier": 4},
            "is_aliasing_enabled": True,
            "should_wait_for_tracking_calls": True,
            "is_development_mode": True,
        }
    )
    of_node = read_options(
        {
            "accountId": "123456",
            "sdkKey": "k",
            "gatewayService": {"url": "http://localhost:8000"},
            "pollInterval": 2000,
            "integrations": {"callback": callback},
            "batchEventData": {"eventsPerRequest": 10, "requestTimeInterval": 5, "flushCallback": callback},
            "retryConfig": {"shouldRetry": False, "maxRetries": 1, "initialDelay": 3, "backoffMultiplier": 4},
            "isAliasingEnabled": True,
            "shouldWaitForTrackingCalls": True,
            "isDevelopmentMode": True,
        }
    )
    for name in pythonic.__slots__:
        if name != "log":
            assert getattr(pythonic, name) == getattr(of_node, name), name


@pytest.mark.parametrize(
    ("gateway", "base"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("gateway.internal", "https://gateway.internal"),
        ({"url": "http://gateway.internal", "port": 8000}, "http://gateway.internal:8000"),
        ({"url": "http://gateway.internal:9000", "port": 8000}, "http://gateway.internal:9000"),
        ({"url": "gateway.internal", "port": "8000", "protocol": "http"}, "http://gateway.internal:8000"),
        ({"url": "http://gateway.internal/a/path"}, "http://gateway.internal"),  # the Node SDK drops it too
        ({"url": "http://[::1]:8000"}, "http://[::1]:8000"),
        (None, "https://dev.visualwebsiteoptimizer.com"),
    ],
)
def test_the_gateway_is_where_its_address_says(gateway: object, base: str) -> None:
    assert read_options(IDENTITY | {"gateway_service": gateway}).base == base


def test_a_storage_may_be_given_as_its_class() -> None:
    class Kept:
        def get(self, feature_key: str, user_id: str) -> dict[str, Any]:
            return {"featureKey": feature_key, "userId": user_id}

        def set(self, data: dict[str, Any]) -> None:
            data.clear()

    assert isinstance(read_options(IDENTITY | {"storage": Kept}).storage, Kept)


def test_messages_go_to_a_logger_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("my.flags")
    read_options(IDENTITY | {"logger": logger}).log.warn("careful")
    read_options(IDENTITY).log.warn("careful too")
    assert [(record.name, record.message) for record in caplog.records] == [
        ("my.flags", "careful"),
        ("fme_client", "careful too"),
    ]


def test_messages_go_to_the_console_as_those_of_node(capsys: pytest.CaptureFixture[str]) -> None:
    log = read_options(IDENTITY | {"logger": {"level": "INFO", "prefix": "MY APP"}}).log
    log.debug("not this")
    log.info("but this")
    written = capsys.readouterr().err
    assert written.startswith("[INFO]: MY APP 2")
    assert written.endswith("Z but this\n")
    assert "not this" not in written


def test_each_transport_hears_what_reaches_its_level() -> None:
    heard: list[str] = []
    transports = [
        {"level": level, "log": lambda said, message, level=level: heard.append(f"{level} {said} {message}")}
        for level in ("INFO", "ERROR")
    ]
    log = read_options(IDENTITY | {"logger": {"transports": transports}}).log
    log.info("one")
    log.error("two")
    assert heard == ["INFO info one", "INFO error two", "ERROR error two"]


def test_a_transport_that_raises_is_not_felt() -> None:
    def fail(level: str, message: str) -> None:
        raise RuntimeError(level + message)

    read_options(IDENTITY | {"logger": {"transport": {"level": "INFO", "log": fail}}}).log.error("anything")
