"""Results for other programs: tidy tables, and the text format of Prometheus."""

from __future__ import annotations

import csv
import io

import pytest

from dtls_emu.measure.exports import as_csv, as_prometheus


def test_each_list_of_a_section_is_a_table(result):
    """A row for each record; what is nested has columns of its own, also where the first row has none of it."""
    tables = as_csv(result)
    assert {"throughput-trials.csv", "throughput-cells.csv", "fragments-mixes.csv"} <= tables.keys()
    rows = list(csv.DictReader(io.StringIO(tables["throughput-cells.csv"])))
    assert len(rows) == 24
    assert rows[0]["arm"] == "plain"
    assert rows[0]["ratio.low"] == ""
    assert "ratio" not in rows[0]
    (cell,) = [row for row in rows if (row["path"], row["size"], row["arm"]) == ("udp", "1400", "ipsec-mb")]
    assert float(cell["ratio.value"]) == pytest.approx(0.625)
    trials = list(csv.DictReader(io.StringIO(tables["throughput-trials.csv"])))
    assert {trial["conditions.spoilt"] for trial in trials} <= {"True", "False"}


def test_figures_are_gauges(result):
    """With the labels of their cells, and both ends of the interval."""
    pytest.importorskip("prometheus_client")
    lines = as_prometheus(result).splitlines()
    (value,) = [
        line
        for line in lines
        if line.startswith("dtls_emu_bench_value{")
        and 'arm="ipsec-mb"' in line
        and 'path="udp",size="1400"' in line
        and 'metric="rate"' in line
        and 'unit="of plain"' in line
    ]
    assert float(value.rpartition(" ")[2]) == pytest.approx(0.625)
    assert any(line.startswith("dtls_emu_bench_low{") for line in lines)
    assert any(line.startswith("dtls_emu_bench_finished_seconds ") for line in lines)
