"""What a report draws: figures of a result, grouped into charts. Numbers and words only; :mod:`.plots` draws them.

Figures of one suite, metric and unit are one chart for each path. Over what the chart is drawn is found in their cells:
the quantity that takes the most values, if it is a number (packet size, tunnels, flows, load); bars where there is none.
Everything else that differs names the line.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.measure.plan import PLAIN_AGAIN
from dtls_emu.measure.records.base import Better
from dtls_emu.measure.tables import as_arm


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dtls_emu.measure.records.base import Figure, Section


__all__ = ["Chart", "Point", "Series", "charts_of"]

AXES: Final = {
    "size": "size of the VM's packet, bytes",
    "tunnels": "tunnels of the card, used in turn",
    "flows": "flows in the card's table, used in turn",
    "load": "offered, share of the found rate",
    "share": "share of fragments",
    "loss": "share of datagrams lost",
    "at_once": "handshakes at once",
}
"""What a cell may be counted by, in words; the first that varies is the axis."""

NAMES: Final = {
    "rate": "packets carried",
    "cpu": "CPU time of a packet",
    "rejection": "cost of rejecting a fragment",
    "p50": "median delay",
    "p99": "delay that 99 % stay below",
    "p999": "delay that 99.9 % stay below",
    "memory": "memory",
    "card, tunnels": "CPU time of a packet on a card with many tunnels",
    "card, flows": "CPU time of a packet on a card with many flows",
    "host CPU": "CPU time of a packet on the host",
    "card CPU": "CPU time of a packet on the card",
}

WIDE: Final = 8
"""From the smallest to the largest place on an axis: beyond, it is drawn in powers."""

TALL: Final = 12
"""The same for values of lines: a slow backend would press all others to the ground."""

Cell = tuple[tuple[str, str | int | float], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval.

    Fields:
        x: place on the axis; None: of a bar.
        low, high: None where there are too few values for an interval.
        n: how many values it is of.
    """

    x: float | None
    y: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one bar."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture.

    Fields:
        name: of its files; unique in a report.
        title: what is shown.
        x_label, y_label: of the axes; no `x_label`: bars.
        series: lines, or bars.
        reference: a value to compare with, drawn across; None: there is none.
        log_x, log_y: the axis is drawn in powers.
        reading: how to read it, in words.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    reference: float | None
    log_x: bool
    log_y: bool
    reading: str

    @property
    def is_lines(self) -> bool:
        """Whether it is drawn over something."""
        return bool(self.x_label)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Every value: series, place on the axis, value, interval, number of values."""
        return [
            (
                series.name,
                "" if point.x is None else f"{point.x:g}",
                f"{point.y:.4g}",
                "" if point.low is None else f"{point.low:.4g}",
                "" if point.high is None else f"{point.high:.4g}",
                str(point.n),
            )
            for series in self.series
            for point in series.points
        ]


def charts_of(sections: Iterable[tuple[str, Section]]) -> list[Chart]:
    """The charts of one suite, from the sections of one run or several.

    Args:
        sections: each with the name of its run, "" if there is but one.
    """
    groups: dict[tuple[str, str, str, str], list[tuple[str, Figure]]] = defaultdict(list)
    for run, section in sections:
        for figure in section.figures:
            if figure.cell.get("arm") == PLAIN_AGAIN and not figure.relative:
                continue
            place = str(figure.cell.get("path", ""))
            groups[section.suite, figure.metric, figure.unit, place].append((run, figure))
    drawn = [_chart(*key, figures) for key, figures in groups.items()]
    return sorted(drawn, key=lambda chart: chart.reference is None)  # ratios first: they hold elsewhere, too


def _chart(suite: str, metric: str, unit: str, path: str, figures: Sequence[tuple[str, Figure]]) -> Chart:
    axis = _axis([figure for _, figure in figures])
    lines: dict[str, list[Point]] = defaultdict(list)
    for run, figure in figures:
        x = None if axis is None else float(figure.cell[axis])
        estimate = figure.estimate
        point = Point(x, estimate.value, estimate.low, estimate.high, estimate.n)
        lines[_name(run, figure, axis)].append(point)
    first = figures[0][1]
    named = NAMES.get(metric, metric.replace("_", " "))
    values = sorted(figure.estimate.value for _, figure in figures)
    places = sorted({float(figure.cell[axis]) for _, figure in figures}) if axis else []
    where = f", {path}" if path else ""
    return Chart(
        name="-".join(_word(each) for each in (suite, metric, unit, path) if each),
        title=f"{named[0].upper()}{named[1:]}{', relative to plain' if first.relative else ''}{where}",
        x_label=AXES.get(axis, axis.replace("_", " ")) if axis else "",
        y_label=unit,
        series=tuple(
            Series(name, tuple(sorted(points, key=lambda point: point.x or 0)))
            for name, points in lines.items()
        ),
        reference=1.0 if first.relative else None,
        log_x=bool(places) and places[0] > 0 and places[-1] / places[0] > WIDE,
        log_y=axis is not None and values[0] > 0 and values[-1] / values[0] > TALL,
        reading=_reading(first, bars=axis is None),
    )


def _axis(figures: Sequence[Figure]) -> str | None:
    for name in AXES:
        values = [figure.cell.get(name) for figure in figures]
        if all(isinstance(value, int | float) for value in values) and len(set(values)) > 1:
            return name
    return None


def _name(run: str, figure: Figure, axis: str | None) -> str:
    words = [run] if run else []
    for key, value in figure.cell.items():
        if key not in {axis, "path"}:
            words.append(as_arm(str(value)) if key == "arm" else f"{_label(key, value)}")
    return ", ".join(words) or "all"


def _label(key: str, value: float | str) -> str:
    return str(value) if isinstance(value, str) else f"{key.replace('_', ' ')} {value:g}"


def _reading(figure: Figure, *, bars: bool) -> str:
    good = "Higher is better." if figure.better is Better.HIGHER else "Lower is better."
    mark, spread = ("bar", "thin line") if bars else ("line", "band")
    what = (
        f"{good} Each {mark} is a median over rounds; the {spread} is where it lies with 95 % confidence, and where there "
        "is none, there were too few rounds for one."
    )
    if not figure.relative:
        return f"{what} Absolute figures are of this machine on this day."
    return (
        f"{what} 1 is the plain path of the same round, without encryption; where the {spread} crosses 1, this run cannot "
        "tell a difference."
    )


def _word(text: str) -> str:
    return "".join(each if each.isalnum() else "-" for each in text.lower()).strip("-")
