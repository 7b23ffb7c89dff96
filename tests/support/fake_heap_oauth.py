"""A small Heap, as far as OAuth goes, over real HTTP on loopback; it fails in every way that Heap may."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support.http_server import Handler, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT_ID = "client-of-the-tests"
CLIENT_SECRET = "client-secret-of-the-tests"


@dataclass
class FakeHeap:
    """What it does next is set on it; what it gave and was asked is read from it.

    `token_answer` and `metadata_answer`: (status, body) instead of the right answer. `slow`: it never answers until
    the end of the test. `deny`: whoever is asked says no.
    """

    address: str = ""
    redirect_uri: str = ""
    env_id: Any = "env_1"
    id_token: str = ""
    deny: bool = False
    slow: bool = False
    token_answer: tuple[int, bytes] | None = None
    metadata_answer: tuple[int, bytes] | None = None
    codes: set[str] = field(default_factory=set)
    access_tokens: dict[str, tuple[str, Any]] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def authorize(self, query: dict[str, str]) -> tuple[int, str]:
        """Status and the address that the browser is sent to."""
        expected = {
            "client_id": CLIENT_ID,
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "scope": "segment",
        }
        if {name: query.get(name) for name in expected} != expected or set(query) != {*expected, "state"}:
            return 400, ""
        self.secrets.append(query["state"])
        if self.deny:
            answer = {"error": "access_denied", "state": query["state"]}
        else:
            answer = {"code": self._new("code"), "state": query["state"]}
            self.codes.add(answer["code"])
        return 302, f"{self.redirect_uri}?{urlencode(answer)}"

    def token(self, asked: Any) -> tuple[int, bytes]:
        if self.token_answer is not None:
            return self.token_answer
        expected = {
            "grant_type": "authorization_code",
            "redirect_uri": self.redirect_uri,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        code = asked.pop("code", None)
        if asked != expected:
            return 401, b'{"error":"invalid_client"}'
        if code not in self.codes:
            return 400, json.dumps({"error": "invalid_grant", "error_description": f"bad code {code}"}).encode()
        self.codes.remove(code)
        access_token, id_token = self._new("access"), self.id_token or self._new("id")
        self.id_token = id_token
        self.access_tokens[access_token] = (id_token, self.env_id)
        return 200, json.dumps({"access_token": access_token, "id_token": id_token, "token_type": "bearer"}).encode()

    def metadata(self, id_token: str, authorization: str) -> tuple[int, bytes]:
        if self.metadata_answer is not None:
            return self.metadata_answer
        given, env_id = self.access_tokens.get(authorization.removeprefix("Bearer "), ("", None))
        if given != id_token:
            return 401, b'{"error":"unauthorized"}'
        return 200, json.dumps(
            {
                "env_id": env_id,
                "partner_app_id": 17,
                "authorized_by": "grace@example.com",
                "authorized_scope": ["segment"],
                "authorized_at_utc": "2024-05-01T12:00:00Z",
            }
        ).encode()

    def _new(self, kind: str) -> str:
        made = f"{kind}-{secrets.token_hex(12)}"
        self.secrets.append(made)
        return made


class _Answering(Handler):
    fake: FakeHeap

    def answer(self) -> None:
        if self.command == "POST":
            self._give_token()
        else:
            self._look_up()

    def _look_up(self) -> None:
        parts = urlsplit(self.path)
        self.fake.calls.append(f"GET {parts.path.rpartition('/')[0]}")
        if parts.path == "/api/partner/oauth/authorize":
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, location = self.fake.authorize(query)
            self._say(status, b"", location=location)
        elif parts.path.startswith("/api/partner/v1/metadata/"):
            id_token = parts.path.rpartition("/")[2]
            self._say(*self.fake.metadata(id_token, self.headers.get("Authorization", "")))
        else:
            self._say(404, b"")

    def _give_token(self) -> None:
        body = self.body()
        self.fake.calls.append(f"POST {self.path}")
        if self.fake.slow:
            self.fake.over.wait(30)
        if self.path != "/api/partner/oauth/token" or self.headers.get_content_type() != "application/json":
            self._say(404, b"")
            return
        self._say(*self.fake.token(json.loads(body)))

    def _say(self, status: int, body: bytes, *, location: str = "") -> None:
        with contextlib.suppress(OSError):  # a caller that lost patience
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


@contextlib.contextmanager
def fake_heap_oauth() -> Iterator[FakeHeap]:
    """It listens until the end; `redirect_uri` is to be set to what our side registered."""
    heap = FakeHeap()

    class Answering(_Answering):
        fake = heap

    with serving(Answering) as heap.address:
        try:
            yield heap
        finally:
            heap.over.set()
