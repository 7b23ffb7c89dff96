"""Our routes on real HTTP, a fake Heap, a real store; and after every test a look for secrets that got out."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI

from cohort_sync.connect_flow import ConnectFlow
from cohort_sync.connect_routes import callback_router, connection_admin_router
from cohort_sync.connections import Connections
from cohort_sync.oauth import TIMEOUT_SECONDS
from cohort_sync.oauth_states import OAuthStates
from cohort_sync.sealing import open_sealer
from cohort_sync.settings import CohortSyncSettings
from foundation import serving
from foundation.errors import UnavailableError
from foundation.logs import configure_logging
from foundation.settings import load_settings
from foundation.store import connect
from foundation.web import install_error_handlers
from tests.support import http, in_thread
from tests.support.fake_heap_oauth import CLIENT_ID, CLIENT_SECRET, FakeHeap, fake_heap_oauth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.support.processes import StoreServer

ADMIN_TOKEN = "admin-token-of-the-tests"
ACCOUNT, OTHER = "123456", "654321"


@dataclass
class Installation:
    """Our side, with what the receiver would give it; `complete` and `journal_fails` are the tests' to set."""

    admin: str
    public: str
    heap: FakeHeap
    log: io.StringIO
    complete: bool = True
    journal_fails: bool = False
    journal: list[dict[str, Any]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    async def keep(self, record: dict[str, Any]) -> None:
        if self.journal_fails:
            raise UnavailableError("the journal can't be written: the disk is full", reason="journal_away")
        self.journal.append(record)

    def start(self, account: str | None = ACCOUNT, **headers: str) -> httpx.Response:
        params = {} if account is None else {"account": account}
        return self._noted(http.get(f"{self.admin}/connect/heap", params=params, headers=headers))

    def authorized(self, account: str = ACCOUNT) -> str:
        """Where Heap sends the browser that was sent to Heap."""
        started = self.start(account)
        assert started.status_code == 303, started.text
        answer = http.get(started.headers["location"])
        assert answer.status_code == 302
        location: str = answer.headers["location"]
        return location

    def come_back(self, address: str) -> httpx.Response:
        return self._noted(http.get(address))

    def connect(self, account: str = ACCOUNT) -> httpx.Response:
        return self.come_back(self.authorized(account))

    def connections(self) -> dict[str, str]:
        answer = self._noted(http.get(f"{self.admin}/admin/api/v1/connections"))
        return {connection["account"]: connection["env_id"] for connection in answer.json()["connections"]}

    def disconnect(self, account: str = ACCOUNT) -> httpx.Response:
        return self._noted(http.request("DELETE", f"{self.admin}/admin/api/v1/connections/{account}"))

    def _noted(self, answer: httpx.Response) -> httpx.Response:
        # The way to Heap has to carry the state; nothing else may.
        shown = [f"{name}: {value}" for name, value in answer.headers.items() if name != "location"]
        self.seen += [*shown, "" if "authorize_url" in answer.text else answer.text]
        return answer


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that the serving thread logs, as the program would, down to DEBUG."""
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    written = io.StringIO()
    with contextlib.redirect_stderr(written):
        configure_logging("DEBUG", service="cohort-sync")
    # The tests' own client, a part of this process too, logs addresses with states in them.
    root.handlers[0].addFilter(lambda record: record.threadName == in_thread.THREAD)
    yield written
    root.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.fixture
def heap() -> Iterator[FakeHeap]:
    with fake_heap_oauth() as heap:
        yield heap


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Settings that a test wants otherwise."""
    return {}


@pytest.fixture
def patience() -> float:
    """Seconds that our side waits for Heap."""
    return TIMEOUT_SECONDS


@pytest.fixture
def installation(
    store_url: str, tmp_path: Path, heap: FakeHeap, log: io.StringIO, overrides: dict[str, Any], patience: float
) -> Iterator[Installation]:
    bound = [serving.bind("127.0.0.1", 0, setting="-") for _ in range(2)]
    public, admin = (serving.address(one) for one in bound)
    heap.redirect_uri = f"{public}/connect/heap/callback"
    registered = {"heap_client_id": CLIENT_ID, "heap_client_secret": CLIENT_SECRET, "public_url": f"{public}/"}
    given = {"redis_url": store_url, "data_dir": tmp_path, "heap_base": heap.address} | registered | overrides
    settings = load_settings(CohortSyncSettings, **given)
    store = connect(settings)
    sealer = open_sealer(tmp_path)
    made = Installation(admin=admin, public=public, heap=heap, log=log)
    flow = ConnectFlow(
        settings=settings,
        connections=Connections(store, sealer),
        states=OAuthStates(store),
        sealer=sealer,
        admin_token=ADMIN_TOKEN,
        complete=lambda: made.complete,
        keep=made.keep,
        timeout=patience,
    )
    routers = (callback_router(flow), connection_admin_router(flow, default_account=ACCOUNT))
    apps = [FastAPI(), FastAPI()]
    for app, router in zip(apps, routers, strict=True):
        install_error_handlers(app)
        app.include_router(router)
    with in_thread.served(list(zip(apps, bound, strict=True)), close=store.aclose):
        yield made


@pytest.fixture(autouse=True)
def _nothing_secret_gets_out(installation: Installation, heap: FakeHeap, store_server: StoreServer) -> Iterator[None]:
    """After every test here: no code, state, token or secret in logs, answers, records or the store."""
    yield
    with store_server.client() as store:
        kept = repr([(key, store.dump(key)) for key in store.keys("*")])
        kept += repr([store.hgetall(key) for key in store.keys("*by-*")])
        kept += repr([store.get(key) for key in store.keys("*state*")])
    told = "\n".join([installation.log.getvalue(), *installation.seen, json.dumps(installation.journal), kept])
    for secret in [*heap.secrets, heap.id_token, CLIENT_SECRET, ADMIN_TOKEN]:
        assert not secret or secret not in told
    assert "grace" not in installation.log.getvalue()


def assert_refused(answer: httpx.Response, status: int, text: str) -> None:
    assert answer.status_code == status, answer.text
    assert text in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
