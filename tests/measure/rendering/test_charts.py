"""Which figures become which pictures, without drawing any."""

from dtls_emu.measure.records.base import Better, Figure
from dtls_emu.measure.rendering.charts import charts_of
from dtls_emu.measure.statistics import Estimate, median_estimate


def figure(cell, *, metric="rate", unit="packets/s", relative=False, values=(1.0, 2.0, 3.0)):
    return Figure(
        cell=cell,
        metric=metric,
        unit=unit,
        better=Better.HIGHER,
        relative=relative,
        samples=list(values),
        estimate=median_estimate(values),
    )


def charts(result, *figures):
    section = result.sections[0].model_copy(update={"figures": list(figures)})
    return charts_of([("", section)])


def test_sizes_are_an_axis_and_arms_are_lines(result):
    """One picture for each path, lines in the order of arms, points in that of sizes."""
    cells = [
        {"path": path, "size": size, "arm": arm}
        for path in ("memory", "udp")
        for arm in ("plain", "ipsec-mb")
        for size in (8900, 64)
    ]
    found = charts(result, *map(figure, cells))
    assert [chart.name for chart in found] == [
        "throughput-rate-packets-s-memory",
        "throughput-rate-packets-s-udp",
    ]
    chart = found[0]
    assert (chart.is_lines, chart.log_x) == (True, True)
    assert [series.name for series in chart.series] == ["plain (no protection)", "ipsec-mb"]
    assert [point.x for point in chart.series[0].points] == [64.0, 8900.0]


def test_without_an_axis_there_are_bars(result):
    """And every value is in the numbers beside the picture."""
    found = charts(
        result,
        figure({"arm": "ipsec-mb", "layout": "bunched"}),
        figure({"arm": "ipsec-mb", "layout": "scattered"}),
    )
    assert [chart.is_lines for chart in found] == [False]
    assert [row[0] for row in found[0].rows] == ["ipsec-mb, bunched", "ipsec-mb, scattered"]
    assert found[0].rows[0][2:] == ("2", "", "", "3")


def test_a_ratio_has_a_line_to_compare_with(result):
    """And says what 1 means; an absolute figure has none, and says that it is of this machine."""
    ratio, absolute = charts(
        result,
        figure({"path": "udp", "arm": "null"}, unit="of plain", relative=True),
        figure({"path": "udp", "arm": "null"}),
    )
    assert ratio.reference == 1.0
    assert "1 is the plain path" in ratio.reading
    assert absolute.reference is None
    assert "of this machine" in absolute.reading


def test_plain_again_is_no_line_of_its_own_but_in_ratios(result):
    """There it is the noise."""
    again = {"path": "udp", "size": 64, "arm": "plain-again"}
    assert charts(result, figure(again)) == []
    assert len(charts(result, figure(again, relative=True))) == 1


def test_runs_are_told_apart_by_name(result):
    """Side by side."""
    section = result.sections[0].model_copy(update={"figures": [figure({"arm": "null"})]})
    (chart,) = charts_of([("A", section), ("B", section)])
    assert [series.name for series in chart.series] == ["A, null (no protection)", "B, null (no protection)"]


def test_an_interval_is_in_the_numbers(result):
    """Both ends."""
    wide = figure({"arm": "null"}).model_copy(update={"estimate": Estimate(2.0, 1.5, 2.5, 9, "t")})
    (chart,) = charts(result, wide)
    assert chart.rows == [("null (no protection)", "", "2", "1.5", "2.5", "9")]
