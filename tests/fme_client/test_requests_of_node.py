"""Our client and the real Node SDK make the same calls; a server sees the same requests from both."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

import fme_client.options
from fme_client import init
from tests.fme_client.node_calls import Call, node_calls
from tests.fme_client.sample import ACCOUNT, BROWSER, SDK_KEY
from tests.support.recording_server import BATCH, EVENTS, GET_ALIAS, PULL, SET_ALIAS, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.recording_server import Recorded, RecordingServer

IDENTITY = {"accountId": ACCOUNT, "sdkKey": SDK_KEY}

VISITOR = {
    "id": "user-1",
    "customVariables": {"heap_user_id": "alice", "plan": "gold", "age": 42, "beta_id": "alice"},
    "userAgent": BROWSER,
    "ipAddress": "203.0.113.9",
    "postSegmentationVariables": ["plan", "age", "missing"],
}
STRANGER = {"id": "Zoë-ユーザー", "customVariables": {"heap_user_id": "bob", "beta_id": "100%"}}

CALLS: list[Call] = [
    ("getFlag", "premium", VISITOR),
    ("getFlag", "premium", STRANGER),
    ("getFlag", "tested", VISITOR),
    ("getFlag", "tested", {"id": 42}),
    ("getFlag", "french", VISITOR),
    ("getFlag", "french", {"id": "user-2", "userAgent": BROWSER}),
    ("getFlag", "both", VISITOR),
    ("getFlag", "both", {"id": "user-3", "customVariables": {"heap_user_id": "alice"}}),
    ("getFlag", "open", {"id": "user-4", "ipAddress": "2001:db8::1"}),
    ("getFlag", "no such flag", VISITOR),
    ("trackEvent", "open_used", VISITOR, {"amount": 49.9, "currency": "€", "nested": {"a": [1, None, True]}}),
    ("trackEvent", "open_used", STRANGER),
    ("trackEvent", "no_such_metric", VISITOR),
    ("setAttribute", "plan", "gold", VISITOR),
    ("setAttribute", {"plan": "gold", "seats": 3, "trial": False}, STRANGER),
]

# The clock, chance, and who we are.
_NAMES = {"sn", "sv", "vwo_sdkName", "vwo_sdkVersion"}
_MEASURED = {"random", "r", "eTime", "time", "sessionId", "settingsFetchTime", "sdkInitTime"}
_HEADERS = ("x-device-user-agent", "vwo-x-forwarded-for", "authorization", "content-type")


def normal(value: Any, name: str = "") -> Any:
    """`value` without what may differ; that it is there, and of which type, still counts."""
    if isinstance(value, dict):
        return {key: normal(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [normal(inner) for inner in value]
    if name in _NAMES | _MEASURED:
        return type(value).__name__ if name in _NAMES else "a number"
    if name == "msgId":
        return re.sub(r"-\d{13}$", "-<milliseconds>", value)
    return value


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def seen(requests: list[Recorded]) -> list[str]:
    """The requests, sorted: both send events in the background, so that only what is sent compares."""
    return sorted(
        _text(
            (
                request.method,
                request.path,
                normal(request.parameters),
                sorted((name, value) for name, value in request.headers.items() if name in _HEADERS),
                normal(request.body),
            )
        )
        for request in requests
    )


def python_calls(options: Mapping[str, Any], calls: list[Call]) -> list[Any]:
    """What our client answers; it speaks the Node SDK's spellings."""
    answers: list[Any] = []
    with init(dict(options)) as client:
        for method, *arguments in calls:
            answer = getattr(client, method)(*arguments)
            if method == "getFlag":
                answers.append({"enabled": answer.isEnabled(), "variables": answer.getVariables()})
            else:
                answers.append(answer)
        assert client.flush()
    return answers


