"""Statsig's webhook: its signature, the shapes of its bodies, and what its events become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.heap_export.conftest import STATSIG_SECRET, Service
from tests.heap_export.statsig_webhook import PATH, event, experiment, gate, headers, send
from tests.support.processes import heap_export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_heap_api import FakeHeap

HANDSHAKE = {"data": {"event": "url_verification", "verification_code": "code-1"}}


def report(accepted: int = 0, repeated: int = 0, skipped: int = 0) -> dict[str, Any]:
    return {"accepted": accepted, "repeated": repeated, "skipped": skipped, "refused": []}


class TestWhatHeapGets:
    def test_exposures_of_each_kind(self, standing: Service, ann: str) -> None:
        config = {"config": "banner", "ruleID": "rule_7", "reason": "Network"}
        events = [
            gate("new_nav", "true", ann),
            gate("old_nav", False, ann),
            event("statsig::config_exposure", ann, metadata=config),
            experiment("checkout", "Control", ann),
            experiment("prices", "control", ann, rulePassed="false"),
            experiment("search", None, ann),
        ]
        assert send(standing, events).json() == report(accepted=6)
        sent = standing.sent(ann, 6)
        assert {found["event"] for found in sent} == {"Experiment Viewed"}
        assert {found["timestamp"] for found in sent} == {"2026-01-31T12:00:00.250Z"}
        names = ("flag_key", "variation_key", "rule_key", "enabled", "source")
        assert [tuple(found["properties"][name] for name in names) for found in sent] == [
            ("new_nav", "on", "rule", "true", "statsig"),
            ("old_nav", "off", "rule", "false", "statsig"),
            ("banner", "rule_7", "rule_7", "true", "statsig"),
            ("checkout", "Control", "rule", "true", "statsig"),
            ("prices", "control", "rule", "false", "statsig"),
            ("search", "rule", "rule", "true", "statsig"),
        ]
        assert standing.properties(ann, 6) == {
            "[Statsig] new_nav": "on",
            "[Statsig] old_nav": "off",
            "[Statsig] banner": "rule_7",
            "[Statsig] checkout": "Control",
            "[Statsig] prices": "control",
            "[Statsig] search": "rule",
        }

    def test_custom_events_keep_their_names(self, standing: Service, ann: str) -> None:
        custom = [
            event("bought", ann, metadata={"sku": "A1", "cart": {"size": 2}}, value=9.5),
            event("looked", ann, metadata={"page": "home"}, timestamp=1769860800250),
            event("left", ann, value="bored", metadata={"value": "told"}, timestamp=None),
        ]
        assert send(standing, custom).json() == report(accepted=3)
        bought, looked, left = standing.sent(ann, 3)
        assert bought["event"] == "bought"
        assert bought["properties"] == {"sku": "A1", "cart": '{"size":2}', "value": 9.5}
        assert (looked["properties"], looked["timestamp"]) == ({"page": "home"}, "2026-01-31T12:00:00.250Z")
        assert left["properties"] == {"value": "told"}
        assert left["timestamp"] > "2026-01-31"

    def test_three_shapes_of_a_body(self, standing: Service, ann: str) -> None:
        one, two, three = (gate(name, "true", ann) for name in "abc")
        for body in ([one], {"data": [two]}, three):
            assert send(standing, body).json() == report(accepted=1)
        assert [sent["properties"]["flag_key"] for sent in standing.sent(ann, 3)] == ["a", "b", "c"]

    def test_the_user_stands_in_one_of_two_places(self, standing: Service, ann: str) -> None:
        inside, beside = gate("inside", "true", ann), gate("beside", "true", ann)
        del inside["userID"], beside["user"]
        assert send(standing, [inside, beside]).json() == report(accepted=2)
        assert len(standing.sent(ann, 2)) == 2


class TestRepeats:
    def test_an_exposure_counts_once_for_good_whatever_its_message(self, standing: Service, ann: str) -> None:
        """So the daily first exposures add nothing to what came at the time, and days of them nothing to the first."""
        assert send(standing, experiment("checkout", "control", ann)).json() == report(accepted=1)
        later = experiment("checkout", "control", ann) | {"timestamp": "1769947200000", "timeUUID": "of-another-day"}
        assert send(standing, {"data": [later]}).json() == report(repeated=1)
        others = [experiment("checkout", "treatment", ann), experiment("checkout", "control", f"{ann}-and-bob")]
        assert send(standing, others).json() == report(accepted=2)

    def test_a_custom_event_counts_once_for_each_message(self, standing: Service, ann: str) -> None:
        first, second = event("bought", ann), event("bought", ann)
        assert send(standing, [first, second, first]).json() == report(accepted=2, repeated=1)
        assert send(standing, [second]).json() == report(repeated=1)


class TestWhatIsPassedOver:
    def test_nobody_is_named(self, standing: Service) -> None:
        stable = gate("flag", "true", None) | {"user": {"customIDs": {"stableID": "s1"}}, "unitID": "stableID"}
        with standing.counting('heap_export_skipped_total{reason="anonymous",source="statsig"}', 2):
            assert send(standing, [stable, event("bought", "")]).json() == report(skipped=2)

    def test_statsigs_own_messages(self, standing: Service) -> None:
        change = {
            "user": {"name": "Operator", "email": "operator@example.com"},
            "timestamp": 1769860800250,
            "eventName": "statsig::config_change",
            "metadata": {"type": "Gate", "name": "new_nav", "action": "created"},
        }
        with standing.counting('heap_export_skipped_total{reason="not_an_exposure",source="statsig"}', 2):
            answer = send(standing, {"data": [change, event("statsig::diagnostics")]})
        assert answer.json() == report(skipped=2)


class TestRefusals:
    @pytest.mark.parametrize(
        ("bad", "reason", "named"),
        [
            (gate("flag", "maybe"), "bad_gate_value", "metadata.gateValue"),
            (gate("flag", None), "bad_gate_value", "metadata.gateValue"),
            (gate("flag", ["true"]), "bad_gate_value", "metadata.gateValue"),
            (gate("", "true"), "bad_name", "flag_key"),
            (gate("flag", "true", "undefined"), "nobody_identity", "identity"),
            (gate("flag", "true") | {"timestamp": "noon"}, "bad_time", "timestamp"),
            (gate("flag", "true") | {"timestamp": "9" * 400}, "bad_time", "time"),
            (gate("flag", "true") | {"timestamp": True}, "bad_time", "timestamp"),
            (gate("flag", "true") | {"metadata": [1]}, "bad_shape", "metadata"),
            (gate("flag", "true") | {"user": "ann"}, "bad_shape", "user"),
            (experiment("flag", None, experimentGroupName=["a"]), "bad_text", "metadata.experimentGroupName"),
            (event("x" * 1024), "long_name", "event"),
            ({"eventName": 5, "userID": "ann"}, "bad_name", "event"),
            ("event", "bad_shape", "event"),
        ],
    )
    def test_the_others_are_taken_so_that_nobody_sends_it_for_ever(
        self, standing: Service, bad: Any, reason: str, named: str
    ) -> None:
        answer = send(standing, [bad, event("bought")])
        assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
        (refused,) = answer.json()["refused"]
        assert (refused["index"], refused["reason"]) == (0, reason)
        assert named in refused["error"]
        assert send(standing, [bad]).status_code == 200

    @pytest.mark.parametrize(
        ("body", "reason"), [(b"{", "bad_json"), (b"7", "bad_shape"), (b'{"data":7}', "bad_shape")]
    )
    def test_a_body_that_can_not_be_read(self, standing: Service, body: bytes, reason: str) -> None:
        answer = send(standing, body)
        assert (answer.status_code, answer.json()["reason"]) == (400, reason)


class TestSignature:
    def test_each_of_several_secrets_serves(self, standing: Service) -> None:
        for secret in (STATSIG_SECRET, "the-next-secret"):
            assert send(standing, [event("bought")], secret=secret).status_code == 200

    def test_another_secret_or_body_is_refused(self, standing: Service) -> None:
        tampered = standing.post(PATH, b"[]", key=None, headers=headers(b"[ ]"))
        for answer in (send(standing, [], secret="wrong"), tampered):
            assert (answer.status_code, answer.json()["reason"]) == (403, "bad_signature")

    def test_the_timestamp_is_signed_too(self, standing: Service) -> None:
        signed = headers(b"[]")
        signed["X-Statsig-Request-Timestamp"] = str(int(signed["X-Statsig-Request-Timestamp"]) + 1)
        assert standing.post(PATH, b"[]", key=None, headers=signed).status_code == 403

    @pytest.mark.parametrize(
        ("age", "status", "reason"),
        [
            (86_400 - 60, 200, None),
            (86_400 + 60, 403, "stale_timestamp"),
            (-30, 200, None),
            (-90, 403, "future_timestamp"),
        ],
    )
    def test_it_holds_for_a_day(self, standing: Service, age: float, status: int, reason: str | None) -> None:
        answer = send(standing, [], age=age)
        assert (answer.status_code, answer.json().get("reason")) == (status, reason)

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"X-Statsig-Signature": None}, "missing_signature"),
            ({"X-Statsig-Request-Timestamp": None}, "missing_signature"),
            ({"X-Statsig-Signature": "v1=00"}, "malformed_signature"),
            ({"X-Statsig-Signature": "00"}, "malformed_signature"),
            ({"X-Statsig-Request-Timestamp": "noon"}, "malformed_signature"),
            ({"X-Statsig-Request-Timestamp": "9" * 16}, "malformed_signature"),
        ],
    )
    def test_headers_of_another_form(self, standing: Service, changed: dict[str, str | None], reason: str) -> None:
        sent = {name: value for name, value in (headers(b"[]") | changed).items() if value is not None}
        answer = standing.post(PATH, b"[]", key=None, headers=sent)
        assert (answer.status_code, answer.json()["reason"]) == (400, reason)


class TestSettingUp:
    def test_the_address_is_verified_unsigned(self, standing: Service) -> None:
        answer = standing.post(PATH, HANDSHAKE, key=None)
        assert (answer.status_code, answer.json()) == (200, {"verification_code": "code-1"})

    @pytest.mark.parametrize(
        "body",
        [
            {"data": {"event": "another", "verification_code": "code-1"}},
            {"data": {"event": "url_verification", "verification_code": 1}},
            {"data": {"event": "url_verification", "verification_code": "x" * 5000}},
            {"data": [HANDSHAKE["data"]]},
        ],
    )
    def test_nothing_else_is_answered_unsigned(self, standing: Service, body: Any) -> None:
        answer = standing.post(PATH, body, key=None)
        assert (answer.status_code, answer.json()["reason"]) == (400, "missing_signature")

    def test_without_a_secret_only_the_log_says_what_is_missing(
        self, tmp_path: Path, settings: dict[str, str], heap: FakeHeap
    ) -> None:
        del settings["STATSIG_WEBHOOK_SECRET"]
        with heap_export(tmp_path, settings) as program:
            service = Service(program, heap)
            assert service.post(PATH, HANDSHAKE, key=None).status_code == 200
            answer = send(service, [event("bought")])
            assert (answer.status_code, answer.json()["reason"]) == (403, "not_set_up")
            assert "SECRET" not in answer.text
            program.wait_for_line("STATSIG_WEBHOOK_SECRET")
