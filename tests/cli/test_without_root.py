"""A lab that an ordinary user brings up, works with and takes down, in namespaces of its own; and what may go wrong."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dtls_emu.deploy.records import CardProcess, Keeper
from dtls_emu.deploy.state import read_state
from dtls_emu.machine.netns import NETNS_FOLDER
from dtls_emu.machine.processes import ProcessId, is_alive, processes_with_mount
from dtls_emu.machine.unsharing import mount_source
from dtls_emu.testing.waiting import eventually


pytestmark = pytest.mark.unprivileged

COMMAND = [sys.executable, "-m", "dtls_emu"]
PATIENCE = 60.0
"""Seconds that what is waited for takes at most."""


def cli(user, *arguments, **options):
    """Give a command as the user; its output is text."""
    done = user.run(*COMMAND, *arguments, **options)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def inside(user, run, vm, *program, **options):
    return cli(user, "exec", "--run", run, vm, "--", *program, **options)


def folder_of(user, run):
    return user.runtime / "dtls-emu" / run


def keeper_of(user, run):
    (keeper,) = state_of(user, run).of(Keeper)
    return keeper


def state_of(user, run):
    state = read_state(folder_of(user, run))
    assert state is not None
    return state


def cards_of(user, run):
    return state_of(user, run).of(CardProcess)


def left_of(user, run, token):
    """Processes in the namespaces of a run, its folder, its names outside."""
    names = [path.name for path in NETNS_FOLDER.glob(f"{run}-*")]
    folder = [folder_of(user, run)] if folder_of(user, run).exists() else []
    return processes_with_mount(mount_source(token)), folder, names


NOTHING: tuple[list[Any], ...] = ([], [], [])


def kill(*things):
    """Kill processes that have a record, and wait until they are gone."""
    for thing in things:
        os.kill(thing.pid, signal.SIGKILL)
    for thing in things:
        await_end(ProcessId(thing.pid, thing.started))


def await_end(process):
    eventually(lambda: not is_alive(process), f"process {process.pid} is gone")


@pytest.fixture
def name(ordinary_user):
    """Of a run that no other test has; what is left of it is taken away."""
    run = f"n{os.getpid()}"
    yield run
    if folder_of(ordinary_user, run).exists():
        cli(ordinary_user, "down", run)


@pytest.fixture
def lab(ordinary_user):
    """Two VMs that are up, for all tests that only use them."""
    run = f"m{os.getpid()}"
    if not folder_of(ordinary_user, run).exists():
        _up.append((ordinary_user, run, cli(ordinary_user, "up", "two-vms", "--name", run)))
    return run


_up: list[tuple[Any, str, Any]] = []
"""The lab of all tests here: its user, its name, and what `up` said."""


@pytest.fixture(scope="module", autouse=True)
def _down():
    yield
    while _up:
        user, run, _ = _up.pop()
        token = keeper_of(user, run).token
        cli(user, "down", run)
        assert left_of(user, run, token) == NOTHING


# ------------------------------------------------------------------------------------- what works inside


def test_up_says_in_one_line_that_it_is_not_root_and_what_to_do_next_without_sudo(lab):
    """And that the lab is up."""
    ((_, _, said),) = _up
    (line,) = [line for line in said.stderr.splitlines() if "root" in line]
    assert line == "not root: making a user, network and mount namespace of the run's own ..."
    assert f"{lab} is up: 2 hosts, 2 VMs" in said.stdout
    assert f"\n  dtls-emu exec --run {lab} vm-a -- ping -c 3 10.0.0.5\n" in said.stdout
    assert "sudo" not in said.stdout


def test_vms_ping_each_other_through_the_tunnel(ordinary_user, lab):
    """Every packet is sealed, as `status` has it."""
    before = egress(ordinary_user, lab)
    assert "3 received" in inside(ordinary_user, lab, "vm-a", "ping", "-c3", "-i0.1", "10.0.0.5").stdout
    after = egress(ordinary_user, lab)
    assert after["encrypted"] - before["encrypted"] >= 3
    assert after["clear"] == 0


def egress(user, run):
    report = json.loads(cli(user, "status", "--run", run, "--json").stdout)
    assert report["silent"] == {}
    return next(host for host in report["hosts"] if host["host"] == "host-1")["card"]["egress"]


@pytest.mark.parametrize(
    ("program", "status"), [(["sh", "-c", "exit 3"], 3), (["nowhere"], 127), (["/etc/passwd"], 126)]
)
def test_the_exit_status_is_that_of_the_program(ordinary_user, lab, program, status):
    """Or a shell's, for one that cannot be run."""
    assert inside(ordinary_user, lab, "vm-a", *program, check=False).returncode == status


