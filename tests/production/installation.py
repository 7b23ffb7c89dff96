"""cohort-sync and the gateway on a store of several servers, and a tour of all that they do with it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from foundation.settings import ServiceSettings
from foundation.store import STORE_ERRORS, connect
from foundation.store_trouble import explain
from tests.cohort_sync.conftest import TOKEN, Service
from tests.support import http
from tests.support.heap import SECRET, Heap
from tests.support.processes import Program, cohort_sync, gateway, run_program
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ACCOUNT = "123456"
LIST = "heap_premium_users"
_TOO_LATE = ("store_down", "stale_in", "stale_not_in")


@dataclass
class Installation:
    """Both services, and the settings that both were given."""

    service: Service
    gateway: Program
    settings: dict[str, str]
    directory: Path

    def check(self, member: str, list_id: str = LIST) -> str:
        """What the gateway knows of `member`."""
        return http.membership(self.gateway.address, member, list_id, account=ACCOUNT)

    def answer(self, member: str, list_id: str = LIST) -> str:
        """`check`, asked again while the store is too late for the gateway's deadline, as on a busy machine."""
        states: list[str] = []

        def has_answered() -> bool:
            states.append(self.check(member, list_id))
            return states[-1] not in _TOO_LATE

        until(has_answered, what="an answer of the store")
        return states[-1]

    def wait_until_ready(self) -> None:
        """Until both services have found the store: they say where they listen before that."""
        ready = {"status": "ok"}
        until(lambda: self.readiness() == (ready, ready), what="both services to be ready")

    def readiness(self) -> tuple[object, object]:
        """Of the gateway and of cohort-sync."""
        return (
            http.get(f"{self.gateway.address}/readyz").json(),
            http.get(f"{self.service.admin_address}/readyz").json(),
        )

    def run(self, *arguments: str) -> str:
        """Run the command line to its end; what it said."""
        done = run_program(["cohort_sync", *arguments], self.settings, directory=self.directory)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def members(self, name: str = LIST) -> set[str]:
        """As the administration lists them."""
        found: set[str] = set()
        cursor = 0
        while True:
            path = f"/admin/api/v1/lists/{ACCOUNT}/{name}/members?cursor={cursor}"
            page = self.service.admin("GET", path).json()
            found.update(page["members"])
            cursor = page["cursor"]
            if cursor == 0:
                return found


@contextlib.contextmanager
def installed(directory: Path, store: Mapping[str, str]) -> Iterator[Installation]:
    """Both services on the store that the settings `store` name."""
    own = {"ADMIN_TOKEN": TOKEN, "HEAP_WEBHOOK_SECRET": SECRET, "DATA_DIR": str(directory / "data")}
    settings = dict(store) | own
    with cohort_sync(directory, settings) as program, gateway(directory, settings) as reader:
        service = Service(program, Heap(program.address), settings)
        port = str(urlsplit(service.admin_address).port)
        called = settings | {"COHORT_SYNC_ADMIN_PORT": port, "ACCOUNT_ID": ACCOUNT}
        yield Installation(service, reader, called, directory)


def tour(installation: Installation) -> None:
    """Everything once: pages, slices, a snapshot, aliases, a drain, an erasure, an archive, a deletion."""
    service, heap, check = installation.service, installation.service.heap, installation.answer
    installation.wait_until_ready()

    assert heap.sync(add=["ann", "bob"]).status_code == 200
    assert heap.sync(add=["cid"], remove=["bob"]).status_code == 200
    assert installation.members() == {"ann", "cid"}
    assert (check("ann"), check("bob")) == ("in", "not_in")

    # Lists of their own slots, so that what asks for all of them asks several servers.
    for number in range(8):
        assert heap.sync(add=["ann"], segment_id=number + 1, name=f"Segment {number}").status_code == 200
    described = {found["list_id"]: found["members"] for found in service.lists()}
    assert described == {LIST: 2} | {f"heap_segment_{number}": 1 for number in range(8)}
    many = {f"member-{number}" for number in range(2500)}
    assert heap.sync(add=sorted(many), segment_id=1, name="Segment 0").status_code == 200
    assert installation.members("heap_segment_0") == many | {"ann"}

    path = f"/admin/api/v1/lists/{ACCOUNT}"
    assert service.admin("PATCH", f"{path}/{LIST}", json={"aliases": ["vwo:1"], "mode": "snapshot"}).status_code == 200
    assert check("ann", "vwo:1") == "in"
    service.admin("PATCH", f"{path}/{LIST}", json={"aliases": []})
    service.admin("PATCH", f"{path}/heap_segment_7", json={"aliases": ["vwo:1"]})
    until(lambda: check("cid", "vwo:1") == "not_in", what="the gateway to hear of the alias")
    assert heap.sync(add=["dan"], task="snap", page=1, pages=2).status_code == 200
    assert installation.members() == {"ann", "cid"}
    assert heap.sync(add=["eve"], task="snap", page=2, pages=2).status_code == 200
    assert installation.members() == {"dan", "eve"}

    archive = str(installation.directory / "lists.archive")
    assert f"9 lists, {2 + 2501 + 7} members" in installation.run("export", archive)
    assert service.admin("DELETE", f"{path}/heap_segment_0").status_code == 200
    assert check("member-7", "heap_segment_0") == "unknown_list"
    assert "9 lists, 2510 members" in installation.run("import", "--replace", archive)
    assert check("member-7", "heap_segment_0") == "in"

    receipt = service.admin("POST", "/admin/api/v1/erase", json={"id": "ann"}).json()
    assert (receipt["lists"], receipt["outstanding"]) == (8, [])
    assert check("ann", "heap_segment_3") == "not_in"
    assert heap.drain(age=-1).status_code == 200
    assert check("eve") == "not_in"
    assert service.admin("GET", f"{path}/{LIST}").json()["status"] == "drained"
    whats = [change["what"] for change in service.admin("GET", "/admin/api/v1/audit").json()["changes"]]
    assert whats == ["erase", "delete", "aliases", "aliases", "mode", "aliases"]
    assert installation.readiness() == ({"status": "ok"}, {"status": "ok"})


def ask(*command: str, **settings: Any) -> str:
    """The store's answer, or what is said of the error."""

    async def once() -> str:
        store = connect(ServiceSettings(**settings), timeout=1, connect_timeout=1)
        try:
            answer = await store.execute_command(*(command or ("PING",)))
            return "PONG" if answer is True else str(answer)
        except STORE_ERRORS as error:
            return explain(error)
        finally:
            await store.aclose()

    return asyncio.run(once())
