"""A run leaves nothing behind: however it fails, and whoever is killed at whatever moment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from dtls_emu.deploy import changes, launcher, runs
from dtls_emu.deploy.changes import change_run
from dtls_emu.deploy.runs import restart_card, start_run, stop_run
from dtls_emu.deploy.state import CardProcess, Namespace, RunFolder, read_state, run_names
from dtls_emu.errors import LabFileError, RunError
from dtls_emu.lab.loader import parse_lab
from dtls_emu.machine.netns import NETNS_FOLDER, entered
from dtls_emu.machine.processes import identify, is_alive
from dtls_emu.testing.present import present


pytestmark = [
    pytest.mark.root,
    # A child that is to be killed is forked; it does little and starts no thread.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

LAB = """
virtual_networks:
  prod: {address_prefixes: [10.0.0.0/24], vni: 1}
hosts:
  h1: {underlay: 192.0.2.1}
  h2: {underlay: 192.0.2.2}
vms:
  a: {host: h1, virtual_network: prod, address: 10.0.0.4}
  b: {host: h2, virtual_network: prod, address: 10.0.0.5}
traffic:
  - {name: ping, kind: ping, from: a, to: b}
"""
MAKING = ("make_namespace", "join_hosts", "make_nic", "write_credentials", "write_config", "start_card")
UNDOING = ("remove_interface", "remove_namespace", "_remove_folder", "stop_cards", "end_processes")


@pytest.fixture
def lab():
    """Two hosts with a VM each."""
    return parse_lab(LAB, "demo.yaml")


@pytest.fixture
def name():
    """Of a run that no other test run on this machine has."""
    return f"t{os.getpid()}"


@pytest.fixture
def folder(tmp_path, name):
    """Of all runs; whatever a failing test leaves is taken away."""
    yield tmp_path / "runs"
    if name in run_names(tmp_path / "runs"):
        stop_run(name, runs=tmp_path / "runs")


@pytest.fixture
def stand_ins(monkeypatch, name):
    """Cards that do nothing but run, and are known by an argument that nobody else has."""

    def start(_config, namespace):
        with entered(namespace):
            return os.posix_spawn("/bin/sleep", ["sleep", f"600.{name[1:]}"], {}, setsid=True)

    monkeypatch.setattr(runs, "start_card", start)
    monkeypatch.setattr(runs, "await_ready", lambda *_: None)


def left(name, folder):
    """Everything that is left of a run: namespaces, processes, its folder."""
    namespaces = [path.name for path in NETNS_FOLDER.glob(f"{name}-*")]
    return namespaces, stand_ins_alive(name), run_names(folder)


def stand_ins_alive(name):
    """Numbers of the processes that stand for cards."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # ended meanwhile
            if f"600.{name[1:]}".encode() in path.read_bytes():
                alive.append(int(path.parent.name))
    return alive


NOTHING: tuple[list[str], list[int], list[str]] = ([], [], [])


class Killer:
    """Kills this process at the n-th moment: before a call of a function, and in and after each write."""

    def __init__(self, moment):
        self._left = moment

    def tick(self):
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def watch(self, place, name, *, before):
        function = getattr(place, name)

        def wrapped(*arguments, **named):
            if before:
                self.tick()
            result = function(*arguments, **named)
            if not before:
                self.tick()
            return result

        setattr(place, name, wrapped)


def dies_at(moment, functions, act):
    """Do something in a child that is killed at a moment; whether it came to an end before that."""
    pid = os.fork()
    if pid == 0:
        try:
            killer = Killer(moment)
            for function in functions:
                killer.watch(runs, function, before=True)
            killer.watch(RunFolder, "write", before=False)
            killer.watch(Path, "replace", before=True)  # what is new has not the name yet
            killer.watch(Path, "unlink", before=True)  # what is gone is not struck out yet
            act()
        except BaseException:  # a fork of pytest must end here, come what may
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


@pytest.mark.usefixtures("stand_ins")
def test_up_may_be_killed_at_any_moment(lab, name, folder):
    """Before every step, in and after every write: `down` then leaves nothing."""
    moment = 0
    while not dies_at(moment, MAKING, lambda: start_run(lab, name, runs=folder)):
        if name in run_names(folder):
            assert stop_run(name, runs=folder) == []
        assert left(name, folder) == NOTHING
        moment += 1
    assert moment > 40
    assert stop_run(name, runs=folder) == []
    assert left(name, folder) == NOTHING


