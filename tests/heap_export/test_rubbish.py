"""Whatever is sent to the public port, nobody gets a 500."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.heap_export.conftest import KEY
from tests.heap_export.statsig_webhook import PATH, headers
from tests.support import http

if TYPE_CHECKING:
    import httpx

    from tests.heap_export.conftest import Service

few = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

odd_texts = st.sampled_from(
    ["", " ", "null", "user", "\x00", "é", "😀", "on", "true", "2026-01-31", "x" * 1024, "\u202e"]
)
odd_numbers = st.sampled_from([0, -1, 1 << 63, 1 << 64, 10**400, 1e308, -0.0, 1769860800])
scalars = st.none() | st.booleans() | odd_numbers | odd_texts | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_texts, inner, max_size=4), max_leaves=12
)


def of_fields(**usual: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects most of whose fields are as usual, and some are anything or missing."""
    return st.fixed_dictionaries({}, optional={name: st.just(value) | anything for name, value in usual.items()})


events = of_fields(
    type="track",
    event="Bought",
    userId="ann",
    properties={"a": 1},
    traits={"a": 1},
    timestamp="2026-01-31",
    messageId="m",
)
exposures = of_fields(source="vwo", flag_key="f", variation_key="v", identity="ann", time=1769860800, enabled=True)
of_statsig = st.sampled_from(["statsig::gate_exposure", "statsig::config_exposure", "statsig::experiment_exposure"])
statsig_events = st.builds(
    lambda found, name: found | {"eventName": name},
    of_fields(
        userID="ann",
        user={"userID": "ann"},
        timestamp="1769860800000",
        metadata={"gate": "g", "gateValue": "true", "config": "c", "ruleID": "r"},
        timeUUID="t",
        value="",
    ),
    of_statsig | scalars,
)


def bodies(items: st.SearchStrategy[Any], *names: str) -> st.SearchStrategy[bytes]:
    many = st.lists(items | anything, max_size=3)
    wrapped = [st.fixed_dictionaries({name: many | anything}) for name in names]
    shapes = st.one_of(items, many, anything, *wrapped)
    # Lone surrogates can be written, as escapes.
    return st.binary(max_size=40) | shapes.map(lambda found: json.dumps(found).encode())


def assert_sound(answer: httpx.Response) -> None:
    assert answer.status_code in (200, 400), answer.text
    wanted = {"accepted", "repeated", "skipped", "refused"} if answer.status_code == 200 else {"error", "reason"}
    assert set(answer.json()) == wanted


@few
@given(body=bodies(events, "batch", "events"))
def test_any_events(standing: Service, body: bytes) -> None:
    assert_sound(standing.post("/v1/events", body))


@few
@given(body=bodies(exposures, "exposures"))
def test_any_exposures(standing: Service, body: bytes) -> None:
    assert_sound(standing.post("/v1/exposures", body))


@few
@given(body=bodies(statsig_events, "data"))
def test_any_webhook_that_is_signed(standing: Service, body: bytes) -> None:
    assert_sound(standing.post(PATH, body, key=None, headers=headers(body)))


@few
@given(body=bodies(anything, "data"), signature=st.binary(max_size=40), moment=st.binary(max_size=20))
def test_any_signature(standing: Service, body: bytes, signature: bytes, moment: bytes) -> None:
    sent = {
        "X-Statsig-Signature": f"v0={signature.hex()}",
        "X-Statsig-Request-Timestamp": moment.hex(),
    }
    answer = standing.post(PATH, body, key=None, headers=sent)
    assert answer.status_code in (400, 403)


@few
@given(asked=st.dictionaries(st.just("integration") | st.text(max_size=5), st.text(max_size=20), max_size=2))
def test_any_query(standing: Service, asked: dict[str, str]) -> None:
    event = {"type": "track", "event": "Bought", "userId": "ann"}
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = http.post(f"{standing.program.address}/v1/events", json=event, params=asked, headers=headers)
    assert answer.status_code == (404 if asked.get("integration") else 200)


@pytest.fixture(autouse=True, scope="module")
def _nothing_unexpected(standing: Service) -> Any:
    yield
    assert http.get(f"{standing.program.address}/healthz").status_code == 200
    assert "unexpected" not in standing.program.log()
    assert "Traceback" not in standing.program.log()
