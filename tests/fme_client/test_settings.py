"""Settings: fetched, polled, pulled; the last good ones stay whatever comes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.fme_client.sample import sample_settings
from tests.support.ports import free_ports
from tests.support.recording_server import PULL, SETTINGS, RecordingServer, recording_server
from tests.support.waiting import until

if TYPE_CHECKING:
    from fme_client import Client
    from tests.fme_client.conftest import Connect

ANYBODY = {"id": "user-1"}


def without(flag: str) -> dict[str, Any]:
    whole = sample_settings()
    return {**whole, "features": [feature for feature in whole["features"] if feature["key"] != flag]}


def test_new_settings_are_polled_for(connect: Connect, server: RecordingServer) -> None:
    client = connect(poll_interval=1000)
    assert client.get_flag("open", ANYBODY)
    server.settings = without("open")
    until(lambda: not client.get_flag("open", ANYBODY), what="the new settings")


def test_the_settings_tell_how_often_to_poll_where_nobody_else_does(connect: Connect, server: RecordingServer) -> None:
    server.settings = sample_settings(pollInterval=1000)
    client = connect()
    server.settings = without("open")
    until(lambda: not client.get_flag("open", ANYBODY), what="the new settings")


@pytest.mark.parametrize(
    "bad",
    [
        (500, b"down"),
        (204, b""),
        (200, b""),
        (200, b"[]"),
        (200, b"null"),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b'{"features": 3}'),
        (200, b"[" * 100_000),
        (200, json.dumps({**sample_settings(), "campaigns": [{"id": 1}]}).encode()),
    ],
)
def test_bad_settings_never_replace_good_ones(client: Client, server: RecordingServer, bad: tuple[int, bytes]) -> None:
    server.answers[PULL] = server.answers[SETTINGS] = bad
    assert not client.update_settings()
    assert not client.update_settings(is_via_webhook=False)
    assert client.get_flag("open", ANYBODY)


def test_settings_are_pulled_when_a_webhook_says_so(client: Client, server: RecordingServer) -> None:
    server.settings = without("open")
    assert client.update_settings()
    assert not client.get_flag("open", ANYBODY)
    assert len(server.to(PULL)) == 1


def test_settings_may_be_given(client: Client, server: RecordingServer) -> None:
    assert client.update_settings(without("open"))
    assert not client.get_flag("open", ANYBODY)
    assert not client.update_settings({"version": 1})
    assert client.get_flag("premium", {"id": "u", "custom_variables": {"heap_user_id": "alice"}})
    assert server.to(PULL) == []


def test_a_client_with_given_settings_asks_for_none(connect: Connect, server: RecordingServer) -> None:
    client = connect(settings=sample_settings())
    assert client.get_flag("open", ANYBODY)
    assert server.to(SETTINGS) == []


def test_no_features_is_fine(connect: Connect, server: RecordingServer, said: list[str]) -> None:
    server.settings = {**sample_settings(), "features": {}, "campaigns": {}}
    client = connect()
    assert client.is_ready
    assert not client.get_flag("open", ANYBODY)
    assert not [line for line in said if "settings could not be fetched" in line]


def test_without_a_server_a_client_starts_and_is_ready_once_there_is_one(connect: Connect, said: list[str]) -> None:
    (port,) = free_ports(1)
    client = connect(f"http://127.0.0.1:{port}", init_timeout=100)
    assert not client.is_ready
    assert not client.get_flag("open", ANYBODY)
    assert any("every flag is off until" in line and "can't be reached" in line for line in said)
    assert any("there are no settings yet" in line for line in said)
    with recording_server(sample_settings(), port=port):
        assert client.wait_until_ready(10)
        assert client.get_flag("open", ANYBODY)
        assert client.flush()


def test_the_start_is_told_once(connect: Connect, server: RecordingServer) -> None:
    client = connect()
    client.update_settings()
    client.flush()
    (event,) = server.events("vwo_fmeSdkInit")
    assert event.body["d"]["event"]["props"]["data"]["isSDKInitialized"] is True


def test_the_start_is_not_told_again_where_vwo_knows_of_it(connect: Connect, server: RecordingServer) -> None:
    server.settings = sample_settings(sdkMetaInfo={"wasInitializedEarlier": True})
    client = connect()
    client.flush()
    assert server.events() == []