@pytest.mark.usefixtures("stand_ins")
def test_down_may_be_killed_at_any_moment(lab, name, folder):
    """And be given again."""
    moment, ended = 0, False
    while not ended:
        start_run(lab, name, runs=folder)
        ended = dies_at(moment, UNDOING, lambda: stop_run(name, runs=folder))
        if name in run_names(folder):
            assert stop_run(name, runs=folder) == []
        assert left(name, folder) == NOTHING
        moment += 1
    assert moment > 20


@pytest.mark.parametrize(
    "function", ["write_credentials", "make_namespace", "join_hosts", "make_nic", "start_card"]
)
@pytest.mark.parametrize("error", [KeyboardInterrupt, RunError("refused")])
@pytest.mark.usefixtures("stand_ins")
def test_what_was_made_is_undone_when_a_step_fails(monkeypatch, lab, name, folder, function, error):
    """At its last call, so that much is there; Ctrl-C is no different. The reason is what is said."""
    calls = []
    carry_out = getattr(runs, function)

    def fail_late(*arguments):
        calls.append(arguments)
        if len(calls) == {"make_namespace": 4, "join_hosts": 1}.get(function, 2):
            raise error
        return carry_out(*arguments)

    monkeypatch.setattr(runs, function, fail_late)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        start_run(lab, name, runs=folder)
    assert left(name, folder) == NOTHING


def test_a_card_that_ends_at_once_is_shown_with_its_last_words(monkeypatch, lab, name, folder):
    """And nothing is left."""

    def start(config, _namespace):
        config.with_name("card.log").write_text("ERROR no luck today\n")
        return os.posix_spawn("/bin/true", ["true"], {})

    monkeypatch.setattr(runs, "start_card", start)
    with pytest.raises(RunError, match=r"the card of h[12] has ended: ERROR no luck today"):
        start_run(lab, name, runs=folder)
    assert left(name, folder) == NOTHING


def test_a_card_that_does_not_become_ready_is_not_waited_for_for_ever(monkeypatch, lab, name, folder):
    """The reason is the card's own, or that it does not answer; and nothing is left."""
    monkeypatch.setattr(
        runs, "start_card", lambda *_: os.posix_spawn("/bin/sleep", ["sleep", f"600.{name[1:]}"], {})
    )
    monkeypatch.setattr(
        runs, "await_ready", lambda cards, path: launcher.await_ready(cards, path, timeout=0.0)
    )
    with pytest.raises(
        RunError, match=r"the card of h1 is not ready after 0 seconds: it said nothing; see .*card.log"
    ):
        start_run(lab, name, runs=folder)
    assert left(name, folder) == NOTHING


@pytest.mark.usefixtures("stand_ins")
def test_a_second_run_of_the_name_is_refused_and_the_first_stays(lab, name, folder):
    """State, namespaces and cards are as they were."""
    before = start_run(lab, name, runs=folder)
    with pytest.raises(RunError, match=f"there is a run `{name}` already"):
        start_run(lab, name, runs=folder)
    assert read_state(folder / name) == before
    assert len(stand_ins_alive(name)) == 2


