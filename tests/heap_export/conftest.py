from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from heap_export import deliverer
from tests.heap_export.decisions import FakeExport
from tests.heap_export.deliveries import Process
from tests.support import http
from tests.support.fake_heap_api import FakeHeap, fake_heap
from tests.support.processes import Program, heap_export, running_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    import httpx

APP_ID = "1234567890"
TOKEN = "admin-token-of-the-tests"
KEY = "events-key-of-the-tests"
STATSIG_SECRET = "webhook-secret-of-the-tests"


@dataclass
class Service:
    """A running heap-export, as senders and operators see it, and the Heap that it delivers to."""

    program: Program
    heap: FakeHeap

    @property
    def admin_address(self) -> str:
        return self.program.addresses[1]

    def post(
        self, path: str, body: Any, *, key: str | None = KEY, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """`body`: bytes as they are, anything else as JSON."""
        sent = {"content": body} if isinstance(body, bytes) else {"json": body}
        bearer = {} if key is None else {"Authorization": f"Bearer {key}"}
        return http.post(self.program.address + path, headers=bearer | dict(headers or {}), **sent)

    def admin(self, method: str, path: str, *, token: str = TOKEN, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return http.request(method, self.admin_address + path, headers=headers, **options)

    def readiness(self) -> list[str]:
        """The reasons for concern."""
        answer = http.get(f"{self.admin_address}/readyz")
        assert answer.status_code == 200
        reasons: list[str] = answer.json().get("reasons", [])
        assert answer.json()["status"] == ("degraded" if reasons else "ok")
        return reasons

    def counted(self, sample: str) -> float:
        """The value of one line of `/metrics`, given all in front of it."""
        lines = http.get(f"{self.admin_address}/metrics").text.splitlines()
        return sum(float(line.removeprefix(sample)) for line in lines if line.startswith(f"{sample} "))

    def sent(self, identity: str, count: int) -> list[dict[str, Any]]:
        """The events of somebody that Heap took, once there are so many."""

        def theirs() -> list[dict[str, Any]]:
            return [event for _, whose, event in list(self.heap.events) if whose == identity]

        until(lambda: len(theirs()) >= count, what=f"{count} events of {identity}")
        return theirs()

    def properties(self, identity: str, count: int) -> dict[str, Any]:
        """What Heap knows of somebody, once it is so many properties."""
        until(lambda: len(self.heap.properties_of(identity)) >= count, what=f"{count} properties of {identity}")
        return self.heap.properties_of(identity)

    @contextlib.contextmanager
    def counting(self, sample: str, more: float) -> Iterator[None]:
        """What the block does is counted there as so many."""
        before = self.counted(sample)
        yield
        assert self.counted(sample) == before + more


def settings_for(store_url: str, heap: FakeHeap) -> dict[str, str]:
    return {
        "REDIS_URL": store_url,
        "HEAP_APP_ID": APP_ID,
        "HEAP_API_BASE": heap.address,
        "EVENTS_API_KEY": f"{KEY}, the-next-key",
        "STATSIG_WEBHOOK_SECRET": f"{STATSIG_SECRET}, the-next-secret",
        "ADMIN_TOKEN": TOKEN,
    }


@pytest.fixture
def heap() -> Iterator[FakeHeap]:
    with fake_heap() as heap:
        yield heap


@pytest.fixture
def export() -> Iterator[FakeExport]:
    """Stands for heap-export, for what posts to it."""
    export = FakeExport()
    with export.serving():
        yield export


@pytest.fixture
async def process(store_url: str, heap: FakeHeap, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    """Delivery in the test's own event loop, with short waits."""
    monkeypatch.setattr(deliverer, "_IDLE_SECONDS", 0.02)
    monkeypatch.setattr(deliverer, "_FIRST_PAUSE", 0.05)
    process = Process(store_url, heap.address)
    yield process
    await process.store.aclose()


@pytest.fixture
def ann() -> str:
    """Somebody whom no other test knows."""
    return f"ann-{uuid.uuid4()}"


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that many tests share: for those that look at answers, and at what Heap gets of somebody of their own."""
    with (
        running_store() as store,
        fake_heap() as heap,
        heap_export(tmp_path_factory.mktemp("standing"), settings_for(store.url, heap)) as program,
    ):
        yield Service(program, heap)
        program.kill()


@pytest.fixture
def settings(store_url: str, heap: FakeHeap) -> dict[str, str]:
    return settings_for(store_url, heap)


@pytest.fixture
def service(tmp_path: Path, settings: dict[str, str], heap: FakeHeap) -> Iterator[Service]:
    with heap_export(tmp_path, settings) as program:
        yield Service(program, heap)
        program.kill()  # nobody looks at how it ends, which would take a while


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a store of its own that lives as long as the tests of a file."""
    with running_store() as server, fake_heap() as heap:
        settings = {
            "REDIS_URL": server.url,
            "HEAP_APP_ID": APP_ID,
            "HEAP_API_BASE": heap.address,
            "EVENTS_API_KEY": KEY,
            "ADMIN_TOKEN": TOKEN,
        }
        with heap_export(tmp_path_factory.mktemp("lasting"), settings) as program:
            yield Service(program, heap)
            program.kill()
