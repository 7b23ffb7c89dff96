"""A gateway that does not answer is left alone: how soon, for how long, and by whom it is tried again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from fme_client.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Breaker
from fme_client.errors import NetworkError
from tests.fme_client.sample import LIST, feature, member, member_of, rollout, sample_settings, settings
from tests.support.recording_server import CHECK, EVENTS, GET_ALIAS, SET_ALIAS, RecordingServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fme_client import Client
    from tests.fme_client.conftest import Connect

ALIAS = {"id": "tmp-1"}
LONG_BEFORE = 2.5  # seconds: half of the longest pause, many times the first one


class Silence:
    """The server answers nothing at these paths until `end`; then as ever."""

    def __init__(self, server: RecordingServer, *paths: str) -> None:
        self._server = server
        self._over = threading.Event()
        self._paths = paths
        server.answers.update(dict.fromkeys(paths, self._answer))

    def end(self) -> None:
        for path in self._paths:
            self._server.answers.pop(path, None)
        self._over.set()

    def _answer(self, _: object) -> tuple[int, bytes]:
        self._over.wait()
        return 200, b""


@pytest.fixture
def silence(server: RecordingServer) -> Iterator[Callable[..., Silence]]:
    made: list[Silence] = []

    def begin(*paths: str) -> Silence:
        made.append(Silence(server, *paths))
        return made[-1]

    yield begin
    for each in made:
        each.end()


def many_lists(count: int) -> dict[str, Any]:
    """Flags `flag-0` and so on, each for the members of a list of its own."""
    rules = [rollout(at, f"flag-{at}", member_of(f"list-{at}")) for at in range(1, count + 1)]
    return settings([feature(at, f"flag-{at}", rule) for at, rule in enumerate(rules, 1)], rules)


def assert_soon_on(client: Client, flag: str) -> None:
    """The gateway is asked again long before the longest pause is over."""
    until(lambda: client.get_flag(flag, member("alice")).is_enabled(), seconds=LONG_BEFORE, what="the next question")


@pytest.mark.parametrize("callers", [8, 40])
def test_calls_that_time_out_together_are_one_failure_of_the_gateway(
    connect: Connect, silence: Callable[..., Silence], callers: int
) -> None:
    """They say the same thing of the same moment, so the pause is the first one."""
    ended = silence(CHECK)
    client = connect(deadline=300)
    with ThreadPoolExecutor(callers) as threads:
        flags = list(threads.map(lambda _: client.get_flag("premium", member("alice")).is_enabled(), range(callers)))
    assert not any(flags)
    ended.end()
    assert_soon_on(client, "premium")


def test_questions_of_one_call_that_time_out_together_are_one_failure(
    connect: Connect, server: RecordingServer, silence: Callable[..., Silence]
) -> None:
    ended = silence(CHECK)
    server.members = {f"list-{at}": {"alice"} for at in range(1, 13)}
    client = connect(settings=many_lists(12), deadline=300)
    assert not any(client.get_flags([f"flag-{at}" for at in range(1, 13)], member("alice")).values())
    ended.end()
    assert_soon_on(client, "flag-1")


def test_a_question_that_no_time_was_left_for_says_nothing_of_the_gateway(
    connect: Connect, server: RecordingServer
) -> None:
    """Rules that ask in turn may use a deadline up although each answer comes soon."""
    rules = [rollout(at, "premium", member_of(f"list-{at}")) for at in range(1, 20)]
    answered = threading.Event()

    def slow(_: object) -> tuple[int, bytes]:
        answered.wait(0.1)
        return 200, b"false"

    server.answers[CHECK] = slow
    client = connect(settings=settings([feature(1, "premium", *rules)], rules), deadline=250)
    for _ in range(3):
        before = len(server.to(CHECK))
        client.get_flag("premium", member("alice"))
        assert len(server.to(CHECK)) > before
    answered.set()


CALLS: dict[str, tuple[str, Callable[[Client], object]]] = {
    "get_flag": (GET_ALIAS, lambda client: client.get_flag("open", ALIAS).is_enabled()),
    "get_flags": (GET_ALIAS, lambda client: any(client.get_flags(["open", "tested"], ALIAS).values())),
    "track_event": (GET_ALIAS, lambda client: client.track_event("open_used", ALIAS)["open_used"]),
    "set_attribute": (GET_ALIAS, lambda client: client.set_attribute("plan", "gold", ALIAS)),
    "set_alias": (SET_ALIAS, lambda client: client.set_alias("user-1", "tmp-1")),
}


@pytest.mark.parametrize("call", CALLS)
def test_aliases_of_a_silent_gateway_soon_cost_nothing(
    connect: Connect,
    server: RecordingServer,
    silence: Callable[..., Silence],
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    """Each call waits the whole deadline until it is clear that nobody answers, and no longer than that."""
    monkeypatch.setattr("fme_client.aliases.SET_SECONDS", 0.05)
    path, make = CALLS[call]
    ended = silence(path)
    client = connect(deadline=50, is_aliasing_enabled=True)
    for _ in range(50):
        assert not make(client)
    asked = len(server.to(path))
    assert FAILURES <= asked < 25  # and a probe in each pause, where the machine is slow
    assert any("is not asked for a moment" in line for line in said)
    ended.end()
    until(lambda: bool(make(client)), what="the gateway to be asked again")


def test_calls_that_wait_for_their_events_soon_wait_no_more(
    connect: Connect, server: RecordingServer, silence: Callable[..., Silence], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events are kept, and sent once somebody takes them."""
    monkeypatch.setattr("fme_client.client.FLUSH_SECONDS", 0.05)
    monkeypatch.setattr("fme_client.event_sender.REQUEST_SECONDS", 0.05)
    ended = silence(EVENTS)
    client = connect(
        settings=sample_settings(sdkMetaInfo={"wasInitializedEarlier": True}),
        should_wait_for_tracking_calls=True,
        retry_config={"initial_delay": 600},
    )
    for _ in range(50):
        assert client.get_flag("open", {"id": "u"})
    assert len(server.to(EVENTS)) < 50
    ended.end()
    until(client.flush, what="the events to be sent")
    assert client.sent_events + sum(client.dropped_events.values()) == 50


