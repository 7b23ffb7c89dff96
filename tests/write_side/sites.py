"""A store, a receiver of either write side and a gateway: real processes, asked over HTTP and the store as itself."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx

from tests.support import http
from tests.support.heap import SECRET, Heap
from tests.support.processes import Program, StoreServer, cohort_sync, gateway, running_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.write_side.sides import WriteSide

ACCOUNT = "123456"
TOKEN = "admin-token-of-the-promises"
API = "/admin/api/v1"
LIST = "heap_premium_users"  # of the segment that `Site.push` names where it is told no other
A: dict[str, Any] = {"segment_id": 1, "name": "A"}
B: dict[str, Any] = {"segment_id": 2, "name": "B"}
_START_SECONDS = 30.0


class Site:
    """Made by `running_site`. The receiver keeps its ports when it is started again."""

    def __init__(self, directory: Path, side: WriteSide, store: StoreServer, settings: Mapping[str, str]) -> None:
        self.side = side
        self.store = store
        self.data = directory / "data"
        self._directory = directory
        self._settings = {"REDIS_URL": store.url, "HEAP_WEBHOOK_SECRET": SECRET, "ADMIN_TOKEN": TOKEN} | dict(settings)
        self._running = contextlib.ExitStack()
        self._receiver: Program | None = None
        self._addresses: list[str] = []

    @property
    def receiver(self) -> Program:
        assert self._receiver is not None
        return self._receiver

    @property
    def webhook(self) -> str:
        return self._addresses[0]

    @property
    def administration(self) -> str:
        return self._addresses[1]

    @property
    def heap(self) -> Heap:
        return Heap(self.webhook)

    def start_receiver(self) -> None:
        self._receiver = self._running.enter_context(cohort_sync(self._directory, self._settings | self.side.settings))
        self._addresses = self._receiver.addresses
        ports = [str(urlsplit(address).port) for address in self._addresses]
        self._settings |= {"COHORT_SYNC_PORT": ports[0], "COHORT_SYNC_ADMIN_PORT": ports[1]}

    def kill_receiver(self) -> None:
        if self._receiver is not None:
            self._receiver.kill()
            self._receiver = None
        self._running.close()

    def restart_receiver(self) -> None:
        """As after a crash."""
        self.kill_receiver()
        self.start_receiver()

    def push(self, **page: Any) -> None:
        """A page (as `Heap.sync` takes it) that must be taken; one that is refused for now comes again."""
        answers: list[httpx.Response] = []

        def taken() -> bool:
            answers.append(self.heap.sync(**page))
            return answers[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

        until(taken, seconds=self.side.patience, what="a push to be taken")
        assert answers[-1].status_code == httpx.codes.OK, answers[-1].text

    @contextlib.contextmanager
    def receiver_away(self) -> Iterator[None]:
        """It is killed, and started again at the end of the block."""
        self.kill_receiver()
        yield
        self.start_receiver()

    def admin(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """`path`: below the API's root."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return http.request(method, f"{self.administration}{API}{path}", headers=headers, json=body)

    def operate(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A command that must succeed; a receiver that has not looked at the store yet is asked again."""
        answer: httpx.Response | None = None

        def answered() -> bool:
            nonlocal answer
            answer = self.admin(method, path, body)
            return answer.status_code != httpx.codes.SERVICE_UNAVAILABLE

        until(answered, what=f"an answer to {method} {path}")
        assert answer is not None
        assert answer.status_code == httpx.codes.OK, f"{method} {path}: {answer.status_code} {answer.text}"
        done: dict[str, Any] = answer.json()
        return done

    def checkpoint(self) -> None:
        """Where the write side has such a thing."""
        if self.side.checkpoints:
            self.operate("POST", "/checkpoint")

    def lists(self) -> dict[str, dict[str, Any]]:
        """By list id."""
        return {row["list_id"]: row for row in self.operate("GET", "/lists")["lists"]}

    def list_of(self, segment_id: str) -> str:
        """The id of the segment's list."""
        return next(name for name, row in self.lists().items() if row["segment_id"] == segment_id)

    def members(self, list_id: str) -> set[str]:
        """As the admin API tells them; none where there is no such list."""
        found: set[str] = set()
        cursor = 0
        while True:
            answer = self.admin("GET", f"{list_path(list_id)}/members?cursor={cursor}")
            if answer.status_code == httpx.codes.NOT_FOUND:
                return set()
            assert answer.status_code == httpx.codes.OK, answer.text
            page = answer.json()
            found.update(page["members"])
            cursor = page["cursor"]
            if cursor == 0:
                return found

    def holds(self, list_id: str, wanted: set[str]) -> bool:
        """Whether the list has these members and no others; False while nobody can tell."""
        try:
            return self.members(list_id) == wanted
        except AssertionError:
            return False

    def settles(self, list_id: str, wanted: set[str], *, broken: bool = False) -> None:
        """Wait until the list has these members and no others. `broken`: something must be mended first."""
        seconds = self.side.patience if broken else self.side.promptness
        until(lambda: self.holds(list_id, wanted), seconds=seconds, what=f"{list_id} to hold {sorted(wanted)[:9]}")

    def reasons(self) -> list[str]:
        """Why the receiver is not ready; empty where all is well."""
        answer = http.get(f"{self.administration}/readyz").json()
        return [] if answer["status"] == "ok" else [str(reason) for reason in answer["reasons"]]

    def wait_until_ready(self, *, seconds: float = _START_SECONDS) -> None:
        until(lambda: not self.reasons(), seconds=seconds, what="the receiver to be ready")

    def lose_store(self) -> None:
        """All that the store has, after whatever the write side saves on command."""
        self.checkpoint()
        with self.store.client() as client:
            client.flushall()

    @contextlib.contextmanager
    def gateway(self) -> Iterator[str]:
        """The address of a gateway on this store."""
        settings = {"REDIS_URL": self.store.url, "DATA_DIR": str(self._directory / "of-gateway")}
        with gateway(self._directory, settings) as program:
            yield program.address


def list_path(list_id: str) -> str:
    return f"/lists/{ACCOUNT}/{quote(list_id, safe='')}"


def check(gateway_address: str, who: str, list_id: str) -> str:
    """`X-Membership` of one check."""
    return http.membership(gateway_address, who, list_id, account=ACCOUNT)


@contextlib.contextmanager
def running_site(side: WriteSide, **settings: str) -> Iterator[Site]:
    """`settings`: further ones of the receiver."""
    # Neither under pytest's own directories, since a socket's path must be short, nor kept: nobody looks at it.
    directory = Path(tempfile.mkdtemp(prefix="promise"))
    try:
        with running_store("--appendfsync", "everysec") as store:
            site = Site(directory, side, store, settings)
            try:
                site.start_receiver()
                site.wait_until_ready()
                yield site
            finally:
                site.kill_receiver()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
