"""Events reach VWO through Redis: in batches, in order, at least once, whatever VWO answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.gateway.event_posts import (
    KEY,
    ONE,
    event,
    messages,
    metric,
    readiness,
    run,
    send,
    send_batch,
    settings_for,
    status,
)
from tests.support import processes
from tests.support.fake_vwo import BATCH, answers, events_in, hangs_up, refuses, slow, takes_and_hangs_up, times
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.fake_vwo import FakeVwo
    from tests.support.processes import Program


@pytest.fixture
def gateway(tmp_path: Path, store_url: str, vwo: FakeVwo) -> Iterator[Program]:
    with processes.gateway(tmp_path, settings_for(vwo, store_url)) as program:
        yield program


def test_events_reach_vwo_as_they_came_and_in_order(gateway: Program, vwo: FakeVwo) -> None:
    assert send(gateway, event(1)) == "stored"
    assert send_batch(gateway, 2, 3) == "stored"
    assert send(gateway, event(4), headers={"Content-Type": "text/plain"}) == "stored"  # sendBeacon
    assert vwo.wait_for_events(4) == [event(number) for number in range(1, 5)]
    for request, _ in vwo.taken:
        assert (request.parameters["a"], request.parameters["env"]) == ("123456", KEY)
        assert request.headers["authorization"] == KEY
        assert request.headers["content-type"] == "application/json"
    until(lambda: metric(gateway, "events_delivered_total") == 4)
    assert metric(gateway, "events_stored_total") == 4
    assert readiness(gateway) == {"status": "ok"}


def test_what_stands_beside_an_event_is_put_into_it(gateway: Program, vwo: FakeVwo) -> None:
    """Addresses lose their ports."""
    told = {"X-Device-User-Agent": "Browser/1", "VWO-X-Forwarded-For": "203.0.113.9"}
    send(gateway, event(1), headers=told)
    send(gateway, event(2), parameters={"a": "123456", "env": KEY, "visitor_ua": "Other/2", "visitor_ip": "undefined"})
    send(gateway, event(3, visitor_ua="Own/3", visitor_ip="203.0.113.7"), headers=told)
    send(gateway, event(4, visitor_ip="203.0.113.7:55220"), headers={"VWO-X-Forwarded-For": "203.0.113.9:1"})
    send(gateway, event(5), headers={"VWO-X-Forwarded-For": "[2001:db8::1]:443"})
    assert vwo.wait_for_events(5) == [
        event(1, visitor_ua="Browser/1", visitor_ip="203.0.113.9"),
        event(2, visitor_ua="Other/2"),
        event(3, visitor_ua="Own/3", visitor_ip="203.0.113.7"),
        event(4, visitor_ip="203.0.113.7"),
        event(5, visitor_ip="2001:db8::1"),
    ]


def test_half_a_surrogate_pair_reaches_vwo_as_the_escape_that_javascript_writes(gateway: Program, vwo: FakeVwo) -> None:
    cut = event(1, visitor={"props": {"name": "alice \ud83d", "cut \udc00": "\U0001f600"}})
    assert send(gateway, cut) == "stored"
    assert send(gateway, cut, headers={"X-Device-User-Agent": "Browser/1"}) == "stored"
    assert send(gateway, {"ev": [event(2), cut]}, BATCH) == "stored"
    assert vwo.wait_for_events(4) == [cut, {"d": cut["d"] | {"visitor_ua": "Browser/1"}}, event(2), cut]


def test_what_is_no_utf8_is_unreadable(gateway: Program, vwo: FakeVwo) -> None:
    for path, body in ((ONE, event(1, name="?")), (BATCH, {"ev": [event(1, name="?")]})):
        broken = json.dumps(body).encode().replace(b"?", b"\xed\xa0\xbd")
        assert send(gateway, broken, path) == ("unreadable" if path == ONE else "dropped")
    assert not vwo.requests


def test_each_environment_gets_its_own(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    accounts = [{"accountId": account, "open": True} for account in ("7", "8")]
    (tmp_path / "accounts.json").write_text(json.dumps({"accounts": accounts}))
    with processes.gateway(tmp_path, settings_for(vwo, store_url, ACCOUNTS_FILE="accounts.json")) as gateway:
        send(gateway, event(1), parameters={"a": "7", "env": "one"})
        send(gateway, {"ev": [event(2)]}, BATCH, parameters={"a": "7"}, headers={"Authorization": "two"})
        send(gateway, event(3), parameters={"a": "8"})  # the key stands in the event
        send(gateway, event(4), parameters={"env": KEY})  # the account is that of the served settings
        vwo.wait_for_events(4)
    found = {(r.parameters["a"], r.parameters["env"]): event["d"]["msgId"] for r, event in vwo.taken}
    assert found == {("7", "one"): "m1", ("7", "two"): "m2", ("8", KEY): "m3", ("123456", KEY): "m4"}


def test_batches_are_as_large_as_events_per_request_says(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    settings = settings_for(vwo, store_url, EVENTS_PER_REQUEST="10", FLUSH_EVENTS_INTERVAL="1")
    with processes.gateway(tmp_path, settings) as program:
        send_batch(program, *range(25))
        vwo.wait_for_events(25)
    assert [len(events_in(request)) for request in vwo.requests] == [10, 10, 5]
    assert vwo.messages == messages(*range(25))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (times(2, answers(500)), "http_500"),
        (times(2, answers(429, {"Retry-After": "1"})), "http_429"),
        (times(2, hangs_up), "unreachable"),
        (times(2, answers(302, {"Location": "/elsewhere"})), "http_302"),
        (slow(0.3), ""),
    ],
    ids=["500", "429", "hangs up", "redirects", "slow"],
)
def test_a_vwo_in_trouble_gets_everything_in_order_later(
    gateway: Program, vwo: FakeVwo, fault: Any, reason: str
) -> None:
    vwo.fault = fault
    for number in range(10):
        send(gateway, event(number))
    vwo.wait_for_events(10)
    assert vwo.messages == messages(*range(10))
    if reason:
        text = httpx.get(f"{gateway.address}/metrics").text
        assert f'cohort_gateway_events_retried_total{{reason="{reason}"}}' in text


def test_an_answer_that_got_lost_costs_a_repetition_and_no_event(gateway: Program, vwo: FakeVwo) -> None:
    vwo.fault = times(1, takes_and_hangs_up(vwo))
    send_batch(gateway, 1, 2)
    vwo.wait_for_events(4)
    assert vwo.messages == messages(1, 2, 1, 2)


def test_events_that_vwo_refuses_are_dead_letters_that_can_be_sent_again_or_thrown_away(
    gateway: Program, vwo: FakeVwo, tmp_path: Path, store_url: str
) -> None:
    vwo.fault = refuses(lambda event: event["d"]["msgId"] in ("m3", "m7"))
    send_batch(gateway, *range(10))
    vwo.wait_for_events(8)
    until(lambda: metric(gateway, "events_dead_total") == 2)
    assert vwo.messages == messages(0, 1, 2, 4, 5, 6, 8, 9)
    until(lambda: readiness(gateway) == {"status": "degraded", "reasons": ["events_dead"]})
    assert status(tmp_path, vwo, store_url)["dead_by_reason"] == {"http_400": 2}
    assert "dead letters" in run(tmp_path, vwo, store_url, "status")

    vwo.fault = refuses(lambda event: event["d"]["msgId"] == "m7")
    said = run(tmp_path, vwo, store_url, "retry", "--reason", "http_400")
    assert said.startswith("sent again: 2 http_400")
    vwo.wait_for_events(9)
    until(lambda: status(tmp_path, vwo, store_url)["dead"] == 1)
    assert run(tmp_path, vwo, store_url, "purge", "--yes") == "thrown away: 1 http_400\n"
    found = status(tmp_path, vwo, store_url)
    assert (found["dead"], found["waiting"]) == (0, 0)


@pytest.mark.parametrize(("status_code", "count"), [(401, 1), (404, 1)])
def test_a_refusal_of_the_sdk_key_is_no_fault_of_an_event(
    gateway: Program, vwo: FakeVwo, tmp_path: Path, store_url: str, status_code: int, count: int
) -> None:
    vwo.fault = answers(status_code)
    send_batch(gateway, 1, 2, 3)
    until(lambda: metric(gateway, "events_dead_total") == 3)
    assert len(vwo.requests) == count
    assert status(tmp_path, vwo, store_url)["dead_by_reason"] == {f"http_{status_code}": 3}
    assert KEY not in gateway.log()


def test_an_event_that_tells_no_key_is_a_dead_letter_and_one_that_tells_no_account_is_none(
    tmp_path: Path, store_url: str, vwo: FakeVwo
) -> None:
    anonymous = {"d": {"event": {"name": "vwo_log"}}}
    settings = settings_for(vwo, store_url, SETTINGS_FILE="")
    with processes.gateway(tmp_path, settings) as program:
        assert send(program, anonymous, parameters={}) == "dropped"
    with processes.gateway(tmp_path, settings | {"ACCOUNT_ID": "123456"}) as program:
        assert send(program, anonymous, parameters={"a": "123456"}) == "stored"
        until(lambda: metric(program, "events_dead_total") == 1)
    assert status(tmp_path, vwo, store_url)["dead_by_reason"] == {"no_sdk_key": 1}
    assert not vwo.requests


def test_what_is_too_large_or_no_event_is_dropped_and_the_rest_of_its_batch_arrives(
    gateway: Program, vwo: FakeVwo
) -> None:
    batch = {"ev": [event(1), {"d": {}}, event(2, large="x" * 70_000), "event", event(3)]}
    assert send(gateway, batch, BATCH) == "dropped"
    assert send(gateway, event(4, large="x" * 70_000)) == "dropped"
    assert send(gateway, b"{") == "unreadable"
    vwo.wait_for_events(2)
    assert vwo.messages == messages(1, 3)
    text = httpx.get(f"{gateway.address}/metrics").text
    assert 'cohort_gateway_events_dropped_total{reason="too_large"} 2.0' in text
    assert 'cohort_gateway_events_dropped_total{reason="unreadable"} 2.0' in text
    assert readiness(gateway) == {"status": "ok"}  # it is their senders' fault
