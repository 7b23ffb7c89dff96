"""HTTP to one server, each request with a deadline that holds whatever the server does (`fme_client.connections`)."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies

from fme_client._version import NAME, VERSION
from fme_client.connections import BoundedAdapter, begin, remaining
from fme_client.errors import NetworkError
from fme_client.failures import named
from fme_client.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Mapping

POOLED = 64  # connections that are kept for the next request; more are made and closed
CONNECTING = 16  # at the same time; they may hang in a name look-up for as long as the resolver tries
SETTINGS_LIMIT = 16 * 1024 * 1024  # bytes of an answer with settings; a gateway serves no larger ones
_ANSWER_LIMIT = 256 * 1024  # bytes of others, which hold a few words; the page of a proxy that refuses has some 10 kB
_PIECE = 64 * 1024
_PLAIN = ("", "identity")
_WISH = ("X-Wants", "user-ids")  # with which a gateway asks for the ids of users beside their events


class Answer(NamedTuple):
    """`retry_after`: seconds that the server asks to wait, where it gives them as a number."""

    status: int
    body: bytes
    retry_after: float = 0.0

    def json(self) -> Any:
        """Raises `NetworkError` where the body is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise NetworkError("bad_answer", "the server answered something that is not JSON") from error


@dataclass(frozen=True)
class Request:
    """`parameters` are encoded here; `body` is JSON, encoded already. With a body it is a POST, else a GET."""

    path: str
    parameters: Mapping[str, object]
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    limit: int = _ANSWER_LIMIT  # bytes of the answer

    def prepared(self, base: str) -> requests.PreparedRequest:
        """Made by hand: all is encoded, and `requests` would take the URL apart and encode it again."""
        prepared = _TEMPLATE.copy()
        query = "&".join(f"{name}={encoded(value)}" for name, value in self.parameters.items())
        prepared.url = f"{base}{self.path}?{query}" if query else f"{base}{self.path}"
        prepared.headers.update(self.headers)
        if self.body is not None:
            prepared.method = "POST"
            prepared.body = self.body
            prepared.headers.update({"Content-Type": "application/json", "Content-Length": str(len(self.body))})
        return prepared


_TEMPLATE = requests.Request("GET", "http://template", headers={"User-Agent": f"{NAME}/{VERSION}"}).prepare()


def encoded(value: object) -> str:
    """Percent-encoded UTF-8, a blank as `%20`. Raises `UnicodeEncodeError` for half a surrogate pair."""
    return quote(str(value), safe="~!*'():")


class Transport:
    """Requests to `base` (`http://host:port`), from any number of threads.

    Of the environment, `REQUESTS_CA_BUNDLE` counts, and with `proxies` also `HTTPS_PROXY` and the like, for a server
    out there. They are read once. Connecting through a proxy is bounded by its socket's timeouts only. Raises
    `OptionError` for a bundle that can't be read.
    """

    def __init__(self, base: str, *, proxies: bool) -> None:
        self.base = base
        self.wants_user_ids = False  # whether the server has asked for the ids of users beside their events
        self._connecting = Workers(CONNECTING, name="fme-client-connecting")
        self._session = requests.Session()
        self._session.trust_env = False  # or it would read files and variables with each request
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # or it would keep all that come
        if proxies and not _is_on_this_machine(base):
            self._session.proxies.update(get_environ_proxies(base))
        certificates = os.environ.get("REQUESTS_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH
        self._session.mount(base, BoundedAdapter(POOLED, certificates if base.startswith("https") else None))

    def fetch(self, request: Request, deadline: float) -> Answer:
        """The answer, whatever its status. `deadline` is a time of `time.monotonic`.

        Raises `NetworkError`, at the deadline at the latest.
        """
        if deadline <= time.monotonic():
            raise NetworkError("no_time", "the deadline had passed before the server was asked")
        begin(deadline, self._connecting)
        try:
            prepared = request.prepared(self.base)
            try:
                return self._send(prepared, request.limit)
            except NetworkError as error:
                # The server closed a kept connection at the moment we used it: that says nothing about the server.
                if error.kind != "cut_off":
                    raise
                return self._send(prepared, request.limit)
        except UnicodeEncodeError:
            raise NetworkError("bad_value", "a value is no Unicode text and can't be sent") from None

    def close(self) -> None:
        self._connecting.close()
        self._session.close()

    def _send(self, prepared: requests.PreparedRequest, limit: int) -> Answer:
        try:
            seconds = remaining()
            with self._session.send(
                prepared,
                timeout=(seconds, seconds),
                stream=True,
                allow_redirects=False,
                proxies=self._session.proxies,
                verify=True,
            ) as response:
                body = _read(response, limit)
        except NetworkError:
            raise
        except Exception as error:  # noqa: BLE001 - two libraries read here what a server may send, which is anything
            raise named(error) from None  # its text holds the URL, and that the user's data
        if response.headers.get(_WISH[0]) == _WISH[1]:
            self.wants_user_ids = True
        wait = response.headers.get("Retry-After", "")
        return Answer(response.status_code, body, float(wait) if wait.isdecimal() else 0.0)


def _read(response: requests.Response, limit: int) -> bytes:
    """The body, as it is: a few bytes of a compressed one may stand for gigabytes."""
    is_plain = response.headers.get("Content-Encoding", "").strip().lower() in _PLAIN
    body = bytearray()
    while piece := response.raw.read(_PIECE, decode_content=False):
        if not is_plain:
            raise NetworkError("bad_answer", "the server's answer is compressed, which was not asked for")
        body += piece
        if len(body) > limit:
            raise NetworkError("bad_answer", f"the server's answer has more than {limit:,} bytes")
    return bytes(body)


def _is_on_this_machine(base: str) -> bool:
    return urlsplit(base).hostname in ("localhost", "127.0.0.1", "::1")
