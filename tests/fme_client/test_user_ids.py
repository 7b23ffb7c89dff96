"""A gateway that asks for the ids of users gets them beside events; nobody else does, and events stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from fme_client.identity import get_uuid
from tests.fme_client.sample import ACCOUNT, sample_settings
from tests.support.recording_server import BATCH, EVENTS, SETTINGS

if TYPE_CHECKING:
    from tests.fme_client.conftest import Connect
    from tests.support.recording_server import RecordingServer

WISH = {"X-Wants": "user-ids"}
BATCHES: dict[str, Any] = {"batch_event_data": {"events_per_request": 100}}
USERS = ("alice", "Zoë-ユーザー", "a b%2B@x.com")


def act(connect: Connect, **options: Any) -> None:
    """Each of `USERS` does something, twice."""
    client = connect(**options)
    for user in USERS * 2:
        client.track_event("open_used", {"id": user})
    assert client.flush()


def test_it_gets_them_with_each_event(connect: Connect, server: RecordingServer) -> None:
    server.headers = WISH
    act(connect)
    told = {request.body["d"]["visId"]: request.headers.get("x-user-id") for request in server.events("open_used")}
    assert {visitor: unquote(str(user)) for visitor, user in told.items()} == {
        get_uuid(user, ACCOUNT): user for user in USERS
    }
    assert all("x-user-id" not in request.headers for request in server.events("vwo_fmeSdkInit"))  # it is nobody's


def test_it_gets_them_with_each_batch(connect: Connect, server: RecordingServer) -> None:
    server.headers = WISH
    sent: list[dict[str, Any]] = []
    batches = {"flush_callback": lambda _, batch: sent.append(batch), **BATCHES["batch_event_data"]}
    act(connect, batch_event_data=batches)
    [request] = server.to(BATCH)
    assert request.body["users"] == list(USERS)
    assert "x-user-id" not in request.headers
    assert sent == [{"ev": request.body["ev"]}]


@pytest.mark.parametrize("options", [{}, BATCHES], ids=["one by one", "batches"])
def test_who_did_not_ask_gets_none(connect: Connect, server: RecordingServer, options: dict[str, Any]) -> None:
    act(connect, **options)
    for request in server.requests:
        assert "x-user-id" not in request.headers
        assert "users" not in (request.body or {})


def test_one_that_gets_no_settings_request_may_ask_in_an_answer_to_an_event(
    connect: Connect, server: RecordingServer
) -> None:
    server.headers = WISH
    client = connect(settings=sample_settings(sdkMetaInfo={"wasInitializedEarlier": True}))
    for user in USERS:
        client.track_event("open_used", {"id": user})
        assert client.flush()
    assert server.to(SETTINGS) == []
    told = [unquote(request.headers.get("x-user-id", "")) for request in server.to(EVENTS)]
    assert told == ["", *USERS[1:]]


def test_an_id_that_is_too_long_for_a_header_stays_here(connect: Connect, server: RecordingServer) -> None:
    server.headers = WISH
    client = connect()
    client.track_event("open_used", {"id": "x" * 256})
    assert client.flush()
    [request] = server.events("open_used")
    assert "x-user-id" not in request.headers


def test_a_forked_child_knows_what_its_parent_was_asked_for(connect: Connect, server: RecordingServer) -> None:
    server.headers = WISH
    client = connect()
    assert client.flush()
    server.headers = {}
    client.after_fork()  # as in the child
    client.track_event("open_used", {"id": "alice"})
    assert client.flush()
    [request] = server.events("open_used")
    assert request.headers["x-user-id"] == "alice"