def test_a_program_is_where_the_command_was_given_and_its_files_belong_to_the_user(ordinary_user, lab):
    """Root inside is the user outside."""
    here = ordinary_user.home / "work"
    done = inside(ordinary_user, lab, "vm-a", "sh", "-c", "id -u; pwd; umask 077; echo x > made; ls -n made")
    user, where, listing = done.stdout.splitlines()
    assert (user, where) == ("0", str(here))
    assert listing.split()[:4] == ["-rw-------", "1", "0", "0"]
    assert (here / "made").stat().st_uid == ordinary_user.number


def test_a_shell_has_the_terminal_and_hears_its_ctrl_c(ordinary_user, lab):
    """Interactive: what is typed reaches it, an interrupt ends the program in it, its exit status comes back."""
    pid, terminal = pty.fork()
    if pid == 0:
        command = ordinary_user.command(*COMMAND, "exec", "--run", lab, "vm-a", "--", "sh", "-i")
        os.execvpe(command[0], command, ordinary_user.environment)
    try:
        heard = read_until(terminal, b"# ")
        os.write(terminal, b"tty; ping -i 0.2 10.0.0.5\n")
        heard = read_until(terminal, b"bytes from 10.0.0.5")
        assert b"/dev/pts/" in heard
        os.write(terminal, b"\x03")
        read_until(terminal, b"packet loss")
        os.write(terminal, b"exit 5\n")
        with suppress(OSError):  # EIO: nobody has the other end any more
            read_until(terminal, b"never")
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 5


def read_until(terminal, wanted):
    heard = b""
    while wanted not in heard:
        ready, _, _ = select.select([terminal], [], [], PATIENCE)
        assert ready, heard
        part = os.read(terminal, 4096)
        if not part:
            raise OSError("the other end is closed")
        heard += part
    return heard


def test_a_change_reaches_cards_and_cables(ordinary_user, lab):
    """The MTU of a cable is in the namespaces of the run."""
    cli(ordinary_user, "set", "host-1-host-2", "mtu=1632", "--run", lab)
    assert "mtu 1632" in inside(ordinary_user, lab, "host-1", "ip", "link", "show", "to-host-2").stdout
    refused = cli(ordinary_user, "set", "host-1-host-2", "mtu=1", "--run", lab, check=False)
    assert refused.returncode == 2
    assert "links[0].mtu: `1` is too small" in refused.stderr


def test_a_card_that_was_killed_is_started_again(ordinary_user, lab):
    """In the namespace of its host, where its VMs and cables have stayed."""
    kill(next(card for card in cards_of(ordinary_user, lab) if card.host == "host-2"))
    said = cli(ordinary_user, "status", "--run", lab, check=False).stderr
    assert f"the card of host-2 has ended; `dtls-emu restart --run {lab} host-2` starts it anew" in said
    cli(ordinary_user, "restart", "--run", lab, "host-2")
    assert " 0% packet loss" in inside(ordinary_user, lab, "vm-b", "ping", "-c1", "10.0.0.4").stdout


def test_nothing_of_it_is_outside_and_what_is_secret_is_the_users_alone(ordinary_user, lab):
    """No named namespace, no interface; keys, sockets and records have mode 0600."""
    assert [path.name for path in NETNS_FOLDER.glob(f"{lab}-*")] == []
    for path in (folder_of(ordinary_user, lab), *folder_of(ordinary_user, lab).rglob("*")):
        found = path.lstat()
        assert found.st_uid == ordinary_user.number
        assert found.st_mode & 0o077 == 0, path


def test_a_shell_inside_sees_its_run_too(ordinary_user, lab):
    """Who is root of a user namespace only looks where the user has his runs."""
    done = inside(ordinary_user, lab, "vm-a", *COMMAND, "status", "--run", lab, "--json")
    assert {host["host"] for host in json.loads(done.stdout)["hosts"]} == {"host-1", "host-2"}


@pytest.mark.usefixtures("lab")
def test_another_user_sees_nothing_of_it(ordinary_user):
    """His runs are in a runtime folder of his own."""
    other = ordinary_user.new_runtime("other")
    done = cli(ordinary_user, "status", check=False, env={"XDG_RUNTIME_DIR": str(other)})
    assert (done.returncode, done.stdout) == (1, "")
    assert "no host" in done.stderr


