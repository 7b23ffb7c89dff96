"""A small Heap over real HTTP on loopback: its server-side API with the limits, answers and errors that are documented.

It answers the paths of both hosts, heapanalytics.com and c.eu.heap-api.com, which are the same.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.faulty_server import Answer, FaultyServer, Request
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.support.faulty_server import Fault

TRACK, ADD_USER_PROPERTIES = "/api/track", "/api/add_user_properties"

MOST_AT_ONCE = 1000
_MOST_TEXT, _MOST_IDENTITY = 1023, 255
_NOBODY = ("", "undefined", "null", "user")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class Limits(NamedTuple):
    """What Heap takes in any `seconds`: so much of an identity, of an app id; `singly`: requests that are no bulk."""

    seconds: float = 60.0
    of_person: int = 1000
    of_app: int = 15_000
    singly: int = 30
    singly_seconds: float = 30.0


class Call(NamedTuple):
    """What a request holds: `entries` are events or users."""

    app_id: str
    entries: list[dict[str, Any]]
    is_bulk: bool


class Taken(NamedTuple):
    """An event or user properties that Heap took, in the order of arrival."""

    app_id: str
    identity: str
    entry: dict[str, Any]


class InvalidError(Exception):
    """Heap answers 400 `{}`, and does not say why; this does, in `FakeHeap.refused`."""


@dataclass
class FakeHeap(FaultyServer):
    """`events`: those taken, each idempotency key once; `came`: how often each key was taken. `users`: all properties.

    `over_limit`: what came beyond the limits, each of which got 429 as well. Everything that comes counts there,
    whatever is answered. `refused`: why something got 400. `apps`: the app ids that there are; None: all.
    """

    limits: Limits = field(default_factory=Limits)
    apps: set[str] | None = None
    events: list[Taken] = field(default_factory=list)
    users: list[Taken] = field(default_factory=list)
    came: Counter[str] = field(default_factory=Counter)
    over_limit: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _windows: dict[tuple[str, ...], _Window] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.routes[TRACK] = self._track
        self.routes[ADD_USER_PROPERTIES] = self._add_user_properties

    def wait_for_events(self, count: int, *, seconds: float = 20.0) -> list[dict[str, Any]]:
        """The events taken, once there are so many."""
        until(lambda: len(self.events) >= count, seconds=seconds, what=f"{count} events ({len(self.events)} came)")
        return [event for _, _, event in list(self.events)]

    def wait_for_users(self, count: int, *, seconds: float = 20.0) -> list[Taken]:
        """The user properties taken, once there are so many."""
        until(lambda: len(self.users) >= count, seconds=seconds, what=f"{count} users ({len(self.users)} came)")
        return list(self.users)

    def properties_of(self, identity: str) -> dict[str, Any]:
        """What Heap knows of somebody: the last value of each property."""
        found: dict[str, Any] = {}
        for taken in list(self.users):
            if taken.identity == identity:
                found |= taken.entry["properties"]
        return found

    def answer(self, request: Request) -> Answer:
        with self._lock:
            wait = self._seconds_to_wait(request)
        if wait:
            self.requests.append(request)
            return Answer(429, b"{}", {"Retry-After": str(int(wait) + 1)})
        return super().answer(request)

    def _seconds_to_wait(self, request: Request) -> float:
        """How long until there is room for what came; 0: it counts."""
        try:
            call = entries_of(request)
        except InvalidError:
            return 0.0
        now, whose = time.monotonic(), (request.path, call.app_id)
        wanted = [(self._window(*whose), len(call.entries))]
        for identity, number in Counter(str(entry.get("identity")) for entry in call.entries).items():
            wanted.append((self._window(*whose, identity), number))
            if not call.is_bulk:
                wanted.append((self._window(*whose, identity, "singly"), 1))
        wait = max(window.wait(number, now) for window, number in wanted)
        if wait:
            full = [window.name[2:] for window, number in wanted if window.wait(number, now)]
            self.over_limit.append(f"{len(call.entries)} entries to {request.path}: {full[:3]}")
            return wait
        for window, number in wanted:
            window.count(number, now)
        return 0.0

    def _window(self, *name: str) -> _Window:
        """Of a path and an app id; of one identity there; of requests that are no bulk."""
        limits = self.limits
        most = {2: limits.of_app, 3: limits.of_person, 4: limits.singly}[len(name)]
        seconds = limits.singly_seconds if len(name) == 4 else limits.seconds
        return self._windows.setdefault(name, _Window(name, most, seconds))

    def _track(self, request: Request) -> Answer:
        def keep(call: Call) -> None:
            for event in call.entries:
                key = event.get("idempotency_key")
                if key is None or key not in self.came:
                    self.events.append(Taken(call.app_id, event["identity"], event))
                if key is not None:
                    self.came[key] += 1

        return self._taken(request, _check_event, keep)

    def _add_user_properties(self, request: Request) -> Answer:
        def keep(call: Call) -> None:
            self.users += [Taken(call.app_id, user["identity"], user) for user in call.entries]

        return self._taken(request, _check_user, keep)

    def _taken(self, request: Request, check: Callable[[dict[str, Any]], None], keep: Callable[[Call], None]) -> Answer:
        try:
            call = entries_of(request)
            self._check_app(call.app_id)
            for entry in call.entries:
                check(entry)
        except InvalidError as error:
            self.refused.append(str(error))
            return Answer(400)
        with self._lock:
            keep(call)
        return Answer()

    def _check_app(self, app_id: str) -> None:
        if self.apps is not None and app_id not in self.apps:
            raise InvalidError("app_id")


class _Window:
    """Counts what came in the last `seconds`."""

    def __init__(self, name: tuple[str, ...], most: int, seconds: float) -> None:
        self.name = name
        self._most = most
        self._seconds = seconds
        self._came: deque[tuple[float, int]] = deque()
        self._number = 0

    def wait(self, number: int, now: float) -> float:
        while self._came and self._came[0][0] <= now - self._seconds:
            self._number -= self._came.popleft()[1]
        if self._number + number <= self._most:
            return 0.0
        return self._came[0][0] + self._seconds - now if self._came else self._seconds

    def count(self, number: int, now: float) -> None:
        self._came.append((now, number))
        self._number += number


def entries_of(request: Request) -> Call:
    """What a request holds. Raises `InvalidError`."""
    try:
        body = json.loads(request.body)
    except ValueError:
        raise InvalidError("no JSON") from None
    if not isinstance(body, dict) or not isinstance(body.get("app_id"), str) or not body["app_id"]:
        raise InvalidError("no app_id")
    name = "events" if request.path == TRACK else "users"
    if name not in body:
        return Call(body["app_id"], [{key: value for key, value in body.items() if key != "app_id"}], is_bulk=False)
    entries = body[name]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_AT_ONCE or set(body) != {"app_id", name}:
        raise InvalidError(f"a bulk has 1 to {MOST_AT_ONCE} {name}")
    if not all(isinstance(entry, dict) for entry in entries):
        raise InvalidError(f"{name} are objects")
    return Call(body["app_id"], entries, is_bulk=True)


def _check_event(event: dict[str, Any]) -> None:
    _check_fields(event, ("event", "identity"), ("properties", "timestamp", "idempotency_key"))
    _check_text(event["event"], "event")
    _check_identity(event["identity"])
    _check_properties(event.get("properties", {}))
    if "timestamp" in event and not _MOMENT.fullmatch(str(event["timestamp"])):
        raise InvalidError("timestamp")
    if "idempotency_key" in event:
        _check_text(event["idempotency_key"], "idempotency_key")


def _check_user(user: dict[str, Any]) -> None:
    _check_fields(user, ("identity", "properties"), ())
    _check_identity(user["identity"])
    _check_properties(user["properties"])
    if any(name.lower() == "id" for name in user["properties"]):
        raise InvalidError("reserved property")


def _check_fields(entry: dict[str, Any], wanted: Sequence[str], others: Sequence[str]) -> None:
    if not set(wanted) <= set(entry) <= {*wanted, *others}:
        raise InvalidError(f"fields {sorted(entry)}")


def _check_identity(identity: Any) -> None:
    _check_text(identity, "identity", most=_MOST_IDENTITY)
    if identity in _NOBODY:
        raise InvalidError("everybody's identity")


def _check_properties(properties: Any) -> None:
    if not isinstance(properties, dict):
        raise InvalidError("properties")
    for name, value in properties.items():
        _check_text(name, "name of a property")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise InvalidError("value of a property")
        if isinstance(value, str) and len(value) > _MOST_TEXT:
            raise InvalidError("length of a value")


def _check_text(value: Any, name: str, *, most: int = _MOST_TEXT) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise InvalidError(name)


def refuses(is_bad: Callable[[dict[str, Any]], bool]) -> Fault:
    """A call with any entry that `is_bad` gets 400, as from Heap: without a word about which one."""

    def fault(request: Request) -> Answer | None:
        return Answer(400) if any(is_bad(entry) for entry in entries_of(request).entries) else None

    return fault


def in_order(taken: Sequence[Taken]) -> dict[str, list[dict[str, Any]]]:
    """The entries of each identity, in the order of their coming."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in taken:
        found[one.identity].append(one.entry)
    return found


@contextlib.contextmanager
def fake_heap(port: int = 0, *, limits: Limits | None = None, apps: set[str] | None = None) -> Iterator[FakeHeap]:
    heap = FakeHeap(limits=limits or Limits(), apps=apps)
    with heap.serving(port):
        yield heap
