"""Background threads go on whatever comes: a log line, a pause, and the next round."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fme_client import init
from fme_client.background import keep_going
from fme_client.evaluation import Settings
from fme_client.event_sender import EventSender
from fme_client.logs import LEVELS, Log
from fme_client.transport import Transport
from tests.fme_client.sample import ACCOUNT, SDK_KEY, sample_settings
from tests.support.recording_server import BATCH, EVENTS, RecordingServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.fme_client.conftest import Connect

ANYBODY = {"id": "user-1"}
SILENT = sample_settings(sdkMetaInfo={"wasInitializedEarlier": True})
ERRORS = [KeyError("x"), RecursionError(), MemoryError(), SystemExit(1)]


def failing_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: BaseException) -> threading.Event:
    """The next call of a method raises `error`, all others go on as ever. The event: it was raised."""
    whole = getattr(owner, name)
    raised = threading.Event()

    def fail_once(*arguments: Any, **named: Any) -> Any:
        if not raised.is_set():
            raised.set()
            raise error
        return whole(*arguments, **named)

    monkeypatch.setattr(owner, name, fail_once)
    return raised


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_settings_are_polled_for_after_an_unforeseen_error(
    connect: Connect, server: RecordingServer, said: list[str], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    client = connect(poll_interval=1000)
    raised = failing_once(monkeypatch, Transport, "fetch", error)
    assert raised.wait(10)
    server.settings = {**sample_settings(), "features": []}
    until(lambda: not client.get_flag("open", ANYBODY), what="the new settings")
    assert [line for line in said if f"unforeseen {type(error).__name__} at " in line] != []


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_first_settings_are_got_after_an_unforeseen_error(
    connect: Connect, said: list[str], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    failing_once(monkeypatch, Settings, "parse", error)
    client = connect(init_timeout=0)
    assert client.wait_until_ready(10)
    assert client.get_flag("open", ANYBODY)
    assert [line for line in said if f"unforeseen {type(error).__name__} at " in line] != []


def test_a_poll_interval_that_no_system_can_wait_is_the_longest(
    connect: Connect, server: RecordingServer, said: list[str]
) -> None:
    """JSON knows numbers of any length, and readers take `1e999` for infinite."""
    for interval in (10**400, float("inf")):
        server.answers["/server-side/v2-settings"] = (200, json.dumps(sample_settings(pollInterval=interval)).encode())
        client = connect()
        assert client.get_flag("open", ANYBODY)
    assert [line for line in said if "unforeseen" in line] == []


@pytest.mark.parametrize("batch", [None, {"events_per_request": 2}])
@pytest.mark.parametrize("error", ERRORS[:3], ids=repr)
def test_events_are_sent_again_after_an_unforeseen_error(
    connect: Connect,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    batch: dict[str, Any] | None,
) -> None:
    client = connect(settings=SILENT, batch_event_data=batch, retry_config={"initial_delay": 1})
    raised = failing_once(monkeypatch, EventSender, "send", error)
    for _ in range(2):
        client.track_event("open_used", ANYBODY)
    assert raised.wait(10)
    until(lambda: client.sent_events == 2, what="the second attempt")
    assert client.dropped_events == {}
    assert client.queued_events == 0
    assert [line for line in said if f"unforeseen {type(error).__name__} at " in line] != []


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_events_are_counted_and_others_sent_after_what_would_end_a_thread(
    connect: Connect, server: RecordingServer, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    client = connect(settings=SILENT)
    raised = failing_once(monkeypatch, EventSender, "send", error)
    client.track_event("open_used", ANYBODY)
    assert raised.wait(10)
    until(lambda: client.dropped_events == {"undeliverable": 1}, what="the count")
    client.track_event("open_used", ANYBODY)
    server.wait_for(EVENTS)
    until(lambda: client.sent_events == 1, what="the count")
    assert client.flush()


def test_a_batch_that_can_not_be_sent_does_not_hold_up_the_next(
    connect: Connect, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server does not answer to is kept for ever; what we fail at ourselves is not."""
    whole = Transport.fetch

    def fail(self: Transport, request: Any, deadline: float) -> Any:
        if b"poison" in (request.body or b""):
            raise KeyError("poison")
        return whole(self, request, deadline)

    monkeypatch.setattr(Transport, "fetch", fail)
    client = connect(settings=SILENT, batch_event_data={"events_per_request": 1}, retry_config={"should_retry": False})
    for plan in ("poison", "gold"):
        client.track_event("open_used", ANYBODY, {"plan": plan})
    (batch,) = server.wait_for(BATCH)
    assert batch.body["ev"][0]["d"]["event"]["props"]["plan"] == "gold"
    assert client.dropped_events == {"undeliverable": 1}


@pytest.mark.parametrize("error", [RuntimeError(), SystemExit(1)], ids=repr)
def test_a_callback_that_raises_ends_no_thread(connect: Connect, server: RecordingServer, error: BaseException) -> None:
    def fail(*_: object) -> None:
        raise error

    client = connect(settings=SILENT, batch_event_data={"events_per_request": 1, "flush_callback": fail})
    for count in (1, 2):
        client.track_event("open_used", ANYBODY)
        server.wait_for(BATCH, count)
    until(lambda: client.sent_events == 2, what="the count")
    assert client.dropped_events == {}


def test_a_log_that_raises_ends_no_thread() -> None:
    def sink(level: str, message: str) -> None:
        sys.exit(level + message)

    rounds: list[int] = []

    def step() -> bool:
        rounds.append(len(rounds))
        if len(rounds) < 3:
            raise OSError
        return False

    keep_going(step, what="rounds", log=Log([(LEVELS["trace"], sink)]), pause=lambda _: None)
    assert rounds == [0, 1, 2]


def test_a_client_gets_its_threads_once_there_is_room_for_them(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that is at its limit for a moment must not have clients without threads for ever."""

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", fail)
        client = init(account_id=ACCOUNT, sdk_key=SDK_KEY, gateway_service=server.address, init_timeout=0)
    assert not client.is_ready
    assert client.wait_until_ready(10)
    assert client.get_flag("open", ANYBODY)
    assert client.destroy()
    assert sorted(request.event for request in server.to(EVENTS)) == ["vwo_fmeSdkInit", "vwo_variationShown"]