def test_lists_and_aliases_are_left_alone_independently(
    connect: Connect, server: RecordingServer, silence: Callable[..., Silence]
) -> None:
    silence(CHECK)
    server.members[LIST] = {"alice"}
    client = connect(deadline=100, is_aliasing_enabled=True)
    for _ in range(2 * FAILURES):
        client.get_flag("premium", member("alice"))
    assert client.get_flag("open", ALIAS)


class Clock:
    """`time.monotonic` of the breaker's, which goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("fme_client.breaker.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def failing(kind: str = "deadline") -> None:
    raise NetworkError(kind, "no answer came in time")


def kind_of_call(breaker: Breaker, ask: Callable[[], object]) -> str:
    """The kind of the error that a call raises; empty where it raises none."""
    try:
        breaker.call(ask)
    except NetworkError as error:
        return error.kind
    return ""


def opened() -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert kind_of_call(breaker, failing) == "deadline"
    return breaker


def test_each_probe_that_fails_doubles_the_pause_and_an_answer_ends_it(clock: Clock) -> None:
    breaker = opened()
    for pause in (0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0):
        clock.now += pause - 0.01
        assert kind_of_call(breaker, failing) == "paused"
        clock.now += 0.01
        assert kind_of_call(breaker, failing) == "deadline"
    clock.now += LONGEST_PAUSE
    assert kind_of_call(breaker, lambda: None) == ""
    assert kind_of_call(opened(), failing) == "paused"


@pytest.mark.parametrize("kind", ["bad_answer", "status"])
def test_an_answer_however_wrong_ends_a_pause(clock: Clock, kind: str) -> None:
    breaker = opened()
    clock.now += FIRST_PAUSE
    assert kind_of_call(breaker, lambda: failing(kind)) == kind
    assert kind_of_call(breaker, lambda: None) == ""


def test_one_probe_at_a_time_however_long_it_takes(clock: Clock) -> None:
    breaker = opened()
    clock.now += FIRST_PAUSE
    begun, over = threading.Event(), threading.Event()

    def probe() -> None:
        begun.set()
        over.wait()
        failing()

    with ThreadPoolExecutor(1) as thread:
        probing = thread.submit(kind_of_call, breaker, probe)
        assert begun.wait(10)
        for _ in range(3):
            clock.now += LONGEST_PAUSE
            assert kind_of_call(breaker, lambda: None) == "paused"
        over.set()
        assert probing.result() == "deadline"
    assert kind_of_call(breaker, lambda: None) == "paused"
    clock.now += 2 * FIRST_PAUSE
    assert kind_of_call(breaker, lambda: None) == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), KeyError("x"), NetworkError("no_time", "too late")], ids=repr)
def test_a_probe_that_tells_nothing_makes_room_for_the_next(clock: Clock, error: BaseException) -> None:
    """A call may be ended by something else than the gateway."""
    breaker = opened()
    clock.now += FIRST_PAUSE

    def end() -> None:
        raise error

    with pytest.raises(type(error)):
        breaker.call(end)
    assert kind_of_call(breaker, lambda: None) == ""


def test_what_was_under_way_when_a_pause_began_does_not_lengthen_it(clock: Clock) -> None:
    breaker = Breaker()
    over = threading.Event()
    together = threading.Barrier(9, timeout=10)

    def wait() -> None:
        together.wait()
        over.wait()
        failing()

    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(kind_of_call, breaker, wait) for _ in range(8)]
        together.wait()
        over.set()
        assert {call.result() for call in calls} == {"deadline"}
    clock.now += FIRST_PAUSE
    assert kind_of_call(breaker, lambda: None) == ""
