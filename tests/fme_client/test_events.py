"""Events go out in the background: at once or in batches, again where that failed, and what is lost is counted."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.fme_client.sample import ACCOUNT, SDK_KEY, sample_settings
from tests.support.recording_server import BATCH, EVENTS, Recorded, RecordingServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from fme_client import Client
    from tests.fme_client.conftest import Connect

EVENT = "open_used"
ANYBODY = {"id": "user-1"}
SILENT = sample_settings(sdkMetaInfo={"wasInitializedEarlier": True})  # no event of the start among those of the tests


def track(client: Client, count: int = 1) -> None:
    for at in range(count):
        client.track_event(EVENT, ANYBODY, {"at": at})


def tracked(requests: list[Recorded]) -> list[int]:
    """Which of the events arrived, in any order, with what is sent twice twice."""
    bodies = [body for request in requests for body in request.body.get("ev", [request.body])]
    return sorted(body["d"]["event"]["props"]["at"] for body in bodies)


class Failing:
    """Answers `status` so many times, then 200."""

    def __init__(self, times: int, status: int = 503) -> None:
        self._left = times
        self._status = status
        self._lock = threading.Lock()

    def __call__(self, _: Recorded) -> tuple[int, bytes]:
        with self._lock:
            self._left -= 1
            return (self._status if self._left >= 0 else 200), b"{}"


def test_each_event_is_sent_on_its_own_without_being_waited_for(connect: Connect, server: RecordingServer) -> None:
    client = connect(settings=SILENT)
    track(client, 30)
    assert tracked(server.wait_for(EVENTS, 30)) == list(range(30))
    assert client.flush()
    assert client.sent_events == 30
    assert client.dropped_events == {}


def test_full_batches_go_at_once_and_the_rest_with_a_flush(connect: Connect, server: RecordingServer) -> None:
    told: list[tuple[Exception | None, int]] = []
    batch = {
        "events_per_request": 10,
        "request_time_interval": 600,
        "flush_callback": lambda error, sent: told.append((error, len(sent["ev"]))),
    }
    client = connect(settings=SILENT, batch_event_data=batch)
    track(client, 25)
    server.wait_for(BATCH, 2)
    assert client.queued_events <= 15
    assert client.flush()
    batches = server.to(BATCH)
    assert [len(each.body["ev"]) for each in batches] == [10, 10, 5]
    assert tracked(batches) == list(range(25))
    assert told == [(None, 10), (None, 10), (None, 5)]
    assert batches[0].headers["authorization"] == SDK_KEY
    assert batches[0].parameters["a"] == ACCOUNT
    assert server.to(EVENTS) == []


def test_a_batch_goes_when_its_time_has_come(connect: Connect, server: RecordingServer) -> None:
    client = connect(settings=SILENT, batch_event_data={"request_time_interval": 1})
    track(client, 3)
    assert tracked(server.wait_for(BATCH)) == [0, 1, 2]


@pytest.mark.parametrize("batch", [None, {"events_per_request": 5}])
def test_what_failed_is_sent_again(connect: Connect, server: RecordingServer, batch: dict[str, Any] | None) -> None:
    server.answers = {EVENTS: Failing(1), BATCH: Failing(1)}
    client = connect(settings=SILENT, batch_event_data=batch, retry_config={"initial_delay": 1})
    track(client, 5)
    until(lambda: client.sent_events == 5, what="the second attempt")
    assert client.dropped_events == {}


def test_a_flush_tries_at_once_what_waits_to_be_sent_again(connect: Connect, server: RecordingServer) -> None:
    server.answers = {EVENTS: Failing(1)}
    client = connect(settings=SILENT, retry_config={"initial_delay": 600})
    track(client)
    server.wait_for(EVENTS)
    until(client.flush, what="the flush")
    assert len(server.to(EVENTS)) == 2


def test_an_event_is_given_up_after_all_attempts(connect: Connect, server: RecordingServer, said: list[str]) -> None:
    server.answers[EVENTS] = (503, b"")
    client = connect(settings=SILENT, retry_config={"should_retry": False})
    track(client)
    until(lambda: client.dropped_events == {"undeliverable": 1}, what="the end of all attempts")
    assert any("events are lost: undeliverable" in line for line in said)


def test_a_batch_is_kept_after_all_attempts(connect: Connect, server: RecordingServer) -> None:
    """As the Node SDK does."""
    told: list[Exception | None] = []
    server.answers[BATCH] = (503, b"")
    batch = {"events_per_request": 2, "flush_callback": lambda error, _: told.append(error)}
    client = connect(settings=SILENT, batch_event_data=batch, retry_config={"should_retry": False})
    track(client, 2)
    until(lambda: len(told) == 1, what="the end of all attempts")
    assert "503" in str(told[0])
    assert client.dropped_events == {}
    assert client.queued_events == 2
    del server.answers[BATCH]
    assert client.flush()
    assert tracked(server.to(BATCH)[-1:]) == [0, 1]


@pytest.mark.parametrize(("path", "batch"), [(EVENTS, None), (BATCH, {"events_per_request": 1})])
def test_what_the_server_refuses_is_not_sent_again(
    connect: Connect, server: RecordingServer, path: str, batch: dict[str, Any] | None
) -> None:
    server.answers[path] = (400, b"")
    client = connect(settings=SILENT, batch_event_data=batch)
    track(client)
    until(lambda: client.dropped_events == {"refused": 1}, what="the refusal")
    assert len(server.to(path)) == 1


def test_a_batch_that_is_too_large_goes_in_parts(connect: Connect, server: RecordingServer) -> None:
    def most_three(request: Recorded) -> tuple[int, bytes]:
        return (413 if len(request.body["ev"]) > 3 else 200), b""

    server.answers[BATCH] = most_three
    client = connect(settings=SILENT, batch_event_data={"events_per_request": 10})
    track(client, 10)
    until(lambda: client.sent_events == 10, what="smaller batches")
    taken = [each for each in server.to(BATCH) if len(each.body["ev"]) <= 3]
    assert tracked(taken) == list(range(10))


def test_a_full_queue_takes_no_more_and_counts_it(connect: Connect, server: RecordingServer) -> None:
    over = threading.Event()

    def slow(_: Recorded) -> tuple[int, bytes]:
        over.wait()
        return 200, b""

    server.answers[EVENTS] = slow
    client = connect(settings=SILENT, max_queued_events=10)
    try:
        track(client, 25)
        assert client.dropped_events == {"queue_full": 15}
        assert client.queued_events == 10
    finally:
        over.set()
    assert client.flush()
    assert client.sent_events == 10


def test_a_flush_ends_in_time(connect: Connect, server: RecordingServer) -> None:
    over = threading.Event()

    def slow(_: Recorded) -> tuple[int, bytes]:
        over.wait()
        return 200, b""

    server.answers[EVENTS] = slow
    client = connect(settings=SILENT)
    track(client)
    try:
        assert not client.flush(timeout=0.1)
        assert client.queued_events == 1
    finally:
        over.set()


def test_what_a_destroyed_client_could_not_send_is_counted(connect: Connect, server: RecordingServer) -> None:
    server.answers[EVENTS] = (503, b"")
    client = connect(settings=SILENT)
    track(client, 2)
    assert not client.destroy(timeout=1)
    until(lambda: sum(client.dropped_events.values()) == 2, what="the count")
    assert Counter(client.dropped_events) == {"closed": 2}


def test_nobody_loses_an_event_when_many_threads_track(connect: Connect, server: RecordingServer) -> None:
    client = connect(settings=SILENT, batch_event_data={"events_per_request": 7})
    threads = [threading.Thread(target=track, args=(client, 50)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush()
    assert tracked(server.to(BATCH)) == sorted(list(range(50)) * 8)


def _ring() -> dict[str, Any]:
    ring: dict[str, Any] = {}
    ring["itself"] = ring
    return ring


@pytest.mark.parametrize("properties", [{"a": float("nan")}, {"a": {(1, 2): 3}}, _ring(), "plan=gold", ["plan"]])
def test_properties_that_are_no_json_are_refused(client: Client, said: list[str], properties: Any) -> None:
    assert client.track_event(EVENT, ANYBODY, properties) == {EVENT: False}
    assert any("track_event: " in line for line in said)


def test_attributes_are_names_with_plain_values(client: Client, said: list[str]) -> None:
    assert client.set_attribute("plan", "gold", ANYBODY)
    assert client.set_attribute({"plan": "gold", "seats": 3.5, "trial": True}, ANYBODY)
    wrong: tuple[tuple[Any, ...], ...] = (
        ({}, ANYBODY),
        ({"plan": None}, ANYBODY),
        ("plan", ["gold"], ANYBODY),
        ("plan", "gold", {}),
        (5, "gold", ANYBODY),
    )
    for arguments in wrong:
        said.clear()
        assert not client.set_attribute(*arguments)
        assert len(said) <= 1  # once a minute


def test_logs_name_no_user_and_no_secret(connect: Connect, server: RecordingServer, said: list[str]) -> None:
    server.answers = {EVENTS: (400, b""), "/check-attribute": (500, b"secret-id"), "/get-user-details": (500, b"")}
    client = connect(sdk_key="secret-key")
    context = {"id": "secret-id", "custom_variables": {"heap_user_id": "secret-id"}, "user_agent": "secret-id"}
    client.get_flag("premium", context)
    client.track_event("secret-id", context)
    client.set_attribute("secret-id", "secret-id", context)
    client.flush()
    assert said != []
    assert [line for line in said if "secret" in line] == []