@pytest.mark.usefixtures("stand_ins")
def test_somebody_elses_namespace_is_neither_used_nor_removed(lab, name, folder):
    """Not when it was there before, and not when it comes while namespaces are being made."""
    theirs = f"{name}-b"
    subprocess.run(["ip", "netns", "add", theirs], check=True)
    inode = (NETNS_FOLDER / theirs).stat().st_ino
    try:
        with pytest.raises(RunError, match=f"there is a network namespace `{theirs}` already; .*--name"):
            start_run(lab, name, runs=folder)
        assert left(name, folder) == ([theirs], [], [])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs, "_check_names", lambda _plan: None)
            with pytest.raises(RunError, match=f"somebody has just made a network namespace `{theirs}`"):
                start_run(lab, name, runs=folder)
        assert left(name, folder) == ([theirs], [], [])
        assert (NETNS_FOLDER / theirs).stat().st_ino == inode
    finally:
        subprocess.run(["ip", "netns", "del", theirs], check=True)


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_clash_of_names_with_another_run_names_it_and_deletes_nothing(lab, name, folder, is_damaged):
    """Also where the other's state and record cannot be read any more: its namespace may be in use."""
    other = f"{name}-x"
    start_run(lab, other, runs=folder)
    try:
        if is_damaged:
            for path in (folder / other).rglob("*namespace*.json"):
                path.write_text("")
            (folder / other / "state.json").write_text("{")
        clashing = parse_lab(LAB.replace("a:", "x-a:").replace("from: a", "from: x-a"), "demo.yaml")
        with pytest.raises(RunError) as caught:
            start_run(clashing, name, runs=folder)
        assert str(caught.value) == (
            f"the run `{other}` has a network namespace `{other}-a`; choose another name with --name, or end that run "
            f"with `sudo dtls-emu down {other}`"
        )
        assert sorted(path.name for path in NETNS_FOLDER.glob(f"{name}-*")) == [
            f"{other}-{each}" for each in ("a", "b", "h1", "h2")
        ]
        assert run_names(folder) == [other]
    finally:
        stop_run(other, runs=folder)
        for path in NETNS_FOLDER.glob(f"{name}-*"):
            subprocess.run(["ip", "netns", "del", path.name], check=True)


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("damage", ["cut", "gone", "newer", "a device", "another lab's"])
def test_down_of_a_run_whose_state_is_broken_leaves_nothing(lab, name, folder, damage):
    """It goes by the records of what was made, and says what was wrong."""
    start_run(lab, name, runs=folder)
    path = folder / name / "state.json"
    text = path.read_text()
    path.unlink()
    {
        "cut": lambda: path.write_text(text[:200]),
        "gone": lambda: None,
        "newer": lambda: path.write_text('{"version": 99}'),
        "a device": lambda: path.symlink_to("/dev/zero"),
        "another lab's": lambda: path.write_text(text.replace(f'"{name}"', '"other"')),
    }[damage]()
    with pytest.raises(RunError, match=f"{path}: .*; `sudo dtls-emu down {name}` ends the run"):
        restart_card(name, "h1", runs=folder)
    (note,) = stop_run(name, runs=folder)
    assert note.startswith(f"{path}: ")
    assert left(name, folder) == NOTHING


@pytest.mark.usefixtures("stand_ins")
def test_down_leaves_what_a_damaged_record_does_not_prove_and_says_so(lab, name, folder):
    """Each record in turn is emptied: all the rest goes, and only a namespace whose identity is lost stays."""
    moment = 0
    while True:
        start_run(lab, name, runs=folder)
        records = sorted((folder / name / "made.d").iterdir())
        if moment == len(records):
            break
        record = records[moment]
        record.write_text("")
        notes = stop_run(name, runs=folder)
        assert [note.partition(": ")[0] for note in notes] == [str(record)]
        lost = [record.stem.partition("-namespace-")[2]] if "-namespace-" in record.name else []
        # A host's card is known by its own record, so it ends although the namespace stays.
        assert left(name, folder) == (lost, [], [])
        for each in lost:
            subprocess.run(["ip", "netns", "del", each], check=True)
        moment += 1
    assert moment == 11
    assert stop_run(name, runs=folder) == []


@pytest.mark.usefixtures("stand_ins")
def test_down_touches_nothing_that_is_outside_of_the_run(lab, name, folder, tmp_path):
    """A state and records that name files, sockets and namespaces of others; links that lead out of the folder."""
    start_run(lab, name, runs=folder)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "notes.txt").write_text("mine")
    strange = f"strange-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", strange], check=True)
    run = folder / name
    state = json.loads((run / "state.json").read_text())
    made = [
        {"kind": "card", "host": "h1", "socket": str(theirs / "notes.txt")},
        {"kind": "folder", "path": str(theirs)},
        {"kind": "folder", "path": str(run / "..")},
        {"kind": "namespace", "name": strange},
        {"kind": "namespace", "name": f"../netns/{strange}"},
        {"kind": "interface", "namespace": strange, "name": "lo"},
    ]
    (run / "state.json").write_text(json.dumps(state | {"made": made}))
    shutil.rmtree(run / "h1")
    (run / "h1").symlink_to(theirs)
    (run / "h2" / "deeper").symlink_to(theirs)
    (run / "h2.sock").symlink_to(theirs / "notes.txt")
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(theirs / "h1.sock"))
            listener.listen()
            with pytest.raises(RunError, match=r"what is in it was not made by this run"):
                stop_run(name, runs=folder)
            (run / "h2.sock").unlink()  # somebody put it there, so it was left
            stop_run(name, runs=folder)
            assert sorted(path.name for path in theirs.iterdir()) == ["h1.sock", "notes.txt"]
        assert (NETNS_FOLDER / strange).exists()
        assert left(name, folder) == NOTHING
    finally:
        subprocess.run(["ip", "netns", "del", strange], check=True)


