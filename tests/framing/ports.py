"""Every port that a service of ours listens on, each with a request whose answer shows that its whole body was read."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cohort_sync.signature import HEADER, sign
from local_stack.sample_push import build_push
from tests.support.heap import Heap
from tests.support.processes import cohort_sync, gateway, heap_export, running_store, wait_until_recovered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Program

SECRET = "whsec_framing"
TOKEN = "admin-token-of-the-framing-tests"
KEY = "events-key-of-the-framing-tests"
NAMES = ("gateway", "webhook", "cohort-sync administration", "events", "heap-export administration")


@dataclass(frozen=True)
class Port:
    """`target` takes a POST of `body` and answers 200; `get` answers a GET with 200."""

    address: str
    target: str
    body: bytes
    get: str = "/healthz"
    headers: dict[str, str] = field(default_factory=dict)

    def post(self, *headers: bytes, body: bytes | None = None, target: str | None = None) -> bytes:
        """A request framed by its length."""
        sent = self.body if body is None else body
        return self.head(*headers, b"Content-Length: %d" % len(sent), target=target) + sent

    def chunked(self, *headers: bytes, trailers: bytes = b"", without: str = "") -> bytes:
        """The same in two chunks. `without`: a header of its own that it lacks."""
        middle = len(self.body) // 2
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (self.body[:middle], self.body[middle:]))
        return (
            self.head(*headers, b"Transfer-Encoding: chunked", without=without) + chunks + b"0\r\n" + trailers + b"\r\n"
        )

    def head(self, *headers: bytes, target: str | None = None, without: str = "") -> bytes:
        own = [f"{name}: {value}".encode() for name, value in self.headers.items() if name != without]
        lines = [f"POST {target or self.target} HTTP/1.1".encode(), b"Host: x", *own, *headers, b"", b""]
        return b"\r\n".join(lines)


def push(*members: str, segment: str = "Premium Users") -> tuple[bytes, str]:
    """A page as Heap sends it, and its signature."""
    body = build_push(
        segment_id=7, segment_name=segment, task=f"task-{time.monotonic_ns()}", add=list(members), remove=[]
    )
    return body, sign(SECRET, body, timestamp_ms=int(time.time() * 1000))


@dataclass(frozen=True)
class Installation:
    gateway: Program
    cohort_sync: Program
    heap_export: Program

    def port(self, name: str) -> Port:
        """One of `NAMES`."""
        token = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        if name == "gateway":
            asked = {"featureKey": "premium_dashboard", "userId": "ann", "customVariables": {"heap_user_id": "alice"}}
            return Port(
                self.gateway.address,
                "/server-side/getFlag?accountId=123456",
                json.dumps(asked).encode(),
                get="/get-user-details?ipAddress=203.0.113.9",
            )
        if name == "webhook":
            body, signature = push("alice")
            return Port(self.cohort_sync.addresses[0], "/webhooks/heap", body, headers={HEADER: signature})
        if name == "cohort-sync administration":
            asked = {"account": "123456", "list": "heap_premium_users", "id": "alice"}
            return Port(
                self.cohort_sync.addresses[1], "/admin/api/v1/check", json.dumps(asked).encode(), "/metrics", token
            )
        if name == "events":
            sent = {"batch": [{"event": "Seen", "identity": "ann"}]}
            key = {"Authorization": f"Bearer {KEY}"}
            return Port(self.heap_export.addresses[0], "/v1/events", json.dumps(sent).encode(), headers=key)
        body = json.dumps({"id": "ann"}).encode()
        return Port(self.heap_export.addresses[1], "/v1/admin/log", body, "/readyz", token)


@contextlib.contextmanager
def running_installation(directory: Path) -> Iterator[Installation]:
    """A store and the three services on ports of their own."""
    with running_store() as store:
        shared = {"REDIS_URL": store.url, "ADMIN_TOKEN": TOKEN}
        with (
            gateway(directory, shared) as asked,
            cohort_sync(directory, shared | {"HEAP_WEBHOOK_SECRET": SECRET}) as receiver,
            heap_export(directory, shared | {"HEAP_APP_ID": "1", "EVENTS_API_KEY": KEY}) as exporter,
        ):
            wait_until_recovered(receiver)
            assert Heap(receiver.address, secret=SECRET).sync(["alice"]).status_code == 200
            yield Installation(asked, receiver, exporter)
            for program in (asked, receiver, exporter):
                program.kill()
