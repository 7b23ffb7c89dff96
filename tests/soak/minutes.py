"""What a minute of the soak was like, and the table of all of them."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.support.load import KNOWING


@dataclass
class Minute:
    """`memory`: MiB of each process, at the end. Times are seconds.

    Of the steady load: `wrong` answers, `broken` connections, questions that the client could not ask in time
    (`behind`), and the longest `pause` of the client itself, which adds to what answers took. Of the looks after a
    push: `unseen`, where the answer was the old one; `late`, where the store was not asked in time.
    """

    memory: list[float]
    states: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    broken: int = 0
    behind: int = 0
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    longest: float = 0.0
    pause: float = 0.0
    pushes: list[float] = field(default_factory=list)
    looks: int = 0
    unseen: int = 0
    late: int = 0

    def add(self, second: dict[str, Any]) -> None:
        """What the client tells of a second."""
        self.states.update(second["states"])
        self.wrong += second["wrong"]
        self.broken += second["broken"]
        self.behind += second["behind"]
        self.p50.append(second["p50"])
        self.p99.append(second["p99"])
        self.longest = max(self.longest, second["longest"])
        self.pause = max(self.pause, second["pause"])

    @property
    def unknown(self) -> int:
        """Answers that did not come from the store."""
        return sum(count for state, count in self.states.items() if state not in KNOWING)

    def cells(self) -> list[str]:
        return [
            str(self.states.total()),
            _ms(statistics.median(self.p50 or [0.0])),
            _ms(statistics.median(self.p99 or [0.0])),
            f"{_ms(self.longest)} ({_ms(self.pause)})",
            f"{self.unknown}, {self.wrong}, {self.broken}, {self.behind}",
            f"{len(self.pushes)}, {_ms(max(self.pushes, default=0.0))}",
            f"{self.looks}, {self.unseen}, {self.late}",
            " ".join(f"{size:.1f}" for size in self.memory),
        ]

    def described(self, number: int) -> str:
        return f"| {number} | {' | '.join(self.cells())} |"


_TITLES = (
    *(
        "minute",
        "checks",
        "p50, ms",
        "p99, ms",
        "longest, ms (pause of the client)",
        "not from the store, wrong, broken, not asked",
    ),
    *("pushes, longest ms", "looks after a push, unseen, not from the store", "MiB"),
)


def table(minutes: list[Minute]) -> str:
    """All minutes, and what they come to."""
    rows = [minute.described(number) for number, minute in enumerate(minutes, start=1)]
    first, last = minutes[min(1, len(minutes) - 1)], minutes[-1]
    total = sum((minute.states for minute in minutes), Counter[str]())
    summary = (
        f"{total.total()} checks ({', '.join(f'{state} {count}' for state, count in total.most_common())}), "
        f"{sum(len(minute.pushes) for minute in minutes)} pushes, {sum(minute.looks for minute in minutes)} looks; "
        f"wrong {sum(minute.wrong for minute in minutes)}, unseen {sum(minute.unseen for minute in minutes)}, "
        f"broken {sum(minute.broken for minute in minutes)}; memory from {sum(first.memory):.1f} MiB after the first "
        f"minutes to {sum(last.memory):.1f} MiB at the end"
    )
    return "\n".join([f"| {' | '.join(_TITLES)} |", f"|{'---|' * len(_TITLES)}", *rows, "", summary])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"