@pytest.mark.usefixtures("stand_ins")
def test_down_goes_by_what_was_written_and_not_by_names(lab, name, folder):
    """A namespace whose name begins like the run's own stays."""
    start_run(lab, name, runs=folder)
    subprocess.run(["ip", "netns", "add", f"{name}-c"], check=True)
    try:
        assert stop_run(name, runs=folder) == []
        assert left(name, folder) == ([f"{name}-c"], [], [])
    finally:
        subprocess.run(["ip", "netns", "del", f"{name}-c"], check=True)


@pytest.mark.usefixtures("stand_ins")
def test_programs_in_vms_end_with_the_run(lab, name, folder):
    """Also those that went into the background; others of the machine do not."""
    start_run(lab, name, runs=folder)
    command = ["sleep", "600"]
    with entered(f"{name}-a"):
        inside = subprocess.Popen(command, start_new_session=True)
    outside = subprocess.Popen(command)
    try:
        stop_run(name, runs=folder)
        assert inside.wait() == -signal.SIGTERM
        assert outside.poll() is None
    finally:
        inside.kill()
        outside.kill()
        outside.wait()


@pytest.mark.usefixtures("stand_ins")
def test_cards_that_were_killed_are_no_obstacle(lab, name, folder):
    """Nor are cables and namespaces that are gone."""
    state = start_run(lab, name, runs=folder)
    for card in state.of(CardProcess):
        os.kill(card.pid, signal.SIGKILL)
    subprocess.run(["ip", "-n", f"{name}-h1", "link", "del", "to-h2"], check=True)
    subprocess.run(["ip", "netns", "del", f"{name}-b"], check=True)
    assert stop_run(name, runs=folder) == []
    assert left(name, folder) == NOTHING


@pytest.mark.usefixtures("stand_ins")
def test_a_state_of_an_earlier_boot_touches_nothing_of_this_one(lab, name, folder):
    """Numbers of inodes and processes mean others now; both are left alone, and it is said."""
    state = start_run(lab, name, runs=folder)
    stand_in, *_ = stand_ins_alive(name)
    with RunFolder.open(name, folder) as opened:
        opened.write(state.model_copy(update={"boot": "an earlier one"}))
    notes = stop_run(name, runs=folder)
    assert len(notes) == len(state.of(Namespace))
    assert all(note.endswith("is another namespace by now") for note in notes)
    assert stand_in in stand_ins_alive(name)
    with RunFolder.claim(name, folder) as again:
        again.write(state)
    assert stop_run(name, runs=folder) == []


@pytest.mark.usefixtures("stand_ins")
def test_the_credentials_of_a_host_are_in_its_folder_and_no_other(lab, name, folder):
    """Folders are 0700, keys 0600, and no key is there twice."""
    start_run(lab, name, runs=folder)
    keys = {path: path.read_bytes() for path in (folder / name).rglob("*.key")}
    assert {path.parent.name for path in keys} == {"h1", "h2"}
    assert len(set(keys.values())) == 2
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in keys} == {0o700}


@pytest.mark.usefixtures("stand_ins")
def test_the_state_holds_no_secret(lab, name, folder):
    """Neither the state nor what a host is told has key material."""
    start_run(lab, name, runs=folder)
    for path in (folder / name).rglob("*.json"):
        assert "PRIVATE" not in path.read_text()


@pytest.mark.usefixtures("stand_ins")
def test_a_card_is_started_anew_with_the_lab_as_it_is_now(lab, name, folder):
    """The old process is gone, the new one in the state, and its file has what was changed meanwhile."""
    before = start_run(lab, name, runs=folder)
    with RunFolder.open(name, folder) as opened:
        opened.write(before.model_copy(update={"lab": before.lab | {"link_defaults": {"loss": "1%"}}}))
    restart_card(name, "h1", runs=folder)
    old, new = (state.of(CardProcess)[0] for state in (before, present(read_state(folder / name))))
    assert old.pid != new.pid
    assert new.pid in stand_ins_alive(name)
    assert old.pid not in stand_ins_alive(name)
    assert '"loss": "1%"' in (folder / name / "h1" / "host.json").read_text()
    assert '"loss": "1%"' not in (folder / name / "h2" / "host.json").read_text()


@pytest.mark.usefixtures("stand_ins")
def test_a_host_that_is_not_there_cannot_be_started(lab, name, folder):
    """Those that are are named."""
    start_run(lab, name, runs=folder)
    with pytest.raises(RunError, match=f"the run `{name}` has no host `h3`; it has: h1, h2"):
        restart_card(name, "h3", runs=folder)


