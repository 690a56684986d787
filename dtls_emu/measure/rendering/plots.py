"""Charts as SVG by matplotlib: text that can be searched, the same bytes for the same numbers, colours of the page's.

Colours are drawn as placeholders and become variables of the page's style sheet, so that a picture is light or dark with
the page, and black on white on paper. Series differ by marker and dash as well.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from dtls_emu.measure.rendering.charts import Chart, Series


__all__ = ["SERIES_COLOURS", "ReportUnavailableError", "draw", "need_matplotlib"]

SERIES_COLOURS: Final = 8
"""Variables ``--s0`` and so on; further series use them again, with other markers."""

INK: Final = "#010203"
FAINT: Final = "#040506"
_SERIES: Final = "#0708{:02x}"
"""Placeholders: no colour that anything else is drawn in."""

WIDTH: Final = 6.6
HEIGHT: Final = 3.4
BAR: Final = 0.42
"""Inches: of a picture, and of each of its bars."""

MARKERS: Final = "osD^vPX*"
DASHES: Final = ("-", "--", "-.", ":")

_SETTINGS: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dtls-emu",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same measures everywhere
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.4,
    "legend.frameon": False,
}


class ReportUnavailableError(DtlsEmuError):
    """What pictures are drawn with is not installed; says how to install it."""


def need_matplotlib() -> Any:
    """The library.

    Raises:
        ReportUnavailableError: it is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415  # an extra, and half a second
    except ImportError as error:
        raise ReportUnavailableError(
            "the report's pictures need matplotlib, which is not installed; install dtls-emu[report]"
        ) from error
    return mpl


def draw(chart: Chart) -> str:
    """A chart as an ``<svg>`` element for a page, with its title and how to read it for those who cannot see it.

    Raises:
        ReportUnavailableError: matplotlib is not installed.
    """
    mpl = need_matplotlib()
    from matplotlib.figure import Figure  # noqa: PLC0415  # as above

    # Neither a window system nor the user's own settings have a say.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        height = HEIGHT if chart.is_lines else max(1.4, 0.9 + BAR * len(chart.series))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        if chart.is_lines:
            _draw_lines(axes, chart)
        else:
            _draw_bars(axes, chart)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_a_page(file.getvalue(), chart)


def _draw_lines(axes: Any, chart: Chart) -> None:
    for number, series in enumerate(chart.series):
        colour = _SERIES.format(number % SERIES_COLOURS)
        xs = [point.x for point in series.points]
        axes.plot(
            xs,
            [point.y for point in series.points],
            color=colour,
            marker=MARKERS[number % len(MARKERS)],
            linestyle=DASHES[number % len(DASHES)],
            markersize=5,
            label=series.name,
        )
        banded = [point for point in series.points if point.low is not None]
        if len(banded) > 1:
            axes.fill_between(
                [point.x for point in banded],
                [point.low for point in banded],
                [point.high for point in banded],
                color=colour,
                alpha=0.18,
                linewidth=0,
            )
        elif banded:
            axes.vlines(banded[0].x, banded[0].low, banded[0].high, color=colour)
    if chart.log_x:
        axes.set_xscale("log", base=2)
        places = sorted({point.x for series in chart.series for point in series.points if point.x})
        axes.set_xticks(places, [f"{place:,g}" if place < 1e5 else f"{place:.0e}" for place in places])
        axes.minorticks_off()
    if chart.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(_plainly)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.grid(visible=True, axis="y")
    if chart.reference is not None:
        axes.axhline(chart.reference, color=INK, linewidth=1)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _plainly(value: float, _: int) -> str:
    """A number of an axis without a factor beside it."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:g}"


def _draw_bars(axes: Any, chart: Chart) -> None:
    for number, series in enumerate(chart.series):
        point = series.points[0]
        colour = _SERIES.format(number % SERIES_COLOURS)
        axes.barh(number, point.y, color=colour, height=0.6)
        if point.low is not None and point.high is not None:
            axes.hlines(number, point.low, point.high, color=INK, linewidth=1.2)
    axes.set_yticks(range(len(chart.series)), [_bar_name(series) for series in chart.series])
    axes.invert_yaxis()
    axes.set_xlabel(chart.y_label)
    axes.grid(visible=True, axis="x")
    if chart.reference is not None:
        axes.axvline(chart.reference, color=INK, linewidth=1)


def _bar_name(series: Series) -> str:
    return f"{series.name}: {series.points[0].y:.3g}"


def _for_a_page(svg: str, chart: Chart) -> str:
    """Without what a page has already: prolog, fixed size; names that no other picture has; colours by variable."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{chart.name}-', body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{chart.name}-", body)
    for placeholder, variable in (
        (INK, "--ink"),
        (FAINT, "--line"),
        *((_SERIES.format(number), f"--s{number}") for number in range(SERIES_COLOURS)),
    ):
        body = body.replace(placeholder, f"var({variable})")
    opening = re.compile(r'<svg[^>]*viewBox="([^"]*)"[^>]*>')
    match = opening.search(body)
    assert match is not None  # it is what matplotlib writes
    title, reading = f"{chart.name}-title", f"{chart.name}-reading"
    head = (
        f'<svg role="img" aria-labelledby="{title} {reading}" viewBox="{match[1]}" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<title id="{title}">{escape(chart.title)}</title><desc id="{reading}">{escape(chart.reading)}</desc>'
    )
    return head + body[match.end() :]
