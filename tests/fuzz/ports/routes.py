"""Valid requests of every route of the five ports, and the markers that are hidden in bodies."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from cohort_sync.signature import HEADER, sign
from local_stack.sample_push import build_push
from tests.fuzz import bodies, gateway_requests
from tests.fuzz.check_requests import LIST, MEMBERS
from tests.fuzz.requests import SECRET
from tests.gateway.conftest import ACCOUNT
from tests.gateway.deciding import TOKEN
from tests.heap_export import statsig_webhook
from tests.heap_export.conftest import KEY

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.support.raw_http import Answer

BEARER = f"Authorization: Bearer {TOKEN}"
SMUGGLED = "smuggled-"  # and port and number of the conversation: a segment, or a person, never to be heard of


def _unsigned(_: bytes) -> list[str]:
    return []


class Request(NamedTuple):
    """`content` is None where the route takes no body; `sign`: the credentials that go with a body.

    `is_guarded`: nobody is served without credentials.
    """

    method: str
    target: bytes
    content: bytes | None = None
    sign: Callable[[bytes], list[str]] = _unsigned
    is_guarded: bool = True


class Marker(NamedTuple):
    """A whole request whose answer can be told from those to all other requests, but for those at its `path`."""

    path: bytes
    raw: bytes
    is_answered_by: Callable[[Answer], bool]


class Port(NamedTuple):
    """`plant`: another request for bodies, which would be seen in what the service does; of that number."""

    name: str
    request: Callable[[random.Random], Request]
    marker: Marker
    plant: Callable[[int], bytes] | None = None


def _get(target: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *headers, "", "")).encode()


def _post(target: str, content: bytes, *headers: str) -> bytes:
    return _get(target, f"Content-Length: {len(content)}", *headers, method="POST") + content


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _as_operator(_: bytes) -> list[str]:
    return [BEARER]


def _as_sender(_: bytes) -> list[str]:
    return [f"Authorization: Bearer {KEY}"]


def _as_heap(content: bytes) -> list[str]:
    return [f"{HEADER}: {sign(SECRET, content, timestamp_ms=int(time.time() * 1000))}"]


def _as_statsig(content: bytes) -> list[str]:
    return [f"{name}: {value}" for name, value in statsig_webhook.headers(content).items()]


def _of_gateway(chooser: random.Random) -> Request:
    if chooser.random() < 0.1:
        who = quote(chooser.choice(MEMBERS), safe="")
        asked = f"/check-attribute?attribute={who}&listId={LIST}&accountId={ACCOUNT}"
        return Request("GET", asked.encode(), is_guarded=False)
    method, target, found = gateway_requests.operation(chooser)
    is_guarded = target.startswith(b"/admin")
    return Request(method, target, None if found is None else _json(found), _as_operator, is_guarded=is_guarded)


def _of_cohort_sync(chooser: random.Random) -> Request:
    if chooser.random() < 0.2:
        target = chooser.choice((b"/healthz", b"/connect/heap/callback?state=a&code=b", b"/nothing"))
        return Request("GET", target, is_guarded=False)
    return Request("POST", b"/webhooks/heap", _json(bodies.push(chooser)), _as_heap)


def _of_heap_export(chooser: random.Random) -> Request:
    who, number = f"ann{chooser.randrange(500)}", chooser.randrange(100_000)
    match chooser.randrange(5):
        case 0:
            return Request("GET", chooser.choice((b"/healthz", b"/nothing")), is_guarded=False)
        case 1:
            about = {"source": "generic", "flag_key": "checkout", "variation_key": "control", "enabled": False}
            return Request("POST", b"/v1/exposures", _json(about | {"identity": who}), _as_sender)
        case 2:
            logged = [statsig_webhook.gate(f"gate{number}", "true", who) for _ in range(chooser.choice((1, 20)))]
            return Request("POST", b"/webhooks/statsig", _json({"data": logged}), _as_statsig)
        case _:
            bought = {"type": "track", "event": "Bought", "userId": who, "messageId": f"m-{number}"}
            return Request("POST", b"/v1/events", _json({"batch": [bought] * chooser.choice((1, 50))}), _as_sender)


_Table = tuple[tuple[str, str, Any], ...]  # method, target, body (None: it takes none)

_OPEN = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/nothing")
_SYNCED = f"/admin/api/v1/lists/{ACCOUNT}/heap_segment_1"
_SYNC_ADMIN: _Table = (
    *(("GET", path, None) for path in _OPEN),
    *(("GET", f"/admin/api/v1/{path}", None) for path in ("lists", "installation", "audit?count=3", "connections")),
    *(("GET", path, None) for path in (_SYNCED, f"{_SYNCED}/members?cursor=0", f"/connect/heap?account={ACCOUNT}")),
    ("POST", "/admin/api/v1/check", {"id": "user1", "list": "heap_segment_1", "account": ACCOUNT}),
    ("POST", "/admin/api/v1/erase", {"id": "user2"}),
    ("POST", "/admin/api/v1/checkpoint", None),
    ("PATCH", _SYNCED, {"mode": "delta", "active": True, "aliases": ["vwo:1"]}),
    *(("POST", f"{_SYNCED}/{what}", None) for what in ("drain", "accept")),
    *(
        ("DELETE", path, None)
        for path in (f"/admin/api/v1/lists/{ACCOUNT}/heap_segment_2", "/admin/api/v1/connections/999")
    ),
)
_ENVIRONMENT = "/v1/admin/integrations/heap"
_EXPORT_ADMIN: _Table = (
    *(("GET", path, None) for path in _OPEN),
    *(("GET", f"/v1/admin/{path}", None) for path in ("status", "log?count=5", "dead?count=5")),
    ("POST", "/v1/admin/log", {"id": "ann1", "count": 5}),
    *(("POST", f"/v1/admin/dead/{what}", {"reason": "refused"}) for what in ("retry", "purge")),
    ("POST", "/v1/admin/erase", {"id": "ann2"}),
    *(("GET", path, None) for path in (_ENVIRONMENT, f"{_ENVIRONMENT}/second")),
    ("POST", _ENVIRONMENT, {"name": "second", "app_id": "2222222222", "enabled": False}),
    ("PATCH", f"{_ENVIRONMENT}/second", {"enabled": False}),
    ("DELETE", f"{_ENVIRONMENT}/second?discard=true", None),
)


def _of(table: _Table) -> Callable[[random.Random], Request]:
    def request(chooser: random.Random) -> Request:
        method, target, content = chooser.choice(table)
        body = None if content is None else _json(content)
        return Request(method, target.encode(), body, _as_operator, is_guarded=target not in _OPEN)

    return request


def _push_of(number: int) -> bytes:
    name = f"{SMUGGLED}cohort-sync-{number}"
    content = build_push(segment_id=name, segment_name=name, task="task", add=["mallory"], remove=[])
    return _post("/webhooks/heap", content, *_as_heap(content))


def _event_of(number: int) -> bytes:
    content = _json({"type": "track", "event": "Smuggled", "userId": f"{SMUGGLED}heap-export-{number}"})
    return _post("/v1/events", content, *_as_sender(content))


def _is_metrics(answer: Answer) -> bool:
    return answer.status == 200 and answer.headers.get("content-type", "").startswith("text/plain; version")


def _is_check(answer: Answer) -> bool:
    return "x-membership" in answer.headers


def _is_health(answer: Answer) -> bool:
    return answer.status == 200 and answer.body == b'{"status":"ok"}'


_CHECK = Marker(
    b"/check-attribute", _get(f"/check-attribute?attribute=alice&listId={LIST}&accountId={ACCOUNT}"), _is_check
)
_HEALTH = Marker(b"/healthz", _get("/healthz"), _is_health)
_METRICS = Marker(b"/metrics", _get("/metrics"), _is_metrics)

PORTS = (
    Port("gateway", _of_gateway, _CHECK),
    Port("cohort-sync", _of_cohort_sync, _HEALTH, _push_of),
    Port("cohort-sync-admin", _of(_SYNC_ADMIN), _METRICS),
    Port("heap-export", _of_heap_export, _HEALTH, _event_of),
    Port("heap-export-admin", _of(_EXPORT_ADMIN), _METRICS),
)
