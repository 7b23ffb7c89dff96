"""Connecting accounts to Heap over real HTTP: our routes, a fake Heap, a real store."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI

from cohort_sync.connect_flow import ConnectFlow
from cohort_sync.connect_routes import callback_router, connection_admin_router
from cohort_sync.connections import Connections
from cohort_sync.oauth import TIMEOUT_SECONDS
from cohort_sync.oauth_states import LIFETIME_SECONDS, OAuthStates
from cohort_sync.sealing import open_sealer
from cohort_sync.settings import CohortSyncSettings
from foundation import serving
from foundation.errors import ConfigurationError, UnavailableError
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
    import redis

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


def test_the_whole_way(installation: Installation, heap: FakeHeap) -> None:
    started = installation.start()
    assert started.status_code == 303
    assert started.headers["cache-control"] == "no-store"
    parts = urlsplit(started.headers["location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{heap.address}/api/partner/oauth/authorize"
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert len(query.pop("state")) >= 43
    assert query == {
        "client_id": CLIENT_ID,
        "response_type": "code",
        "redirect_uri": f"{installation.public}/connect/heap/callback",
        "scope": "segment",
    }
    answer = installation.come_back(http.get(started.headers["location"]).headers["location"])
    assert answer.status_code == 200, answer.text
    assert "Account 123456 is connected to the Heap environment env_1" in answer.text
    assert "script" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    listed = http.get(f"{installation.admin}/admin/api/v1/connections").json()["connections"]
    assert [(row["account"], row["env_id"], row["authorized_by"], row["usable"]) for row in listed] == [
        (ACCOUNT, "env_1", "grace@example.com", True)
    ]
    assert (listed[0]["partner_app_id"], listed[0]["authorized_scope"]) == ("17", "segment")
    assert not {"sealed_token", "id_token_tag", "access_token", "id_token"} & set(listed[0])
    assert [record["account"] for record in installation.journal] == [ACCOUNT]
    assert "account 123456: connected to Heap environment 'env_1'" in installation.log.getvalue()


def test_a_command_line_gets_the_address_as_json(installation: Installation, heap: FakeHeap) -> None:
    answer = installation.start(None, Accept="application/json")
    assert answer.status_code == 200
    came = http.get(answer.json()["authorize_url"]).headers["location"]
    assert heap.address in answer.json()["authorize_url"]
    assert "Account 123456 is connected" in installation.come_back(came).text


def test_a_state_serves_once(installation: Installation, heap: FakeHeap) -> None:
    address = installation.authorized()
    assert installation.come_back(address).status_code == 200
    calls = len(heap.calls)
    assert_refused(installation.come_back(address), 400, "used already")
    assert len(heap.calls) == calls, "Heap is not asked for a state that is not ours"
    assert len(installation.journal) == 1


def test_an_unknown_state_gets_nowhere(installation: Installation, heap: FakeHeap) -> None:
    for state in ("", "x", "x" * 43, "\N{GREEK SMALL LETTER ALPHA}" * 43, "x" * 5000, "*"):
        for rest in ("code=abc", "error=access_denied", ""):
            answer = installation.come_back(f"{installation.public}/connect/heap/callback?state={state}&{rest}")
            assert_refused(answer, 400, "unknown")
    assert heap.calls == []


def test_a_state_expires(installation: Installation, store: redis.Redis) -> None:
    address = installation.authorized()
    (key,) = store.keys("*:state:*")
    assert LIFETIME_SECONDS - 60 < store.ttl(key) <= LIFETIME_SECONDS
    store.pexpire(key, 0)
    assert_refused(installation.come_back(address), 400, "older than ten minutes")


def test_a_state_dies_with_the_admin_token_it_was_made_for(installation: Installation, store: redis.Redis) -> None:
    address = installation.authorized()
    (key,) = store.keys("*:state:*")
    value = json.loads(store.get(key) or "")
    assert value["account"] == ACCOUNT
    store.set(key, json.dumps(value | {"admin": secrets.token_hex(32)}))
    assert_refused(installation.come_back(address), 400, "start again")


def test_a_parameter_that_comes_twice_is_refused(installation: Installation) -> None:
    address = installation.authorized()
    assert_refused(installation.come_back(f"{address}&code=other"), 400, "more than once")
    assert installation.come_back(address).status_code == 200, "the state was not spent"


def test_one_environment_an_account(installation: Installation, heap: FakeHeap) -> None:
    installation.connect()
    heap.env_id, heap.id_token = "env_2", ""
    assert_refused(installation.connect(), 409, "disconnect it first")
    heap.env_id, heap.id_token = "env_1", ""
    assert_refused(installation.connect(OTHER), 409, "belongs to account 123456")
    assert installation.connections() == {ACCOUNT: "env_1"}
    assert installation.disconnect().json() == {"account": ACCOUNT, "env_id": "env_1"}
    assert installation.connect(OTHER).status_code == 200
    assert installation.connections() == {OTHER: "env_1"}


def test_authorizing_again_renews_the_connection(installation: Installation, heap: FakeHeap) -> None:
    installation.connect()
    heap.id_token = ""
    assert installation.connect().status_code == 200
    first, second = installation.journal
    assert first["id_token_tag"] != second["id_token_tag"]
    assert installation.connections() == {ACCOUNT: "env_1"}


def test_disconnecting(installation: Installation) -> None:
    answer = installation.disconnect()
    assert (answer.status_code, answer.json()["reason"]) == (404, "not_connected")
    assert installation.disconnect("a%20b").status_code == 400
    installation.connect()
    assert installation.disconnect().status_code == 200
    assert installation.connections() == {}
    assert [record["connected"] for record in installation.journal] == [True, False]


def test_denied(installation: Installation, heap: FakeHeap) -> None:
    heap.deny = True
    address = installation.authorized()
    assert_refused(installation.come_back(address), 403, "Access was denied")
    assert_refused(installation.come_back(address), 400, "used already")
    assert installation.connections() == {}


def test_other_errors_of_heap_are_not_repeated(installation: Installation) -> None:
    for error in ("server_error", "<script>alert(1)</script>"):
        address = installation.authorized().replace("code=", "ignored=") + f"&error={error}"
        answer = installation.come_back(address)
        assert_refused(answer, 502, "Heap reported an error")
        assert error not in answer.text


def test_a_missing_code(installation: Installation) -> None:
    address = installation.authorized().replace("code=", "ignored=")
    assert_refused(installation.come_back(address), 400, "no usable code")


def test_a_code_that_heap_refuses(installation: Installation, heap: FakeHeap) -> None:
    address = installation.authorized()
    heap.codes.clear()
    assert_refused(installation.come_back(address), 400, "Heap refused the code")
    assert installation.connections() == {}


def test_a_client_secret_that_heap_refuses(installation: Installation, heap: FakeHeap) -> None:
    heap.token_answer = (401, b'{"error":"invalid_client"}')
    assert_refused(installation.connect(), 400, "HEAP_CLIENT_SECRET")


@pytest.mark.parametrize("patience", [0.3])
def test_a_slow_heap(installation: Installation, heap: FakeHeap) -> None:
    heap.slow = True
    address = installation.authorized()
    answer = installation.come_back(address)
    assert_refused(answer, 502, "did not answer within 0.3 seconds")
    assert "start again with cohort-sync connect" in answer.text
    assert_refused(installation.come_back(address), 400, "used already")


ANSWER = {"access_token": "a", "id_token": "i", "token_type": "bearer"}
BAD_TOKENS: list[tuple[int, bytes]] = [
    (500, b"<h1>oops</h1>"),
    (503, b""),
    (302, b""),
    (403, b"{}"),
    (429, b"{}"),
    (200, b""),
    (200, b"not json"),
    (200, b"[]"),
    (200, b"\xff\xfe"),
    (200, b"[" * 60_000),
    (200, b" " * 100_000),
    (200, b"{}"),
    *[
        (200, json.dumps(ANSWER | change).encode())
        for change in (
            {"access_token": 1},
            {"access_token": "a\r\nX: y"},
            {"id_token": ""},
            {"id_token": "\u00e9"},
            {"id_token": "i" * 5000},
            {"token_type": "mac"},
            {"token_type": None},
        )
    ],
]


def test_a_useless_answer_to_the_code(installation: Installation, heap: FakeHeap) -> None:
    for heap.token_answer in BAD_TOKENS:
        assert_refused(installation.connect(), 502, "Heap answered")
    assert installation.connections() == {}
    assert installation.journal == []


BAD_METADATA: list[tuple[int, bytes]] = [
    (500, b""),
    (401, b"{}"),
    (200, b""),
    (200, b"[]"),
    (200, b"{}"),
    (200, b'{"env_id":null}'),
    (200, b'{"env_id":""}'),
    (200, b'{"env_id":true}'),
    (200, b'{"env_id":{}}'),
    (200, b'{"env_id":"a\\u0000"}'),
    (200, json.dumps({"env_id": "e" * 300}).encode()),
]


def test_useless_metadata(installation: Installation, heap: FakeHeap) -> None:
    for heap.metadata_answer in BAD_METADATA:
        assert_refused(installation.connect(), 502, "metadata")
    assert installation.connections() == {}


def test_metadata_that_says_the_least_and_something_nasty(installation: Installation, heap: FakeHeap) -> None:
    heap.metadata_answer = (200, b'{"env_id":"<script>","authorized_by":{"x":1},"authorized_scope":3.5}')
    answer = installation.connect()
    assert answer.status_code == 200
    assert "<script>" not in answer.text
    assert installation.connections() == {ACCOUNT: "<script>"}


def test_a_number_for_an_environment(installation: Installation, heap: FakeHeap) -> None:
    heap.env_id = 4711
    installation.connect()
    assert installation.connections() == {ACCOUNT: "4711"}


def test_id_tokens_become_one_segment_of_the_path(installation: Installation, heap: FakeHeap) -> None:
    heap.id_token = "../../../admin?x=/#"
    assert_refused(installation.connect(), 502, "metadata")
    assert heap.calls[-1] == "GET /api/partner/v1/metadata"


@pytest.mark.parametrize("overrides", [{"heap_base": "http://127.0.0.1:9"}])
def test_heap_can_not_be_reached(installation: Installation) -> None:
    started = installation.start()
    state = parse_qs(urlsplit(started.headers["location"]).query)["state"][0]
    answer = installation.come_back(f"{installation.public}/connect/heap/callback?code=abc&state={state}")
    assert_refused(answer, 502, "can&#x27;t be reached")


@pytest.mark.parametrize("overrides", [{"heap_client_id": None, "heap_client_secret": None}])
def test_what_is_not_set_up_is_named(installation: Installation) -> None:
    answer = installation.start()
    assert (answer.status_code, answer.json()["reason"]) == (503, "not_configured")
    assert "HEAP_CLIENT_ID, HEAP_CLIENT_SECRET" in answer.json()["error"]
    assert "PUBLIC_URL" not in answer.json()["error"]
    page = installation.come_back(f"{installation.public}/connect/heap/callback?code=abc&state={'x' * 43}")
    assert_refused(page, 503, "HEAP_CLIENT_ID")


@pytest.mark.parametrize("account", ["", "a b", "a:b", "{x}", "x" * 65])
def test_a_bad_account(installation: Installation, account: str) -> None:
    answer = installation.start(account)
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad_account")


def test_no_connection_is_made_while_others_may_come_back(installation: Installation) -> None:
    address = installation.authorized()
    installation.complete = False
    assert_refused(installation.come_back(address), 503, "reload this page")
    installation.complete = True
    assert installation.come_back(address).status_code == 200


def test_a_connection_that_was_not_journalled_is_not_acknowledged(installation: Installation) -> None:
    installation.journal_fails = True
    assert_refused(installation.connect(), 503, "disk is full")
    installation.journal_fails = False
    assert installation.connect().status_code == 200
    installation.journal_fails = True
    assert installation.disconnect().status_code == 503
    installation.journal_fails = False
    assert installation.disconnect().status_code == 200
    assert [record["connected"] for record in installation.journal] == [True, False]


def test_the_store_is_away(installation: Installation, store_server: StoreServer) -> None:
    address = installation.authorized()
    store_server.kill()
    try:
        answer = installation.come_back(address)
    finally:
        store_server.start()
    assert_refused(answer, 503, "reload this page")
    assert int(answer.headers["retry-after"]) > 0
    assert installation.come_back(address).status_code == 200


@pytest.mark.parametrize(
    "address",
    ["heap.example.com", "ftp://x", "https://", "https://u:p@x", "https://x?y", "https://x:y", "https://x/ y"],
)
def test_addresses_must_be_web_addresses(address: str) -> None:
    with pytest.raises(ConfigurationError, match="PUBLIC_URL"):
        load_settings(CohortSyncSettings, public_url=address)
