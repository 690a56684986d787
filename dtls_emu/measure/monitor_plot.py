"""The probes of a connection monitor as one SVG file: round trips over time, losses, changes; light or dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.measure.monitor import Monitored, Probe


__all__ = ["monitor_svg"]

WIDTH: Final = 960
PANEL: Final = 200
_LEFT, _RIGHT, _TOP, _BOTTOM, _FOOT = 80, 20, 34, 22, 26

_STYLE: Final = """
svg { background: #ffffff; } text { font: 12px system-ui, sans-serif; fill: #5c5c5c; } .title { fill: #1c1c1c; }
.grid { stroke: #d8d8d8; } .change { stroke: #4f7cac; stroke-dasharray: 4 3; } .lost { fill: #d1495b; }
.encrypted { fill: #2e7d5b; } .clear { fill: #c9a14a; } .local { fill: #7fb69a; } .other { fill: #8a8a8a; }
@media (prefers-color-scheme: dark) { svg { background: #16181b; } text { fill: #a4a4a4; } .title { fill: #e8e8e8; }
.grid { stroke: #3a3d42; } .change { stroke: #7ba7d6; } .lost { fill: #ef6f80; } .encrypted { fill: #53b98a; }
.clear { fill: #dfbb6b; } }
"""


def monitor_svg(found: Monitored) -> str:
    """The text of the file: a panel for each pair."""
    pairs = list(dict.fromkeys((each.source, each.destination) for each in found.probes))
    height = PANEL * len(pairs) + _FOOT
    body = "".join("".join(_panel(found, pair, number * PANEL)) for number, pair in enumerate(pairs))
    legend = (
        "green: encrypted, yellow: in clear, light green: within a host, red: no answer; dashed: a change"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Round trips over time"><style>{_STYLE}</style>{body}'
        f'<text x="{_LEFT}" y="{height - 8}">{legend}</text></svg>\n'
    )


def _panel(found: Monitored, pair: tuple[str, str], top: int) -> Iterator[str]:
    probes = [each for each in found.probes if (each.source, each.destination) == pair]
    most = max((each.round_trip for each in probes if each.round_trip is not None), default=0.001)
    floor, ceiling = top + PANEL - _BOTTOM, top + _TOP
    span = found.duration or 1.0

    def x_of(time: float) -> float:
        return _LEFT + time / span * (WIDTH - _LEFT - _RIGHT)

    yield f'<text class="title" x="{_LEFT}" y="{top + 16}">{escape(" to ".join(pair))}</text>'
    for share in (0.0, 0.5, 1.0):
        y = floor - share * (floor - ceiling)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * share * 1000:.3g} ms</text>'
    for each in found.changes:
        x = x_of(each.time)
        yield f'<line class="change" x1="{x:.1f}" x2="{x:.1f}" y1="{ceiling - 8}" y2="{floor}"/>'
        anchor = "end" if x > WIDTH * 2 / 3 else "start"
        yield f'<text x="{x:.1f}" y="{ceiling - 10}" text-anchor="{anchor}">{escape(each.label)}</text>'
    for probe in probes:
        yield _mark(probe, x_of(probe.sent), floor, ceiling, most)
    yield f'<text x="{_LEFT}" y="{floor + 16}">0 s</text>'
    yield f'<text x="{WIDTH - _RIGHT}" y="{floor + 16}" text-anchor="end">{found.duration:g} s</text>'


def _mark(probe: Probe, x: float, floor: int, ceiling: int, most: float) -> str:
    told = f"<title>{probe.sent:.3f} s: {escape(probe.how or 'never left')}</title>"
    if probe.round_trip is None:
        return f'<rect class="lost" x="{x - 1:.1f}" y="{floor - 8}" width="2" height="8">{told}</rect>'
    y = floor - probe.round_trip / most * (floor - ceiling)
    kind = probe.how if probe.how in {"encrypted", "clear", "local"} else "other"
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="2">{told}</circle>'
