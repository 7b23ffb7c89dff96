"""Several processes behind one port: what they share, and what happens when one of them, or their parent, dies."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from foundation.settings import MEBIBYTE
from tests.support import http, processes, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.conftest import Lists
    from tests.support.processes import Program

SIZE = 3
SAMPLE = processes.ROOT / "examples" / "settings.json"
CHECK = "/check-attribute?attribute=alice&listId=a_list&accountId=123456"


class Client:
    """A connection that is kept, and so stays with one worker."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.connection = HTTPConnection(str(parts.hostname), int(parts.port or 0), timeout=30)

    def get(self, path: str) -> str:
        self.connection.request("GET", path)
        return self.connection.getresponse().read().decode()

    def reasons(self) -> list[str]:
        reasons: list[str] = json.loads(self.get("/readyz")).get("reasons", [])
        return reasons

    def metric(self, name: str) -> float:
        return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (.*)$", self.get("/metrics"), re.MULTILINE)))

    def waits_for_checks(self, number: int) -> None:
        waiting.until(lambda: self.metric("cohort_gateway_checks_total") == number, what=f"{number} counted checks")


class Crew:
    """A gateway of several workers, and connections to them that are closed at the end."""

    def __init__(self, program: Program, stack: ExitStack) -> None:
        self.program = program
        self._stack = stack

    def workers(self) -> set[int]:
        pid = self.program.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def connect(self) -> tuple[int, Client]:
        """A client, and the worker that answers it."""
        client = Client(self.program.address)
        self._stack.callback(client.connection.close)
        client.get("/healthz")
        (_, here), (_, there) = client.connection.sock.getsockname(), client.connection.sock.getpeername()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if [int(fields[place].split(":")[1], 16) for place in (1, 2)] == [there, here]:
                socket = f"socket:[{fields[9]}]"
                return next(pid for pid in self.workers() if socket in _open_files(pid)), client
        raise AssertionError("nobody holds the other end")

    def connect_to_each(self) -> dict[int, Client]:
        clients: dict[int, Client] = {}

        def has_all() -> bool:
            clients.update([self.connect()])
            return len(clients) == SIZE

        waiting.until(has_all, what="a connection to each worker", seconds=30)
        return clients

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            try:
                return bool(http.get(f"{self.program.address}/readyz").json() == {"status": "ok"})
            except httpx.TransportError:
                return False

        waiting.until(ready, what="all workers to serve", seconds=30)