@pytest.mark.usefixtures("stand_ins")
def test_a_run_that_is_not_in_namespaces_of_its_own_is_not_changed_from_outside_of_them(
    monkeypatch, lab, name, folder
):
    """As root's is not by an ordinary user; the message says where to give the command."""
    before = start_run(lab, name, runs=folder)
    with monkeypatch.context() as patch:
        patch.setattr("dtls_emu.deploy.state.os.geteuid", lambda: 1000)
        with pytest.raises(RunError, match="give the command where `up` was given"):
            restart_card(name, "h1", runs=folder)
    assert read_state(folder / name) == before


def test_without_tun_nothing_is_tried(monkeypatch, lab, name, folder):
    """On the machine and in a container."""
    monkeypatch.setattr(runs, "_TUN", Path("/dev/net/nowhere"))
    with pytest.raises(RunError, match="there is no /dev/net/nowhere: modprobe tun"):
        start_run(lab, name, runs=folder)
    assert not folder.exists()


@pytest.fixture
def tiny(tmp_path, name):
    """Make the folder of all runs a disk of so many pages; whatever a failing test leaves is taken away."""
    place = tmp_path / "tiny"
    place.mkdir()

    def make(pages):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={pages * PAGE}", "tmpfs", place], check=True)
        return place / "runs"

    yield make
    if name in run_names(place / "runs"):
        stop_run(name, runs=place / "runs")
    if place.is_mount():
        subprocess.run(["umount", place], check=True)


PAGE = os.sysconf("SC_PAGE_SIZE")


def fill(folder):
    """Take all the room that is left on the disk of a folder."""
    with suppress(OSError), (folder.parent / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(PAGE))


@pytest.mark.usefixtures("stand_ins")
def test_up_on_a_disk_that_is_too_small_is_one_line_and_leaves_nothing(lab, name, tiny, tmp_path):
    """Whatever it is that does not fit: with each size from nearly nothing to one that does."""
    refusals = set()
    for pages in range(1, 64):
        folder = tiny(pages)
        try:
            start_run(lab, name, runs=folder)
        except RunError as error:
            path, _, reason = str(error).partition(": ")
            assert Path(path).is_relative_to(folder)
            assert reason == "No space left on device; make room on its file system"
            refusals.add(Path(path).relative_to(folder / name).parts[-1])
            assert left(name, folder) == NOTHING
        else:
            break
        finally:
            if name in run_names(folder):
                assert stop_run(name, runs=folder) == []
            subprocess.run(["umount", tmp_path / "tiny"], check=True)
    assert {"host.pem", "host.key", "host.json"} < refusals
    assert any("-namespace-" in each for each in refusals)
    assert left(name, folder) == NOTHING


@pytest.mark.usefixtures("stand_ins")
def test_on_a_full_disk_a_card_runs_on_and_down_leaves_nothing(lab, name, tiny):
    """`restart` and `set` say so before they touch anything; with the room of one page they do it."""
    folder = tiny(64)
    before = start_run(lab, name, runs=folder)
    files = {path: path.read_bytes() for path in (folder / name).rglob("*.json")}
    fill(folder)
    for act in (
        lambda: restart_card(name, "h1", runs=folder),
        lambda: change_run(name, "h1-h2", ["mtu=9000"], runs=folder),
    ):
        with pytest.raises(RunError, match=r"/(host|state)\.json.*: No space left on device; make room"):
            act()
        assert read_state(folder / name) == before
        assert {path: path.read_bytes() for path in (folder / name).rglob("*.json")} == files
        assert sorted(stand_ins_alive(name)) == sorted(card.pid for card in before.of(CardProcess))
    with entered(f"{name}-h1"):
        assert "mtu 1650" in subprocess.check_output(["ip", "link", "show", "to-h2"], text=True)

    os.truncate(folder.parent / "fill", (folder.parent / "fill").stat().st_size - PAGE)
    restart_card(name, "h1", runs=folder)
    after = present(read_state(folder / name))
    assert after != before
    assert sorted(stand_ins_alive(name)) == sorted(card.pid for card in after.of(CardProcess))

    fill(folder)
    assert stop_run(name, runs=folder) == []
    assert left(name, folder) == NOTHING


