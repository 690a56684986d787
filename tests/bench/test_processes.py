"""Processes: their CPU time, their families, and daemons that are stopped by their own id."""

import os
import subprocess
import sys

import pytest

from dtls_emu.testing.waiting import eventually
from side_by_side.errors import PeerError
from side_by_side.processes import TICKS_PER_SECOND, cpu_seconds, daemon, family, parse_stat, run


STAT = "4711 ({}) S 1234 4711 4711 0 -1 4194560 1 2 3 4 250 75 9 9 20 0 3 0 100 0 0 0"


@pytest.mark.parametrize("name", ["openvpn", "tmux: server", "a) b (c", ")"])
def test_a_name_may_hold_spaces_and_parentheses(name):
    """Parent is field 4, user and system time are 14 and 15 (proc(5)); dead children's time does not count."""
    assert parse_stat(STAT.format(name)) == (1234, 325)


def test_descendants_belong_to_the_family():
    """A server's worker does the work."""
    child = "import subprocess, sys; subprocess.run(['cat'])"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE) as parent:
        try:
            eventually(lambda: len(family([parent.pid])) == 2, "the child has started")
            assert parent.pid in family([parent.pid])
            assert os.getpid() not in family([parent.pid])
        finally:
            assert parent.stdin is not None
            parent.stdin.close()


def test_cpu_time_is_what_the_kernel_counts():
    """For this process it agrees with times(2), but for the ticks that user and system time are rounded to."""
    rounding = 2 / TICKS_PER_SECOND
    before = sum(os.times()[:2])
    counted = cpu_seconds([os.getpid()])
    after = sum(os.times()[:2])
    assert before - rounding <= counted <= after + rounding
    assert cpu_seconds([]) == 0


def test_a_daemon_is_waited_for_and_stopped(tmp_path):
    """Its id is its own: the wrapper that ties it to this process has replaced itself."""
    script = "import os, signal; print('ready', os.getpid(), flush=True); signal.pause()"
    with daemon([sys.executable, "-c", script], tmp_path / "log") as process:
        assert int(process.wait_for(r"^ready (\d+)$")[1]) == process.pid
        assert family([process.pid]) == [process.pid]
    assert family([process.pid]) == []


def test_a_daemon_that_ends_says_why(tmp_path):
    """Its last words are in the error."""
    with (
        daemon(["sh", "-c", "echo cannot open tun; exit 1"], tmp_path / "log") as process,
        pytest.raises(PeerError, match="ended: cannot open tun"),
    ):
        process.wait_for("^ready$")


def test_a_failing_command_says_what_it_said():
    """And which it was."""
    with pytest.raises(PeerError, match=r"sh -c .*: no such device"):
        run(["sh", "-c", "echo no such device >&2; exit 2"])
    assert run(["sh", "-c", "exit 2"], check=False).returncode == 2


def test_a_command_that_is_not_there_is_named():
    """Before anything runs."""
    with pytest.raises(PeerError, match="no-such-program is not installed"):
        run(["no-such-program", "--version"])
