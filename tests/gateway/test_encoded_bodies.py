"""Bodies that come packed: read where SDKs send them, and never a reason to send them again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from foundation.settings import MEBIBYTE
from gateway.bodies import MAX_EVENT_BYTES
from tests.gateway.conftest import ACCOUNT
from tests.gateway.deciding import TOKEN
from tests.support import http, processes
from tests.support.encodings import BROKEN, HEADER, READABLE, UNKNOWN, Packing, bomb
from tests.support.raw_http import connection, read_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.support.processes import Program, StoreServer

ONE, BATCH = "/events/t", "/server-side/batch-events-v2"
EVENT = {"d": {"visId": "5B1A", "event": {"name": "bought", "time": 1795308506454, "props": {"note": "x" * 500}}}}
EVENTS = {ONE: EVENT, "/as01" + ONE: EVENT, BATCH: {"ev": [EVENT, EVENT]}, "/as01" + BATCH: {"ev": [EVENT]}}
USER = {"userId": "user-1", "customVariables": {"heap_user_id": "alice", "note": "x" * 500}}
ASKED: dict[str, dict[str, Any]] = {
    "/server-side/getFlag": {"featureKey": "premium_dashboard"} | USER,
    "/as01/server-side/getFlag": {"featureKey": "premium_dashboard"} | USER,
    "/server-side/getFlags": USER,
    "/server-side/trackEvent": {"eventName": "nothing"} | USER,
    "/server-side/setAttribute": {"attributeKey": "plan", "attributeValue": "gold"} | USER,
    "/server-side/explain": {"featureKey": "premium_dashboard"} | USER,
    "/user-alias/setUserAlias": {"userId": "user-1", "aliasId": "visitor-" + "1" * 500},
    "/ofrep/v1/evaluate/flags/premium_dashboard": {"context": {"targetingKey": "user-1", "note": "x" * 500}},
    "/ofrep/v1/evaluate/flags": {"context": {"targetingKey": "user-1", "note": "x" * 500}},
}


@pytest.fixture(scope="module")
def gateway(emptied_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    settings = {"REDIS_URL": emptied_store.url, "ADMIN_TOKEN": TOKEN}
    with processes.gateway(tmp_path_factory.mktemp("gateway"), settings) as program:
        yield program


def post(gateway: Program, path: str, content: bytes, encoding: str | None) -> httpx.Response:
    headers = [("Authorization", f"Bearer {TOKEN}"), ("Content-Type", "application/json")]
    if encoding is not None:
        headers.append((HEADER, encoding))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return http.post(f"{gateway.address}{path}?a={ACCOUNT}&accountId={ACCOUNT}", content=content, headers=raw)


def told(answer: httpx.Response) -> str:
    """The text of an error."""
    document = answer.json()
    return str(document.get("error") or document["errorDetails"])


def counted(gateway: Program, sample: str) -> float:
    lines = http.get(f"{gateway.address}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"cohort_gateway_{sample}"))


@pytest.mark.parametrize("packing", READABLE.values(), ids=READABLE.keys())
def test_events_are_read(gateway: Program, packing: Packing) -> None:
    before = counted(gateway, 'events_total{name="custom"}')
    for path, events in EVENTS.items():
        answer = post(gateway, path, packing.pack(json.dumps(events).encode()), packing.encoding)
        assert (answer.status_code, answer.content, answer.headers["X-Events"]) == (200, b"{}", "counted"), path
    assert counted(gateway, 'events_total{name="custom"}') == before + 5


@pytest.mark.parametrize(
    ("packing", "outcome"),
    [
        *((packing, "bad_encoding") for packing in BROKEN.values()),
        *((packing, "unsupported_encoding") for packing in UNKNOWN.values()),
    ],
    ids=[*BROKEN, *UNKNOWN],
)
def test_events_that_can_t_be_unpacked_are_answered_200_and_counted(
    gateway: Program, packing: Packing, outcome: str
) -> None:
    sample = f'event_requests_total{{outcome="{outcome}"}}'
    before = counted(gateway, sample)
    for path, events in EVENTS.items():
        answer = post(gateway, path, packing.pack(json.dumps(events).encode()), packing.encoding)
        assert (answer.status_code, answer.content, answer.headers["X-Events"]) == (200, b"{}", "unreadable"), path
    assert counted(gateway, sample) == before + len(EVENTS)


@pytest.mark.parametrize("path", ASKED)
def test_other_bodies_are_answered_as_if_they_came_as_they_are(gateway: Program, path: str) -> None:
    content = json.dumps(ASKED[path]).encode()
    plain = post(gateway, path, content, None)
    assert plain.status_code == 200, plain.text
    for name, packing in READABLE.items():
        answer = post(gateway, path, packing.pack(content), packing.encoding)
        assert (answer.status_code, answer.content) == (200, plain.content), name


@pytest.mark.parametrize("path", ASKED)
def test_what_can_t_be_unpacked_is_a_bad_request_that_names_the_header(gateway: Program, path: str) -> None:
    """400 alone is not sent again by SDKs."""
    content = json.dumps(ASKED[path]).encode()
    for name, packing in (BROKEN | UNKNOWN).items():
        answer = post(gateway, path, packing.pack(content), packing.encoding)
        assert answer.status_code == 400, name
        assert HEADER in told(answer), name
    assert "br is not read here; send gzip or deflate" in told(post(gateway, path, content, "br"))


def test_an_alias_in_the_query_needs_no_body_whatever_its_encoding(gateway: Program) -> None:
    address = f"{gateway.address}/user-alias/setUserAlias?accountId={ACCOUNT}&userId=user-1&aliasId=visitor-2"
    answer = http.post(address, headers={HEADER: "gzip"})
    assert (answer.status_code, answer.json()) == (200, {"isAliasSet": True})


@pytest.mark.parametrize("path", [ONE, BATCH])
def test_events_are_unpacked_up_to_what_a_request_may_have(gateway: Program, path: str) -> None:
    event = json.dumps(EVENT).encode() if path == ONE else json.dumps({"ev": [EVENT]}).encode()
    sample = 'event_requests_total{outcome="too_large"}'
    before = counted(gateway, sample)
    taken = "dropped" if path == ONE else "counted"  # a single event may have much less
    for size, fate, more in ((MAX_EVENT_BYTES, taken, 0), (MAX_EVENT_BYTES + 1, "dropped", 1)):
        packed = READABLE["gzip"].pack(event.ljust(size))
        answer = post(gateway, path, packed, "gzip")
        assert (answer.status_code, answer.headers["X-Events"]) == (200, fate)
        assert counted(gateway, sample) == before + more


@pytest.mark.parametrize("path", ASKED)
def test_a_small_body_that_unpacks_beyond_the_limit_is_too_large(gateway: Program, path: str) -> None:
    answer = post(gateway, path, bomb(2 * MEBIBYTE), "gzip")
    assert answer.status_code == 400
    assert "bytes unpacked" in told(answer)


def test_no_more_is_unpacked_than_is_taken(gateway: Program) -> None:
    before = gateway.resident
    assert post(gateway, BATCH, bomb(256 * MEBIBYTE), "gzip").headers["X-Events"] == "dropped"
    assert gateway.resident - before < 64 * MEBIBYTE


def test_a_transfer_coding_is_unpacked_as_well(gateway: Program) -> None:
    """RFC 9112, 7: `gzip, chunked`; the server takes only the chunks apart."""
    packed = READABLE["gzip"].pack(json.dumps(EVENT).encode())
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    for coding, fate in (("gzip, chunked", "counted"), ("GZip,chunked", "counted"), ("br, chunked", "unreadable")):
        head = f"POST {ONE}?a={ACCOUNT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}\r\n\r\n"
        with connection(gateway.address) as peer:
            peer.sendall(head.encode() + chunks)
            answer = read_answer(peer)
        assert answer is not None
        assert (answer.status, answer.headers["x-events"]) == (200, fate)
