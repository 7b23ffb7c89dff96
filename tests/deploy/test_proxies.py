"""The reverse proxies of examples/: what the internet reaches through them, and what it does not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest

from foundation.settings import MEBIBYTE
from tests.deploy.proxies import caddy, nginx, running
from tests.support import http

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXPOSED = (
    "/webhooks/heap",
    "/connect/heap/callback",
    "/healthz",
    "/v1/events",
    "/v1/exposures",
    "/webhooks/statsig",
)
SLASHED = ("/webhooks/heap/", "/v1/events/", "/v1/exposures/", "/webhooks/statsig/")  # as some copy them into forms
HIDDEN = (
    "/",
    "/metrics",
    "/readyz",
    "/admin/api/v1/lists",
    "/v1/admin/status",
    "/v1/admin/integrations/heap",
    "/connect/heap",
    "/webhooks",
    "/webhooks/heap/more",
    "/webhooks/heapster",
    "/check-attribute?attribute=alice&listId=heap_premium_users",
    "/server-side/v2-settings",
    "/healthz/../metrics",
    "/healthz%2f..%2fmetrics",
    "/healthz;/metrics",
)
LARGEST = 64 * MEBIBYTE


class Backend(BaseHTTPRequestHandler):
    """Stands for the public ports: it refuses large bodies unread. But it knows every path, and tells it."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, str, str, str]]] = []

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if length > LARGEST:
            self.close_connection = True
            self.send_response(413)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.rfile.read(length)
        digest = hashlib.sha256(body).hexdigest()
        self.seen.append((self.command, self.path, self.headers.get("Heap-Hash", ""), digest))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET  # noqa: N815 - the base class looks for this name

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@dataclass
class Proxy:
    """A running proxy; `plain` is its address without TLS, where it has one."""

    url: str
    plain: str | None
    directory: Path
    backend: list[tuple[str, str, str, str]]

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        # The path goes out as it stands: httpx itself would resolve its dots.
        return http.request(method, httpx.URL(self.url).copy_with(raw_path=path.encode()), **options)


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp(request.param)
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    try:
        make = nginx if request.param == "nginx" else caddy
        command, ready, url, plain = make(directory, backend.server_port)
        with running(command, ready, directory):
            yield Proxy(url, plain or None, directory, Backend.seen)
    finally:
        backend.shutdown()
        backend.server_close()


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    Backend.seen.clear()


@pytest.mark.parametrize("path", EXPOSED)
def test_public_paths_reach_cohort_sync(proxy: Proxy, path: str) -> None:
    assert proxy.request("GET", f"{path}?code=a%20b").status_code == 200
    assert [seen[:2] for seen in proxy.backend] == [("GET", f"{path}?code=a%20b")]


@pytest.mark.parametrize("path", SLASHED)
def test_a_slash_behind_a_path_changes_nothing(proxy: Proxy, path: str) -> None:
    assert proxy.request("POST", path).status_code == 200
    [(_, arrived, *_)] = proxy.backend
    assert arrived.rstrip("/") == path.rstrip("/")


@pytest.mark.parametrize("path", HIDDEN)
def test_every_other_path_is_404(proxy: Proxy, path: str) -> None:
    for method in ("GET", "POST"):
        assert proxy.request(method, path).status_code == 404
    assert proxy.backend == []


def test_a_signed_body_arrives_as_it_was_sent(proxy: Proxy) -> None:
    body = os.urandom(LARGEST)
    headers = {"Heap-Hash": "ts:1660000000000,hmac:Nv7Q0mHnNRisOXZoxgOFfN8QHevpm7A4NuTTr3zafKg="}
    assert proxy.request("POST", "/webhooks/heap", content=body, headers=headers).status_code == 200
    digest = hashlib.sha256(body).hexdigest()
    assert proxy.backend == [("POST", "/webhooks/heap", headers["Heap-Hash"], digest)]


def test_a_larger_body_is_refused(proxy: Proxy) -> None:
    body = bytes(LARGEST + 1)
    # It may hang up while we are still sending, or find that cohort-sync did (502): each is a refusal.
    with contextlib.suppress(httpx.WriteError, httpx.ReadError):
        assert proxy.request("POST", "/webhooks/heap", content=body).status_code in (413, 502)
    assert proxy.backend == []


def test_nothing_goes_through_without_tls(proxy: Proxy) -> None:
    if proxy.plain is None:
        pytest.skip("Caddy runs without TLS here")
    plain = Proxy(proxy.plain, None, proxy.directory, proxy.backend)
    for path in EXPOSED:
        assert plain.request("GET", path).status_code == 404
    assert proxy.backend == []


def test_access_log_holds_no_query(proxy: Proxy) -> None:
    if proxy.plain is None:
        pytest.skip("Caddy writes no access log here")
    proxy.request("GET", "/connect/heap/callback?code=the-secret-code")
    log = (proxy.directory / "access.log").read_text()
    assert "/connect/heap/callback 200" in log
    assert "the-secret-code" not in log
