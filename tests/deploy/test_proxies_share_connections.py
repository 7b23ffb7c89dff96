"""What a stranger sends through a proxy changes nothing for those whose requests share its connections."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from cohort_sync.signature import HEADER
from tests.deploy.proxies import caddy, haproxy, nginx
from tests.deploy.test_proxies import HOST
from tests.framing.ports import SECRET, TOKEN, push
from tests.support import http
from tests.support.ports import free_ports
from tests.support.processes import cohort_sync, running_store, wait_until_recovered
from tests.support.raw_http import connection, read_answer
from tests.support.waiting import until
from tests.support.web_servers import running_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Program

_PADDING = (
    b"\r\n" * 10_000
)  # so that the end comes in a read of its own; parsers pass over such lines in front of a request
_UNFINISHED = _PADDING + b"GET /healthz HTTP/1.1\r\nX-Ignore: "
_WHOLE = _PADDING + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_ROUNDS = 5


class Site(NamedTuple):
    """A proxy in front of a receiver."""

    scheme: str
    port: int
    receiver: Program

    @property
    def host(self) -> str:
        return HOST if self.scheme == "https" else f"127.0.0.1:{self.port}"

    def attack(self, *headers: bytes, body: bytes, target: bytes) -> None:
        """Send what a stranger may, without any secret; see it answered, or the connection closed."""
        lines = [b"POST " + target + b" HTTP/1.1", b"Host: " + self.host.encode(), b"Content-Length: %d" % len(body)]
        with connection(f"http://127.0.0.1:{self.port}") as plain, self._encrypted(plain) as peer:
            peer.sendall(b"\r\n".join([*lines, *headers, b"", b""]))
            peer.sendall(body)
            read_answer(peer)

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        if self.scheme == "http":
            return plain
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(plain, server_hostname=HOST)

    def push(self, member: str) -> httpx.Response:
        """As Heap does."""
        body, signature = push(member)
        return http.post(
            f"{self.scheme}://127.0.0.1:{self.port}/webhooks/heap",
            content=body,
            headers={"Host": self.host, HEADER: signature},
            extensions={"sni_hostname": HOST},
        )

    def serves(self) -> bool:
        try:
            return self.push("the-first-one").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def _caddy_as_it_comes(directory: Path, backend: int, secure: int, plain: int) -> list[str]:
    """Caddy on a configuration of somebody who never heard of the header."""
    made = caddy(directory, backend, secure, plain)
    file = directory / "Caddyfile"
    assert "request_header -Upgrade" in file.read_text()
    file.write_text(file.read_text().replace("request_header -Upgrade", ""))
    return made


@pytest.fixture(scope="module", params=[nginx, caddy, _caddy_as_it_comes, haproxy], ids=lambda made: made.__name__)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(running_store())
        settings = {"REDIS_URL": store.url, "HEAP_WEBHOOK_SECRET": SECRET, "ADMIN_TOKEN": TOKEN}
        receiver = stack.enter_context(cohort_sync(directory, settings))
        wait_until_recovered(receiver)
        secure, plain = free_ports(2)
        command = request.param(directory, int(receiver.addresses[0].rpartition(":")[2]), secure, plain)
        stack.enter_context(running_server(command, directory))
        scheme, port = ("http", plain) if request.param is haproxy else ("https", secure)
        found = Site(scheme, port, receiver)
        until(found.serves, seconds=30, what=f"{command[0]} to serve")
        yield found
        receiver.kill()


ATTACKS = {
    "h2c": (b"Connection: Upgrade", b"Upgrade: h2c"),
    "websocket": (b"Connection: Upgrade", b"Upgrade: websocket"),
    "anything": (b"Connection: keep-alive, Upgrade", b"Upgrade: anything"),
    "no upgrade": (),
}


@pytest.mark.parametrize("headers", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("body", [_UNFINISHED, _WHOLE], ids=["unfinished", "whole"])
@pytest.mark.parametrize("target", [b"/webhooks/heap", b"/healthz"])
def test_the_next_push_arrives(site: Site, headers: tuple[bytes, ...], body: bytes, target: bytes) -> None:
    """Heap's page is answered 200 for what it is, and its members are in the list."""
    for number in range(_ROUNDS):
        member = f"member-{number}-{hash((headers, body, target))}"
        site.attack(*headers, body=body, target=target)
        assert site.push(member).status_code == 200
        asked = {"account": "123456", "list": "heap_premium_users", "id": member}
        answer = http.post(
            f"{site.receiver.addresses[1]}/admin/api/v1/check",
            json=asked,
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        assert answer.json()["member"] is True
