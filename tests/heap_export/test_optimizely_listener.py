"""The listener of the Python SDK, and a heap-export that is well, sick or away."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest

from foundation.errors import ConfigurationError
from heap_export.optimizely import DecisionListener
from tests.heap_export.decisions import EXPOSURES, FakeExport, decide
from tests.support.faulty_server import Answer, Request, answers, hangs_up, says_nothing, times
from tests.support.ports import free_ports
from tests.support.waiting import until


def listener_of(export: FakeExport, **options: Any) -> DecisionListener:
    return DecisionListener(export.address, **{"key": "secret", "every": 0.01, **options})


def test_a_decision_arrives_as_an_exposure_with_the_key(export: FakeExport) -> None:
    listener = listener_of(export)
    decide(listener, "ann", variation="control", enabled=False)
    assert listener.close(5)
    (exposure,) = export.taken
    assert exposure.pop("time") > 1_700_000_000
    assert exposure == {
        "source": "optimizely",
        "flag_key": "checkout",
        "variation_key": "control",
        "rule_key": "rule",
        "enabled": False,
        "identity": "ann",
        "properties": {},
    }
    (request,) = export.requests
    assert request.headers["authorization"] == "Bearer secret"
    assert listener.delivered == 1


def test_an_integration_is_named_in_the_address(export: FakeExport) -> None:
    listener = listener_of(export, integration="eu")
    decide(listener, "ann")
    assert listener.close(5)
    assert export.requests[0].parameters == {"integration": "eu"}


def test_only_the_named_attributes_leave_the_application(export: FakeExport) -> None:
    listener = listener_of(export, attributes=("plan", "beta", "absent"))
    decide(listener, "ann", attributes={"plan": "gold", "beta": True, "email": "ann@example.com"})
    decide(listener, "ben", attributes=None)
    assert listener.close(5)
    assert [exposure["properties"] for exposure in export.taken] == [{"plan": "gold", "beta": "true"}, {}]
    assert b"example.com" not in export.requests[0].body


def test_decisions_of_calls_before_decide_are_counted_and_told_once(
    export: FakeExport, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listener_of(export)
    for _ in range(3):
        listener("feature", "ann", {}, {"feature_key": "checkout", "feature_enabled": True})
    decide(listener, "ben")
    assert listener.close(5)
    assert (listener.ignored, export.users) == (3, ["ben"])
    assert sum("is_feature_enabled" in message for message in caplog.messages) == 1


def test_only_dispatched_leaves_out_what_optimizely_is_not_told(export: FakeExport) -> None:
    listener = listener_of(export, only_dispatched=True)
    decide(listener, "ann", decision_event_dispatched=False)
    decide(listener, "ben")
    assert listener.close(5)
    assert export.users == ["ben"]


def test_what_is_decided_again_and_again_in_a_moment_is_sent_once(export: FakeExport) -> None:
    listener = listener_of(export, every=60)
    for _ in range(200):
        decide(listener, "ann")
    decide(listener, "ann", variation="control")
    assert listener.close(5)
    assert len(export.taken) <= 4  # a second may have ended meanwhile
    assert {exposure["variation_key"] for exposure in export.taken} == {"treatment", "control"}
    assert (listener.delivered, listener.waiting) == (201, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("flag", "ann", {}, None),
        ("flag", "ann", {}, {}),
        ("flag", None, None, {"flag_key": "checkout"}),
        ("flag", "ann", 7, {"flag_key": ["no", "text"]}),
        ("flag", "\ud800", {"plan": object()}, {"flag_key": "checkout"}),
        (None, None, None, None),
    ],
)
def test_whatever_a_listener_is_told_it_never_raises_and_goes_on(export: FakeExport, arguments: Any) -> None:
    listener = listener_of(export, attributes=("plan",))
    listener(*arguments)
    decide(listener, "ben")
    assert listener.close(5)
    assert export.users == ["ben"]
    assert listener.dropped + listener.refused + listener.ignored == 1


def test_who_would_be_merged_with_everybody_is_refused_and_not_named(
    export: FakeExport, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listener_of(export)
    decide(listener, "undefined")
    decide(listener, "x" * 256)
    assert listener.close(5)
    assert (listener.refused, export.requests) == (2, [])
    assert "nobody_identity" in caplog.text
    assert "undefined" not in caplog.text


def test_while_the_service_is_away_decisions_wait_within_bounds_and_arrive_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    export, (port,) = FakeExport(), free_ports(1)
    listener = DecisionListener(f"http://127.0.0.1:{port}", key="secret", every=0.01, batch=10, most_waiting=30)
    decide(listener, "user-0")
    until(lambda: "can't be delivered" in caplog.text, what="the first failure")
    for number in range(1, 50):
        decide(listener, f"user-{number}")
    assert not listener.flush(0.05)
    assert listener.dropped == 50 - 1 - 30
    with export.serving(port):
        assert listener.flush(10)
    assert export.users == [f"user-{number}" for number in range(31)]
    assert listener.delivered == 31
    assert sum("can't be delivered" in message for message in caplog.messages) == 1
    assert "delivered again" in caplog.text
    assert sum("decisions are lost" in message for message in caplog.messages) == 1
    assert "user-" not in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("fault", [answers(503), answers(429, {"Retry-After": "1"}), answers(500), hangs_up])
def test_a_failure_that_passes_loses_nothing(export: FakeExport, fault: Any) -> None:
    export.fault = times(1, fault)
    listener = listener_of(export)
    decide(listener, "ann")
    assert [exposure["identity"] for exposure in export.wait_for(1)] == ["ann"]
    assert listener.close(5)
    assert listener.dropped == 0


def test_a_service_that_says_nothing_is_left_after_the_timeout(export: FakeExport) -> None:
    export.fault = times(1, says_nothing)
    listener = listener_of(export, timeout=0.1)
    decide(listener, "ann")
    assert [exposure["identity"] for exposure in export.wait_for(1)] == ["ann"]


def test_a_wrong_key_is_said_and_loses_nothing_until_it_is_mended(
    export: FakeExport, caplog: pytest.LogCaptureFixture
) -> None:
    export.fault = answers(401)
    listener = listener_of(export)
    decide(listener, "ann")
    until(lambda: "EVENTS_API_KEY" in caplog.text, what="the complaint")
    export.fault = None
    assert listener.flush(5)
    assert export.users == ["ann"]


def test_what_never_gets_through_is_given_up_in_the_end(export: FakeExport) -> None:
    export.fault = answers(500)
    listener = listener_of(export, keep_trying=0.1)
    decide(listener, "ann")
    until(lambda: listener.dropped == 1, what="the drop")
    export.fault = None
    decide(listener, "ben")
    assert listener.close(5)
    assert export.users == ["ben"]


def test_a_batch_that_is_too_large_or_bad_is_halved_until_the_culprit_is_alone(export: FakeExport) -> None:
    def fault(request: Request) -> Answer | None:
        exposures = json.loads(request.body)
        bad = any(exposure["identity"] == "user-5" for exposure in exposures)
        return Answer(413) if len(exposures) > 8 else Answer(400) if bad else None

    export.fault = fault
    listener = listener_of(export, every=60)
    for number in range(20):
        decide(listener, f"user-{number}")
    assert listener.close(5)
    assert export.users == [f"user-{number}" for number in range(20) if number != 5]
    assert (listener.delivered, listener.refused, listener.dropped) == (19, 1, 0)


def test_what_the_service_refuses_is_counted_by_its_answer(
    export: FakeExport, caplog: pytest.LogCaptureFixture
) -> None:
    told = {"accepted": 1, "repeated": 0, "refused": [{"index": 1, "error": "too long", "reason": "long_value"}]}
    export.routes[EXPOSURES] = lambda _: Answer(body=json.dumps(told).encode())
    listener = listener_of(export, every=60)
    decide(listener, "ann")
    decide(listener, "ben")
    assert listener.close(5)
    assert (listener.delivered, listener.refused) == (1, 1)
    assert "long_value" in caplog.text


def test_decisions_of_many_threads_all_arrive(export: FakeExport) -> None:
    listener = listener_of(export, batch=50)

    def work(name: str) -> None:
        for number in range(250):
            decide(listener, f"{name}-{number}")

    threads = [threading.Thread(target=work, args=(f"thread-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert listener.close(10)
    assert len(set(export.users)) == len(export.users) == 1000


def test_a_program_that_ends_does_not_wait_for_a_dead_service() -> None:
    (port,) = free_ports(1)
    listener = DecisionListener(f"http://127.0.0.1:{port}", key="secret", every=0.01)
    decide(listener, "ann")
    assert not listener.close(0.05)
    until(lambda: listener.dropped == 1, what="the drop")


def test_a_closed_listener_takes_no_more(export: FakeExport) -> None:
    listener = listener_of(export)
    assert listener.close(5)
    decide(listener, "ann")
    assert (listener.dropped, listener.waiting, export.requests) == (1, 0, [])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "service"),
        ({"service": "http://127.0.0.1:1", "app_id": "1", "key": "k"}, "service"),
        ({"service": "http://127.0.0.1:1"}, "key"),
        ({"service": "127.0.0.1:8003", "key": "k"}, "service"),
        ({"app_id": "1", "base": "heapanalytics.com"}, "base"),
        ({"app_id": ""}, "app_id"),
        ({"service": "http://127.0.0.1:1", "key": "k", "attributes": "plan"}, "attributes"),
        ({"app_id": "1", "batch": 1001}, "batch"),
    ],
)
def test_a_wrong_option_is_named(options: Any, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        DecisionListener(**options)
