"""What is printed where: on terminals of several widths, into pipes, with and without colour."""

import itertools
import os
import pty
import struct
import subprocess
import sys
from fcntl import ioctl
from termios import TIOCSWINSZ

import pytest
import typer
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.testing.waiting import killed_after


PRINT = """
from dtls_emu.cli.output import print_table, print_text, width
print_table("title", ["item", ">number", "text"], [["plain", "36.125", "word " * 30], ["plain-again", "1", "-"]])
print_text("word " * 30)
print("width", width())
"""


def clean(**environment):
    """The environment of a process, with only these of what says how to print."""
    said = {"COLUMNS", "LINES", "NO_COLOR", "TERM", "FORCE_COLOR"}
    return {key: value for key, value in os.environ.items() if key not in said} | environment


def in_pipe(script=PRINT, **environment):
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, env=clean(**environment), check=True).stdout.decode()


def on_terminal(columns, script=PRINT, **environment):
    """What a terminal of that width shows."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=theirs, stdout=theirs, env=clean(TERM="xterm") | environment
    )
    os.close(theirs)
    shown = b""
    with killed_after(process):
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # how a terminal ends that nobody has open any more
                part = b""
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.wait() == 0
    return shown.decode().replace("\r\n", "\n")


def width_of(text):
    """What it was told, and the longest line it printed."""
    *lines, last = text.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    return last.removeprefix("width "), max(map(len, lines))


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_a_terminals_width_is_kept(columns):
    """Whole values, as wide as it is at most."""
    text = on_terminal(columns)
    said, widest = width_of(text)
    assert said == str(columns)
    assert columns - 8 < widest <= columns
    assert all(value in text for value in ("36.125", "plain ", "plain-again"))
    assert "…" not in text


@pytest.mark.parametrize(("given", "kept"), [("60", "60"), ("200", "200"), ("7", "40")])
def test_columns_is_obeyed_on_a_terminal_and_in_a_pipe(given, kept):
    """Nothing is laid out for fewer than 40."""
    assert width_of(on_terminal(100, COLUMNS=given))[0] == kept
    assert width_of(in_pipe(COLUMNS=given))[0] == kept


@pytest.mark.parametrize("given", ["0", "-3", "junk", "1e3", "9" * 5000])
def test_columns_that_is_no_width_is_80_or_the_terminals(given):
    """Something is printed in any case."""
    assert width_of(in_pipe(COLUMNS=given))[0] == "80"
    assert width_of(on_terminal(100, COLUMNS=given))[0] == "100"


def test_a_terminal_that_has_no_size_is_80_wide():
    """As those of some containers and of `expect`."""
    assert width_of(on_terminal(0))[0] == "80"


def test_a_pipe_gets_a_line_for_each_row_without_padding_or_escapes():
    """For `cut`, `grep` and `awk`."""
    text = in_pipe(TERM="xterm")
    assert width_of(text)[0] == "None"
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines() if "word" not in line)
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("plain")] == [
        ["plain", "36.125"],
        ["plain-again", "1"],
    ]


@pytest.mark.parametrize(
    ("environment", "styled"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_escape_sequences_are_for_terminals_that_want_them(environment, styled):
    """A title is bold there."""
    assert ("\x1b[1mtitle\x1b[0m" in on_terminal(80, **environment)) is styled


HELP = "from dtls_emu.cli import main; import sys; sys.argv = ['dtls-emu', '--help']; main()"


def test_every_command_and_group_shows_an_example_and_breaks_its_help_at_the_width():
    """A line that ends early is the last of its paragraph: the next word would not have fitted."""
    for words in commands(typer.main.get_command(app)):
        shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"}).stdout
        assert "Example: dtls-emu" in shown, words

        lines = [line.rstrip() for line in shown.split("╭─")[0].splitlines()]
        for line, after in itertools.pairwise(lines):
            if line and after.strip() and "Usage" not in line:
                assert len(line) + 1 + len(after.split()[0]) > 78, (words, line, after)


def commands(command, words=()):
    """Every group and command, by the words that name it."""
    yield list(words)
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*words, name))


@pytest.mark.parametrize("given", ["0", "junk", ""])
def test_help_is_printed_whatever_columns_says(given):
    """A width of none is no width."""
    assert "Emulate a cloud's" in in_pipe(HELP, COLUMNS=given)
