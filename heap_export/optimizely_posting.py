"""Exposures of a `DecisionListener` on their way to heap-export, over HTTP."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from fme_client.errors import NetworkError
from fme_client.transport import Request, Transport
from foundation.errors import ConfigurationError
from heap_export.optimizely_sending import Item, Outcome
from heap_export.records import Source, checked_identity, checked_name, checked_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from heap_export.optimizely_decisions import Decision

OK = 200
_EXPOSURES = "/v1/exposures"
_LARGEST_ANSWER = 1024 * 1024  # bytes: heap-export has a sentence for each of a thousand exposures that it refuses
BECAUSE_OF_SOME = frozenset((400, 413, 422))
_HINTS = {
    401: "key is not one of heap-export's EVENTS_API_KEY",
    403: "key is not one of heap-export's EVENTS_API_KEY",
    404: "service is not heap-export's address, or integration not the name of one",
}


class Answer(NamedTuple):
    """To one request. `status` is 0 where none came; `trouble` says what is wrong, `after` how long to wait."""

    status: int
    trouble: str = ""
    after: float = 0.0
    body: bytes = b""


class Poster:
    """Posts JSON to paths of one server over kept connections, each request in `timeout` seconds whatever it does."""

    def __init__(self, base: str, *, key: str | None = None, timeout: float, hints: Mapping[int, str]) -> None:
        self._base = base
        self._headers = {"User-Agent": "heap-export"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._timeout = timeout
        self._hints = hints
        self.start_over()

    def start_over(self) -> None:
        """In a forked child. The parent's connections are left as they are: closing them would end the parent's."""
        self._transport = Transport(self._base, proxies=True)

    def post(self, path: str, body: Any, parameters: Mapping[str, str] | None = None) -> Answer:
        """It never raises. A redirect is no way to go: it would make a GET of a POST."""
        request = Request(path, parameters or {}, json.dumps(body).encode(), self._headers, limit=_LARGEST_ANSWER)
        try:
            answer = self._transport.fetch(request, time.monotonic() + self._timeout)
        except NetworkError as error:
            return Answer(0, str(error))
        if answer.status == OK:
            return Answer(OK, body=answer.body)
        hint = self._hints.get(answer.status)
        return Answer(answer.status, f"http_{answer.status}" + (f", {hint}" if hint else ""), answer.retry_after)


class HeapExport:
    """heap-export at the address `service`. Raises `ConfigurationError` where that is none."""

    def __init__(self, service: str, key: str, *, integration: str | None, timeout: float) -> None:
        self._parameters = {"integration": integration} if integration else {}
        self._poster = Poster(checked_address(service, "service"), key=key, timeout=timeout, hints=_HINTS)

    def start_over(self) -> None:
        self._poster.start_over()

    def prepare(self, decision: Decision) -> dict[str, Any]:
        """What is posted of it. heap-export looks closer; here it is seen to that one does not spoil the others."""
        return {
            "source": Source.OPTIMIZELY.value,
            "flag_key": checked_name(decision.flag_key, "flag_key"),
            "variation_key": decision.variation_key,
            "rule_key": decision.rule_key,
            "enabled": bool(decision.enabled),
            "identity": checked_identity(decision.user_id, "user_id"),
            "time": decision.time,
            "properties": checked_properties(dict(decision.attributes), "attributes"),
        }

    def send(self, exposures: Sequence[dict[str, Any]]) -> Outcome[dict[str, Any]]:
        """In one request. Where some of it is to blame, in two of half the size each, and so on."""
        answer = self._poster.post(_EXPOSURES, exposures, self._parameters)
        if answer.status == OK:
            return Outcome(refused=_refused(answer.body))
        if answer.status not in BECAUSE_OF_SOME:
            return Outcome(exposures, answer.trouble, answer.after)
        if len(exposures) == 1:
            return Outcome(refused=[answer.trouble])
        return halved(self.send, exposures)


def halved(send: Callable[[Sequence[Item]], Outcome[Item]], items: Sequence[Item]) -> Outcome[Item]:
    """Send the first half, and the second one if the first could be sent."""
    half = len(items) // 2
    first = send(items[:half])
    if first.again:
        return first._replace(again=[*first.again, *items[half:]])
    second = send(items[half:])
    return second._replace(refused=[*first.refused, *second.refused])


def checked_address(address: str, name: str) -> str:
    """Without a slash at its end. Raises `ConfigurationError`."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"{name}: give an address such as https://example.com")
    return address.rstrip("/")


def _refused(body: bytes) -> list[str]:
    """Why heap-export refused those that it did."""
    try:
        return [str(refused["reason"]) for refused in json.loads(body)["refused"]]
    except (ValueError, TypeError, KeyError):
        return []
