"""``exec`` runs what stands behind the name of a VM, with all of its options, as a shell would."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import nullcontext

import pytest

from dtls_emu.cli.app import main
from dtls_emu.deploy import inside
from dtls_emu.deploy import queries as run_queries
from dtls_emu.deploy.queries import Place
from dtls_emu.machine import netns


class ReplacedError(Exception):
    """The process would be another program now."""


@pytest.fixture
def execute(monkeypatch, capsys):
    """Give the command; returns what was run where, or the exit code and what was said."""
    monkeypatch.setattr(inside, "must_enter", lambda: False)
    monkeypatch.setattr(netns, "entered", lambda _name: nullcontext())
    before = signal.getsignal(signal.SIGPIPE)

    def give(*arguments):
        asked: list[str] = []

        def find(vm, run):
            asked.extend((vm, run))
            return Place("demo", "demo-vm")

        def replace(program, command):
            # What Python itself raises for an empty name, and the kernel for none that is there.
            if not program:
                raise ValueError("execvp() arg 2 first element cannot be empty")
            if program == "nowhere":
                raise FileNotFoundError(2, os.strerror(2))
            if program == "/":
                raise PermissionError(13, os.strerror(13))
            raise ReplacedError(command)

        monkeypatch.setattr(run_queries, "find_place", find)
        monkeypatch.setattr(os, "execvp", replace)
        monkeypatch.setattr(sys, "argv", ["dtls-emu", "exec", *arguments])
        try:
            main()
        except ReplacedError as program:
            assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL
            return [*asked, *program.args]
        except SystemExit as exit_:
            said = capsys.readouterr()
            return exit_.code, said.out + said.err
        return None

    yield give
    signal.signal(signal.SIGPIPE, before)


PING = ["ping", "-c", "1", "10.0.0.5"]


@pytest.mark.parametrize(
    ("arguments", "vm", "run", "command"),
    [
        (["a", *PING], "a", None, PING),
        (["a", "--", *PING], "a", None, PING),
        (["--", "a", *PING], "a", None, PING),
        (["--run", "demo", "a", *PING], "a", "demo", PING),
        (["--run=demo", "a", "--", *PING], "a", "demo", PING),
        (["a", "--run", "demo", *PING], "a", "demo", PING),
        (["a", "--run=demo", "--", *PING], "a", "demo", PING),
        (["a", "ip", "--run", "demo"], "a", None, ["ip", "--run", "demo"]),
        (["a", "ls", "--help"], "a", None, ["ls", "--help"]),
        (["a", "ls", "-h"], "a", None, ["ls", "-h"]),
        (["a", "sh", "-c", "echo $1", "--", "x"], "a", None, ["sh", "-c", "echo $1", "--", "x"]),
        (["a", "--", "-odd", "-x"], "a", None, ["-odd", "-x"]),
        (["a", "--", "--", "x"], "a", None, ["--", "x"]),
        (["a", "-"], "a", None, ["-"]),
    ],
)
def test_what_follows_the_vm_is_the_programs(execute, arguments, vm, run, command):
    """Options too, with or without --; only --run before the program is ours. A reader that leaves ends the program."""
    assert execute(*arguments) == [vm, run, command]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a", ""], 127, "dtls-emu: the name of the program is empty\n"),
        (["a", "--", "", "x"], 127, "dtls-emu: the name of the program is empty\n"),
        (["a", "nowhere"], 127, "dtls-emu: nowhere: No such file or directory\n"),
        (["a", "/"], 126, "dtls-emu: /: Permission denied\n"),
        (["a"], 2, "Missing argument"),
        (["a", "--"], 2, "which program?"),
        (["a", "--run", "demo"], 2, "which program?"),
        (["a", "--run"], 2, "--run needs the name of a run"),
        (["a", "-x", "ping"], 2, "-x: no such option"),
        (["a", "--help"], 0, "Usage: dtls-emu exec"),
        (["--nothing", "a", "ping"], 2, "No such option"),
    ],
)
def test_a_slip_is_said_with_the_exit_code_of_a_shell(execute, arguments, code, said):
    """126 and 127 for the program, 2 for our own options; never a traceback."""
    found, text = execute(*arguments)
    assert found == code
    assert said in text
