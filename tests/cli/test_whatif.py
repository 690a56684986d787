"""`dtls-emu whatif` answers, writes what was asked for, gates, and refuses what makes no sense in one line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError


def run(*arguments):
    return CliRunner().invoke(app, ["whatif", *map(str, arguments)])


def test_an_answer_fits_a_terminal(monkeypatch):
    """80 columns, whatever the names."""
    monkeypatch.setenv("COLUMNS", "80")
    result = run("hub-and-spoke")
    assert result.exit_code == 0
    assert "Pairs, once VMs are restarted: 2 encrypted, 18 clear" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json_is_for_programs():
    """One document and nothing else."""
    result = run("hub-and-spoke", "--json", "--enforcement", "dropunencrypted")
    assert json.loads(result.stdout)["totals"]["dropped"] == 4


def test_files_are_written_and_not_written_over(tmp_path):
    """A page, annotations and a lab; a second time only with --force."""
    places = [tmp_path / name for name in ("out.html", "out.sarif", "out.yaml")]
    arguments = ["hub-and-spoke", "--html", places[0], "--sarif", places[1], "--lab", places[2]]
    assert run(*arguments).exit_code == 0
    assert places[0].read_text().startswith("<!doctype html>")
    assert json.loads(places[1].read_text())["version"] == "2.1.0"
    assert CliRunner().invoke(app, ["validate", str(places[2])]).exit_code == 0
    again = run(*arguments)
    assert isinstance(again.exception, DtlsEmuError)
    assert "is there already; --force writes over it" in str(again.exception)
    assert run(*arguments, "--force").exit_code == 0


def test_a_gate_has_an_exit_status():
    """1 and the reason on stderr when it fails, 0 when it passes."""
    failed = run("hub-and-spoke", "--enforcement", "DropUnencrypted", "--fail-on", "dropped,broken")
    assert failed.exit_code == 1
    assert "--fail-on dropped: 4 pairs" in failed.stderr
    assert run("hub-and-spoke", "--fail-on", "dropped,broken").exit_code == 0


def test_two_states_are_compared(tmp_path):
    """What changes for whom; the files decide what is encrypted."""
    template = json.loads((Path(app_examples()) / "hub-and-spoke.json").read_text())
    for resource in template["resources"]:
        if resource["type"] == "Microsoft.Network/virtualNetworks":
            resource["properties"]["encryption"] = {"enabled": True, "enforcement": "AllowUnencrypted"}
    after = tmp_path / "after.json"
    after.write_text(json.dumps(template))
    result = run("hub-and-spoke", "--compare", after)
    assert result.exit_code == 0
    assert "network spoke-1" in result.stdout
    found = json.loads(run("hub-and-spoke", "--compare", after, "--json").stdout)
    assert found["totals"]["encrypted"] == {"before": 0, "after": 2}
    assert "Nothing changes for anybody" in run("hub-and-spoke", "--compare", "hub-and-spoke").stdout


def app_examples():
    from dtls_emu.whatif.documents import EXAMPLES

    return EXAMPLES


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.json"], "none.json: cannot be read"),
        (["hub-and-spoke", "--enforcement", "Drop"], "--enforcement Drop: "),
        (["hub-and-spoke", "--profile", "curent"], "no profile `curent`; did you mean `current`?"),
        (["hub-and-spoke", "--fail-on", "everything"], "--fail-on everything: write words out of"),
        (
            ["hub-and-spoke", "--enable", "hubb"],
            "no virtual network `hubb` in these files; did you mean `hub`?",
        ),
        (["main.bicep"], "Bicep is not read"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(arguments, said):
    """With what to write instead."""
    result = run(*arguments)
    assert isinstance(result.exception, DtlsEmuError)
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)
