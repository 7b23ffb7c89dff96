"""What else SDKs ask a gateway for: requests made beforehand, and what tells a right answer."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from benchmarks.hot_path.questions import ACCOUNT, Lists, value
from fme_client.evaluation.events import VARIATION_SHOWN, EventWriter
from gateway.flag_settings import POLLED, parse_flag_settings
from gateway.user_details import PATH as USER_DETAILS
from tests.decisions.builders import ROLLOUT, campaign, document, feature

if TYPE_CHECKING:
    from collections.abc import Callable

NGINX_TRUE, NGINX_FILE = "nginx-true", "nginx-file"
SETTINGS, DETAILS, EVENTS, GET_FLAG = "settings", "user-details", "events", "get-flag"
LABELS = {
    NGINX_TRUE: "nginx, static `true`",
    NGINX_FILE: "nginx, a file as long as the settings",
    SETTINGS: f"`GET {POLLED}`",
    DETAILS: f"`GET {USER_DETAILS}`",
    EVENTS: "`POST /events/t`",
    GET_FLAG: "`POST /server-side/getFlag`",
}
OF_NGINX = frozenset((NGINX_TRUE, NGINX_FILE))

FILE = "/settings.json"
FLAGS = 20
LIST = Lists(("heap_bench",), 1000)
CITY, NETWORK = "London", "81.2.69.0/24"

_SDK_KEY = "key"
_DIFFERENT = 1000  # requests of each kind
_BROWSER = "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
_SYSTEMS = ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64")


class Request(NamedTuple):
    """`right`: whether an answer's headers and body are what they should be."""

    method: str
    path: str
    right: Callable[[http.client.HTTPMessage, bytes], bool]
    body: bytes = b""

    @property
    def raw(self) -> bytes:
        """As it is sent, with the headers that the Node SDK sends."""
        about = f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n" if self.body else ""
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{about}Connection: keep-alive\r\n\r\n"
        return head.encode() + self.body

    def check(self, address: str) -> None:
        """Raises `SystemExit` for a wrong answer: a fast one is no result."""
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
        with closing(connection):
            connection.request(self.method, self.path, self.body or None)
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != http.client.OK or not self.right(answer.headers, body):
            raise SystemExit(f"error: {self.method} {self.path} was answered {answer.status}, {body[:200]!r}")


def settings() -> bytes:
    """Flags of which one asks for the list. It is what the gateway makes of them: as long as its answer."""
    rules = [campaign(ROLLOUT, number, _condition(number)) for number in range(FLAGS)]
    flags = [feature(number, f"flag{number}", [rule]) for number, rule in enumerate(rules)]
    return parse_flag_settings(json.dumps(document(flags, rules)).encode()).body


def requests(name: str) -> list[Request]:
    """What the contender `name` is asked, over and over."""
    if name == NGINX_TRUE:
        return [Request("GET", "/", lambda _, body: body == b"true")]
    if name in (NGINX_FILE, SETTINGS):
        path, expected = FILE if name == NGINX_FILE else f"{POLLED}?a={ACCOUNT}&i={_SDK_KEY}", settings()
        return [Request("GET", path, lambda _, body: body == expected)]
    makers = {DETAILS: _user_details, EVENTS: _event, GET_FLAG: _get_flag}
    return [makers[name](number) for number in range(_DIFFERENT)]


def _condition(number: int) -> dict[str, Any]:
    wanted = f"inlist({LIST.names[0]})" if number == 0 else f"wildcard(*@company{number}.example)"
    return {"or": [{"custom_variable": {"heap_user_id": wanted}}]}


def _user_details(number: int) -> Request:
    browser = _BROWSER.format(system=_SYSTEMS[number % len(_SYSTEMS)], version=number % 100)
    asked = urlencode({"userAgent": browser, "ipAddress": f"81.2.69.{number % 256}"})
    parts = (f'"city":"{CITY}"'.encode(), b'"browser_string":"Chrome"')
    return Request("GET", f"{USER_DETAILS}?{asked}", lambda _, body: all(part in body for part in parts))


def _event(number: int) -> Request:
    writer = EventWriter("vwo-fme-node-sdk", "1.35.0", _SDK_KEY)
    told: dict[str, Any] = {"visitor": f"{number:032X}", "user_agent": "", "ip_address": "", "now": 1_795_000_000}
    body = writer.body(VARIATION_SHOWN, {"id": 1, "variation": 1, "isFirst": 1}, {}, **told)
    path = f"/events/t?en={VARIATION_SHOWN}&a={ACCOUNT}&env={_SDK_KEY}"
    return Request("POST", path, lambda headers, _: headers["X-Events"] == "stored", json.dumps(body).encode())


def _get_flag(number: int) -> Request:
    """Members of the list and others by turns."""
    user = value(number // 2 + LIST.members * (number % 2))
    body = {"featureKey": "flag0", "userId": user, "customVariables": {"heap_user_id": user}}
    expected = b'"isEnabled":false' if number % 2 else b'"isEnabled":true'
    path = f"/server-side/getFlag?accountId={ACCOUNT}&sdkKey={_SDK_KEY}"
    return Request("POST", path, lambda _, answer: expected in answer, json.dumps(body).encode())
