"""``set`` tells every card of a run, or one card by its socket, and says what it has changed."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from dtls_emu.assembly.targets import Change
from dtls_emu.cli.app import app, main
from dtls_emu.deploy import changes
from dtls_emu.errors import DtlsEmuError


CHANGE = Change(("links", 0), {"loss": "1%"})
SOCKET = "/run/card/dtls-emu/demo/h1.sock"


@pytest.fixture
def told(monkeypatch):
    """What is told to whom, in place of real cards."""
    calls = []

    def tell(*arguments, put=None):
        calls.append(arguments if put is None else (*arguments, put))
        return [CHANGE]

    monkeypatch.setattr(changes, "change_host", tell)
    monkeypatch.setattr(changes, "change_run", tell)
    monkeypatch.setattr(changes, "find_run", lambda _target: "demo")
    return calls


def run(*arguments):
    done = CliRunner().invoke(app, ["set", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_socket_is_told_without_a_run(told, monkeypatch):
    """Whoever may open it may change the card: in a container there is no run."""
    monkeypatch.setattr(changes, "find_run", pytest.fail)
    assert run("--socket", SOCKET, "h1-h2", "loss=1%") == f"{SOCKET}: h1-h2: loss=1%\n"
    assert told == [(SOCKET, "h1-h2", ["loss=1%"])]
    document = json.loads(run("--socket", SOCKET, "h1-h2", "loss=1%", "--json"))
    assert document == {"socket": SOCKET, "changes": [{"path": ["links", 0], "value": {"loss": "1%"}}]}


@pytest.mark.parametrize("named", [(), ("--run", "demo")])
def test_without_a_socket_the_run_is_told(told, named):
    """The one that has the target, where none is named."""
    assert run(*named, "h1-h2", "loss=1%") == "demo: h1-h2: loss=1%\n"
    assert told == [("demo", "h1-h2", ["loss=1%"])]
    assert json.loads(run(*named, "h1-h2", "loss=1%", "--json"))["run"] == "demo"


def test_a_put_is_told_as_it_is(told, tmp_path):
    """Its body, instead of words; and never both."""
    body = tmp_path / "body.json"
    body.write_text('{"properties": {}}')
    assert run("prod", "--put", str(body)) == f"demo: prod: {body}\n"
    assert told == [("demo", "prod", [], {"properties": {}})]


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("{}", ["x=1", "--put", "FILE"], "write what to set, as key=value; or --put FILE"),
        ("{}", [], "write what to set, as key=value; or --put FILE"),
        ("{", ["--put", "FILE"], "no JSON"),
        ("[" * 100_000, ["--put", "FILE"], "no JSON"),
        (None, ["--put", "FILE"], "cannot be read: No such file"),
    ],
)
def test_a_body_that_is_none_is_refused(told, tmp_path, text, arguments, said):
    """In one line, and nothing is told."""
    body = tmp_path / "body.json"
    if text is not None:
        body.write_text(text)
    words = [str(body) if each == "FILE" else each for each in arguments]
    outcome = CliRunner().invoke(app, ["set", "prod", *words])
    assert isinstance(outcome.exception, DtlsEmuError)
    assert said in str(outcome.exception)
    assert told == []


def test_the_vms_that_wait_for_a_restart_are_named(told, monkeypatch):
    """They are in clear until then."""
    waiting = Change(("vms", "vm-a"), {"restarted_since_encryption": False})
    monkeypatch.setattr(changes, "change_run", lambda *_, **__: [CHANGE, waiting])
    outcome = CliRunner().invoke(app, ["set", "prod", "encryption.enabled=true"])
    assert "note: vm-a: not encrypted before it is stopped and started" in outcome.stderr
    assert told == []


def test_a_run_and_a_socket_are_not_both_meant(told, monkeypatch, capsys):
    """One is all cards, the other is one."""
    monkeypatch.setattr(sys, "argv", ["dtls-emu", "set", "--run", "a", "--socket", "b", "prod", "x=1"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("dtls-emu: either --run, for all cards of a run, or --socket")
    assert told == []


def test_the_help_shows_how_a_card_in_a_container_is_told():
    """With the path that exported labs have."""
    shown = " ".join(run("--help").split())
    assert "podman exec host-1 dtls-emu set --socket /run/card/dtls-emu/two-vms/host-1.sock" in shown
