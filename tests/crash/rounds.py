"""One round: a fresh store and fresh receivers, a stream of pushes, kills, and a comparison after every few of them."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from attribute_lists import keys
from tests.crash.faults import FAULTS, Site
from tests.crash.receivers import ACCOUNT, Receiver
from tests.crash.sender import Sender
from tests.crash.stores import Stores
from tests.crash.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crash.pushes import Mode, Segment
    from tests.write_side.sides import WriteSide

RECOVERY_SECONDS = 30.0  # by when all must be right again
_LOOK_SECONDS = 2.5  # longer than receivers wait between two looks at the store


class CrashTestError(AssertionError):
    """An acknowledged change was lost, or something is there that should not be."""


@dataclass
class Tally:
    """What a run did and saw."""

    kills: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    pages: int = 0
    drains: int = 0
    again: int = 0
    comparisons: int = 0
    members: int = 0
    operations: int = 0
    checkpoints: int = 0
    too_soon: int = 0
    seconds: float = 0.0
    recoveries: list[float] = field(default_factory=list)


class Round:
    """Made by `begun`. `kill` and `compare` alternate as the caller likes."""

    def __init__(self, rng: random.Random, tally: Tally, stores: Stores, receivers: list[Receiver]) -> None:
        self.events: list[str] = []
        self._rng = rng
        self._tally = tally
        self._traffic = Traffic(rng, shuffled=rng.random() < 0.75)
        self._sender = Sender(self._traffic, lambda: [receiver.address for receiver in receivers], rng)
        self._stores = stores
        self._receivers = receivers
        self._started = time.monotonic()
        self._last_kill = self._started

    @classmethod
    @contextmanager
    def begun(cls, seed: int, tally: Tally, side: WriteSide, *, receivers: int, replicated: bool) -> Iterator[Round]:
        rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        with ExitStack() as stack:
            # Not under pytest's own directories: a socket's path must be short.
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crash")))
            stores = stack.enter_context(Stores.running(directory, replicated=replicated))
            processes = [Receiver(directory, stores.url, side.settings) for _ in range(receivers)]
            for process in processes:
                stack.callback(process.kill)
                process.start()
            begun = cls(rng, tally, stores, processes)
            begun.site = Site(rng, stores, processes, replicated)
            begun.checkpoints = side.checkpoints
            begun._sender.start()
            stack.callback(begun._end)
            yield begun

    site: Site
    checkpoints: bool = False

    def kill(self, kind: str) -> None:
        time.sleep(self._rng.uniform(0.1, 1.2))
        self._last_kill = time.monotonic()
        self._event(f"{kind}: ...")
        self._event(f"{kind}: {FAULTS[kind](self.site)}")
        self._tally.kills[kind] += 1

    def compare(self) -> None:
        """Wait until everything is acknowledged and every receiver says that all is well: then all must be right.

        Raises `CrashTestError`.
        """
        killed = self._last_kill
        if not self._traffic.close(seconds=2 * RECOVERY_SECONDS):
            raise CrashTestError("pushes are still refused long after everything was up again")
        acknowledged = time.monotonic() - killed
        deadline = time.monotonic() + RECOVERY_SECONDS
        while (concerns := self._concerns()) or (wrong := self._differences()):
            if not concerns:
                self._tally.too_soon += 1
            if time.monotonic() > deadline:
                raise CrashTestError("\n".join(concerns or wrong))
            time.sleep(0.05)
        recovered = time.monotonic() - killed
        self._tally.recoveries.append(recovered)
        if self._rng.random() < 0.2:  # and so it must stay
            time.sleep(_LOOK_SECONDS)
            if wrong := self._differences():
                raise CrashTestError("what was right did not stay so:\n" + "\n".join(wrong))
        if self._sender.unexpected:
            raise CrashTestError("answers that no retry mends: " + "; ".join(self._sender.unexpected[:5]))
        self._tally.comparisons += 1
        self._event(
            f"compared: acknowledged {acknowledged:.1f} s after the last kill, right {recovered:.1f} s after it"
        )
        self._change_something()
        self._traffic.open()

    def log(self) -> str:
        """What happened, and the last lines of every receiver."""
        found = [f"pages acknowledged: {self._traffic.pages()}", *self.events[-60:]]
        for number, receiver in enumerate(self._receivers, start=1):
            lines = [line for line in receiver.said() if " task " not in line]
            found += [f"receiver {number}:", *(line.rstrip() for line in lines[-40:])]
        return "\n".join(found)

    def _end(self) -> None:
        self._sender.stop()
        self._tally.answers.update(self._sender.answers)
        self._tally.pages += self._traffic.pages()
        self._tally.drains += sum(len(segment.drains) for segment in self._traffic.segments)
        self._tally.again += self._sender.again

    def _event(self, text: str) -> None:
        self.events.append(f"{time.monotonic() - self._started:8.2f} s  {text}")

    def _concerns(self) -> list[str]:
        return [concern for receiver in self._receivers for concern in receiver.concerns()]

    def _differences(self) -> list[str]:
        found = []
        listed = self._listed()
        with self._stores.client() as client:
            for segment in self._begun_segments():
                held = {member.decode() for member in client.sunion([keys.members(ACCOUNT, segment.list_id)])}
                wanted = segment.members()
                self._tally.members += len(wanted)
                found += _told(segment, "missing", wanted - held) + _told(segment, "should not be there", held - wanted)
                mode, aliases = listed.get(segment.list_id, ("none", set()))
                if (mode, aliases) != (segment.mode, segment.aliases):
                    found.append(
                        f"{segment.list_id}: mode {mode}, aliases {sorted(aliases)}; "
                        f"wanted {segment.mode}, {sorted(segment.aliases)}"
                    )
        return found

    def _begun_segments(self) -> list[Segment]:
        return [segment for segment in self._traffic.segments if segment.tasks]

    def _listed(self) -> dict[str, tuple[str, set[str]]]:
        answer = self._rng.choice(self._receivers).admin("GET", "/lists")
        if answer is None or answer.status_code != 200:
            return {}
        return {row["list_id"]: (row["mode"], set(row["aliases"])) for row in answer.json()["lists"]}

    def _change_something(self) -> None:
        """What an operator does: while no task is under way, so that it is known which mode each task has."""
        rng = self._rng
        begun = self._begun_segments()
        if begun and rng.random() < 0.4:
            segment = rng.choice(begun)
            mode: Mode = rng.choice(("delta", "snapshot"))
            self._operate("PATCH", f"/lists/{ACCOUNT}/{segment.list_id}", {"mode": mode})
            segment.mode = mode
        if begun and rng.random() < 0.4:
            segment = rng.choice(begun)
            aliases = {str(segment.id), f"{segment.id}:{rng.randrange(100)}"}
            self._operate("PATCH", f"/lists/{ACCOUNT}/{segment.list_id}", {"aliases": sorted(aliases)})
            segment.aliases = aliases
        if self.checkpoints and rng.random() < 0.15:
            self._operate("POST", "/checkpoint", None)
            self._tally.checkpoints += 1

    def _operate(self, method: str, path: str, body: dict[str, object] | None) -> None:
        self._event(f"{method} {path} {body or ''}")
        self._tally.operations += 1
        self._until(lambda: self._answered(method, path, body), f"{method} {path} is refused")

    def _answered(self, method: str, path: str, body: dict[str, object] | None) -> bool:
        answer = self._rng.choice(self._receivers).admin(method, path, body)
        if answer is not None and answer.status_code not in (200, 503):
            raise CrashTestError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer is not None and answer.status_code == 200

    def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + RECOVERY_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise CrashTestError(otherwise)
            time.sleep(0.1)


def _told(segment: Segment, what: str, members: set[str]) -> list[str]:
    if not members:
        return []
    some = [f"    {member}: {segment.told_of(member)}" for member in sorted(members)[:3]]
    return [f"{segment.list_id} ({segment.mode}): {len(members)} members {what}, among them", *some]
