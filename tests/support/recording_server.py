"""A server that SDKs take for a gateway. It records every request, and answers as the test says."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tests.support.http_server import Handler, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

SETTINGS = "/server-side/v2-settings"
PULL = "/server-side/v2-pull"
CHECK = "/check-attribute"
DETAILS = "/get-user-details"
EVENTS = "/events/t"
BATCH = "/server-side/batch-events-v2"
GET_ALIAS = "/user-alias/getAliasUserId"
SET_ALIAS = "/user-alias/setUserAlias"


@dataclass(frozen=True)
class Recorded:
    """One request; `parameters` are decoded, `body` is parsed."""

    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]
    body: Any

    @property
    def event(self) -> str:
        return str(self.parameters.get("en"))


@dataclass
class RecordingServer:
    """What it serves may be changed at any time. `answers` maps a path to a status and a body, or to a function.

    `headers` come with every answer.
    """

    address: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    answers: dict[str, tuple[int, bytes] | Callable[[Recorded], tuple[int, bytes]]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[Recorded] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def to(self, path: str) -> list[Recorded]:
        return [request for request in list(self.requests) if request.path == path]

    def wait_for(self, path: str, count: int = 1) -> list[Recorded]:
        """The requests to `path` once there are so many."""
        until(lambda: len(self.to(path)) >= count, what=f"{count} requests to {path}")
        return self.to(path)

    def events(self, name: str | None = None) -> list[Recorded]:
        return [request for request in self.to(EVENTS) if name in (None, request.event)]

    def answer(self, request: Recorded) -> tuple[int, bytes]:
        given = self.answers.get(request.path)
        if given is not None:
            return given if isinstance(given, tuple) else given(request)
        return 200, json.dumps(self._said_to(request)).encode()

    def _said_to(self, request: Recorded) -> Any:
        parameters = request.parameters
        if request.path in (SETTINGS, PULL):
            return self.settings
        if request.path == CHECK:
            return parameters.get("attribute") in self.members.get(parameters.get("listId", ""), set())
        if request.path == DETAILS:
            return self.details
        if request.path == GET_ALIAS:
            (alias,) = json.loads(parameters["userId"])
            return [{"aliasId": alias, "userId": self.aliases.get(alias, alias)}]
        return {}


@contextlib.contextmanager
def recording_server(
    settings: Mapping[str, Any], *, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[RecordingServer]:
    served = RecordingServer(settings=settings)

    class Recording(Handler):
        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            raw = self.body()
            request = Recorded(
                self.command,
                path,
                dict(parse_qsl(query, keep_blank_values=True)),
                {name.lower(): value for name, value in self.headers.items()},
                json.loads(raw) if raw else None,
            )
            served.requests.append(request)
            status, body = served.answer(request)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **served.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Recording, port=port, tls=tls) as served.address:
        yield served
