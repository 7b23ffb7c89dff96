"""Several clients, threads, forks, and the end of the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import fme_client
from fme_client import OptionError
from fme_client.living import EXIT_SECONDS
from fme_client.parts import Parts
from tests.fme_client.sample import member, sample_settings
from tests.support.ports import free_ports
from tests.support.processes import ROOT
from tests.support.recording_server import BATCH, CHECK, EVENTS, RecordingServer, recording_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fme_client.conftest import Connect

SILENT = sample_settings(sdkMetaInfo={"wasInitializedEarlier": True})


def run(program: str, address: str, **options: object) -> str:
    """What a program prints that has a `client` of the server at `address`; it must end by itself, and in order."""
    given = {"account_id": "123456", "sdk_key": "k", "gateway_service": address} | options
    whole = f"import sys\nimport fme_client\nclient = fme_client.init({given!r})\n{program}"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", whole],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def in_child(what: Callable[[], bool]) -> bool:
    """Whether `what` holds in a forked child of this process."""
    child = os.fork()
    if child == 0:
        holds = False
        try:
            holds = what()
        finally:
            os._exit(0 if holds else 1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def test_clients_share_nothing(connect: Connect, server: RecordingServer) -> None:
    with recording_server({**sample_settings(), "accountId": 999}) as other:
        other.members = {"heap_premium_users": {"bob"}}
        here, there = connect(), connect(other.address, account_id="999", sdk_key="other", deadline=400)
        assert here.get_flag("premium", member("alice"))
        assert not there.get_flag("premium", member("alice"))
        assert there.get_flag("premium", member("bob"))
        assert not here.get_flag("premium", member("bob"))
        here.destroy()
        assert there.get_flag("premium", member("bob"))
        there.flush()
        assert {request.parameters["accountId"] for request in server.to(CHECK)} == {"123456"}
        assert {request.parameters["accountId"] for request in other.to(CHECK)} == {"999"}
        assert {request.parameters["env"] for request in other.to(EVENTS)} == {"other"}


def test_threads_get_the_flags_of_their_users(connect: Connect, server: RecordingServer) -> None:
    server.members["heap_premium_users"] = {f"user-{at}" for at in range(0, 200, 2)}
    client = connect(deadline=20_000, batch_event_data={"events_per_request": 50})
    with ThreadPoolExecutor(16) as threads:
        on = list(threads.map(lambda at: client.get_flag("premium", member(f"user-{at}")).is_enabled(), range(200)))
    assert on == [at % 2 == 0 for at in range(200)]
    assert client.flush()
    assert sum(len(batch.body["ev"]) for batch in server.to(BATCH)) == 301  # 100 members, 200 impacts, one start


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # that is what is tested
def test_a_forked_child_has_flags_and_events_of_its_own(connect: Connect, server: RecordingServer) -> None:
    held = threading.Event()

    def slow(_: object) -> tuple[int, bytes]:
        held.wait()
        return 200, b""

    client = connect(settings=SILENT, batch_event_data={"events_per_request": 1000})
    assert client.get_flag("premium", member("alice", user="parent"))
    assert client.queued_events == 2

    def child() -> bool:
        assert client.queued_events == 0  # the parent sends its own
        assert client.get_flag("premium", member("alice", user="child"))
        assert not client.get_flag("premium", member("bob", user="child"))
        return client.flush()

    assert in_child(child)
    assert client.get_flag("premium", member("alice", user="parent"))
    assert client.flush()
    counts = [len(batch.body["ev"]) for batch in server.to(BATCH)]
    assert counts == [3, 4]  # of the child; of the parent, from before and after the fork


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # that is what is tested
def test_a_fork_at_any_moment_leaves_the_child_a_working_client(connect: Connect) -> None:
    """Other threads of the parent hold locks and connections just then."""
    client = connect(settings=SILENT, deadline=20_000)
    over = threading.Event()

    def use() -> None:
        while not over.is_set():
            client.get_flag("premium", member("alice"))

    users = [threading.Thread(target=use) for _ in range(4)]
    for user in users:
        user.start()
    try:
        for _ in range(10):
            assert in_child(lambda: client.get_flag("premium", member("alice")).is_enabled() and client.flush())
    finally:
        over.set()
        for user in users:
            user.join()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # that is what is tested
def test_a_forked_child_polls_for_settings_itself(connect: Connect, server: RecordingServer) -> None:
    client = connect(poll_interval=1000)

    def child() -> bool:
        server.settings = {}  # of the child's memory: the served ones are the parent's
        before = client.get_flag("open", {"id": "u"}).is_enabled()
        os.write(told, b"x")
        for _ in range(200):
            if not client.get_flag("open", {"id": "u"}).is_enabled():
                return before
            threading.Event().wait(0.02)
        return False

    hears, told = os.pipe()
    waiting = threading.Thread(
        target=lambda: (os.read(hears, 1), server.answers.update({"/server-side/v2-settings": _nothing()}))
    )
    waiting.start()
    try:
        assert in_child(child)
    finally:
        waiting.join()
        os.close(hears)
        os.close(told)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # that is what is tested
def test_a_child_may_say_something_although_another_thread_did_so_at_the_fork(connect: Connect) -> None:
    """What a thread of the parent holds is never let go in the child."""
    client = connect(settings=SILENT)

    def child() -> bool:
        signal.alarm(20)  # rather than wait for ever
        return not client.get_flag("no such flag", {"id": "u"})

    with client._log._lock:
        assert in_child(child)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # that is what is tested
def test_a_child_gets_settings_that_its_parent_never_had(connect: Connect) -> None:
    """As with gunicorn's `preload_app`, while the gateway is away."""
    (port,) = free_ports(1)
    client = connect(f"http://127.0.0.1:{port}", init_timeout=0)

    def child() -> bool:
        with recording_server(sample_settings(), port=port):
            return client.wait_until_ready(20) and client.get_flag("open", {"id": "u"}).is_enabled()

    assert not client.is_ready
    assert in_child(child)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # that is what is tested