def test_the_same_lab_twice_is_two_runs(ordinary_user, lab, name):
    """Each in namespaces of its own: addresses and names do not clash. To end one leaves the other."""
    cli(ordinary_user, "up", "two-vms", "--name", name)
    token = keeper_of(ordinary_user, name).token
    for run in (lab, name):
        assert " 0% packet loss" in inside(ordinary_user, run, "vm-a", "ping", "-c1", "10.0.0.5").stdout
    again = cli(ordinary_user, "up", "two-vms", "--name", name, check=False)
    assert again.returncode == 2
    assert f"end it with `dtls-emu down {name}`" in again.stderr
    assert cli(ordinary_user, "down", name).stdout == f"{name} is down\n"
    assert left_of(ordinary_user, name, token) == NOTHING
    assert " 0% packet loss" in inside(ordinary_user, lab, "vm-a", "ping", "-c1", "10.0.0.5").stdout


# ---------------------------------------------------------------------------------------- what goes wrong


def test_a_run_whose_keeper_was_killed_goes_on_and_ends(ordinary_user, name):
    """Its cards are a way in, too; a program that still runs in a VM ends with it. A recycled number is spared."""
    cli(ordinary_user, "up", "two-vms", "--name", name)
    keeper = keeper_of(ordinary_user, name)
    kill(keeper)
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        record_stranger(folder_of(ordinary_user, name), keeper, stranger.pid)
        assert " 0% packet loss" in inside(ordinary_user, name, "vm-a", "ping", "-c1", "10.0.0.5").stdout
        program = ordinary_user.command(*COMMAND, "exec", "--run", name, "vm-a", "--", "sleep", "600")
        with subprocess.Popen(program, env=ordinary_user.environment) as sleeper:
            eventually(
                lambda: Path(f"/proc/{sleeper.pid}/comm").read_text() == "sleep\n", "the command has begun"
            )
            cli(ordinary_user, "down", name)
            assert sleeper.wait(PATIENCE) == -signal.SIGTERM
        assert left_of(ordinary_user, name, keeper.token) == NOTHING
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def record_stranger(folder, keeper, pid):
    """As if the keeper's number had been given to another process since."""
    (path,) = (folder / "made.d").glob(f"*-keeper-{keeper.token}.json")
    document = json.loads(path.read_text())
    document["made"]["pid"] = pid
    path.write_text(json.dumps(document))


def test_when_the_namespaces_are_gone_it_is_said_and_down_clears_up(ordinary_user, name):
    """Keeper and cards were killed: nothing can be entered, and the records go."""
    cli(ordinary_user, "up", "two-vms", "--name", name)
    keeper = keeper_of(ordinary_user, name)
    kill(keeper, *cards_of(ordinary_user, name))
    for command in (["exec", "vm-a", "--run", name, "true"], ["restart", "host-1", "--run", name]):
        done = cli(ordinary_user, *command, check=False)
        assert done.returncode == 2
        assert f"the namespaces of the run `{name}` are gone" in done.stderr
        assert f"`dtls-emu down {name}`, then `up` again" in done.stderr
    cli(ordinary_user, "down", name)
    assert left_of(ordinary_user, name, keeper.token) == NOTHING


