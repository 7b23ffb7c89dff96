"""Whatever one request brings, others don't wait for it: every turn of the gateway's event loop stays short.

Turns are measured in the gateway, in processor time: on a busy machine a long wait would prove nothing.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.decisions_requests import MAX_VALUES
from gateway.event_bodies import LARGEST_EVENT, MOST_EVENTS
from tests.gateway.conftest import Lists
from tests.gateway.event_posts import event, messages, metric, readiness, send, settings_for
from tests.support import http, processes
from tests.support.fake_vwo import BATCH, fake_vwo
from tests.support.probed_service import longest_turn, probed
from tests.support.processes import running_store
from tests.support.worst_bodies import ACCOUNT, GET_FLAG, OFREP, of_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.fake_vwo import FakeVwo
    from tests.support.processes import Program, StoreServer
    from tests.support.worst_bodies import Worst

# Milliseconds. 5 to 20 are usual; read by one call of a parser, each of these bodies took 250 to 1900.
LONGEST_TURN = 120.0
HARMFUL = (
    "batch: 8 MiB of small events",
    "batch: 8 MiB of numbers",
    "batch: events of 64 KiB of lists",
    "batch: one event of 8 MiB of lists",
    "batch: 50,000 users",
    "batch: 20,000 users",
    "event: 8 MiB of lists",
)


@pytest.fixture(scope="module")
def its_store() -> Iterator[StoreServer]:
    with running_store() as server:
        yield server


@pytest.fixture(scope="module")
def service(its_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with fake_vwo() as its_vwo:
        settings = settings_for(its_vwo, its_store.url, EXPORT_EXPOSURES="true", CORS_CONFIG_REQUIRED="true")
        settings["SETTINGS_FILE"] = str(processes.ROOT / "examples" / "settings.json")
        with probed("gateway", tmp_path_factory.mktemp("probed"), settings) as program:
            assert send(program, event(0)) == "stored"  # what is made for the first one is made now
            yield program


@pytest.mark.parametrize(
    "worst", [worst for worst in of_gateway() if worst.name in HARMFUL], ids=lambda worst: worst.name
)
def test_no_body_holds_the_loop(service: Program, worst: Worst) -> None:
    assert worst.make is not None
    body, begun = worst.make(), time.monotonic()
    answer = http.post(service.address + worst.path, content=body, headers=dict(worst.headers))
    assert answer.status_code == 200
    assert answer.headers["X-Events"] in ("stored", "buffered", "dropped")
    assert longest_turn(service.lines, begun) < LONGEST_TURN
    assert "Traceback" not in service.log()


def test_the_probe_sees_a_long_turn() -> None:
    """Else the test above could not fail."""
    assert longest_turn(["held 3.0 ms at 1.000\n", "another\n", "held 451.2 ms at 2.000\n"], since=1.5) == 451.2


def test_as_many_events_as_a_batch_may_have_arrive_in_their_order(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    with processes.gateway(tmp_path, settings_for(vwo, store_url)) as program:
        assert send(program, {"ev": [event(number) for number in range(MOST_EVENTS)]}, BATCH) in ("stored", "buffered")
        vwo.wait_for_events(MOST_EVENTS, seconds=60)
    assert vwo.messages == messages(*range(MOST_EVENTS))


def test_a_batch_with_more_events_or_users_is_dropped_and_counted(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    with processes.gateway(tmp_path, settings_for(vwo, store_url)) as program:
        assert send(program, {"ev": [{}] * (MOST_EVENTS + 1)}, BATCH) == "dropped"
        assert send(program, {"ev": [event(1)], "users": ["a"] * (MOST_EVENTS + 1)}, BATCH) == "dropped"
        assert metric(program, 'event_requests_total{outcome="too_many"}') == 2
        assert send(program, {"ev": [event(2)], "users": ["a"]}, BATCH) == "stored"
        vwo.wait_for_events(1)
        assert vwo.messages == messages(2)
        assert readiness(program) == {"status": "ok"}  # it is their sender's fault


def test_what_is_wrong_with_one_event_is_not_the_others_fault(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    large = json.dumps(event(2, pad="x" * LARGEST_EVENT)).encode()
    parts = [json.dumps(event(1)).encode(), large, b'{"d":{"event":{"name":nonsense}}}', b"[[]]", b"7", b'"{"', b"{}"]
    with processes.gateway(tmp_path, settings_for(vwo, store_url)) as program:
        body = (
            b' {"users" : null, "ev" :[\n'
            + b" ,\t".join([*parts, json.dumps(event(3)).encode()])
            + b' ] , "more":[{"ev":[]}]}\n'
        )
        assert send(program, body, BATCH) == "dropped"
        vwo.wait_for_events(2)
        assert vwo.messages == messages(1, 3)
        assert metric(program, 'events_dropped_total{reason="unreadable"}') == 5
        assert metric(program, 'events_dropped_total{reason="too_large"}') == 1
        assert send(program, body.rstrip()[:-1], BATCH) == "unreadable"  # nothing of what is no document


def variables(count: int) -> dict[str, int]:
    return {f"v{number}": number for number in range(count)}


@pytest.mark.parametrize(
    ("path", "of"),
    [
        (GET_FLAG, lambda many: {"featureKey": "premium_dashboard", "userId": "alice", "customVariables": many}),
        (f"{OFREP}/premium_dashboard", lambda many: {"context": {"targetingKey": "alice", **many}}),
        (OFREP, lambda many: {"context": {"targetingKey": "alice", "more": [many]}}),
    ],
)
def test_too_many_variables_are_refused(service: Program, path: str, of: Callable[[Any], Any]) -> None:
    answer = http.post(service.address + path, json=of(variables(MAX_VALUES)))
    assert answer.status_code == 400
    assert f"more than {MAX_VALUES} values; send fewer variables" in answer.text
    assert http.post(service.address + path, json=of(variables(MAX_VALUES - 20))).status_code == 200


def test_of_very_many_parameters_the_first_ones_are_read(service: Program) -> None:
    settings, many = f"{service.address}/server-side/v2-settings", "&b" * 100
    assert http.get(f"{settings}?a=999").status_code == 400  # another account than that of the settings
    assert http.get(f"{settings}?a=999{many}").status_code == 400
    assert http.get(f"{settings}?b{many}&a=999").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://www.example.com"}])
def test_all_of_a_check_is_read(its_store: StoreServer, service: Program, headers: dict[str, str]) -> None:
    """A value may hold anything, whoever answers: browsers are not answered by the fast path."""
    value = "alice" + "&b" * 100
    with its_store.client() as client:
        Lists(client).put("some", value)
    answer = http.get(
        f"{service.address}/check-attribute?attribute={value}&listId=some&accountId={ACCOUNT}", headers=headers
    )
    assert (answer.text, answer.headers["X-Membership"]) == ("true", "in")
