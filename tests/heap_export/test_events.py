"""`POST /v1/events`: what senders send, what Heap gets, and what they are answered."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.heap_export.conftest import APP_ID, Service
from tests.support.processes import heap_export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_heap_api import FakeHeap

EVENTS = "/v1/events"
SECRET = "hmac-secret-of-the-tests"
MOMENT = "2026-01-31T12:00:00.250Z"


def track(user: str | None = "ann", name: str = "Bought", **fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": user} | fields


def report(accepted: int = 0, repeated: int = 0, skipped: int = 0) -> dict[str, Any]:
    return {"accepted": accepted, "repeated": repeated, "skipped": skipped, "refused": []}


class TestWhatHeapGets:
    def test_a_track_event_keeps_its_name_properties_and_time(self, standing: Service, ann: str) -> None:
        properties = {"price": 9.5, "sku": "A1", "gift": True, "coupon": None, "items": [{"id": 1}]}
        event = track(ann, properties=properties, timestamp=MOMENT, messageId="m1", context={"ip": "192.0.2.1"})
        assert standing.post(EVENTS, event).json() == report(accepted=1)
        (sent,) = standing.sent(ann, 1)
        assert len(sent.pop("idempotency_key")) == 64
        assert sent == {
            "event": "Bought",
            "identity": ann,
            "timestamp": MOMENT,
            "properties": {"price": 9.5, "sku": "A1", "gift": "true", "items": '[{"id":1}]'},
        }
        assert {taken.app_id for taken in standing.heap.events} == {APP_ID}

    def test_a_page_is_a_pageview_with_its_name(self, standing: Service, ann: str) -> None:
        event: dict[str, Any] = {"type": "page", "userId": ann, "properties": {"url": "https://example.com/prices"}}
        batch = [event | {"name": "Prices"}, event | {"event": "Prices"}, event]
        assert standing.post(EVENTS, batch).json() == report(accepted=3)
        sent = standing.sent(ann, 3)
        assert {page["event"] for page in sent} == {"pageview"}
        named = {"name": "Prices"} | event["properties"]
        assert [page["properties"] for page in sent] == [named, named, event["properties"]]

    def test_identify_sets_user_properties_and_sends_no_event(self, standing: Service, ann: str) -> None:
        event = {"type": "identify", "userId": ann, "traits": {"plan": "gold", "age": 41, "news": False}}
        assert standing.post(EVENTS, [event, track(ann)]).json() == report(accepted=2)
        assert standing.properties(ann, 3) == {"plan": "gold", "age": 41, "news": "false"}
        assert [sent["event"] for sent in standing.sent(ann, 1)] == ["Bought"]

    def test_an_event_without_time_happened_now(self, standing: Service, ann: str) -> None:
        before = dt.datetime.now(dt.UTC)
        standing.post(EVENTS, track(ann))
        (sent,) = standing.sent(ann, 1)
        moment = dt.datetime.fromisoformat(sent["timestamp"])
        assert before - dt.timedelta(milliseconds=1) <= moment <= dt.datetime.now(dt.UTC)

    def test_three_shapes_of_a_batch(self, standing: Service, ann: str) -> None:
        one, two, three, four = (track(ann, str(number)) for number in range(4))
        for body in ([one, two], {"batch": [three]}, {"events": [four]}):
            assert standing.post(EVENTS, body).status_code == 200
        assert [sent["event"] for sent in standing.sent(ann, 4)] == ["0", "1", "2", "3"]

    def test_a_number_as_user_id_is_its_text(self, standing: Service) -> None:
        assert standing.post(EVENTS, track() | {"userId": 42}).json() == report(accepted=1)
        assert standing.sent("42", 1)


class TestRepeats:
    def test_a_message_counts_once_for_each_person(self, standing: Service, ann: str) -> None:
        bob = f"{ann}-and-bob"
        assert standing.post(EVENTS, track(ann, messageId="m1")).json() == report(accepted=1)
        assert standing.post(EVENTS, track(ann, messageId="m1")).json() == report(repeated=1)
        batch = [track(ann, messageId="m1"), *[track(ann, messageId="m2")] * 2, track(bob, messageId="m1")]
        assert standing.post(EVENTS, batch).json() == report(accepted=2, repeated=2)
        keys = [sent["idempotency_key"] for sent in standing.sent(ann, 2) + standing.sent(bob, 1)]
        assert [standing.heap.came[key] for key in keys] == [1, 1, 1]

    def test_a_message_without_id_counts_each_time(self, standing: Service, ann: str) -> None:
        assert standing.post(EVENTS, [track(ann), track(ann)]).json() == report(accepted=2)
        standing.sent(ann, 2)


class TestNobody:
    def test_an_anonymous_event_is_skipped_and_counted(self, standing: Service) -> None:
        anonymous = [track(None, anonymousId="a1"), track("", anonymousId="a1"), track()]
        with standing.counting('heap_export_skipped_total{reason="anonymous",source="generic"}', 2):
            assert standing.post(EVENTS, anonymous).json() == report(accepted=1, skipped=2)

    def test_traits_of_nothing_are_skipped(self, standing: Service) -> None:
        assert standing.post(EVENTS, {"type": "identify", "userId": "ann"}).json() == report(skipped=1)

    @pytest.mark.parametrize("user", ["undefined", "null", "USER", "  "])
    def test_an_identity_that_would_merge_people_is_refused(self, standing: Service, user: str) -> None:
        answer = standing.post(EVENTS, track(user))
        assert (answer.status_code, answer.json()["reason"]) == (400, "nobody_identity")


class TestRefusals:
    @pytest.mark.parametrize(
        ("fields", "reason", "named"),
        [
            ({"type": "screen"}, "bad_type", "type"),
            ({"type": None}, "bad_type", "type"),
            ({"userId": None}, "no_identity", "userId"),
            ({"userId": ["ann"]}, "bad_text", "userId"),
            ({"userId": True}, "bad_text", "userId"),
            ({"userId": "x" * 256}, "long_identity", "identity"),
            ({"event": ""}, "bad_name", "event"),
            ({"event": 7}, "bad_name", "event"),
            ({"event": "x" * 1024}, "long_name", "event"),
            ({"timestamp": "yesterday"}, "bad_time", "timestamp"),
            ({"timestamp": 1700000000}, "bad_time", "timestamp"),
            ({"timestamp": "1969-12-31T23:59:59Z"}, "bad_time", "time"),
            ({"messageId": {"id": 1}}, "bad_text", "messageId"),
            ({"properties": [1]}, "bad_shape", "properties"),
            ({"properties": {"x": "y" * 1024}}, "long_value", "properties.x"),
            ({"properties": {"": 1}}, "bad_name", "properties"),
            ({"properties": {"x": 10**400}}, "bad_value", "properties.x"),
            ({"type": "identify", "traits": {"Id": 1}}, "reserved_property", "traits"),
        ],
    )
    def test_one_event_that_can_not_be_taken(
        self, standing: Service, fields: dict[str, Any], reason: str, named: str
    ) -> None:
        answer = standing.post(EVENTS, track() | fields)
        assert answer.status_code == 400
        assert set(answer.json()) == {"error", "reason"}
        assert answer.json()["reason"] == reason
        assert named in answer.json()["error"]

    def test_the_others_of_a_batch_are_taken(self, standing: Service) -> None:
        batch = [track(), track() | {"type": "x"}, 5, None, track("bob", timestamp="never")]
        with standing.counting('heap_export_refused_total{reason="bad_shape",source="generic"}', 2):
            answer = standing.post(EVENTS, batch)
        assert answer.status_code == 200
        assert answer.json()["accepted"] == 1
        assert [(refused["index"], refused["reason"]) for refused in answer.json()["refused"]] == [
            (1, "bad_type"),
            (2, "bad_shape"),
            (3, "bad_shape"),
            (4, "bad_time"),
        ]

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "bad_json"),
            (b"{", "bad_json"),
            (b"[" * 100_000, "bad_json"),
            (b'{"type":"track","event":"\xff","userId":"ann"}', "bad_json"),
            (b'"track"', "bad_shape"),
            (b"null", "bad_shape"),
            (b'{"batch":{}}', "bad_shape"),
        ],
    )
    def test_a_body_that_can_not_be_read(self, standing: Service, body: bytes, reason: str) -> None:
        with standing.counting(f'heap_export_requests_refused_total{{reason="{reason}",what="events"}}', 1):
            answer = standing.post(EVENTS, body)
        assert (answer.status_code, answer.json()["reason"]) == (400, reason)

    def test_nothing_of_a_person_is_logged(self, standing: Service) -> None:
        standing.post(EVENTS, track("secret-person", messageId={"secret-message": 1}))
        standing.post(EVENTS, [track("secret-person", properties={"secret-name": "x" * 2000})])
        standing.post(EVENTS, b'{"secret-body')
        assert "secret" not in standing.program.log()


class TestKeys:
    @pytest.mark.parametrize("key", ["events-key-of-the-tests", "the-next-key"])
    def test_each_of_several_keys_serves(self, standing: Service, key: str) -> None:
        assert standing.post(EVENTS, track(), key=key).status_code == 200

    @pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic eDp4"])
    def test_without_a_key_nothing_is_taken(self, standing: Service, header: str | None) -> None:
        headers = {} if header is None else {"Authorization": header}
        for what in ("events", "exposures"):
            with standing.counting(f'heap_export_requests_refused_total{{reason="unauthorized",what="{what}"}}', 1):
                answer = standing.post(f"/v1/{what}", track(), key=None, headers=headers)
            assert (answer.status_code, answer.json()["reason"]) == (401, "unauthorized")


class TestSignatures:
    @pytest.fixture
    def settings(self, settings: dict[str, str]) -> dict[str, str]:
        return settings | {"EVENTS_HMAC_SECRET": f"older, {SECRET}"}

    def sign(self, body: bytes, secret: str = SECRET) -> dict[str, str]:
        return {"X-Signature": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}

    def test_the_raw_body_is_signed(self, service: Service) -> None:
        body = b' {"type" : "track", "event":"Bought","userId":"ann"}'
        assert service.post(EVENTS, body, headers=self.sign(body)).status_code == 200
        assert service.post(EVENTS, body, headers=self.sign(body, "older")).status_code == 200
        tampered = service.post(EVENTS, body.replace(b"ann", b"bob"), headers=self.sign(body))
        assert (tampered.status_code, tampered.json()["reason"]) == (403, "bad_signature")

    def test_anything_else_is_no_signature(self, service: Service) -> None:
        body = json.dumps(track()).encode()
        for signature, status, reason in (
            (None, 400, "missing_signature"),
            ("sha1=00", 400, "malformed_signature"),
            ("", 400, "malformed_signature"),
            ("sha256=", 403, "bad_signature"),
            ("sha256=" + "00" * 32, 403, "bad_signature"),
        ):
            headers = {} if signature is None else {"X-Signature": signature}
            answer = service.post(EVENTS, body, headers=headers)
            assert (answer.status_code, answer.json()["reason"]) == (status, reason)
        assert service.post(EVENTS, b"{", headers={"X-Signature": "sha256=00"}).status_code == 403  # before it is read
        assert service.post(EVENTS, body, key=None, headers=self.sign(body)).status_code == 401


def test_an_integration_may_be_named(standing: Service) -> None:
    assert standing.post(f"{EVENTS}?integration=default", track()).json() == report(accepted=1)
    answer = standing.post(f"{EVENTS}?integration=other", track())
    assert (answer.status_code, answer.json()["reason"]) == (404, "not_found")


def test_events_that_wait_outlive_the_process(tmp_path: Path, settings: dict[str, str], heap: FakeHeap) -> None:
    settings["DELIVER_HERE"] = "false"
    with heap_export(tmp_path, settings) as program:
        assert Service(program, heap).post(EVENTS, track(messageId="m1")).json() == report(accepted=1)
        program.kill()
    assert heap.events == []
    del settings["DELIVER_HERE"]
    with heap_export(tmp_path, settings) as program:
        heap.wait_for_events(1)
        assert Service(program, heap).post(EVENTS, track(messageId="m1")).json() == report(repeated=1)


def test_a_full_stream_is_told(tmp_path: Path, settings: dict[str, str], heap: FakeHeap) -> None:
    settings |= {"DELIVER_HERE": "false", "HEAP_EVENTS_WAITING": "2"}
    with heap_export(tmp_path, settings) as program:
        service = Service(program, heap)
        answer = service.post(EVENTS, [track(messageId=str(number)) for number in range(3)])
        assert (answer.status_code, answer.json()["reason"]) == (503, "stream_full")
        assert service.post(EVENTS, track(messageId="0")).json() == report(repeated=1)
