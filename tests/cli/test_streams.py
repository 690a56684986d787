"""Whatever becomes of the streams, and whoever ends it: one line or silence, the right status, no traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import typer

from dtls_emu.cli.streams import EXIT_INTERRUPTED, EXIT_USAGE, run_command
from dtls_emu.errors import DtlsEmuError
from dtls_emu.testing.waiting import await_line, eventually


COMMAND = f"{sys.executable} -m dtls_emu"
PATIENCE = 300
"""Seconds that nothing here takes unless it hangs; kernels may have to be compiled."""


def shell(script, **environment):
    """Run a line of shell that has the command as $DTLS."""
    return subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"DTLS": COMMAND} | environment,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


TABLE = "$DTLS explain decision"
DOCUMENT = "$DTLS schema"


@pytest.mark.parametrize("command", [TABLE, DOCUMENT, "$DTLS --help", "$DTLS explain --help"])
class TestAnyCommand:
    """A table, JSON, and what is printed by a library."""

    def test_a_reader_that_has_had_enough_ends_it_silently(self, command):
        """As any other program that gets SIGPIPE."""
        script = (
            f"import subprocess; ours = subprocess.Popen({command!r}.replace('$DTLS', {COMMAND!r}).split(),"
            " stdout=subprocess.PIPE); ours.stdout.close(); print(ours.wait())"
        )
        done = shell(f'exec {sys.executable} -c "$SCRIPT"', SCRIPT=script)
        assert (done.stdout, done.stderr) == (b"141\n", b"")

    def test_a_full_disk_is_one_line(self, command):
        """And no success."""
        done = shell(f"{command} > /dev/full")
        assert done.stderr == b"dtls-emu: cannot write to standard output: No space left on device\n"
        assert done.returncode == 1

    @pytest.mark.parametrize("where", [">&-", ">&- 2>&-", "> /dev/null 2>&-", "<&- >&- 2>&-"])
    def test_closed_streams_are_silence(self, command, where):
        """It is what was asked for."""
        done = shell(f"{command} {where}")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    def test_stderr_that_cannot_be_written_changes_nothing(self, command):
        """The output is all there."""
        whole = shell(command).stdout
        assert len(whole) > 100
        for where in ("2> /dev/full", "2>&-"):
            done = shell(f"{command} {where}")
            assert (done.returncode, done.stdout) == (0, whole)


@pytest.mark.parametrize("where", ["2>&-", "2> /dev/full"])
def test_an_error_that_cannot_be_said_has_its_status(where):
    """A script sees it all the same."""
    assert shell(f"$DTLS validate no-such-lab {where}").returncode == EXIT_USAGE


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


def test_a_locale_without_the_characters_of_a_table_gets_others():
    """A rule of hyphens; JSON is the same in every locale."""
    done = shell("$DTLS run two-vms", **ASCII)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert b"\n------" in done.stdout
    assert done.stdout.isascii()
    assert json.loads(shell("$DTLS run two-vms --json", **ASCII).stdout)["ok"]


LAB = b"""
virtual_networks: {prod: {address_prefixes: [10.0.0.0/24], vni: 1}}
hosts: {h1: {underlay: 192.0.2.1}}
"""


@pytest.mark.parametrize("environment", [{}, ASCII])
@pytest.mark.parametrize(
    "command", ["validate", "run", "run --json", "bench --output x.json", "up --dry-run"]
)
def test_a_file_name_that_is_no_utf8_is_no_traceback(tmp_path, command, environment):
    """Its odd bytes are shown by their numbers where it is complained of."""
    (tmp_path / os.fsdecode(b"caf\xe9.yaml")).write_bytes(LAB)
    done = shell(f"cd {tmp_path} && $DTLS {command} $'caf\\xe9.yaml'", **environment)
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.returncode in {0, 1, 2}
    missing = shell(f"cd {tmp_path} && $DTLS {command} $'none\\xe9.yaml'", **environment)
    assert missing.returncode == EXIT_USAGE
    assert rb"none\xe9.yaml: cannot be read" in missing.stderr


# --------------------------------------------------------------------------------------------------- signals


def test_signals_are_statuses_and_undo_what_was_made(capsys):
    """In the way of Ctrl-C: what is below sees a KeyboardInterrupt."""
    undone = []

    def command(number):
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            undone.append(number)

    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        for number in before:
            assert run_command(lambda: command(number)) == 128 + number  # noqa: B023  # called at once
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert undone == list(before)
    assert capsys.readouterr().err == "dtls-emu: interrupted\n" * 3


def test_ctrl_c_is_said_also_where_the_library_of_the_command_line_hears_it_first(capsys):
    """It makes an exit of it that says nothing; what a command ends with on its own is not added to."""
    command_line = typer.Typer()

    @command_line.command()
    def work(*, interrupted: bool = False) -> None:
        if interrupted:
            raise KeyboardInterrupt
        raise typer.Exit(EXIT_INTERRUPTED)

    assert run_command(lambda: command_line(["--interrupted"])) == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "dtls-emu: interrupted\n"
    assert run_command(lambda: command_line([])) == EXIT_INTERRUPTED
    assert capsys.readouterr().err == ""


def test_a_second_request_to_end_does_not_disturb_what_is_undone():
    """Whoever ends a whole group may send it twice."""
    steps = []

    def command():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("undone")

    assert run_command(command) == 128 + signal.SIGTERM
    assert steps == ["undone"]


def test_a_hangup_that_is_ignored_stays_so():
    """Which is what nohup(1) is for."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_command(lambda: os.kill(os.getpid(), signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_expected_error_is_its_message(capsys):
    """With the status of wrong input."""

    def command():
        raise DtlsEmuError("what, where, what to do")

    assert run_command(command) == EXIT_USAGE
    assert capsys.readouterr().err == "dtls-emu: what, where, what to do\n"


BENCH = [
    "bench",
    "--quick",
    "--sizes",
    "256",
    "--backends",
    "null",
    "--rounds",
    "5000",
    "--output",
    "result.json",
]


def bench(tmp_path, *arguments):
    """A benchmark that does not end by itself; its temporary folder is one of this test's own."""
    (tmp_path / "tmp").mkdir()
    # Whoever runs the tests in the background may have these signals ignored, and that is inherited.
    signals = ["env", "--default-signal=INT,TERM,HUP"]
    return subprocess.Popen(
        [*signals, *COMMAND.split(), *BENCH, *arguments],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("number", "group"), [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGHUP, True)]
)
def test_a_benchmark_that_is_told_to_end_keeps_what_it_measured(tmp_path, number, group):
    """The partial result is written and marked, tables are printed, no secret is left, and no process.

    Each of those has the pipes, which end only when all have ended.
    """
    process = bench(tmp_path, "--paths", "udp")
    with process:
        await_line(process, process.stderr, b"round ")
        (os.killpg if group else os.kill)(process.pid, number)
        out, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number, said
    assert b"Traceback" not in said
    assert b"interrupted: the figures are of what was measured until then" in said
    assert b"plain-again" in out
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["end"]["stopped"] == "interrupted"
    assert all(section["trials"] for section in result["sections"])
    assert result["sections"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_benchmark_that_is_told_to_end_while_it_sets_up_leaves_no_secret(tmp_path):
    """Its keys are in a temporary folder until both processes have read them."""
    process = bench(tmp_path, "--paths", "udp")
    with process:
        eventually(
            lambda: list((tmp_path / "tmp").glob("dtls-emu-bench-*/*/*")) or process.poll() is not None,
            "the keys are in their folder",
        )
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert b"Traceback" not in said
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / "result.json").exists()
