"""The state of a run: written first, replaced as a whole, locked, and taken away last."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from dtls_emu.deploy import state as run_state
from dtls_emu.deploy.state import (
    RUNS,
    CardProcess,
    Folder,
    Interface,
    Namespace,
    RunFolder,
    RunState,
    read_state,
    run_names,
    started_by_hand,
)
from dtls_emu.errors import RunError
from dtls_emu.lab import load_lab
from dtls_emu.paths import run_directory
from dtls_emu.testing.present import present


LAB = load_lab("two-vms").model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
STATE = RunState(run="demo", boot="now", lab=LAB)
NAMESPACE = Namespace(name="demo-vm-a")


@pytest.fixture
def folder(tmp_path):
    """The folder of a run, claimed and with a state."""
    with RunFolder.claim("demo", tmp_path) as claimed:
        claimed.write(STATE)
        yield claimed


@pytest.mark.root
def test_runs_are_where_control_sockets_are():
    """One folder for each run holds both."""
    assert run_directory("demo") == RUNS / "demo"


@pytest.mark.usefixtures("folder")
def test_a_name_is_claimed_once(tmp_path):
    """The second is told how to go on."""
    with pytest.raises(
        RunError, match=r"a run `demo` already; end it with `sudo dtls-emu down demo`, or .* --name"
    ):
        RunFolder.claim("demo", tmp_path)
    assert run_names(tmp_path) == ["demo"]


def test_a_folder_that_goes_while_it_is_claimed_is_made_again(tmp_path, monkeypatch):
    """Somebody's `down` finds it empty between making and locking it."""
    locked = RunFolder._locked
    removed: list[Path] = []

    def remove_first(path):
        if not removed:
            removed.append(path)
            descriptor = os.open(path, os.O_RDONLY)
            path.rmdir()
            os.close(descriptor)
            return None
        return locked(path)

    monkeypatch.setattr(RunFolder, "_locked", remove_first)
    with RunFolder.claim("demo", tmp_path):
        assert run_names(tmp_path) == ["demo"]


def test_two_commands_do_not_work_on_one_run(folder, tmp_path, monkeypatch):
    """The lock is the folder's; it is free again when its holder is gone."""
    monkeypatch.setattr(run_state, "LOCK_PATIENCE", 0.0)
    with pytest.raises(RunError, match="another command is at work on the run `demo`"):
        RunFolder.open("demo", tmp_path)
    folder.close()
    with RunFolder.open("demo", tmp_path) as again:
        assert again.state == STATE


def test_a_command_waits_for_one_that_is_about_to_end(folder, tmp_path, monkeypatch):
    """As a look at a run is."""
    monkeypatch.setattr("dtls_emu.deploy.state.time.sleep", lambda _seconds: folder.close())
    with RunFolder.open("demo", tmp_path) as again:
        assert again.state == STATE


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_lock_of_a_killed_process_is_free(tmp_path):
    """The kernel takes it back."""
    RunFolder.claim("demo", tmp_path).close()
    pid = os.fork()
    if pid == 0:
        RunFolder.open("demo", tmp_path)
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    with RunFolder.open("demo", tmp_path):
        assert run_names(tmp_path) == ["demo"]


@pytest.mark.usefixtures("folder")
def test_a_run_that_is_not_there_is_said_with_those_that_are(tmp_path):
    """Or that nothing is up."""
    with pytest.raises(RunError, match="there is no run `other`; there is: demo"):
        RunFolder.open("other", tmp_path)
    with pytest.raises(RunError, match="there is no run `other`; nothing is up"):
        RunFolder.open("other", tmp_path / "nowhere")


def test_everything_that_was_made_is_read_again(folder):
    """Each kind with its identity, in order."""
    card = CardProcess(host="host-1", socket=folder.path / "host-1.sock", pid=7, started=8)
    things = [
        Folder(path=folder.path / "host-1"),
        NAMESPACE,
        Interface(namespace="demo-vm-a", name="eth0"),
        card,
    ]
    folder.add(*things)
    state = present(read_state(folder.path))
    assert list(state.made) == things
    assert state.of(CardProcess) == [card]


def test_an_identity_is_added_where_the_thing_is(folder):
    """Order is that of making."""
    other = Namespace(name="demo-vm-b")
    folder.add(NAMESPACE, other)
    made = NAMESPACE.model_copy(update={"inode": 5})
    folder.replace(NAMESPACE, made)
    assert present(read_state(folder.path)).made == (made, other)


