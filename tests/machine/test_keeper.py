"""A keeper keeps namespaces alive as long as it should; what goes into them goes into no others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dtls_emu.machine.entering import main as enter
from dtls_emu.machine.keeper import KeeperFailedError, _refused
from dtls_emu.machine.processes import has_mount, processes_with_mount
from dtls_emu.machine.unsharing import Step
from dtls_emu.testing.waiting import eventually


TOKEN = "0123456789abcdef" * 2

# Runs as the user: starts a keeper, and does something with it.
SCRIPT = f"""
import json, os, subprocess, sys, time
from pathlib import Path
from dtls_emu.machine import keeper as keeping
from dtls_emu.machine.entering import entering_command
from dtls_emu.machine.processes import ProcessId, is_alive, processes_with_mount
from dtls_emu.machine.unsharing import mount_source

folder = Path.cwd() / "run"
token = f"{{os.getpid():08x}}{TOKEN[8:]}"  # of its own: a keeper of another test may still be ending
keeper = keeping.start_keeper(token, folder)
source = mount_source(token)

def await_end():
    deadline = time.monotonic() + 60
    while processes_with_mount(source):
        assert time.monotonic() < deadline
        time.sleep(0.05)

def inside(door, *program, network=""):
    done = subprocess.run(entering_command(door, network, program), capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr
"""


def play(user, script):
    return json.loads(user.run(sys.executable, "-P", "-c", SCRIPT + script).stdout)


@pytest.mark.unprivileged
def test_it_ends_with_whoever_started_it_unless_it_is_told_to_stay(ordinary_user):
    """The leash is let go: nobody has recorded it."""
    script = """
before = processes_with_mount(source) == [keeper.process]
os.close(keeper.leash)
await_end()
print(json.dumps(before))
"""
    assert play(ordinary_user, script) is True


@pytest.mark.unprivileged
def test_told_to_stay_it_stays_until_the_runs_folder_is_gone_and_takes_everything_along(ordinary_user):
    """Here a program that has gone in."""
    script = """
folder.mkdir()
os.write(keeper.leash, keeping.KEEP)
os.close(keeper.leash)
program = subprocess.Popen(entering_command(keeper.process, "", ["sleep", "600"]))
while len(processes_with_mount(source)) < 2:
    time.sleep(0.05)
folder.rmdir()
await_end()
print(json.dumps(program.wait()))
"""
    assert play(ordinary_user, script) == -15


@pytest.mark.unprivileged
def test_only_the_process_that_is_meant_is_a_way_in(ordinary_user):
    """Its number alone, used again, is not; nor is a namespace that is not there."""
    script = """
other = ProcessId(keeper.process.pid, keeper.process.started + 1)
print(json.dumps([
    inside(keeper.process, "id", "-u"),
    inside(other, "id", "-u"),
    inside(keeper.process, "id", "-u", network="nowhere"),
    inside(keeper.process, ""),
]))
"""
    well, other, nowhere, empty = play(ordinary_user, script)
    assert well == [0, "0\n"]
    assert other == [125, "dtls-emu: the process that keeps the namespaces of the run has ended\n"]
    assert nowhere == [125, "dtls-emu: network namespace /run/netns/nowhere: No such file or directory\n"]
    assert empty == [127, "dtls-emu: the name of the program is empty\n"]


def test_a_process_that_has_ended_is_no_way_in(capsys):
    """It is said, with the status that env(1) has for it."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert enter([str(ended.pid), "1", "/", "", "true"]) == 125
    assert "cannot enter the namespaces of the run" in capsys.readouterr().err


@pytest.mark.root
def test_another_users_mount_of_the_same_name_makes_no_process_ours():
    """Anybody may read the name and take it; what is ended is this user's."""
    script = (
        f"mount -t tmpfs dtls-emu-{TOKEN} /mnt; echo; exec setpriv --reuid 65534 --clear-groups sleep 600"
    )
    command = ["unshare", "--mount", "sh", "-ec", script]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            name = Path(f"/proc/{other.pid}/comm")
            eventually(lambda: "sleep" in name.read_text(), "the other one has become sleep")
            assert has_mount(f"dtls-emu-{TOKEN}", str(other.pid))
            assert processes_with_mount(f"dtls-emu-{TOKEN}") == []
        finally:
            other.kill()


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b"{}", b'{"ok": false, "step": "walk", "number": 1}'])
def test_what_a_keeper_says_that_is_no_answer_is_shown(said):
    """As when Python cannot start."""
    failed = _refused(said)
    assert isinstance(failed, KeeperFailedError)
    assert failed.refused is None
    assert repr(said) in str(failed)


def test_a_refusal_has_its_step_and_error():
    """From which it is explained."""
    failed = _refused(b'{"ok": false, "step": "user map", "number": 1}')
    assert failed is not None
    assert failed.refused is not None
    assert (failed.refused.step, failed.refused.number) == (Step.MAP, 1)
    assert str(failed) == "user map: Operation not permitted"
