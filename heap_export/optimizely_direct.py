"""Exposures of a `DecisionListener` straight to Heap, for who runs no heap-export.

What that does with the help of its store is done here as far as one process can: each exposure once while it is
remembered, and within Heap's limits as long as nobody else sends for the same app id.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from foundation.errors import ConfigurationError
from heap_export.optimizely_decisions import exposure_of
from heap_export.optimizely_posting import BECAUSE_OF_SOME, OK, Poster, checked_address, halved
from heap_export.optimizely_sending import Outcome
from heap_export.shapes import event_of, once_of, user_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from heap_export.optimizely_decisions import Decision
    from heap_export.records import Exposure

PER_MINUTE, PER_MINUTE_OF_PERSON = 15_000, 1_000  # events that Heap takes for an app id, and of that for one identity
REMEMBERED = 100_000  # exposures, in some 15 MB

_HINTS = {401: "is app_id right?", 403: "is app_id right?", 404: "is base right?"}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """See `shapes.Wanted`."""

    app_id: str
    dedupe_seconds: int
    events: bool = True
    user_properties: bool = True


class HeapDirect:
    """The environment `app_id` at `base`. Raises `ConfigurationError`."""

    def __init__(self, app_id: str, base: str, *, dedupe_seconds: int, timeout: float) -> None:
        if not app_id:
            raise ConfigurationError("app_id: give the id of an environment of Heap")
        base = checked_address(base, "base")
        self._wanted = _Wanted(app_id, dedupe_seconds)
        self._poster = Poster(base, timeout=timeout, hints=_HINTS)
        self._known: dict[bytes, None] = {}  # what was delivered, the oldest first
        self._limits = Limits()

    def start_over(self) -> None:
        self._poster.start_over()

    def prepare(self, decision: Decision) -> Exposure:
        return exposure_of(decision)

    def send(self, exposures: Sequence[Exposure]) -> Outcome[Exposure]:
        """Those that are not known yet, at most 1,000, in a request for events and one for user properties."""
        once = {self._once(exposure): exposure for exposure in exposures}
        new = {mark: exposure for mark, exposure in once.items() if mark not in self._known}
        room = self._limits.room([exposure.identity for exposure in new.values()])
        if new and not room:
            return Outcome(list(new.values()), "Heap's limits are reached", self._limits.wait)
        if not new:
            return Outcome()
        outcome = self._post(dict(islice(new.items(), room)))
        return outcome._replace(again=[*outcome.again, *islice(new.values(), room, None)])

    def _post(self, new: dict[bytes, Exposure]) -> Outcome[Exposure]:
        exposures = list(new.values())
        events = [event_of(exposure, self._wanted, mark) for mark, exposure in new.items()]
        answer = self._poster.post("/api/track", {"app_id": self._wanted.app_id, "events": events})
        self._limits.count([exposure.identity for exposure in exposures])
        if answer.status == OK:
            users = {"app_id": self._wanted.app_id, "users": self._users_of(exposures)}
            answer = self._poster.post("/api/add_user_properties", users)
        if answer.status not in {OK, *BECAUSE_OF_SOME}:
            return Outcome(exposures, answer.trouble, answer.after)
        if answer.status != OK and len(exposures) > 1:
            return halved(self.send, exposures)
        self._remember(new)
        return Outcome() if answer.status == OK else Outcome(refused=[answer.trouble])

    def _users_of(self, exposures: Sequence[Exposure]) -> list[dict[str, Any]]:
        """Each person once, with what was said of them last."""
        users: dict[str, dict[str, Any]] = {}
        for exposure in exposures:
            user = user_of(exposure, self._wanted)
            if user is not None:
                users.setdefault(exposure.identity, {}).update(user["properties"])
        return [{"identity": identity, "properties": properties} for identity, properties in users.items()]

    def _once(self, exposure: Exposure) -> bytes:
        return once_of(exposure, self._wanted) or b""

    def _remember(self, marks: Iterable[bytes]) -> None:
        self._known.update(dict.fromkeys(marks))
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]


class Limits:
    """What was sent in the last minute, each event counted from when its answer came.

    So that Heap, which saw it earlier, never sees more than its limit in any minute.
    """

    def __init__(self, app: int = PER_MINUTE, person: int = PER_MINUTE_OF_PERSON, seconds: float = 60.0) -> None:
        self._app = app
        self._person = person
        self._seconds = seconds
        self._sent: deque[tuple[float, str]] = deque()
        self._by_person: Counter[str] = Counter()

    def room(self, identities: Sequence[str]) -> int:
        """For how many events of these persons there is room now, for the first ones."""
        self._forget()
        found: Counter[str] = Counter()
        for number, identity in enumerate(identities):
            found[identity] += 1
            if len(self._sent) + number >= self._app or self._by_person[identity] + found[identity] > self._person:
                return number
        return len(identities)

    def count(self, identities: Sequence[str]) -> None:
        now = time.monotonic()
        self._sent.extend((now, identity) for identity in identities)
        self._by_person.update(identities)

    @property
    def wait(self) -> float:
        """Seconds until there is more room for somebody."""
        return max(0.0, self._sent[0][0] + self._seconds - time.monotonic()) if self._sent else 0.0

    def _forget(self) -> None:
        before = time.monotonic() - self._seconds
        while self._sent and self._sent[0][0] <= before:
            _, identity = self._sent.popleft()
            self._by_person[identity] -= 1
            if not self._by_person[identity]:
                del self._by_person[identity]
