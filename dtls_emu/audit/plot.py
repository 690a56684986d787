"""The plots of an audit as SVG text: colours are names of CSS variables, so that a page is light or dark as a whole."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dtls_emu.audit.statuses import KINDS, Kind


if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtls_emu.audit.findings import Audit


__all__ = ["bytes_text", "shares_svg", "timeline_svg"]

WIDTH: Final = 960
HEIGHT: Final = 220
_LEFT, _BOTTOM, _TOP = 70, 28, 8

MOST_BARS: Final = 240

_UNITS: Final = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def bytes_text(nbytes: float) -> str:
    """A number of bytes as people write it."""
    for unit, size in _UNITS:
        if nbytes >= size:
            return f"{nbytes / size:.3g} {unit}"
    return f"{nbytes:.0f} B"


def timeline_svg(audit: Audit) -> str:
    """Bytes over time, a bar for each span of it, by kind; "" without any."""
    if not audit.timeline:
        return ""
    bars, span = _bars(audit.timeline, audit.bin_width)
    first, last = min(bars), max(bars)
    most = max(sum(bar.values()) for bar in bars.values())
    step = (WIDTH - _LEFT) / (last - first + 1)
    room = HEIGHT - _BOTTOM - _TOP
    parts = [_open("Bytes over time, by what became of them", HEIGHT)]
    for share in (0, 0.5, 1):
        y = _TOP + room * (1 - share)
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{bytes_text(most * share)}</text>'
        )
    for number, bar in sorted(bars.items()):
        y = float(HEIGHT - _BOTTOM)
        x = _LEFT + (number - first) * step
        for kind in KINDS:
            if not bar.get(kind):
                continue
            height = bar[kind] / most * room
            y -= height
            told = f"{_clock(number * span)}: {bytes_text(bar[kind])} {kind}"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.2f}" width="{max(step - 0.5, 0.5):.2f}" height="{height:.2f}" '
                f'fill="var(--{kind})"><title>{told}</title></rect>'
            )
    parts += [
        f'<text x="{_LEFT}" y="{HEIGHT - 8}">{_clock(first * span)}</text>',
        f'<text x="{WIDTH}" y="{HEIGHT - 8}" text-anchor="end">{_clock((last + 1) * span)} UTC</text>',
        "</svg>",
    ]
    return "".join(parts)


def shares_svg(audit: Audit) -> str:
    """One bar: bytes by kind, in proportion; "" without any."""
    total = sum(each.nbytes for each in audit.sums.values())
    if not total:
        return ""
    parts = [_open("Share of each kind in all bytes", 30)]
    x = 0.0
    for kind, each in audit.sums.items():
        width = each.nbytes / total * WIDTH
        if each.nbytes:
            parts.append(
                f'<rect x="{x:.2f}" y="2" width="{max(width, 1):.2f}" height="26" fill="var(--{kind})">'
                f"<title>{KINDS[kind]}: {bytes_text(each.nbytes)}</title></rect>"
            )
        x += width
    return "".join([*parts, "</svg>"])


def _bars(timeline: Mapping[tuple[int, Kind], int], width: int) -> tuple[dict[int, dict[Kind, int]], int]:
    """Bytes by bar and kind, and the milliseconds of a bar: so many bins that there are not too many bars."""
    begins = [begin for begin, _ in timeline]
    span = width
    while max(begins) // span - min(begins) // span >= MOST_BARS:
        span *= 2
    bars: defaultdict[int, dict[Kind, int]] = defaultdict(dict)
    for (begin, kind), nbytes in timeline.items():
        bar = bars[begin // span]
        bar[kind] = bar.get(kind, 0) + nbytes
    return bars, span


def _open(title: str, height: int) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">'


def _clock(when: int) -> str:
    return f"{datetime.fromtimestamp(when // 1000, UTC):%Y-%m-%d %H:%M}"
