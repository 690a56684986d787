"""The README tells the truth: its Python runs, its lab holds, its commands are there."""

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.lab import load_lab, shipped_labs
from dtls_emu.simulation import simulate


sys.path.append(str(Path(__file__).with_name("docs")))
import consoles


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
@pytest.mark.libcrypto
@pytest.mark.udp_offload
def test_what_a_command_prints_is_what_it_prints(tmp_path):
    """Every console block: to the byte where time is virtual, and but for its figures where something is measured."""
    wanted = consoles.steps(TEXT)
    assert len(wanted) >= 2
    assert all(step.shown for step in wanted)
    played = consoles.play(wanted, tmp_path)
    consoles.compare(played)
    assert len(played) == len(wanted)


def test_a_changed_output_would_be_noticed():
    """A mask hides figures, not words: another label, row or sentence is another output."""
    (shown,) = [step.shown for step in consoles.steps(TEXT) if step.shown and step.mask]

    def is_taken(output):
        return consoles.agrees(shown, output, "figures")

    assert is_taken(shown)
    assert is_taken(re.sub(r"\b\d\.\d\d\b", "4.9", shown))
    assert is_taken(re.sub(r"(libcrypto +[\d.]+ +[\d.]+)", r"\1?", shown))
    assert is_taken(shown.replace("...\n", "0 %             plain                0/0  0/2,849,792  1\n"))
    busy = (
        "Busy machine: load average 1.7 on 2 cores before the run. Its\nintervals are wide.\n"
        "Busy hypervisor: 12.5 % of CPU time was given to other machines.\n"
        "Disturbed: something else had the processor in 60.0 % of the trials.\nAt 1400 bytes"
    )
    assert is_taken(shown.replace("At 1400 bytes", busy))
    for old, new in (
        ("arm ", "name "),
        ("ns/packet", "µs/packet"),
        ("ipsec-mb   ", "other   "),
        ("scattered ", ""),
        (" were rejected", ""),
    ):
        assert old in shown
        assert not is_taken(shown.replace(old, new))


def test_no_output_is_wider_than_a_page():
    """A table that a reader has to scroll is read by nobody."""
    shown = [line for step in consoles.steps(TEXT) for line in (step.shown or "").splitlines()]
    assert max(len(line) for line in shown) <= 100


def test_what_it_is_not_and_what_it_does_not_do_come_first():
    """Before anything that one could use it for."""
    order = [
        TEXT.index(part)
        for part in ("**What it is not:**", "make run", "## Install", "## What it does not do")
    ]
    assert order == sorted(order)
    assert order[-1] < TEXT.index("## The commands")
    assert TEXT[: order[0]].count("\n") < 10
