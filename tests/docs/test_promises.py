"""What SECURITY says of sockets: commands that only look or simulate open none."""

from __future__ import annotations

import subprocess
import sys

import pytest


WATCHED = """
import sys

opened = []
sys.addaudithook(lambda event, args: opened.append(args[1:]) if event == "socket.__new__" else None)
sys.argv = ["dtls-emu", *{words!r}]
from dtls_emu.cli import main

try:
    main()
except SystemExit as end:
    assert not end.code, end.code
{more}
print(f"opened {{opened}}")
"""


def sockets_of(words, more=""):
    """What a command says of sockets that it opened, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.format(words=words, more=more)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    [["run", "two-vms"], ["validate", "two-vms"], ["explain", "decision"], ["explain", "mtu"], ["schema"]],
)
def test_what_simulates_or_explains_opens_no_socket(words):
    """From the first import to the end."""
    assert sockets_of(words) == "opened []"


def test_a_socket_would_be_noticed():
    """Otherwise the test above proves nothing."""
    assert sockets_of(["schema"], "import socket; socket.socket().close()") != "opened []"