def both(
    server: RecordingServer, options: Mapping[str, Any], calls: list[Call]
) -> tuple[list[Recorded], list[Recorded]]:
    """The requests that the Node SDK and our client make for the same calls; what the calls answer is the same too."""
    options = {**IDENTITY, "gatewayService": {"url": server.address}, **options}
    # The tracking calls of Node are awaited, so that none is lost when its process ends.
    theirs = node_calls({**options, "shouldWaitForTrackingCalls": True}, calls)
    of_theirs = list(server.requests)
    server.requests.clear()
    ours = python_calls(options, calls)
    telling = [at for at, call in enumerate(calls) if call[0] not in ("setAttribute", "updateSettings")]
    assert [ours[at] for at in telling] == [theirs[at] for at in telling]  # of the others Node says nothing
    return of_theirs, list(server.requests)


def test_the_same_calls_make_the_same_requests(server: RecordingServer) -> None:
    theirs, ours = both(server, {}, CALLS)
    assert seen(ours) == seen(theirs)
    assert len([request for request in ours if request.path == EVENTS]) == 15


def test_updates_of_settings_are_asked_for_in_the_same_way(server: RecordingServer) -> None:
    theirs, ours = both(server, {}, [("updateSettings",), ("updateSettings", None, False)])
    assert seen(ours) == seen(theirs)
    assert [request.path for request in ours if "settings" in request.path or request.path == PULL] == [
        SETTINGS,
        PULL,
        SETTINGS,
    ]


def test_aliases_are_asked_for_and_set_in_the_same_way(server: RecordingServer) -> None:
    server.aliases = {"tmp-1": "user-1"}
    calls: list[Call] = [
        ("setAlias", {"id": "user-1"}, "tmp-1"),
        ("setAlias", " user-2 ", " tmp-2 "),
        ("setAlias", "user-3", "user-3"),
        ("getFlag", "tested", {"id": "tmp-1"}),
        ("getFlag", "tested", {"id": "user-1"}),
        ("trackEvent", "open_used", {"id": "tmp-1"}),
        ("setAttribute", "plan", "gold", {"id": "tmp-1"}),
    ]
    theirs, ours = both(server, {"isAliasingEnabled": True}, calls)
    assert seen(ours) == seen(theirs)
    assert len([request for request in ours if request.path == SET_ALIAS]) == 2
    assert len([request for request in ours if request.path == GET_ALIAS]) == 4
    shown = {request.body["d"]["visId"] for request in ours if request.parameters.get("en") == "vwo_variationShown"}
    assert len(shown) == 1  # the alias and its user are one visitor


def test_development_mode_asks_for_other_settings(server: RecordingServer) -> None:
    theirs, ours = both(server, {"isDevelopmentMode": True}, [])
    assert seen(ours) == seen(theirs)
    assert "s" not in server.to(SETTINGS)[0].parameters


@pytest.fixture
def vwo(server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> RecordingServer:
    """`server` stands for VWO's own host, which both speak to where there is no gateway."""
    monkeypatch.setattr(fme_client.options, "VWO", server.address)
    server.settings = {**server.settings, "collectionPrefix": "as01"}
    return server


def test_batches_go_to_vwo_in_the_same_way(vwo: RecordingServer) -> None:
    """And so does all else where there is no gateway: the settings, and the prefix in front of the events."""
    batch = {"eventsPerRequest": 4, "requestTimeInterval": 600}
    calls = [*CALLS, ("flushEvents",)]
    node_calls(IDENTITY | {"batchEventData": batch}, calls, vwo=vwo.port)
    theirs = list(vwo.requests)
    vwo.requests.clear()
    with init(IDENTITY | {"batchEventData": batch}) as client:
        for method, *arguments in calls:
            getattr(client, method)(*arguments)
    path = f"/as01{BATCH}"
    assert _batched(theirs, path) == _batched(vwo.requests, path)
    others = [[request for request in requests if request.path != path] for requests in (theirs, vwo.requests)]
    assert seen(others[0]) == seen(others[1])
    assert vwo.to(SETTINGS)


def _batched(requests: list[Recorded], path: str) -> tuple[set[str], list[str]]:
    """What batches look like, and the events of all but `vwo_sdkDebug`, which we never send."""
    batches = [request for request in requests if request.path == path]
    shapes = seen([dataclasses.replace(batch, body=list(batch.body)) for batch in batches])
    return set(shapes), sorted(
        _text(normal(event))
        for batch in batches
        for event in batch.body["ev"]
        if event["d"]["event"]["name"] != "vwo_sdkDebug"
    )
