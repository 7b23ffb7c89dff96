"""Exposures of a `DecisionListener` on their way to heap-export, over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import requests

from foundation.errors import ConfigurationError
from heap_export.optimizely_sending import Item, Outcome
from heap_export.records import Source, checked_identity, checked_name, checked_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from heap_export.optimizely_decisions import Decision

OK = 200
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
    """Posts JSON to a URL over kept connections."""

    def __init__(self, url: str, *, key: str | None = None, timeout: float, hints: Mapping[int, str]) -> None:
        self._url = url
        self._key = key
        self._timeout = timeout
        self._hints = hints
        self.start_over()

    def start_over(self) -> None:
        """In a forked child. The parent's session is left as it is: closing it would end the parent's connections."""
        self._session = requests.Session()
        self._session.auth = self._authorised

    def post(self, body: Any) -> Answer:
        """It never raises. A redirect is no way to go: it would make a GET of a POST."""
        try:
            answer = self._session.post(
                self._url,
                data=json.dumps(body).encode(),
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.Timeout:
            return Answer(0, "no answer came in time")
        except requests.exceptions.SSLError:
            return Answer(0, "the certificate or TLS is not accepted")
        except (requests.RequestException, OSError, ValueError) as error:
            return Answer(0, f"it can't be reached ({type(error).__name__})")  # the message may hold the whole URL
        status = answer.status_code
        if status == OK:
            return Answer(status, body=answer.content)
        wait = answer.headers.get("Retry-After", "")
        hint = self._hints.get(status)
        return Answer(status, f"http_{status}" + (f", {hint}" if hint else ""), float(wait) if wait.isdigit() else 0.0)

    def _authorised(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As a function of ours, since `requests` would rather go by a `.netrc` than by a header."""
        request.headers["Content-Type"] = "application/json"
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class HeapExport:
    """heap-export at the address `service`. Raises `ConfigurationError` where that is none."""

    def __init__(self, service: str, key: str, *, integration: str | None, timeout: float) -> None:
        query = f"?integration={quote(integration, safe='')}" if integration else ""
        url = f"{checked_address(service, 'service')}/v1/exposures{query}"
        self._poster = Poster(url, key=key, timeout=timeout, hints=_HINTS)

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
        answer = self._poster.post(exposures)
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
