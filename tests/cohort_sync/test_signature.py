"""The vectors were made with the generator of Heap's reference."""

from __future__ import annotations

import pytest

from cohort_sync.signature import SignatureCheck, sign
from foundation.errors import BadRequestError, ForbiddenError

SIGNED_AT = 1660000000000
SYNC = (
    b'{"id_token":"CustomerIdToken","action_type":"segment.users.sync","customer_config":{"fields":[{"field_id":'
    b'"workspace","field_display_name":"Workspace","value":{"id":"workspace_1","display_name":"Workspace 1"}}]},'
    b'"data":{"segment":{"id":1338065,"name":"Free Customers"},"sync_info":{"page_number":1,"total_pages":1,'
    b'"sync_task_id":"FreeCustomersSync"},"remove":[{"id":"user1@email.com"},{"id":"user2@email.com"}],'
    b'"add":[{"id":"user3@email.com"},{"id":"user4@email.com"}]}}'
)
SYNC_WITHOUT_TOKEN = SYNC.replace(b'"id_token":"CustomerIdToken",', b"")
DRAIN = (
    b'{"action_type":"segment.users.drain","customer_config":{"fields":[{"field_id":"workspace",'
    b'"field_display_name":"Workspace","value":{"id":"workspace_1","display_name":"Workspace 1"}}]},'
    b'"data":{"segment":{"id":1338065,"name":"Segment To Drain"}}}'
)

VECTORS = [
    (SYNC, 470, "Nv7Q0mHnNRisOXZoxgOFfN8QHevpm7A4NuTTr3zafKg="),
    (DRAIN, 244, "TtYjX1EO+mxUApv5OOQCCUQsbx5jw6uJAzBDZl/PEos="),
    (SYNC_WITHOUT_TOKEN, 441, "er3bfFUoRTyE1Lax7PYHT5S5NNF8ge81uphf9C8l5yY="),
]


@pytest.fixture
def at_signing_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: SIGNED_AT / 1000)


@pytest.mark.parametrize(("body", "length", "mac"), VECTORS)
def test_published_vectors(body: bytes, length: int, mac: str) -> None:
    assert len(body) == length
    assert sign("whsec_test", body, timestamp_ms=SIGNED_AT) == f"ts:{SIGNED_AT},hmac:{mac}"


@pytest.mark.usefixtures("at_signing_time")
@pytest.mark.parametrize(("body", "length", "mac"), VECTORS)
def test_a_vector_verifies_with_any_of_the_secrets_and_in_any_chunks(body: bytes, length: int, mac: str) -> None:
    check = SignatureCheck(f"ts:{SIGNED_AT},hmac:{mac}".encode(), [b"another", b"whsec_test"])
    for start in range(0, length, 7):
        check.feed(body[start : start + 7])
    check.verify(tolerance=0)


@pytest.mark.usefixtures("at_signing_time")
@pytest.mark.parametrize(
    "mac",
    [
        "er3bfFUoRTyE1Lax7PYHT5S5NNF8ge81uphf9C8l5yY=",  # of another body
        "36fed0d269c73511ac397665c6080e7cdf101deb29",  # hex
        "Nv7Q0mHnNRisOXZoxgOFfN8QHevpm7A4NuTTr3zafKg",  # padding lost
        "ÿ",
    ],
)
def test_another_hmac_is_forbidden(mac: str) -> None:
    check = SignatureCheck(f"ts:{SIGNED_AT},hmac:{mac}".encode("latin-1"), [b"whsec_test"])
    check.feed(SYNC)
    with pytest.raises(ForbiddenError, match="Invalid signature") as caught:
        check.verify(tolerance=60)
    assert caught.value.reason == "bad_signature"


@pytest.mark.parametrize(
    ("now_seconds_later", "reason"),
    [(3601, "stale_timestamp"), (3599, None), (-59, None), (-61, "future_timestamp")],
)
def test_the_window_of_time(monkeypatch: pytest.MonkeyPatch, now_seconds_later: float, reason: str | None) -> None:
    monkeypatch.setattr("time.time", lambda: SIGNED_AT / 1000 + now_seconds_later)
    check = SignatureCheck(sign("s", SYNC, timestamp_ms=SIGNED_AT).encode(), [b"s"])
    check.feed(SYNC)
    if reason is None:
        check.verify(tolerance=3600)
    else:
        with pytest.raises(ForbiddenError) as caught:
            check.verify(tolerance=3600)
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    "header", [None, b"", b"ts:,hmac:abc", b"hmac:abc", b"ts:12", b"ts:-5,hmac:abc", b"ts:\xb2,hmac:abc", b"v1=abc"]
)
def test_a_header_of_another_form_is_a_bad_request(header: bytes | None) -> None:
    with pytest.raises(BadRequestError, match="Heap-Hash"):
        SignatureCheck(header, [b"s"])
