"""Events that VWO's program, or ours, stumbles over: they hold up no others, and die of no fault of ours."""

from __future__ import annotations

import json
import resource
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.gateway.event_posts import metric, send, send_batch, settings_for
from tests.support import http, processes
from tests.support.fake_vwo import answers, refuses
from tests.support.processes import run_program
from tests.support.vwo_settings import ACCOUNT, KEY, POLLED, VwoSettings
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_vwo import FakeVwo
    from tests.support.processes import Program


def reasons(program: Program) -> list[str]:
    found: list[str] = httpx.get(f"{program.address}/readyz").json().get("reasons", [])
    return found


def test_one_event_that_vwo_fails_over_holds_up_no_other(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    vwo.fault = refuses(lambda event: event["d"]["msgId"] in ("m3", "m11"), status=500)
    with processes.gateway(tmp_path, settings_for(vwo, store_url)) as program:
        send_batch(program, *range(20))
        vwo.wait_for_events(18, seconds=60)
        send_batch(program, 20)
        until(lambda: metric(program, "events_dead_total") == 2, seconds=60, what="two dead letters")
        vwo.wait_for_events(19)
        until(lambda: reasons(program) == ["events_dead"], what="readiness")
    assert sorted(vwo.messages) == sorted(f"m{number}" for number in range(21) if number not in (3, 11))


def test_while_nothing_passes_all_wait_and_an_operator_may_take_one_out(
    tmp_path: Path, store_url: str, vwo: FakeVwo
) -> None:
    vwo.fault = answers(500)
    settings = settings_for(vwo, store_url)
    with processes.gateway(tmp_path, settings) as program:
        send_batch(program, *range(5))
        until(lambda: len(vwo.requests) > 6, seconds=60, what="tries of single events")
        command = ["gateway", "events"]
        listed = json.loads(run_program([*command, "waiting", "--json"], settings, directory=tmp_path).stdout)
        assert [row["event"] for row in listed] == ["vwo_variationShown"] * 5
        done = run_program([*command, "remove", "--yes", listed[2]["id"], "1-1"], settings, directory=tmp_path)
        assert done.stdout == "thrown away: 1 of 2\n"
        wrong = run_program([*command, "remove", "--yes", "m2"], settings, directory=tmp_path)
        assert (wrong.returncode, "events waiting" in wrong.stderr) == (2, True)
        vwo.fault = None
        vwo.wait_for_events(4, seconds=60)
        until(lambda: metric(program, "events_waiting") == 0, what="an empty stream")
    assert sorted(vwo.messages) == ["m0", "m1", "m3", "m4"]


@pytest.mark.parametrize(
    "fault",
    [{"SSL_CERT_FILE": "/nowhere/ca.pem"}, {"HTTP_PROXY": "nonsense://127.0.0.1:1"}],
    ids=["certificates", "proxy"],
)
def test_events_outlive_a_fault_of_the_installation(
    tmp_path: Path, store_url: str, vwo: FakeVwo, fault: dict[str, str]
) -> None:
    settings = settings_for(vwo, store_url)
    with processes.gateway(tmp_path, settings | fault) as program:
        for _ in range(3):
            send_batch(program, 1, 2)
        until(lambda: "events_internal" in reasons(program), what="readiness")
        assert metric(program, "events_dead_total") == 0
        program.kill()
    with processes.gateway(tmp_path, settings) as program:
        vwo.wait_for_events(6, seconds=30)


@pytest.mark.parametrize(
    "fault",
    [{"SSL_CERT_FILE": "/nowhere/ca.pem"}, {"HTTP_PROXY": "http://[::nonsense"}, {"ALL_PROXY": "socks5://127.0.0.1:1"}],
    ids=["certificates", "proxy", "unknown-proxy"],
)
def test_settings_that_cannot_be_polled_for_a_fault_of_the_installation_are_said(
    tmp_path: Path, store_url: str, vwo: FakeVwo, fault: dict[str, str]
) -> None:
    """What is kept is served on, so that nobody would see it but in readiness; what is not kept is 503."""
    published = VwoSettings(vwo).put()
    accounts = {"accounts": [{"accountId": ACCOUNT, "sdkKeys": [KEY], "open": True}]}
    (tmp_path / "accounts.json").write_text(json.dumps(accounts))
    settings = settings_for(vwo, store_url, ACCOUNTS_FILE="accounts.json", SETTINGS_FILE="", POLLING_TIME="1000")
    settings["FORWARD_EVENTS"] = "false"
    with processes.gateway(tmp_path, settings) as program:
        until(lambda: http.get(f"{program.address}{POLLED}").json() == published, what="settings")
    with processes.gateway(tmp_path, settings | fault | {"VWO_BASE_URL": "http://vwo.invalid"}) as program:
        assert http.get(f"{program.address}{POLLED}").json() == published
        until(lambda: reasons(program) == ["vwo_unreachable"], what="readiness", seconds=30)
        unknown = http.get(f"{program.address}{POLLED}", params={"a": ACCOUNT, "i": "unknown"})
        assert (unknown.status_code, unknown.json()["reason"]) == (503, "no_settings")


def test_events_outlive_a_lack_of_file_descriptors(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    with processes.gateway(tmp_path, settings_for(vwo, store_url)) as program, httpx.Client() as client:
        client.get(f"{program.address}/healthz")  # a connection that is there when no other one can be made
        before = resource.prlimit(program.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            body = json.dumps({"d": {"msgId": "m1", "visId": "5B1A", "event": {"name": "x", "time": 1, "props": {}}}})
            answer = client.post(f"{program.address}/events/t?a=123456&env=k", content=body)
            assert answer.headers["X-Events"] in ("stored", "buffered")
            until(
                lambda: "events_retried_total" in client.get(f"{program.address}/metrics").text,
                what="a try",
            )
        finally:
            resource.prlimit(program.pid, resource.RLIMIT_NOFILE, before)
        vwo.wait_for_events(1, seconds=30)
        assert metric(program, "events_dead_total") == 0
        send(program, json.loads(body))
