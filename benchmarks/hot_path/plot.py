"""The plot of a run: horizontal bars, written as SVG by hand, so that nothing is needed to draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from benchmarks.hot_path.samples import Round, Sample, over_rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WIDTH, _LABELS, _NUMBERS = 860, 290, 90
_BAR, _GAP, _TITLE = 18, 8, 44
_OURS, _OTHERS = "#2f6fb0", "#a9b4c0"


class _Panel(NamedTuple):
    title: str
    read: Callable[[Sample], float | None]
    digits: int


_PANELS = (
    _Panel("requests per second at saturation (more is better)", lambda sample: sample.saturation.rate, 0),
    _Panel("processor time per request, µs (less is better)", lambda sample: sample.cpu_us, 1),
    _Panel("p99 at 10,000 requests per second, open loop, ms (less is better)", lambda s: s.p99_at(10_000), 2),
)


def svg(labels: Mapping[str, str], rounds: list[Round]) -> str:
    """One panel under the other; a contender has a bar where it was measured."""
    parts: list[str] = []
    y = 0
    for panel in _PANELS:
        found = {name: over_rounds(rounds, name, panel.read) for name in labels}
        bars = {name: value for name, value in found.items() if value is not None}
        parts.append(f'<text x="16" y="{y + 28}" font-weight="bold">{escape(panel.title)}</text>')
        y += _TITLE
        longest = max(bars.values(), default=1.0)
        for name, value in bars.items():
            length = max(1.0, value / longest * (_WIDTH - _LABELS - _NUMBERS))
            color = _OURS if name.startswith("ours") else _OTHERS
            text = y + _BAR - 5
            parts += [
                f'<text x="{_LABELS - 8}" y="{text}" text-anchor="end">{escape(labels[name])}</text>',
                f'<rect x="{_LABELS}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{color}"/>',
                f'<text x="{_LABELS + length + 6:.1f}" y="{text}">{value:,.{panel.digits}f}</text>',
            ]
            y += _BAR + _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 16}" font-family="sans-serif"'
    ground = f'<rect width="{_WIDTH}" height="{y + 16}" fill="#ffffff"/>'
    return "\n".join([f'{head} font-size="13" fill="#1c2733">', ground, *parts, "</svg>"]) + "\n"