def test_a_child_never_uses_connections_of_its_parent(
    connect: Connect, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where it can't make its own: two processes would read each other's answers."""
    client, other = connect(settings=SILENT), connect(settings=SILENT)
    assert client.get_flag("premium", member("alice"))
    asked = len(server.to(CHECK))

    def fail(_: object) -> Parts:
        raise OptionError("REQUESTS_CA_BUNDLE must name a PEM file of certificates")

    monkeypatch.setattr(Parts, "again", fail)
    assert in_child(lambda: not client.get_flag("premium", member("alice")))
    assert in_child(lambda: not other.get_flag("premium", member("alice")))
    assert len(server.to(CHECK)) == asked
    assert client.get_flag("premium", member("alice"))


def test_events_are_sent_when_the_program_ends(server: RecordingServer) -> None:
    run("client.track_event('open_used', {'id': 'u'})", server.address)
    assert sorted(request.event for request in server.to(EVENTS)) == ["open_used", "vwo_fmeSdkInit"]


def test_the_last_event_is_sent_where_no_thread_may_be_started(server: RecordingServer) -> None:
    """As in the exit handlers of a program, with some versions of Python."""
    program = """
    import threading
    def start(_):
        raise RuntimeError("can't create new thread at interpreter shutdown")
    threading.Thread.start = start
    variables = {"heap_user_id": "alice", "beta_id": "alice"}
    client.get_flags(["premium", "both"], {"id": "u", "custom_variables": variables})
    """
    run(textwrap.dedent(program), server.address, settings=SILENT)
    assert [request.event for request in server.to(EVENTS)] == ["vwo_variationShown"] * 3


def test_a_batch_is_sent_when_the_program_ends(server: RecordingServer) -> None:
    run(
        "client.track_event('open_used', {'id': 'u'})",
        server.address,
        batch_event_data={"request_time_interval": 600},
    )
    (batch,) = server.to(BATCH)
    assert [each["d"]["event"]["name"] for each in batch.body["ev"]] == ["vwo_fmeSdkInit", "open_used"]


def test_a_dead_server_does_not_hold_up_the_end_of_the_program(server: RecordingServer) -> None:
    over = threading.Event()

    def slow(_: object) -> tuple[int, bytes]:
        over.wait()
        return 200, b""

    server.answers[EVENTS] = slow
    try:
        run("client.track_event('open_used', {'id': 'u'})", server.address)
    finally:
        over.set()


def test_the_end_of_a_program_is_not_held_up_by_each_client(server: RecordingServer) -> None:
    """All together have the two seconds, and a client whose server is well loses nothing to the others."""
    over = threading.Event()

    def slow(_: object) -> tuple[int, bytes]:
        over.wait()
        return 200, b""

    with recording_server(sample_settings()) as well:
        server.answers[EVENTS] = slow
        program = f"""
        import atexit, time
        options = {{"account_id": "123456", "sdk_key": "k"}}
        clients = [fme_client.init(options, gateway_service={server.address!r}) for _ in range(8)]
        clients.insert(4, fme_client.init(options, gateway_service={well.address!r}))
        clients[4].track_event("open_used", {{"id": "u"}})
        began = time.monotonic()
        atexit._run_exitfuncs()
        print(time.monotonic() - began)
        """
        try:
            took = float(run(textwrap.dedent(program), server.address))
        finally:
            over.set()
        assert took < 2 * EXIT_SECONDS
        assert sorted(request.event for request in well.to(EVENTS)) == ["open_used", "vwo_fmeSdkInit"]


def test_a_program_may_end_without_destroying_its_client(server: RecordingServer) -> None:
    assert run("print(client.get_flag('open', {'id': 'u'}).is_enabled())", server.address) == "True\n"


def test_it_needs_requests_and_a_hash_and_nothing_else(server: RecordingServer) -> None:
    """Of all that is installed, nothing is loaded but these and what `requests` brings."""
    program = """
    from pathlib import Path
    files = [Path(getattr(module, "__file__", None) or "/") for module in sys.modules.values()]
    installed = [file.parts[file.parts.index("site-packages") + 1] for file in files if "site-packages" in file.parts]
    print(*{name.partition(".")[0] for name in installed})
    """
    loaded = set(run(textwrap.dedent(program), server.address).split())
    of_requests = {"urllib3", "certifi", "idna", "charset_normalizer", "chardet", "brotli", "brotlicffi", "zstandard"}
    assert {"requests", "mmh3"} <= loaded
    known = of_requests | {"requests", "mmh3"}
    assert {name for name in loaded if not (name in known or name.startswith("_") or name.endswith("__mypyc"))} == set()


def _nothing() -> tuple[int, bytes]:
    """Settings without flags."""
    return 200, b'{"version": 2, "accountId": 123456, "features": {}, "campaigns": {}}'


def test_the_evaluation_alone_needs_no_requests() -> None:
    """A gateway that decides keeps the memory."""
    program = "import sys, fme_client.evaluation; print('requests' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True).stdout == b"False\n"
    )


def test_every_name_that_is_promised_is_there() -> None:
    assert all(getattr(fme_client, name) is not None for name in fme_client.__all__)
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = fme_client.nothing_of_ours