def test_what_is_gone_is_struck_out(folder):
    """The rest stays."""
    other = Namespace(name="demo-vm-b")
    folder.add(NAMESPACE, other)
    folder.strike(NAMESPACE)
    assert present(read_state(folder.path)).made == (other,)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_writer_that_dies_leaves_the_old_state_whole(folder, monkeypatch, moment):
    """At any moment until the new file has the name."""

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"dtls_emu.deploy.state.{'os' if moment == 'fsync' else 'Path'}.{moment}", die)
        with pytest.raises(KeyboardInterrupt):
            folder.add(NAMESPACE)
    assert read_state(folder.path) == STATE
    folder.add(NAMESPACE)
    assert present(read_state(folder.path)).made == (NAMESPACE,)


def test_the_state_is_on_disk_before_it_has_the_name(folder, monkeypatch):
    """File, then name, then folder: so a crash of the machine leaves one or the other."""
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def sync(file):
        order.append("sync")
        fsync(file)

    def name(old, new):
        order.append("name")
        return replace(old, new)

    monkeypatch.setattr("dtls_emu.deploy.state.os.fsync", sync)
    monkeypatch.setattr("dtls_emu.deploy.state.Path.replace", name)
    folder.add(NAMESPACE)
    assert order == ["sync", "name", "sync"]


def test_the_state_is_for_its_owner_only(folder):
    """Folder and file."""
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert (folder.path / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_none_of_ours_is_not_obeyed(folder, tmp_path):
    """Neither what is no JSON nor an unknown key nor another version; the message has the path, and what to do."""
    folder.close()
    path = folder.path / "state.json"
    good = json.loads(path.read_text())
    for text in ("{", json.dumps(good | {"version": 0}), json.dumps(good | {"surprise": 1})):
        path.write_text(text)
        with pytest.raises(
            RunError,
            match=r"demo/state.json: is (damaged|no .* of this version): .*; `sudo dtls-emu down demo`",
        ):
            RunFolder.open("demo", tmp_path)


def test_a_run_whose_command_died_at_once_has_no_state(tmp_path):
    """Nothing was made; the folder can be taken away."""
    RunFolder.claim("demo", tmp_path).close()
    with RunFolder.open("demo", tmp_path) as folder:
        assert folder.state is None
        folder.remove()
    assert run_names(tmp_path) == []


def test_the_folder_goes_last(folder, tmp_path):
    """With a half-written state, too; and the folder of all runs when it was the last."""
    (folder.path / "state.json.new").write_text("{")
    folder.remove()
    assert not tmp_path.exists()


@pytest.fixture
def full_disk(monkeypatch):
    """From now on nothing more can be written; what is there can be removed."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "write", full)


def test_on_a_full_disk_nothing_is_written_and_the_file_is_named(folder, full_disk):
    """The state, or the record of a thing; what was on disk is there still, and the lock is kept."""
    folder.add(NAMESPACE)
    full_disk()
    reason = "No space left on device; make room on its file system"
    record = "made.d/000002-namespace-demo-vm-b.json"
    with pytest.raises(RunError, match=rf"^{folder.path / record}: {reason}$"):
        folder.add(Namespace(name="demo-vm-b"))
    with pytest.raises(RunError, match=rf"^{folder.path / 'state.json'}: {reason}$"):
        folder.write(folder.known.model_copy(update={"lab": LAB | {"seed": 5}}))
    assert read_state(folder.path) == folder.known == STATE.model_copy(update={"made": (NAMESPACE,)})


def test_to_strike_things_out_and_to_remove_a_run_needs_no_room(folder, full_disk, tmp_path):
    """Nothing is written on the way."""
    other = Namespace(name="demo-vm-b")
    folder.add(NAMESPACE, other)
    full_disk()
    folder.strike(NAMESPACE)
    assert present(read_state(folder.path)).made == (other,)
    folder.strike(other)
    folder.remove()
    assert not tmp_path.exists()


@pytest.mark.parametrize("lab", [None, LAB | {"seed": 5}], ids=["one thing", "the lab"])
def test_room_is_taken_before_and_used_after(folder, monkeypatch, lab):
    """What fails for lack of room fails at once; what has its room does not need a new file any more."""
    folder.add(NAMESPACE)
    state = folder.known if lab is None else folder.known.model_copy(update={"lab": lab})
    with folder.room(None if lab is None else state):
        opened = os.open

        def no_new_file(path, flags, *mode, **options):
            assert not flags & os.O_CREAT or Path(path).exists(), path
            return opened(path, flags, *mode, **options)

        monkeypatch.setattr(os, "open", no_new_file)
        if lab is None:
            folder.replace(NAMESPACE, NAMESPACE.model_copy(update={"inode": 5}))
        else:
            folder.write(state)
        monkeypatch.undo()
    assert not [path for path in folder.path.rglob("*") if path.name in {"new", "state.json.new"}]


def test_room_that_is_not_there_is_said_before_anything_is_done(folder, full_disk):
    """The body is not begun."""
    full_disk()
    with pytest.raises(RunError, match="No space left on device"), folder.room():
        pytest.fail("begun")
    with pytest.raises(RunError, match="No space left on device"), folder.room(STATE):
        pytest.fail("begun")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    """With the reason; the folder of all runs is not left behind."""
    mkdir = Path.mkdir

    def full(path, *arguments, **named):
        if path.name == "demo":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        mkdir(path, *arguments, **named)

    monkeypatch.setattr("dtls_emu.deploy.state.Path.mkdir", full)
    with pytest.raises(RunError, match=r"runs/demo: No space left on device; make room"):
        RunFolder.claim("demo", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("there", ["file", "link"])
def test_what_is_no_folder_is_in_the_way_and_no_run(tmp_path, there):
    """A link is not followed to where it leads."""
    path = tmp_path / "demo"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path.write_text("x") if there == "file" else path.symlink_to(elsewhere)
    assert run_names(tmp_path) == ["elsewhere"]
    with pytest.raises(RunError, match=rf"^{path} is in the way: it is no folder of runs; remove it$"):
        RunFolder.claim("demo", tmp_path)
    with pytest.raises(RunError, match=rf"^{path}: Not a directory$"):
        RunFolder.open("demo", tmp_path)
    path.unlink()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../demo", "/run", "a\0b"])
def test_a_name_that_leads_out_of_the_folder_of_runs_is_no_run(folder, tmp_path, name):
    """Nothing there is looked at."""
    assert folder.path.exists()
    with pytest.raises(RunError, match="there is no run"):
        RunFolder.open(name, tmp_path / "inner")


def test_a_link_to_a_socket_is_no_host_that_was_started_by_hand(tmp_path):
    """Nobody outside of the folder is asked, and the link goes with it."""
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "theirs"))
        listener.listen()
        (tmp_path / "runs" / "mine" / "h.sock").symlink_to(tmp_path / "theirs")
        assert started_by_hand(tmp_path / "runs" / "mine") == []


def test_what_somebody_put_into_the_folder_is_not_removed(folder):
    """It is said instead."""
    (folder.path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="what is in it was not made by this run"):
        folder.remove()
    assert (folder.path / "notes.txt").read_text() == "mine"


@pytest.fixture
def by_hand(tmp_path):
    """The control socket of a host in a folder without a state, and what listens there."""
    path = tmp_path / "mine" / "host-1.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path, listener


def test_the_folder_of_a_host_that_was_started_by_hand_is_no_run(by_hand, tmp_path):
    """It is not listed, its name cannot be claimed, and nobody works on it: all say where the host is."""
    path, _ = by_hand
    assert started_by_hand(path.parent) == [path]
    assert run_names(tmp_path) == []
    said = rf"`mine` is no run: at {path} answers a host that was started by hand"
    with pytest.raises(RunError, match=rf"^{said}; choose another name with --name$"):
        RunFolder.claim("mine", tmp_path)
    with pytest.raises(RunError, match=rf"^{said}$"):
        RunFolder.open("mine", tmp_path)


def test_a_socket_below_the_folder_counts_as_well(tmp_path):
    """A host's file may name any."""
    inner = tmp_path / "mine" / "inner"
    inner.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(inner / "control"))
        listener.listen()
        assert started_by_hand(tmp_path / "mine") == [inner / "control"]


