"""`dtls-emu monitor`: a table at 80 columns, JSON, a plot, and one line for bad input."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError


WORDS = ["monitor", "two-vms", "--pair", "vm-a:vm-b", "--every", "100ms", "--for", "1s"]


def test_table_and_plot(tmp_path, monkeypatch):
    """Within 80 columns; a plot is not written over another."""
    monkeypatch.setenv("COLUMNS", "80")
    plot = tmp_path / "probes.svg"
    words = [*WORDS, "--at", "500ms vm-b accelerated_networking=false", "--svg", str(plot)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "since: vm-b accelerated_networking=false" in result.stdout
    assert plot.read_text().startswith("<svg")
    assert "is there already" in str(CliRunner().invoke(app, words).exception)


def test_json_has_every_probe():
    """And every phase."""
    document = json.loads(CliRunner().invoke(app, [*WORDS, "--json"]).stdout)
    assert len(document["probes"]) == 11
    assert document["phases"][0]["how"] == {"encrypted": 11}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--pair", "vm-a"], "no two VMs"),
        (["--at", "500ms"], "no change; write one such as"),
        (["--at", "soon vm-b mtu=1400"], "--at: "),
        (["--at", "500ms prod nonsense=1"], "nonsense"),
        (["--at", "500ms restart host-9"], "no host is called host-9"),
        (["--every", "often"], "--every: "),
    ],
)
def test_bad_input_is_one_line(more, said):
    """With what to write."""
    result = CliRunner().invoke(app, [*WORDS, *more])
    assert isinstance(result.exception, DtlsEmuError), result.output
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)
