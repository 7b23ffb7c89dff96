"""`scripts/serve`, from its start to its end."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import httpx
import pytest
import redis

from foundation.store import embedded_socket
from local_stack.store import server_binary
from tests.support import http
from tests.support.fake_heap_api import fake_heap
from tests.support.heap import Heap
from tests.support.ports import free_ports
from tests.support.processes import ROOT, environment
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STOP_SECONDS = 20.0


class Stack:
    """A stack on free ports, in a process group of its own."""

    def __init__(self, data_dir: Path, output: int | IO[str] = subprocess.PIPE, **settings: str) -> None:
        ports = free_ports(5)
        services = ("", "COHORT_SYNC_", "COHORT_SYNC_ADMIN_", "HEAP_EXPORT_", "HEAP_EXPORT_ADMIN_")
        names = [f"{service}PORT" for service in services]
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        self.gateway, self.sync, self.admin, self.export, self.export_admin = addresses
        self.data_dir = data_dir
        chosen = dict(zip(names, map(str, ports), strict=True)) | {"DATA_DIR": str(data_dir)} | settings
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local_stack"],
            cwd=data_dir,
            env=environment(chosen),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_until_up(self) -> str:
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if "Ctrl-C stops everything" in line:
                return said
        raise AssertionError(said)

    def descendants(self) -> set[int]:
        """Its processes, by what they inherited from it: Linux keeps no family tree of the orphaned."""
        mark = f"DATA_DIR={self.data_dir}".encode()
        found = set()
        for entry in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in entry.read_bytes().split(b"\0"):
                    found.add(int(entry.parent.name))
            except OSError:
                continue
        return found

    def gateway_pid(self) -> int:
        [pid] = [pid for pid in self.descendants() if b"\0gateway\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return pid

    def store_pid(self) -> int:
        with redis.Redis(unix_socket_path=str(embedded_socket(self.data_dir))) as client:
            return int(client.info("server")["process_id"])

    def wait_for_line(self, text: str) -> str:
        """The next line with `text` in it."""
        assert self.process.stdout is not None
        return next(line for line in self.process.stdout if text in line)

    def answers(self) -> bool:
        """Whether the gateway does."""
        try:
            return bool(http.get(f"{self.gateway}/healthz").status_code == httpx.codes.OK)
        except httpx.HTTPError:
            return False

    def end(self) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode, said

    def heap(self) -> Heap:
        return Heap(self.sync, secret=(self.data_dir / "webhook_secret").read_text().strip())

    def check(self, person: str) -> str:
        answer = http.get(
            f"{self.gateway}/check-attribute", params={"attribute": person, "listId": "heap_premium_users"}
        )
        return answer.text


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stack") as directory:
        yield Path(directory)


@pytest.fixture
def start(data_dir: Path) -> Iterator[Any]:
    started: list[Stack] = []

    def start_one(output: int | IO[str] = subprocess.PIPE, **settings: str) -> Stack:
        started.append(Stack(data_dir, output, **settings))
        return started[-1]

    yield start_one
    for stack in started:
        stack.process.kill()
        stack.process.communicate()


def pids_gone(pids: set[int]) -> bool:
    deadline = time.monotonic() + STOP_SECONDS
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def store_gone(data_dir: Path) -> bool:
    """The store holds its directory's lock for as long as it lives."""
    deadline = time.monotonic() + STOP_SECONDS
    with (data_dir / "store" / "lock").open() as lock:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.01)
            else:
                return True
    return False


def test_it_works_without_configuration_and_keeps_lists_over_a_restart(start: Any, data_dir: Path) -> None:
    stack = start()
    said = stack.wait_until_up()
    assert stack.gateway in said
    assert "scripts/send_sample_push" in said
    assert stack.heap().sync(add=["alice"]).status_code == 200
    assert (stack.check("alice"), stack.check("bob")) == ("true", "false")
    for secret in ("webhook_secret", "admin_token"):
        assert stat.S_IMODE((data_dir / secret).stat().st_mode) == 0o600
        assert (data_dir / secret).read_text().strip() not in said
    stack.process.send_signal(signal.SIGTERM)
    assert stack.end()[0] == 0
    again = start()
    again.wait_until_up()
    assert (again.check("alice"), again.check("bob")) == ("true", "false")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to_group", [False, True])