def _open_files(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    return Path(shutil.copy(SAMPLE, tmp_path))


@pytest.fixture
def crew(store_url: str, tmp_path: Path, settings_file: Path) -> Iterator[Crew]:
    settings = {"REDIS_URL": store_url, "WORKERS": str(SIZE), "SETTINGS_FILE": str(settings_file)}
    with processes.gateway(tmp_path, settings) as program, ExitStack() as stack:
        yield Crew(program, stack)


def test_connections_are_shared_out_and_any_worker_counts_for_all(crew: Crew, lists: Lists) -> None:
    lists.put("a_list", "alice")
    many = [crew.connect() for _ in range(60)]
    assert {worker for worker, _ in many} == crew.workers()
    assert len(crew.workers()) == SIZE
    for _, client in many:
        assert client.get(CHECK) == "true"
    for client in dict(many).values():
        client.waits_for_checks(len(many))
        assert client.metric("cohort_gateway_workers") == SIZE
        assert client.metric("cohort_gateway_worker_memory_bytes") > SIZE * MEBIBYTE
        assert client.reasons() == []


def test_a_dead_worker_is_replaced_and_nothing_that_was_counted_is_lost(
    crew: Crew, lists: Lists, settings_file: Path
) -> None:
    lists.put("a_list", "alice")
    clients = crew.connect_to_each()
    for client in clients.values():
        client.get(CHECK)
    for client in clients.values():
        client.waits_for_checks(SIZE)

    settings_file.write_text("rubbish")  # nobody can start with that, so the gap stays open
    victim, survivor = list(clients)[:2]
    os.kill(victim, signal.SIGKILL)
    missing = f"workers {SIZE - 1} of {SIZE}"  # beside it the survivor may say that it can't read the new settings
    waiting.until(lambda: missing in clients[survivor].reasons(), what="the gap to be told")
    for line in ("ended [(]Killed[)]", "^error: SETTINGS_FILE", "ended [(]exit status 2[)]"):
        crew.program.wait_for_line(line)
    assert clients[survivor].metric("cohort_gateway_checks_total") == SIZE
    assert clients[survivor].metric("cohort_gateway_workers") == SIZE - 1

    shutil.copy(SAMPLE, settings_file)
    waiting.until(lambda: clients[survivor].reasons() == [], what="a replacement", seconds=30)
    replaced = crew.connect_to_each()
    assert replaced.keys() == crew.workers() != clients.keys()
    for client in replaced.values():
        assert client.metric("cohort_gateway_checks_total") >= SIZE
        assert client.get(CHECK) == "true"
    for client in replaced.values():
        client.waits_for_checks(2 * SIZE)


def test_it_recovers_when_all_workers_die(crew: Crew) -> None:
    before = crew.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    waiting.until(lambda: len(crew.workers() - before) == SIZE, what="new workers", seconds=30)
    crew.wait_until_ready()
    assert crew.program.stop() == 0


def test_a_worker_that_is_stopped_alone_is_replaced(crew: Crew) -> None:
    [stopped, *others] = crew.workers()
    os.kill(stopped, signal.SIGTERM)
    crew.program.wait_for_line("ended [(]exit status 0[)]")
    waiting.until(lambda: len(crew.workers()) == SIZE, what="a replacement")
    crew.wait_until_ready()
    assert crew.workers() > set(others)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all(crew: Crew, number: signal.Signals) -> None:
    workers = crew.workers()
    os.kill(crew.program.pid, number)
    os.kill(crew.program.pid, number)  # an impatient operator
    assert crew.program.wait() == 0
    assert not any(map(_alive, workers))
    assert "Traceback" not in crew.program.log()


def test_a_worker_that_does_not_end_is_killed(crew: Crew) -> None:
    workers = crew.workers()
    os.kill(min(workers), signal.SIGSTOP)
    assert crew.program.stop() == 0
    assert not any(map(_alive, workers))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_and_no_file_outlives_the_parent(crew: Crew, number: signal.Signals) -> None:
    workers = crew.connect_to_each()
    for client in workers.values():
        client.get(CHECK)
        client.get("/metrics")  # writes down what was counted
    files = [Path(name) for pid in workers for name in _open_files(pid) if name.endswith(".db")]
    assert len(files) >= SIZE  # each worker has one for each kind of metric
    os.kill(crew.program.pid, number)
    crew.program.wait()
    waiting.until(lambda: not any(map(_alive, workers)), what="the workers to end")
    assert not any(file.parent.exists() for file in files)


@pytest.mark.parametrize("size", ["1", "2"])
def test_a_second_copy_on_the_port_is_refused(crew: Crew, tmp_path: Path, size: str) -> None:
    port = crew.program.address.rpartition(":")[2]
    second = processes.start_program(["gateway"], {"PORT": port, "WORKERS": size}, directory=tmp_path)
    assert f"can't listen on 127.0.0.1:{port}" in second.wait_for_line("^error: ")
    assert second.wait() == 2


def test_a_port_that_one_process_serves_is_refused(gateway: Program, tmp_path: Path) -> None:
    port = gateway.address.rpartition(":")[2]
    second = processes.start_program(["gateway"], {"PORT": port, "WORKERS": "2"}, directory=tmp_path)
    assert "PORT" in second.wait_for_line("^error: ")
    assert second.wait() == 2


def test_what_cannot_be_served_is_told_once(tmp_path: Path) -> None:
    settings = {"PORT": "0", "WORKERS": "2", "SETTINGS_FILE": str(tmp_path / "missing.json")}
    program = processes.start_program(["gateway"], settings, directory=tmp_path)
    program.wait_for_line("^error: SETTINGS_FILE")
    assert program.wait() == 2
    assert program.log().count("error: ") == 1


def test_settings_that_one_worker_reloads_are_new_everywhere(crew: Crew, settings_file: Path) -> None:
    clients = list(crew.connect_to_each().values())
    for version, client in enumerate(clients, start=1000):
        changed: dict[str, Any] = json.loads(SAMPLE.read_bytes()) | {"version": version}
        settings_file.write_text(json.dumps(changed))
        client.get("/server-side/v2-pull")
        assert [json.loads(each.get("/server-side/v2-settings"))["version"] for each in clients] == [version] * SIZE
    settings_file.write_text("rubbish")
    clients[0].get("/server-side/v2-pull")
    assert [client.reasons() for client in clients] == [["bad_settings"]] * SIZE
    # Each pull counts, and each change that the first worker notices by itself before.
    assert SIZE + 1 <= clients[0].metric("cohort_gateway_settings_reloads_total") <= 2 * (SIZE + 1)
