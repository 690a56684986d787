"""`dtls-emu doctor` prints a table or JSON, and fails only when something essential is missing."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from dtls_emu.cli.doctor import doctor
from dtls_emu.machine import probe as probing
from dtls_emu.machine.probe import Offer, OfferState


GONE = Offer("podman", OfferState.NO, "not installed", "apt install podman")
BROKEN = Offer("NumPy", OfferState.NO, "ImportError: no", "pip install numpy", essential=True)


@pytest.fixture
def run(monkeypatch):
    """Run the command on a machine that offers just what is given."""

    def invoke(*arguments, offers):
        monkeypatch.setattr(probing, "probe", lambda *_: list(offers))
        app = typer.Typer()
        app.command()(doctor)
        return CliRunner().invoke(app, arguments)

    return invoke


def test_a_missing_convenience_is_no_failure(run):
    """The table says what to do."""
    outcome = run(offers=[GONE])
    assert outcome.exit_code == 0
    assert "podman no not installed apt install podman" in " ".join(outcome.stdout.split())


def test_a_missing_essential_is(run):
    """Exit 1, after the table, with one line on stderr."""
    outcome = run(offers=[GONE, BROKEN])
    assert outcome.exit_code == 1
    assert "pip install numpy" in outcome.stdout
    assert outcome.stderr == "dtls-emu: something is missing that nothing works without; see above\n"


def test_json_has_the_offers_and_the_environment(run):
    """One document on stdout, also when something essential is missing."""
    outcome = run("--json", offers=[GONE, BROKEN])
    document = json.loads(outcome.stdout)
    assert outcome.exit_code == 1
    assert document["ready"] is False
    assert document["offers"][0] == {
        "name": "podman",
        "state": "no",
        "reason": "not installed",
        "remedy": "apt install podman",
        "essential": False,
    }
    assert document["environment"]["kernel"].startswith("Linux ")