def test_a_signal_stops_everything(start: Any, data_dir: Path, number: signal.Signals, to_group: bool) -> None:
    stack = start()
    stack.wait_until_up()
    pids = stack.descendants()
    assert len(pids) >= 3  # itself and two services; the store's environment is its own affair
    if to_group:
        os.killpg(stack.process.pid, number)
    else:
        stack.process.send_signal(number)
    status, said = stack.end()
    assert status == 0
    assert "Traceback" not in said
    assert pids_gone(pids)
    assert store_gone(data_dir)


def test_a_kill_leaves_nothing_running_and_loses_nothing(start: Any, data_dir: Path) -> None:
    stack = start()
    stack.wait_until_up()
    stack.heap().sync(add=["alice"])
    pids = stack.descendants()
    stack.process.kill()
    stack.process.wait()
    assert pids_gone(pids)
    assert store_gone(data_dir)
    again = start()
    again.wait_until_up()
    assert again.check("alice") == "true"


def test_heap_export_is_part_of_it_where_an_app_id_is_set(start: Any, data_dir: Path) -> None:
    with fake_heap() as heap:
        stack = start(HEAP_APP_ID="1234567890", HEAP_API_BASE=heap.address)
        said = stack.wait_until_up()
        assert stack.export in said
        assert stack.export_admin in said
        key = (data_dir / "events_api_key").read_text().strip()
        event = {"type": "track", "event": "Signed Up", "userId": "alice"}
        sent = http.post(f"{stack.export}/v1/events", json=event, headers={"Authorization": f"Bearer {key}"})
        assert sent.status_code == 200, sent.text
        [taken] = heap.wait_for_events(1)
        assert (taken["identity"], taken["event"]) == ("alice", "Signed Up")
    pids = stack.descendants()
    stack.process.send_signal(signal.SIGTERM)
    assert stack.end()[0] == 0
    assert pids_gone(pids)


def test_without_an_app_id_it_says_how_to_start_heap_export(start: Any) -> None:
    stack = start()
    assert "set HEAP_APP_ID" in stack.wait_until_up()
    with pytest.raises(httpx.ConnectError):
        http.get(f"{stack.export}/healthz")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_workers_of_the_gateway_end_with_the_rest(start: Any, data_dir: Path, number: signal.Signals) -> None:
    stack = start(WORKERS="2")
    stack.wait_until_up()
    pids = stack.descendants()
    assert len(pids) >= 5
    stack.process.send_signal(number)
    stack.process.wait(STOP_SECONDS)
    assert pids_gone(pids)
    assert store_gone(data_dir)


def test_a_second_one_on_the_same_directory_says_what_to_do(start: Any) -> None:
    start().wait_until_up()
    status, said = start().end()
    assert status == 2
    assert "another process uses" in said
    assert "DATA_DIR" in said


