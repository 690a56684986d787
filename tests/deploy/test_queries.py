"""What is up, what is left over, and where things are, is told by state and processes; nothing is changed."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from dtls_emu.deploy.queries import (
    Place,
    RunCondition,
    RunSummary,
    find_place,
    hosts_by_hand,
    only_run,
    readable_states,
    summaries,
)
from dtls_emu.deploy.state import (
    CardProcess,
    Folder,
    Namespace,
    RunFolder,
    RunState,
    boot_id,
    run_names,
)
from dtls_emu.errors import RunError
from dtls_emu.lab import load_lab
from dtls_emu.machine.processes import identify
from dtls_emu.testing.present import present


LAB = load_lab("two-vms").model_dump(mode="json", exclude_unset=True, exclude={"traffic"})


@pytest.fixture
def make_run(tmp_path):
    """Make the folder of a run with cards, of which some have a process: this one."""

    def make(name, *alive, boot=None, lab=LAB):
        me = present(identify(os.getpid()))
        with RunFolder.claim(name, tmp_path) as folder:
            folder.write(RunState(run=name, boot=boot or boot_id(), lab=lab))
            folder.add(
                Namespace(name=f"{name}-a"), Namespace(name=f"{name}-b"), Folder(path=folder.path / "x")
            )
            for index, runs in enumerate(alive, start=1):
                started = me.started if runs else me.started - 1
                host = f"host-{index}"
                socket = folder.path / f"{host}.sock"
                folder.add(CardProcess(host=host, socket=socket, pid=me.pid, started=started))
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("alive", "condition", "stopped"),
    [
        ([True, True], RunCondition.UP, ()),
        ([True, False], RunCondition.IMPAIRED, ("host-2",)),
        ([False, False], RunCondition.DEAD, ("host-1", "host-2")),
    ],
)
def test_a_run_is_as_alive_as_its_cards(make_run, alive, condition, stopped):
    """Cards are processes, known by number and start."""
    made = ("2 namespaces", "2 cards", "1 folder")
    assert summaries(make_run("demo", *alive)) == [RunSummary("demo", condition, made, stopped)]


def test_a_run_that_has_no_card_yet_and_whose_command_is_gone_is_dead(make_run):
    """`up` was killed."""
    (summary,) = summaries(make_run("demo"))
    assert (summary.condition, summary.made) == (RunCondition.DEAD, ("2 namespaces", "1 folder"))


def test_a_run_of_an_earlier_boot_is_dead(make_run):
    """Whoever has the numbers of its processes now."""
    (summary,) = summaries(make_run("demo", True, boot="an earlier one"))
    assert summary.condition is RunCondition.DEAD


def test_a_run_that_is_being_made_is_busy(tmp_path):
    """Its command holds the lock; it is no leftover. To look does not take the lock away."""
    with RunFolder.claim("demo", tmp_path):
        assert summaries(tmp_path) == [RunSummary("demo", RunCondition.BUSY)]
        assert summaries(tmp_path) == [RunSummary("demo", RunCondition.BUSY)]
    assert summaries(tmp_path) == [RunSummary("demo", RunCondition.DEAD, (str(tmp_path / "demo"),))]


def test_a_state_that_cannot_be_read_is_reported_and_not_raised(tmp_path):
    """`doctor` goes on."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "state.json").write_text("{")
    (summary,) = summaries(tmp_path)
    assert summary.condition is RunCondition.UNREADABLE
    assert "demo/state.json: is damaged: " in summary.made[0]
    assert "`sudo dtls-emu down demo` ends the run" in summary.made[0]


def test_a_run_that_cannot_be_read_is_no_obstacle_to_the_others(make_run):
    """Its VMs are looked for in the others; where they are not found, it is named with what to do."""
    make_run("good", True)
    runs = make_run("bad")
    (runs / "bad" / "state.json").write_text('{"version": 9}')
    assert find_place("vm-a", runs=runs) == Place("good", "good-vm-a")
    assert find_place("vm-a", "good", runs) == Place("good", "good-vm-a")
    said = (
        f"the run `bad` cannot be read: {runs}/bad/state.json: is of a newer dtls-emu (version 9; this one knows 2); "
        "`sudo dtls-emu down bad` ends the run by what can be read of it"
    )
    assert readable_states(runs)[1] == {"bad": said}
    with pytest.raises(RunError, match="no VM or host `vm-x` is up; ") as caught:
        find_place("vm-x", runs=runs)
    assert str(caught.value).endswith(f"; {said}")
    with pytest.raises(RunError, match=r"^.*bad/state.json: is of a newer dtls-emu"):
        find_place("vm-a", "bad", runs)
    assert [each.condition for each in summaries(runs)] == [RunCondition.UNREADABLE, RunCondition.UP]


def test_a_vm_and_a_host_are_found_in_the_run_that_has_them(make_run):
    """By the names of the lab."""
    runs = make_run("demo")
    assert find_place("vm-a", runs=runs) == Place("demo", "demo-vm-a")
    assert find_place("host-2", "demo", runs) == Place("demo", "demo-host-2")


def test_a_name_in_two_runs_is_asked_about(make_run):
    """Until the run is named."""
    make_run("one")
    runs = make_run("two")
    with pytest.raises(RunError, match="several runs have `vm-a`; write --run one or --run two"):
        find_place("vm-a", runs=runs)
    assert find_place("vm-a", "two", runs) == Place("two", "two-vm-a")


def test_a_name_that_is_nowhere_comes_with_those_that_are(make_run, tmp_path):
    """Or that nothing is up."""
    with pytest.raises(RunError, match=r"^nothing is up$"):
        find_place("vm-a", runs=tmp_path / "none")
    runs = make_run("demo")
    with pytest.raises(RunError, match=r"no VM or host `vm-aa` is up; did you mean `vm-a`\?"):
        find_place("vm-aa", runs=runs)
    with pytest.raises(RunError, match=r"^there is no run `other`; there is: demo$"):
        find_place("vm-a", "other", runs)


def test_the_only_run_is_meant_when_none_is_named(make_run, tmp_path):
    """None and several are said."""
    with pytest.raises(RunError, match=r"^nothing is up$"):
        only_run(tmp_path)
    runs = make_run("one")
    assert only_run(runs) == "one"
    make_run("two")
    with pytest.raises(RunError, match="several runs are up; name one: one, two"):
        only_run(runs)


def test_a_host_that_was_started_by_hand_is_beside_the_runs_until_it_is_killed(make_run):
    """Then its folder is what is left over."""
    runs = make_run("demo", True)
    folder = runs / "mine"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "host-1.sock"))
        listener.listen()
        assert hosts_by_hand(runs) == [folder / "host-1.sock"]
        assert [summary.run for summary in summaries(runs)] == ["demo"]
        assert only_run(runs) == "demo"
    assert hosts_by_hand(runs) == []
    assert summaries(runs)[1] == RunSummary("mine", RunCondition.DEAD, (str(folder),))
    assert hosts_by_hand(runs / "nowhere") == []


@pytest.mark.parametrize("ask", [hosts_by_hand, run_names])
def test_a_folder_of_runs_that_is_none_is_to_be_removed(tmp_path, ask):
    """Root, too, may be told what helps: that it is not a matter of permissions."""
    runs = tmp_path / "runs"
    runs.write_text("x")
    with pytest.raises(RunError, match=rf"^{runs} is in the way: it is no folder of runs; remove it$"):
        ask(runs)


@pytest.mark.parametrize("ask", [hosts_by_hand, run_names])
def test_a_folder_of_runs_that_may_not_be_read_needs_root(tmp_path, monkeypatch, ask):
    """The one error of which that is true."""

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(RunError, match=rf"^{tmp_path}: Permission denied; it needs root$"):
        ask(tmp_path)
