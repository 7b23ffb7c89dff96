"""Posts events: each on its own, or together as a batch."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from fme_client._version import NAME, VERSION
from fme_client.errors import NetworkError
from fme_client.transport import Request, encoded
from fme_client.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fme_client.logs import Log
    from fme_client.options import Options
    from fme_client.payloads import Event
    from fme_client.transport import Transport

REQUEST_SECONDS = 10.0  # as long as the Node SDK waits
AT_ONCE = 4  # events on their own that are under way together

_LONGEST_USER_ID = 255  # characters of an id that may stand in a header, and beside a batch

_OK, _BAD_REQUEST, _TOO_LARGE = 200, 400, 413


class Sent(NamedTuple):
    """What came of some events: those to send again, how many the server refuses for good, and why."""

    again: Sequence[Event] = ()
    refused: int = 0
    error: NetworkError | None = None


class EventSender:
    """`prefix` gives the path in front of VWO's own endpoints, or an empty text."""

    def __init__(self, transport: Transport, options: Options, prefix: Callable[[], str]) -> None:
        self._transport = transport
        self._account_id = options.account_id
        self._sdk_key = options.sdk_key
        self._log: Log = options.log
        self._batch = options.batch
        self._workers = Workers(AT_ONCE - 1, name="fme-client-posting")
        self._prefix = prefix
        self.size = options.batch.events_per_request if options.batch else AT_ONCE
        """How many events to give to `send`."""

    def send(self, events: Sequence[Event]) -> Sent:
        """Try once. A request takes `REQUEST_SECONDS` at most. It never raises."""
        return self._send_batch(events) if self._batch else self._send_each(events)

    def close(self) -> None:
        self._workers.close()

    def tell(self, events: Sequence[Event], error: NetworkError | None) -> None:
        """Call the application's `flush_callback` once it is clear what became of a batch."""
        if self._batch is None or self._batch.flush_callback is None:
            return
        try:
            self._batch.flush_callback(error, json.loads(_joined(events)))
        except Exception as raised:  # noqa: BLE001 - the application's code, which may raise anything
            self._log.complain("flush_callback", f"flush_callback raised {type(raised).__name__}")

    def _send_each(self, events: Sequence[Event]) -> Sent:
        path = f"{self._prefix()}/events/t"
        requests = [Request(path, event.parameters, event.body, self._headers(event)) for event in events]
        again, refused, last = [], 0, None
        for event, error in zip(events, self._post(requests), strict=True):
            if error is not None:
                last = error
                if error.status in (_BAD_REQUEST, _TOO_LARGE):
                    refused += 1
                else:
                    again.append(event)
        return Sent(again, refused, last)

    def _send_batch(self, events: Sequence[Event]) -> Sent:
        parameters = {"a": self._account_id, "env": self._sdk_key, "sn": NAME, "sv": VERSION}
        path = f"{self._prefix()}/server-side/batch-events-v2"
        body = _joined(events, self._users(events))
        request = Request(path, parameters, body, {"Authorization": self._sdk_key})
        error = self._post([request])[0]
        if error is None:
            return Sent()
        if error.status == _TOO_LARGE and len(events) > 1:
            self.size = half = len(events) // 2
            first, second = self._send_batch(events[:half]), self._send_batch(events[half:])
            return Sent([*first.again, *second.again], first.refused + second.refused, second.error or first.error)
        if error.status in (_BAD_REQUEST, _TOO_LARGE):
            return Sent(refused=len(events), error=error)
        return Sent(events, error=error)

    def _headers(self, event: Event) -> Mapping[str, str]:
        users = self._users([event])
        return {**event.headers, "X-User-Id": encoded(users[0])} if users else event.headers

    def _users(self, events: Iterable[Event]) -> list[str]:
        """The ids of their users, where the gateway has asked for them; whoever else takes events never gets any."""
        if not self._transport.wants_user_ids:
            return []
        users = dict.fromkeys(event.user for event in events)
        return [user for user in users if user and len(user) <= _LONGEST_USER_ID]

    def _post(self, requests: Sequence[Request]) -> list[NetworkError | None]:
        """All at the same time; what went wrong with each."""
        first, *others = requests
        under_way = [self._workers.submit(partial(self._post_one, request)) for request in others]
        return [self._post_one(first), *(posted.result() for posted in under_way)]

    def _post_one(self, request: Request) -> NetworkError | None:
        try:
            answer = self._transport.fetch(request, time.monotonic() + REQUEST_SECONDS)
        except NetworkError as error:
            return error
        if answer.status == _OK:
            return None
        return NetworkError("status", f"the server answered {answer.status}", status=answer.status)


def _joined(events: Sequence[Event], users: Sequence[str] = ()) -> bytes:
    beside = b',"users":' + json.dumps(users).encode() if users else b""
    return b'{"ev":[' + b",".join(event.body for event in events) + b"]" + beside + b"}"
