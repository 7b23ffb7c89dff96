"""Events, exposures and webhooks that come packed."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.heap_export.conftest import KEY
from tests.heap_export.statsig_webhook import PATH as STATSIG
from tests.heap_export.statsig_webhook import gate, headers
from tests.support import http
from tests.support.encodings import BROKEN, HEADER, READABLE, UNKNOWN, Packing, bomb
from tests.support.processes import heap_export

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.heap_export.conftest import Service

EVENTS, EXPOSURES = "/v1/events", "/v1/exposures"
PATHS = (EVENTS, EXPOSURES, STATSIG)
SECRET = "hmac-secret-of-the-tests"


def content_for(path: str, user: str) -> bytes:
    bodies: dict[str, Any] = {
        EVENTS: {"batch": [{"type": "track", "event": "Bought", "userId": user, "context": {"note": "x" * 500}}]},
        EXPOSURES: {"source": "generic", "flag_key": f"flag of {user}", "identity": user, "note": "x" * 500},
        STATSIG: {"data": [gate("checkout", "true", user)]},
    }
    return json.dumps(bodies[path]).encode()


def send(address: str, path: str, packed: bytes, encoding: str, **more: str) -> httpx.Response:
    """What is packed is signed as it is."""
    named = {HEADER: encoding, "Authorization": f"Bearer {KEY}"} | (headers(packed) if path == STATSIG else {}) | more
    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    return http.post(address + path, content=packed, headers=raw)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_packed_is_taken(standing: Service, ann: str, path: str) -> None:
    for name, packing in READABLE.items():
        packed = packing.pack(content_for(path, f"{ann} {name}"))
        answer = send(standing.program.address, path, packed, packing.encoding)
        assert (answer.status_code, answer.json()) == (
            200,
            {"accepted": 1, "repeated": 0, "skipped": 0, "refused": []},
        ), name
    standing.sent(f"{ann} gzip", 1)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("packings", "status", "reason"),
    [(BROKEN, 400, "bad_encoding"), (UNKNOWN, 415, "unsupported_encoding")],
    ids=["broken", "unknown"],
)
def test_what_can_t_be_unpacked_is_refused(
    standing: Service, ann: str, path: str, packings: dict[str, Packing], status: int, reason: str
) -> None:
    for name, packing in packings.items():
        answer = send(standing.program.address, path, packing.pack(content_for(path, ann)), packing.encoding)
        assert (answer.status_code, answer.json()["reason"]) == (status, reason), name
        assert HEADER in answer.json()["error"]


@pytest.mark.parametrize("path", PATHS)
def test_no_more_is_unpacked_than_is_taken(standing: Service, path: str) -> None:
    answer = send(standing.program.address, path, bomb(5_000_000), "gzip")
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")
    assert "4194304 bytes unpacked" in answer.json()["error"]


def test_a_webhook_is_signed_as_it_came(standing: Service, ann: str) -> None:
    content = content_for(STATSIG, ann)
    packed = READABLE["gzip"].pack(content)
    answer = send(standing.program.address, STATSIG, packed, "gzip", **headers(content))
    assert (answer.status_code, answer.json()["reason"]) == (403, "bad_signature")
    for packing in [*BROKEN.values(), Packing("gzip", lambda _: bomb(5_000_000))]:
        packed = packing.pack(content)
        answer = send(standing.program.address, STATSIG, packed, packing.encoding, **headers(b"another"))
        assert (answer.status_code, answer.json()["reason"]) == (403, "bad_signature")


def test_a_signature_of_events_is_over_what_came(tmp_path: Path, settings: dict[str, str], ann: str) -> None:
    content = content_for(EVENTS, ann)
    packed = READABLE["gzip"].pack(content)
    with heap_export(tmp_path, settings | {"EVENTS_HMAC_SECRET": SECRET}) as program:
        for signed, status in ((packed, 200), (content, 403)):
            signature = "sha256=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
            answer = send(program.address, EVENTS, packed, "gzip", **{"X-Signature": signature})
            assert answer.status_code == status, answer.text
        program.kill()