@pytest.mark.usefixtures("stand_ins")
def test_a_card_is_not_stopped_for_a_file_that_no_card_would_take(lab, name, folder):
    """A state with a backend that is not here any more, for one."""
    before = start_run(lab, name, runs=folder)
    with RunFolder.open(name, folder) as opened:
        opened.write(before.model_copy(update={"backend": "zz"}))
    with pytest.raises(LabFileError, match=r"h1/host\.json:\d+: backend: no backend `zz`; "):
        restart_card(name, "h1", runs=folder)
    assert sorted(stand_ins_alive(name)) == sorted(card.pid for card in before.of(CardProcess))


def test_what_a_card_said_before_its_last_start_is_not_shown(monkeypatch, name, folder):
    """Its log goes on where it ended."""
    words = iter(("first, and long ago", "second"))

    def start(config, _namespace):
        with config.with_name("card.log").open("a") as log:
            log.write(f"ERROR {next(words)}\n")
        return os.posix_spawn("/bin/sleep", ["sleep", f"600.{name[1:]}"], {})

    monkeypatch.setattr(runs, "start_card", start)
    monkeypatch.setattr(runs, "await_ready", lambda *_: None)
    one = parse_lab(
        LAB.replace("  h2: {underlay: 192.0.2.2}\n", "").replace("host: h2", "host: h1"), "demo.yaml"
    )
    start_run(one, name, runs=folder)
    monkeypatch.setattr(
        runs, "await_ready", lambda cards, path: launcher.await_ready(cards, path, timeout=0.0)
    )
    with pytest.raises(RunError, match=r"is not ready after 0 seconds: ERROR second$"):
        restart_card(name, "h1", runs=folder)
    assert (folder / name / "h1" / "card.log").read_text().startswith("ERROR first")


@pytest.mark.usefixtures("stand_ins")
def test_nothing_is_written_through_a_link_in_the_folder_of_a_run(lab, name, folder, tmp_path):
    """The folder of a host that is elsewhere by now; the card runs on."""
    before = start_run(lab, name, runs=folder)
    (tmp_path / "theirs").mkdir()
    shutil.rmtree(folder / name / "h1")
    (folder / name / "h1").symlink_to(tmp_path / "theirs")
    with pytest.raises(RunError, match=r"h1: is no folder, so host\.json cannot be written; `down` and `up`"):
        restart_card(name, "h1", runs=folder)
    assert list((tmp_path / "theirs").iterdir()) == []
    assert len(stand_ins_alive(name)) == len(before.of(CardProcess))
    (note,) = stop_run(name, runs=folder)
    assert note == f"{folder / name / 'h1'} is a symbolic link by now; what it leads to is left as it is"


def test_a_card_imports_nothing_from_where_the_command_is_given(tmp_path, monkeypatch):
    """As root, a folder with a `dtls_emu` in it must not be run."""
    (tmp_path / "dtls_emu.py").write_text("print('hijacked')\n")
    (tmp_path / "host").mkdir()
    monkeypatch.chdir(tmp_path)
    pid = launcher.start_card(tmp_path / "host" / "host.json", f"/proc/{os.getpid()}/ns/net")
    os.waitpid(pid, 0)
    said = (tmp_path / "host" / "card.log").read_text()
    assert "hijacked" not in said
    assert "host.json: cannot be read" in said


def test_a_card_that_somebody_has_started_again_by_hand_keeps_its_socket(tmp_path):
    """Only a socket that nobody is behind goes with the card that the state has."""
    cards = [CardProcess(host=host, socket=tmp_path / f"{host}.sock") for host in ("h1", "h2")]
    with socket.socket(socket.AF_UNIX) as living, socket.socket(socket.AF_UNIX) as killed:
        living.bind(str(cards[0].socket))
        living.listen()
        killed.bind(str(cards[1].socket))
        killed.close()
        assert launcher.stop_cards(cards) == []
    assert [card.socket.exists() for card in cards] == [True, False]


def test_a_card_whose_socket_leads_elsewhere_ends_and_nobody_else_is_told(tmp_path):
    """Neither to close nor to change: whoever answers there is not the run's."""
    child = subprocess.Popen(["sleep", "600"])
    process = present(identify(child.pid))
    card = CardProcess(host="h1", socket=tmp_path / "h1.sock", pid=process.pid, started=process.started)
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(tmp_path / "theirs"))
        theirs.listen()
        theirs.setblocking(False)
        card.socket.symlink_to(tmp_path / "theirs")
        (said,) = changes._tell([card], [])
        assert said == f"the card of h1 was not told: {card.socket} is a symbolic link"
        assert launcher.stop_cards([card]) == []
        with pytest.raises(BlockingIOError):
            theirs.accept()
    assert not is_alive(process)
    assert card.socket.is_symlink()
    child.wait()
