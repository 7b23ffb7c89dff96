"""The reverse proxies of examples/: what the internet reaches through them, and what it does not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest

from foundation.settings import MEBIBYTE
from tests.support import http
from tests.support.ports import free_ports
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = ROOT / "examples"
EXPOSED = (
    "/webhooks/heap",
    "/connect/heap/callback",
    "/healthz",
    "/v1/events",
    "/v1/exposures",
    "/webhooks/statsig",
)
HIDDEN = (
    "/",
    "/metrics",
    "/readyz",
    "/admin/api/v1/lists",
    "/v1/admin/status",
    "/v1/admin/integrations/heap",
    "/connect/heap",
    "/webhooks",
    "/webhooks/heap/",
    "/webhooks/heap/more",
    "/webhooks/heapster",
    "/check-attribute?attribute=alice&listId=heap_premium_users",
    "/server-side/v2-settings",
    "/healthz/../metrics",
    "/healthz%2f..%2fmetrics",
    "/healthz;/metrics",
)
LARGEST = 64 * MEBIBYTE
_STOP_SECONDS = 30


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


def _program(name: str) -> str:
    # Debian has servers where an ordinary user's PATH may not lead.
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"NOT TESTED: {name} is not installed, so examples/ was not tried")
    return path


def _nginx(directory: Path, backend: int) -> tuple[list[str], str, str, str]:
    """The command of nginx on the example, a line that it prints once it serves, its addresses."""
    nginx, openssl = _program("nginx"), _program("openssl")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=heap.example.com", "-days", "2"]
    subprocess.run([openssl, *request, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    plain, secure = free_ports(2)
    site = (EXAMPLES / "nginx.conf").read_text()
    for pattern, replacement in (
        (r"listen \[::\]:\d+.*\n", "\n"),
        (r"listen 80;", f"listen 127.0.0.1:{plain};"),
        (r"listen 443 ssl;", f"listen 127.0.0.1:{secure} ssl;"),
        (r"/etc/letsencrypt/live/heap\.example\.com/fullchain\.pem", str(certificate)),
        (r"/etc/letsencrypt/live/heap\.example\.com/privkey\.pem", str(key)),
        (r"/var/log/nginx/cohort-gateway\.log", str(directory / "access.log")),
        (r"127\.0\.0\.1:8001", f"127.0.0.1:{backend}"),
        (r"127\.0\.0\.1:8003", f"127.0.0.1:{backend}"),
    ):
        site, count = re.subn(pattern, replacement, site)
        assert count, f"nginx.conf has changed: no {pattern}"
    (directory / "site.conf").write_text(site)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in kinds)
    (directory / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log stderr notice;\nevents {{}}\n"
        f"http {{\n{temporary}include {directory}/site.conf;\n}}\n"
    )
    command = [nginx, "-e", "stderr", "-p", str(directory), "-c", str(directory / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr
    return command, "OS: ", f"https://127.0.0.1:{secure}", f"http://127.0.0.1:{plain}"


def _caddy(directory: Path, backend: int) -> tuple[list[str], str, str, str]:
    """As for nginx, but without TLS, for which Caddy would ask an authority on the internet."""
    caddy = _program("caddy")
    [port] = free_ports(1)
    site = (EXAMPLES / "Caddyfile").read_text()
    for old, new in (
        ("\nheap.example.com {", f"\nhttp://127.0.0.1:{port} {{"),
        ("127.0.0.1:8001", f"127.0.0.1:{backend}"),
        ("127.0.0.1:8003", f"127.0.0.1:{backend}"),
    ):
        assert old in site, f"Caddyfile has changed: no {old!r}"
        site = site.replace(old, new)
    (directory / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + site)
    command = [caddy, "run", "--adapter", "caddyfile", "--config", str(directory / "Caddyfile")]
    return command, "serving initial configuration", f"http://127.0.0.1:{port}", ""


@contextlib.contextmanager
def _running(command: list[str], ready: str, environment: dict[str, str]) -> Iterator[None]:
    """The program, from the line that says `ready` on. What it says later is read too, or its pipe would fill."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            said: list[str] = []
            for line in process.stderr:
                said.append(line)
                if ready in line:
                    break
            else:
                pytest.fail("".join(said))
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp(request.param)
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    try:
        make = _nginx if request.param == "nginx" else _caddy
        command, ready, url, plain = make(directory, backend.server_port)
        environment = dict(os.environ) | {
            "HOME": str(directory),
            "XDG_DATA_HOME": str(directory),
            "XDG_CONFIG_HOME": str(directory),
        }
        with _running(command, ready, environment):
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
