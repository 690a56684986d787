"""The README tells the truth: its Python runs, its lab holds, its commands are there."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.lab import load_lab, shipped_labs
from dtls_emu.simulation import simulate


README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_python_examples_run(capsys):
    """One after the other, as in a notebook."""
    for block in blocks("python"):
        exec(compile(block, str(README), "exec"), {})
    printed = capsys.readouterr().out
    assert "ping encrypt X 5 5" in printed
    assert "Transmit(" in printed


def test_the_lab_file_holds(tmp_path):
    """It validates, and what it expects is what happens."""
    (lab,) = blocks("yaml")
    path = tmp_path / "readme.yaml"
    path.write_text(lab)
    outcome = simulate(load_lab(path))
    assert outcome.ok, outcome


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^ +(?:sudo )?dtls-emu ([a-z]+)", TEXT, re.MULTILINE)))
)
def test_each_command_is_there_and_shows_an_example(command):
    """Whatever the README names has a --help, with an example."""
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert "dtls-emu" in result.output


def test_all_shipped_labs_are_named():
    """A new lab is a line in the README."""
    assert {name for name in shipped_labs() if f"`{name}`" not in TEXT} == set()


@pytest.mark.ipsec_mb
def test_what_a_command_prints_is_what_it_prints():
    """At the width that is said; the simulation's times are virtual, so all of it is the same everywhere."""
    found = re.findall(
        r"^<!-- begin: COLUMNS=(\d+) dtls-emu (.*) -->\n```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL
    )
    assert found
    for columns, command, shown in found:
        done = CliRunner().invoke(app, command.split(), env={"COLUMNS": columns})
        assert done.stdout == shown


def test_no_output_is_wider_than_a_page():
    """A table that a reader has to scroll is read by nobody."""
    shown = re.findall(r"^<!-- begin: .*?^<!-- end -->", TEXT, re.MULTILINE | re.DOTALL)
    assert shown
    assert max(len(line) for block in shown for line in block.splitlines()[1:]) <= 100
