"""What a run comes to for what else SDKs ask, in words for docs/performance.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.hot_path import calls
from benchmarks.hot_path.load import CONNECTIONS
from benchmarks.hot_path.report import bad_answers, foreign_load, number, recorded, table
from benchmarks.hot_path.samples import median, over_rounds
from benchmarks.hot_path.targets import rate, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.hot_path.load import Saturation
    from benchmarks.hot_path.samples import Round, Sample

MARK = "other calls"

_INTRODUCTION = f"""\
`scripts/bench --only calls` is these alone. One gateway process on a core of its own; on the other its store, whoever
takes VWO's events, and wrk ({CONNECTIONS} kept connections, then a single one). The contenders take turns, each started
anew. Rounds: {{rounds}}, seconds a measurement: {{seconds}}. A share is the median of the rounds' shares, a number the
median of the rounds' numbers."""

_NOTES = """\
- nginx answers `true` from memory, and the file (as long as the settings: {size:,} bytes) from the system's.
- User details: 100 browsers on three systems and 256 addresses by turns, a database of places; a description is
  remembered by its user agent.
- Events: answered once the store has them (every answer said so, or it counts as failed), and forwarded to VWO by the
  same process meanwhile; an nginx on the other core stands for VWO.
- `getFlag`: one of {flags} flags, whose rule asks for a list in the store; members and others by turns. Who gets the
  flag makes an exposure, which takes the way of all events."""


def section(rounds: list[Round], *, seconds: int, command: str, machine: Mapping[str, str]) -> str:
    return "\n\n".join(
        [
            "## Settings, user details, events, getFlag",
            _INTRODUCTION.format(rounds=len(rounds), seconds=seconds),
            recorded(command, machine),
            _numbers(rounds),
            bad_answers(calls.LABELS, rounds) + foreign_load(rounds),
            _NOTES.format(size=len(calls.settings()), flags=calls.FLAGS),
        ]
    )


def _numbers(rounds: list[Round]) -> str:
    head = ["", "req/s", "share of nginx's `true`", "of nginx's file", "CPU µs per request"]
    head += ["p50 / p99 at saturation, ms", "p50 / p99 of one connection, ms", "busy", "MB"]

    def shares(name: str) -> list[str]:
        found = (median(map(ratio(name, other, rate), rounds)) for other in (calls.NGINX_TRUE, calls.NGINX_FILE))
        return [number(share, 3) for share in found]

    def latency(name: str, of: Callable[[Sample], Saturation | None]) -> str:
        p50 = over_rounds(rounds, name, lambda sample: found.p50_ms if (found := of(sample)) else None)
        p99 = over_rounds(rounds, name, lambda sample: found.p99_ms if (found := of(sample)) else None)
        return f"{number(p50)} / {number(p99)}"

    return table(
        head,
        [
            [
                label,
                number(over_rounds(rounds, name, rate), 0),
                *shares(name),
                number(over_rounds(rounds, name, lambda sample: sample.cpu_us), 1),
                latency(name, lambda sample: sample.saturation),
                latency(name, lambda sample: sample.alone),
                number(over_rounds(rounds, name, lambda sample: sample.busy)),
                number(over_rounds(rounds, name, lambda sample: sample.memory_mb), 0),
            ]
            for name, label in calls.LABELS.items()
            if any(name in samples for samples in rounds)
        ],
    )
