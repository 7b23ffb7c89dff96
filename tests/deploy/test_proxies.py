"""The reverse proxies of examples/: what the internet reaches through them, and what it does not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest

from foundation.settings import MEBIBYTE
from tests.deploy.proxies import caddy, nginx
from tests.support import http
from tests.support.ports import free_ports
from tests.support.waiting import until
from tests.support.web_servers import running_server

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
HOST = "heap.example.com"
LARGEST = 64 * MEBIBYTE
_START_SECONDS = 30


class Backend(BaseHTTPRequestHandler):
    """Stands for the public ports: it refuses large bodies unread. But it knows every path, and tells it.

    A path with `hang_up` is not answered.
    """

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, str, str, str]]] = []

    def do_GET(self) -> None:
        if "hang_up" in self.path:
            self.close_connection = True
            return
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
    """A running proxy with its ports, one of them without TLS."""

    port: int
    plain_port: int
    directory: Path
    said: list[str]  # what it wrote to its standard error
    backend: list[tuple[str, str, str, str]]

    def request(
        self, method: str, path: str, *, tls: bool = True, headers: dict[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        # The path goes out as it stands: httpx itself would resolve its dots.
        url = httpx.URL(f"https://127.0.0.1:{self.port}" if tls else f"http://127.0.0.1:{self.plain_port}")
        named = {"headers": {"Host": HOST} | (headers or {}), "extensions": {"sni_hostname": HOST}}
        return http.request(method, url.copy_with(raw_path=path.encode()), **named, **options)

    def serves(self) -> bool:
        try:
            return self.request("GET", "/").status_code == 404
        except httpx.ConnectError:
            return False

    def logs(self) -> str:
        access_log = self.directory / "access.log"
        return "".join(self.said) + (access_log.read_text() if access_log.exists() else "")


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp(request.param)
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    try:
        make = nginx if request.param == "nginx" else caddy
        secure, plain = free_ports(2)
        command = make(directory, backend.server_port, secure, plain)
        with running_server(command, directory) as said:
            served = Proxy(secure, plain, directory, said, Backend.seen)
            until(served.serves, seconds=_START_SECONDS, what=f"{request.param} to serve")
            yield served
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
    for path in EXPOSED:
        assert proxy.request("GET", path, tls=False).status_code == 404
    assert proxy.backend == []


@pytest.mark.parametrize(("more", "status_code"), [("", 200), ("&hang_up", 502)])
def test_no_log_holds_a_query(proxy: Proxy, more: str, status_code: int) -> None:
    path = "/connect/heap/callback"
    assert proxy.request("GET", f"{path}?code=the-secret-code{more}").status_code == status_code
    until(lambda: re.search(rf"{path}.*\b{status_code}\b", proxy.logs()) is not None, what="the access log")
    assert "the-secret-code" not in proxy.logs()
