"""Events while the store, or a gateway, is away; and several gateways at once."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from tests.gateway.event_posts import event, messages, metric, readiness, send, send_batch, settings_for
from tests.support import processes
from tests.support.fake_vwo import answers, says_nothing
from tests.support.processes import run_program, running_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    import redis

    from tests.support.fake_vwo import FakeVwo


def test_a_full_stream_drops_what_is_new_and_says_so(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    settings = settings_for(vwo, store_url, EVENTS_WAITING="3", FORWARD_HERE="false")
    with processes.gateway(tmp_path, settings) as program:
        assert send_batch(program, 1, 2) == "stored"
        assert send_batch(program, 3, 4) == "dropped"
        assert "events_dropped" in readiness(program)["reasons"]
        assert "events are dropped: stream_full" in program.log()
        until(lambda: metric(program, "events_waiting") == 3)
    assert not vwo.requests
    with processes.gateway(tmp_path, settings | {"FORWARD_HERE": "true"}):
        vwo.wait_for_events(3)
    assert vwo.messages == messages(1, 2, 3)


def test_the_store_goes_away_and_comes_back(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    del store_url  # this test has a store of its own
    with running_store() as server, processes.gateway(tmp_path, settings_for(vwo, server.url)) as program:
        assert send(program, event(1)) == "stored"
        vwo.wait_for_events(1)
        server.kill()
        assert {send(program, event(number)) for number in range(2, 10)} == {"buffered"}
        assert "events_in_memory" in readiness(program)["reasons"]
        assert metric(program, "events_in_memory") == 8
        server.start()
        vwo.wait_for_events(9)
        assert vwo.messages == messages(*range(1, 10))
        until(lambda: send(program, event(10)) == "stored")
        until(lambda: readiness(program) == {"status": "ok"})


def test_a_silent_store_holds_up_nobody(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    del store_url  # this test has a store of its own
    with running_store() as server, processes.gateway(tmp_path, settings_for(vwo, server.url)) as program:
        assert send(program, event(0)) == "stored"
        with server.held_still():
            assert {send(program, event(number)) for number in range(1, 20)} == {"buffered"}
        vwo.wait_for_events(20, seconds=40)  # what the store gave away without being heard is taken again after 10 s
        until(lambda: metric(program, "events_in_memory") == 0)
    assert sorted(set(vwo.messages)) == sorted(messages(*range(20)))


def test_another_gateway_takes_over_what_a_killed_one_had_in_hand(
    tmp_path: Path, store: redis.Redis, store_url: str, vwo: FakeVwo
) -> None:
    del store
    vwo.fault = says_nothing
    settings = settings_for(vwo, store_url)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(processes.gateway(tmp_path, settings))
        send_batch(first, *range(5))
        until(lambda: len(vwo.requests) == 1)
        second = stack.enter_context(processes.gateway(tmp_path, settings))
        vwo.fault = None
        os.kill(first.pid, signal.SIGKILL)
        vwo.wait_for_events(5, seconds=40)
        assert vwo.messages == messages(*range(5))
        until(lambda: metric(second, "events_waiting") == 0)


def test_workers_share_the_work_and_their_metrics(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    settings = settings_for(vwo, store_url, WORKERS="2", EVENTS_PER_REQUEST="5")
    with processes.gateway(tmp_path, settings) as program:
        for number in range(40):
            assert send(program, event(number)) == "stored"
        vwo.wait_for_events(40)
        until(lambda: metric(program, "events_delivered_total") == 40)
        assert metric(program, "events_stored_total") == 40
        until(lambda: metric(program, "events_waiting") == 0)
        assert metric(program, "events_in_memory") == 0
    assert sorted(vwo.messages) == sorted(messages(*range(40)))


def test_a_stopped_gateway_leaves_what_is_not_delivered_in_redis(tmp_path: Path, store_url: str, vwo: FakeVwo) -> None:
    vwo.fault = answers(500)
    with processes.gateway(tmp_path, settings_for(vwo, store_url)) as program:
        send_batch(program, 1, 2, 3)
        until(lambda: len(vwo.requests) > 0)
        assert program.stop() == 0
    vwo.fault = None
    with processes.gateway(tmp_path, settings_for(vwo, store_url)):
        vwo.wait_for_events(3)
    assert vwo.messages == messages(1, 2, 3)


def test_without_forwarding_events_are_counted_and_nothing_is_kept(
    tmp_path: Path, store: redis.Redis, store_url: str, vwo: FakeVwo
) -> None:
    settings = settings_for(vwo, store_url)
    del settings["FORWARD_EVENTS"]  # a settings file is served
    with processes.gateway(tmp_path, settings) as program:
        assert send(program, event(1)) == "counted"
        assert metric(program, "events_total") == 1
    assert not store.keys("cg:stream:*")
    assert not vwo.requests


def test_a_command_without_a_store_says_what_to_mend(tmp_path: Path, vwo: FakeVwo) -> None:
    settings = settings_for(vwo, f"unix://{tmp_path}/nobody")
    done = run_program(["gateway", "events", "status"], settings, directory=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no store at unix://")
