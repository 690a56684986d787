"""Processes are known by number and start, and ended through handles that never mean another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dtls_emu.machine import processes
from dtls_emu.machine.processes import ProcessId, end_processes, identify, is_alive, processes_inside
from dtls_emu.testing.present import present
from dtls_emu.testing.waiting import await_line


STUBBORN = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); sys.stdin.read()"


@pytest.fixture
def child():
    """Start a process that lives until it is told not to; `stubborn` ones do not listen."""
    started = []

    def start(*, stubborn=False):
        command = [sys.executable, "-c", STUBBORN] if stubborn else ["cat"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        if stubborn:
            await_line(process, process.stdout, b"deaf\n")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_process_that_runs_is_alive(child):
    """Its identity has the number and the moment of its start."""
    process = identify(child().pid)
    assert process is not None
    assert process.started > 0
    assert is_alive(process)


def test_a_number_that_was_given_to_another_is_not_the_process(child):
    """The same number with another start."""
    pid = child().pid
    assert not is_alive(ProcessId(pid, present(identify(pid)).started - 1))


def test_a_process_that_has_ended_is_not_alive_though_nobody_has_asked_how(child):
    """A zombie still has its number."""
    started = child()
    process = identify(started.pid)
    started.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{started.pid}/stat").exists()
    assert not is_alive(present(process))
    assert identify(started.pid) is None


def test_a_name_with_brackets_and_spaces_does_not_confuse(monkeypatch, tmp_path):
    """The second field of the file is the name as the program chose it."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (x) S 1 (y)) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n")
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    assert identify(7) == ProcessId(7, 4711)


def test_a_process_is_asked_to_end(child):
    """And ends by that signal."""
    started = child()
    assert end_processes([present(identify(started.pid))]) == []
    assert started.wait() == -signal.SIGTERM


def test_a_process_that_does_not_listen_is_ended_by_force(child):
    """After the grace."""
    started = child(stubborn=True)
    assert end_processes([present(identify(started.pid))], grace=0.01) == []
    assert started.wait() == -signal.SIGKILL


def test_a_process_with_a_number_of_old_is_left_alone(child):
    """Nothing is sent to whoever has the number now."""
    started = child()
    mistaken = ProcessId(started.pid, present(identify(started.pid)).started - 1)
    assert end_processes([mistaken]) == []
    assert started.poll() is None


def test_a_process_that_is_gone_needs_no_ending():
    """No such number is no error."""
    assert end_processes([ProcessId(2**22 - 1, 1)]) == []


def test_a_thread_is_no_process_and_no_traceback():
    """Its number has an entry in /proc as well, so a state that has been tampered with may name one."""
    with ThreadPoolExecutor(1) as pool:
        thread = identify(pool.submit(threading.get_native_id).result())
        assert thread is not None
        assert end_processes([thread]) == []
        assert is_alive(thread)


def test_processes_of_a_namespace_are_found_but_for_oneself_and_ones_parents(child):
    """Whoever says `down` inside a VM survives it, and so does his shell."""
    inode = Path("/proc/self/ns/net").stat().st_ino
    started = child()
    found = {process.pid for process in processes_inside({inode})}
    assert started.pid in found
    assert not found & {os.getpid(), os.getppid()}


def test_processes_elsewhere_are_not_found():
    """No namespace has this inode."""
    assert processes_inside({1}) == []