def test_a_run_whose_folder_is_gone_ends_by_itself(ordinary_user, name):
    """As when the runtime folder goes at a logout: nobody could end it any more. This one is a notebook's."""
    program = (
        "from dtls_emu.deploy.runs import start_run; from dtls_emu.lab import load_lab; "
        f"print(start_run(load_lab('two-vms'), '{name}', report=print).run)"
    )
    said = ordinary_user.run(sys.executable, "-c", program).stdout.splitlines()
    assert (said[0].startswith("not root: "), said[-1]) == (True, name)
    token = keeper_of(ordinary_user, name).token
    shutil.rmtree(folder_of(ordinary_user, name))
    eventually(lambda: left_of(ordinary_user, name, token) == NOTHING, "nothing is left")


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("making certificates", signal.SIGINT),
        ("laying cables", signal.SIGINT),
        ("starting the cards", signal.SIGINT),
        ("laying cables", signal.SIGKILL),
    ],
)
def test_up_that_is_interrupted_leaves_nothing(ordinary_user, name, moment, number):
    """Ctrl-C is passed on to the process inside, which undoes; when `up` is killed, it notices and does the same."""
    # Whoever runs the tests in the background has this signal ignored, and that is inherited.
    up = ["env", "--default-signal=INT", *COMMAND, "up", "two-vms", "--name", name]
    with subprocess.Popen(
        ordinary_user.command(*up),
        env=ordinary_user.environment,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        said = ""
        while moment not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        token = keeper_of(ordinary_user, name).token if moment != "making certificates" else ""
        process.send_signal(number)
        said += process.stderr.read()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "dtls-emu: interrupted" in said
        assert "Traceback" not in said
        assert not folder_of(ordinary_user, name).exists()
    eventually(lambda: not folder_of(ordinary_user, name).exists(), "its folder is gone")
    if token:
        eventually(lambda: left_of(ordinary_user, name, token) == NOTHING, "nothing is left")


# ------------------------------------------------------------------------------------- what is refused, and why


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"XDG_RUNTIME_DIR": ""}, "XDG_RUNTIME_DIR is not set"),
        ({"XDG_RUNTIME_DIR": "relative"}, "XDG_RUNTIME_DIR is not set"),
        ({"XDG_RUNTIME_DIR": "/"}, "/ is no folder of yours"),
        ({"XDG_RUNTIME_DIR": "/nowhere"}, "/nowhere: No such file or directory"),
    ],
)
def test_without_a_place_for_the_run_it_says_how_to_get_one(ordinary_user, variables, reason):
    """Nothing is made."""
    done = cli(ordinary_user, "up", "two-vms", check=False, env=variables)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "namespace" not in done.stderr


def test_a_runtime_folder_that_others_may_write_to_is_refused(ordinary_user):
    """They could put their own in the place of the run's."""
    folder = ordinary_user.new_runtime("shared")
    folder.chmod(0o777)
    done = cli(ordinary_user, "up", "two-vms", check=False, env={"XDG_RUNTIME_DIR": str(folder)})
    assert f"others may write to {folder}; chmod 700 it" in done.stderr


@pytest.mark.root
@pytest.mark.parametrize(
    ("before", "reason", "remedy"),
    [
        (
            "mount -t tmpfs none /dev/net; mknod -m 0600 /dev/net/tun c 10 200",
            "/dev/net/tun has mode 0600, so this user may not open it",
            "chmod 0666 /dev/net/tun",
        ),
        ("mount -t tmpfs none /dev/net", "there is no /dev/net/tun", "modprobe tun"),
    ],
)
def test_without_the_device_it_says_exactly_what_is_wrong_with_it(
    ordinary_user, name, before, reason, remedy
):
    """Before anything is made; `doctor` says the same beforehand."""
    done = cli(ordinary_user, "up", "two-vms", "--name", name, check=False, before=before)
    assert done.returncode == 2
    assert f"no namespaces without root: {reason}; {remedy}" in done.stderr
    assert not folder_of(ordinary_user, name).exists()
    told = cli(ordinary_user, "doctor", "--json", check=False, before=before)
    (offer,) = [each for each in json.loads(told.stdout)["offers"] if each["name"] == "hosts without root"]
    assert (offer["state"], offer["reason"]) == ("no", reason)
    assert remedy in offer["remedy"]


@pytest.mark.root
def test_a_lab_of_root_is_what_may_be_meant_where_nothing_is_up(ordinary_user):
    """Its folder is there, and its user's alone."""
    before = "mount -t tmpfs -o mode=0755 none /run; mkdir -m 0700 /run/dtls-emu"
    other = {"XDG_RUNTIME_DIR": str(ordinary_user.new_runtime("beside"))}
    for command in (
        ["exec", "vm-a", "true"],
        ["set", "prod", "encryption.enabled=false"],
        ["restart", "host-1"],
    ):
        done = cli(ordinary_user, *command, check=False, before=before, env=other)
        assert done.returncode == 2
        assert "nothing is up: a lab of root is, which needs sudo" in done.stderr
    assert "needs sudo" in cli(ordinary_user, "down", before=before, env=other).stdout


@pytest.mark.root
def test_a_machine_that_never_had_a_named_namespace_will_do(ordinary_user):
    """There is no folder for them, and an ordinary user may make none: he gets one inside."""
    keep = [sys.executable, "-P", "-m", "dtls_emu.machine.keeper", "0" * 32, "/nowhere"]
    before = "mount -t tmpfs -o mode=0755 none /run; touch /run/file; mkdir /run/folder; ln -s file /run/link"
    assert ordinary_user.run(*keep, before=before).stdout == '{"ok": true}\n'