def test_what_a_killed_host_has_left_is_a_run_that_can_be_taken_away(by_hand, tmp_path):
    """Its socket goes with the folder."""
    path, listener = by_hand
    listener.close()
    assert started_by_hand(path.parent) == []
    assert run_names(tmp_path) == ["mine"]
    with RunFolder.open("mine", tmp_path) as folder:
        folder.remove()
    assert not path.parent.exists()


def test_a_run_that_goes_leaves_the_folder_to_a_host_that_lives_in_it(folder, tmp_path):
    """With its socket; that of a killed one goes."""
    with socket.socket(socket.AF_UNIX) as living, socket.socket(socket.AF_UNIX) as killed:
        living.bind(str(folder.path / "living.sock"))
        living.listen()
        killed.bind(str(folder.path / "killed.sock"))
        killed.close()
        assert run_names(tmp_path) == ["demo"]  # there is a state
        folder.remove()
        assert [path.name for path in folder.path.iterdir()] == ["living.sock"]
        assert run_names(tmp_path) == []


def test_a_run_that_has_made_nothing_cannot_be_worked_on(tmp_path):
    """Its command was killed at once; it is said what to do."""
    RunFolder.claim("demo", tmp_path).close()
    said = "nothing of the run `demo` was made; `dtls-emu down demo` removes it"
    with RunFolder.open("demo", tmp_path) as folder, pytest.raises(RunError, match=said):
        folder.add(NAMESPACE)
