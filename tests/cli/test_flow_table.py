"""`dtls-emu flows`: a table at 80 columns, one line an entry for other programs, and JSON."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """The file of a run's trace."""
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    result = CliRunner().invoke(app, ["trace", "two-vms", "-o", str(path)])
    assert result.exit_code == 0, result.output
    return path


def flows(*words):
    result = CliRunner().invoke(app, ["flows", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_everything_fits_80_columns(trace, monkeypatch):
    """With no column left out."""
    monkeypatch.setenv("COLUMNS", "80")
    output = flows("--trace", trace)
    assert max(map(len, output.splitlines())) <= 80
    assert "no room for" not in output
    lines = [line.split() for line in output.splitlines()]
    at = lines.index(["vm-a:", "UDP", "encrypt", "1,000", "packets", "999", "hits", "generation", "1"])
    assert lines[at + 1][:3] == ["10.0.0.4:40000", "row", "16"]
    assert lines[at + 2] == ["to", "10.0.0.5:5201", "X", "fast", "path"]


def test_elsewhere_an_entry_is_a_line(trace):
    """With every column, for grep and awk."""
    (line,) = [line for line in flows("--trace", trace).splitlines() if "10.99.0.1" in line]
    words = line.split()
    assert words[:4] == ["vm-a", "UDP", "10.0.0.4:40000", "10.99.0.1:5201"]
    assert words[4:11] == ["drop", "1", "no", "private", "route", "NX", "fast"]
    assert words[11:-2] == ["0", "0", "2", "1", "1"]


def test_json_has_the_key_field_by_field(trace):
    """And the same counters."""
    document = json.loads(flows("--trace", trace, "--json"))
    assert (document["lab"], document["seed"]) == ("two-vms", 1)
    entry = next(each for each in document["flows"] if each["destination"] == "203.0.113.7")
    assert {
        key: entry[key] for key in ("host", "vm", "direction", "vni", "protocol", "destination_port")
    } == {
        "host": "host-1",
        "vm": "vm-a",
        "direction": "egress",
        "vni": 5001,
        "protocol": 17,
        "destination_port": 5201,
    }
    assert (entry["verdict"], entry["encryption"], entry["row"], entry["name"]) == (
        "clear",
        "NX",
        3,
        "internet",
    )
    assert (entry["packets"], entry["hits"], entry["exceptions"], entry["path"]) == (3, 2, 1, "fast")


def test_a_lab_or_a_trace_is_named():
    """One of them."""
    result = CliRunner().invoke(app, ["flows"])
    assert isinstance(result.exception, DtlsEmuError)
    assert "name a lab, or a trace" in str(result.exception)