def test_a_port_that_is_taken_is_named(start: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, said = start(COHORT_SYNC_PORT=str(taken.getsockname()[1])).end()
    assert status == 2
    assert "COHORT_SYNC_PORT chooses another port" in said


def test_a_service_that_dies_is_started_again_and_the_rest_stays(start: Any) -> None:
    stack = start()
    stack.wait_until_up()
    rest = stack.descendants() - {stack.gateway_pid()}
    for times in (1, 2):
        os.kill(stack.gateway_pid(), signal.SIGKILL)
        assert "started again" in stack.wait_for_line("gateway ended (exit status -9)")
        until(stack.answers, what=f"another gateway, the {times}. time", seconds=30)
        assert rest <= stack.descendants()


def kill_it(stack: Stack) -> None:
    os.kill(stack.store_pid(), signal.SIGKILL)


def fill_its_disk(stack: Stack) -> None:
    """As far as the store can tell: it may not make a file larger."""
    largest = max(path.stat().st_size for path in (stack.data_dir / "store" / "appendonlydir").iterdir())
    resource.prlimit(stack.store_pid(), resource.RLIMIT_FSIZE, (largest, largest))
    stack.heap().sync(["carol"])


@pytest.mark.parametrize("fault", [kill_it, fill_its_disk])
def test_a_store_that_ends_is_started_again_and_says_why(start: Any, fault: Callable[[Stack], None]) -> None:
    """Meanwhile the gateway answers, and a push is refused or kept."""
    stack = start()
    stack.wait_until_up()
    assert stack.heap().sync(["alice"]).status_code == 200
    assert stack.check("alice") == "true"
    rest = stack.descendants()
    fault(stack)
    said = stack.wait_for_line("store ended")
    assert "started again" in said
    assert "store.log ends with:" in said
    assert stack.check("alice") in ("true", "false")  # and no refused connection
    until(lambda: bool(stack.heap().sync(["bob"]).status_code == 200), what="a push that is taken", seconds=30)
    until(lambda: bool(stack.check("bob") == stack.check("alice") == "true"), what="the lists", seconds=30)
    assert rest <= stack.descendants()


def test_a_store_whose_program_is_gone_is_started_when_it_is_back(start: Any, data_dir: Path) -> None:
    """As while a newer one is being installed."""
    program = data_dir / "server"
    shutil.copy(server_binary(), program)
    stack = start(STORE_SERVER=str(program))
    stack.wait_until_up()
    rest = stack.descendants()
    hidden = program.rename(data_dir / "elsewhere")
    kill_it(stack)
    assert "started again" in stack.wait_for_line("store could not be started: STORE_SERVER")
    assert stack.check("alice") == "false"  # and no refused connection
    hidden.rename(program)
    until(lambda: bool(stack.heap().sync(["alice"]).status_code == 200), what="a push that is taken", seconds=30)
    assert rest <= stack.descendants()


def test_who_ends_is_started_again_though_the_log_is_on_a_full_disk(start: Any) -> None:
    def takes_pushes() -> bool:
        try:
            return bool(stack.heap().sync(["alice"]).status_code == 200)
        except (OSError, httpx.HTTPError):  # it makes its secret, or it does not listen yet
            return False

    with Path("/dev/full").open("w") as full:
        stack = start(full)
        until(lambda: stack.answers() and takes_pushes(), what="the services", seconds=30)
        gateway, store = stack.gateway_pid(), stack.store_pid()
        rest = stack.descendants() - {gateway}
        os.kill(store, signal.SIGKILL)
        until(takes_pushes, what="another store", seconds=30)
        os.kill(gateway, signal.SIGKILL)
        until(stack.answers, what="another gateway", seconds=30)
        assert rest <= stack.descendants()


def test_a_store_that_cannot_start_shows_its_log(start: Any, data_dir: Path) -> None:
    (data_dir / "store" / "appendonlydir").mkdir(parents=True)
    (data_dir / "store" / "appendonlydir" / "appendonly.aof.manifest").write_text("rubbish\n")
    status, said = start().end()
    assert status == 2
    assert "the store stopped at its start" in said
    assert "manifest" in said


def test_a_directory_with_a_long_name_works(data_dir: Path) -> None:
    deep = data_dir / ("d" * 120)
    deep.mkdir()
    stack = Stack(deep)
    try:
        stack.wait_until_up()
        assert stack.heap().sync(add=["alice"]).status_code == 200
        assert stack.check("alice") == "true"
    finally:
        stack.process.terminate()
        stack.end()


def test_an_external_store_is_used_when_configured(start: Any, store_url: str, data_dir: Path) -> None:
    stack = start(REDIS_URL=store_url)
    stack.wait_until_up()
    stack.heap().sync(add=["alice"])
    assert stack.check("alice") == "true"
    assert not (data_dir / "store").exists()


def test_the_demo_shows_the_loop() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local_stack.demo"],
        cwd=ROOT,
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "attribute=alice&listId=heap_premium_users: true" in done.stdout
    assert "403" in done.stdout


def test_the_sample_push_takes_files_and_pages(start: Any, data_dir: Path) -> None:
    stack = start()
    stack.wait_until_up()
    (data_dir / "members").write_text("".join(f"user{number}\n" for number in range(25)))
    port = stack.sync.rpartition(":")[2]
    settings = environment({"COHORT_SYNC_PORT": port, "DATA_DIR": str(data_dir)})
    push = [sys.executable, "-m", "local_stack.sample_push"]
    done = subprocess.run(
        [*push, "--add-file", "members", "--pages", "3", "--add", "alice", "bob"],
        cwd=data_dir,
        env=settings,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count(": 200 ") == 3
    assert (stack.check("user24"), stack.check("bob"), stack.check("user25")) == ("true", "true", "false")
    nothing = subprocess.run(push, cwd=data_dir, env=settings, capture_output=True, text=True, check=False)
    assert nothing.returncode == 2
    assert "nothing to send" in nothing.stderr


def test_the_bundled_server_is_there() -> None:
    assert Path(server_binary()).exists()
