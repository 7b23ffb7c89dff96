"""What a run comes to, in words for docs/performance.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.hot_path.load import CONNECTIONS
from benchmarks.hot_path.samples import RATES, Round, Sample, over_rounds
from benchmarks.hot_path.targets import PAIRS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.hot_path.targets import Target

_QUIET = 0.03  # a larger share of the worker's core that others had is told at once

MARK = "hot path"

_INTRODUCTION = f"""\
`scripts/bench` wrote this section. One worker on a core of its own; wrk ({CONNECTIONS} kept connections,
one thread) or the open loop, and the store, on the other. Everybody is asked the same, members and others by turns;
every answer but nginx's comes from the store. The contenders are measured one after the other, each started anew.
Rounds: {{rounds}}, seconds a measurement: {{seconds}}. A number is the median of the rounds' numbers. The speed of the
machine drifts within a round, so those whose ratio is near to what is wanted then run side by side, and are measured by
turns of a second (and of two at 10,000/s), {{turns}} times each: such a ratio is the median of the turns' ratios. Those
to FastAPI and Node are the median of the rounds' ratios."""

_NOTES = """\
- *Store commands*: membership commands that the store executed per answer. Ours asks for all checks of a turn of the
  event loop at once, so 0.05 are twenty answers a command.
- *busy*: how much of its core the worker used at saturation; where it is below 1, the other core was the limit.
- redis-benchmark takes the worker's place: it has a core of its own and asks the store on the other.
- nginx answers `true` from memory: it reads no query and asks nobody.
- The open loop sends on time, whether or not answers came; latency counts from the moment at which a request was due.
  Who saturates below a rate is not asked at it.
- Memory is what is resident (of 10^6 bytes), shared libraries included.
- *spread*: three lists, one on each node. The other measurement on the cluster asks one list, as on a single node."""


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def target_table(targets: list[Target], rounds: list[Round], turns: list[Round]) -> str:
    rows = []
    for target in targets:
        measured = target.measured(rounds, turns)
        limits = [f"{limit:.{target.digits}f}" for limit in (target.at_least, target.stretch)]
        rows.append([target.label, number(measured, target.digits), *limits, target.verdict(measured)])
    return table(["", "measured", "wanted", "stretch", ""], rows)


def number_table(labels: Mapping[str, str], rounds: list[Round]) -> str:
    """A row for each contender that was measured."""
    paced = [f"p50 / p99 at {rate:,}/s, ms" for rate in RATES]
    head = ["", "req/s", "p50 / p99 at saturation, ms", *paced, "CPU µs per request", "busy", "MB", "store commands"]
    rows = []
    for name, label in labels.items():
        rate = over_rounds(rounds, name, lambda sample: sample.saturation.rate)
        if rate is None:
            continue
        p50 = over_rounds(rounds, name, lambda sample: sample.saturation.p50_ms)
        p99 = over_rounds(rounds, name, lambda sample: sample.saturation.p99_ms)
        row = [label, f"{rate:,.0f}", f"{number(p50)} / {number(p99)}"]
        row += [_paced(rounds, name, rate) for rate in RATES]
        row.append(number(over_rounds(rounds, name, lambda sample: sample.cpu_us), 1))
        row.append(number(over_rounds(rounds, name, lambda sample: sample.busy)))
        row.append(number(over_rounds(rounds, name, lambda sample: sample.memory_mb), 0))
        row.append(number(over_rounds(rounds, name, lambda sample: sample.commands)))
        rows.append(row)
    return table(head, rows)


def bad_answers(labels: Mapping[str, str], rounds: list[Round]) -> str:
    """Whose answers were wrong, or none, under load."""
    found = {
        label: sum(samples[name].bad_answers for samples in rounds if name in samples) for name, label in labels.items()
    }
    bad = [f"{label}: {count:,}" for label, count in found.items() if count]
    return f"Wrong or failed answers: {', '.join(bad)}." if bad else "No answer failed, and none was wrong."


def foreign_load(rounds: list[Round]) -> str:
    """Whether the machine was quiet: what else ran on the worker's core while it was at saturation."""
    found = sorted(s.foreign for samples in rounds for s in samples.values() if s.foreign is not None)
    if not found:
        return ""
    return f" Others had {found[len(found) // 2]:.1%} of the worker's core (median), {found[-1]:.1%} at the most."


def section(
    *,
    targets: list[Target],
    labels: Mapping[str, str],
    rounds: list[Round],
    turns: list[Round],
    seconds: int,
    command: str,
    machine: Mapping[str, str],
) -> str:
    return "\n\n".join(
        [
            "## The hot path",
            _INTRODUCTION.format(rounds=len(rounds), seconds=seconds, turns=len(turns) // len(PAIRS)),
            recorded(command, machine),
            target_table(targets, rounds, turns),
            "![requests per second, processor time per request and latency](performance-hot-path.svg)",
            number_table(labels, rounds),
            bad_answers(labels, rounds) + foreign_load(rounds),
            _NOTES,
        ]
    )


def recorded(command: str, machine: Mapping[str, str]) -> str:
    """When and on what; `machine` as `machine.describe` has it."""
    described = ", ".join(f"{name} {text}" for name, text in machine.items() if name != "date")
    return f"Recorded on {machine['date']} with `{command}`. {described[0].upper()}{described[1:]}."


def put_between_markers(document: Path, mark: str, text: str) -> None:
    """Replace what stands between the markers; they are added at the end where they are missing."""
    begins, ends = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, begin, rest = document.read_text().partition(begins)
    _, _, after = rest.partition(ends)
    before = before if begin else f"{before.rstrip()}\n\n"
    document.write_text(f"{before}{begins}\n{text}\n{ends}{after or chr(10)}")


def progress(label: str, sample: Sample) -> str:
    saturation = sample.saturation
    parts = [f"{saturation.rate:,.0f} req/s, p50 {saturation.p50_ms:.2f} p99 {saturation.p99_ms:.2f} ms"]
    parts += [f"at {rate:,}/s p50 {o.p50_ms:.2f} p99 {o.p99_ms:.2f} ms" for rate, o in sample.paced.items()]
    if sample.cpu_us is not None and sample.memory_mb is not None:
        parts.append(f"{sample.cpu_us:.1f} µs CPU a request, {sample.memory_mb:.0f} MB")
    if sample.alone is not None:
        parts.append(f"one connection p50 {sample.alone.p50_ms:.2f} p99 {sample.alone.p99_ms:.2f} ms")
    if sample.foreign is not None and sample.foreign > _QUIET:
        parts.append(f"others took {sample.foreign:.0%} of the core")
    if sample.bad_answers:
        parts.append(f"{sample.bad_answers} WRONG OR FAILED")
    return f"{label}: " + "; ".join(parts)


def _paced(rounds: list[Round], name: str, rate: int) -> str:
    p50 = over_rounds(rounds, name, lambda sample: sample.p50_at(rate))
    p99 = over_rounds(rounds, name, lambda sample: sample.p99_at(rate))
    return f"{number(p50)} / {number(p99)}" if p50 is not None else "-"


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
