"""A running lab is changed: its state and every card, or one card; a wrong change changes nothing."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading

import pytest

from dtls_emu.assembly.targets import Change
from dtls_emu.deploy import changes
from dtls_emu.deploy.changes import change_host, change_run, find_run
from dtls_emu.deploy.state import RunFolder, RunState, read_state
from dtls_emu.errors import LabFileError, RunError
from dtls_emu.host.control.client import ControlError
from dtls_emu.host.control.server import ChangeTarget, ControlServer


@pytest.fixture
def document():
    """A lab with two hosts and a link."""
    return {
        "name": "demo",
        "virtual_networks": {
            "prod": {"address_prefixes": ["10.0.0.0/24"], "vni": 1, "encryption": {"enabled": True}},
        },
        "hosts": {"host-1": {"underlay": "192.0.2.1"}, "host-2": {"underlay": "192.0.2.2"}},
        "vms": {"vm-a": {"host": "host-1", "virtual_network": "prod", "address": "10.0.0.4"}},
        "links": [{"between": ["host-2", "host-1"], "delay": "5ms", "mtu": 1650}],
    }


@pytest.fixture
def run(tmp_path, document, monkeypatch):
    """A run without cards and namespaces, by its folder of runs; nothing of it needs root."""
    monkeypatch.setattr(changes, "require_root", lambda: None)
    with RunFolder.claim("demo", tmp_path) as folder:
        folder.write(RunState(run="demo", boot="now", lab=document))
    return tmp_path


def test_the_state_has_the_lab_as_it_is_now(run):
    """A card that is started anew is given it."""
    change_run("demo", "prod", ["encryption.enforcement=DropUnencrypted"], runs=run)
    change_run("demo", "host-1-host-2", ["loss=1%"], runs=run)
    lab = read_state(run / "demo").lab
    assert lab["virtual_networks"]["prod"]["encryption"] == {
        "enabled": True,
        "enforcement": "DropUnencrypted",
    }
    assert lab["links"][0] == {"between": ["host-2", "host-1"], "delay": "5ms", "mtu": 1650, "loss": "1%"}


@pytest.mark.parametrize(
    ("target", "word", "message"),
    [
        ("host-1-host-2", "loss=1", r"lab: links\[0\]\.loss: `1` has no unit; write a share with its unit"),
        ("host-1-host-2", "mtu=12", r"lab: links\[0\]\.mtu: .*284"),
        (
            "prod",
            "encryption.enforcment=x",
            r"lab: virtual_networks\.prod\.encryption\.enforcment: unknown key; did you mean `enforcement`\?",
        ),
        (
            "prod",
            "encryption.enabld=true",
            r"lab: virtual_networks\.prod\.encryption\.enabld: unknown key; did you mean `enabled`\?",
        ),
        ("vm-a", "size=huge", r"lab: vms\.vm-a\.size: `huge` is no VM size that is known; write one such as"),
    ],
)
def test_a_wrong_value_is_said_as_for_a_lab_file_and_nothing_changes(run, target, word, message):
    """The key, what is wrong, what to write."""
    before = read_state(run / "demo")
    with pytest.raises(LabFileError, match=message):
        change_run("demo", target, [word], runs=run)
    assert read_state(run / "demo") == before


@pytest.mark.parametrize(
    ("target", "word", "what"),
    [
        ("vm-a", "mtu=1400", "mtu of vm-a"),
        ("vm-a", "address=10.0.0.9", "addresses of vm-a, mac of vm-a"),
        ("prod", "vni=7", "vni of prod"),
        ("host-1", "underlay=192.0.2.9", "underlay of host-1"),
    ],
)
def test_what_a_running_host_is_made_of_cannot_be_changed(run, target, word, what):
    """It is said what to do instead; the state is as it was."""
    before = read_state(run / "demo")
    with pytest.raises(
        RunError, match=rf"{what}: not while it is up; `down`, change the lab file, and `up` again"
    ):
        change_run("demo", target, [word], runs=run)
    assert read_state(run / "demo") == before


@pytest.mark.parametrize("word", ["loss=!!binary MSU=", "mtu=01500", "loss=[1"])
def test_a_value_that_cannot_be_read_changes_nothing(run, word):
    """It is neither the default again nor another number."""
    before = read_state(run / "demo")
    with pytest.raises(RunError, match=";"):
        change_run("demo", "host-1-host-2", [word], runs=run)
    assert read_state(run / "demo") == before


def test_the_run_of_a_target_is_found(run, document):
    """Where one has it; none and several are said."""
    assert find_run("host-1-host-2", run) == "demo"
    with pytest.raises(RunError, match="nothing here is called `other`"):
        find_run("other", run)
    with pytest.raises(RunError, match=r"^nothing is up$"):
        find_run("prod", run / "nowhere")
    with RunFolder.claim("more", run) as folder:
        folder.write(RunState(run="more", boot="now", lab=document))
    with pytest.raises(RunError, match="several runs have `prod`; write --run demo or --run more"):
        find_run("prod", run)


def test_a_run_that_cannot_be_read_is_no_obstacle_to_changing_another(run, document):
    """Where nothing has the target, it is named with what to do."""
    with RunFolder.claim("bad", run) as folder:
        folder.write(RunState(run="bad", boot="now", lab=document))
    (run / "bad" / "state.json").write_text("{")
    assert find_run("prod", run) == "demo"
    change_run("demo", "host-1-host-2", ["loss=1%"], runs=run)
    remedy = "`sudo dtls-emu down bad` ends the run by what can be read of it$"
    with pytest.raises(
        RunError, match=rf"nothing here is called `other`.*; the run `bad` cannot be read: .*{remedy}"
    ):
        find_run("other", run)
    with pytest.raises(RunError, match=rf"bad/state.json: .*{remedy}"):
        change_run("bad", "prod", ["encryption.enabled=false"], runs=run)


def test_a_change_that_cannot_be_written_changes_nothing(run, monkeypatch):
    """Neither a cable nor a card is told before there is room for the state."""
    monkeypatch.setattr(changes, "set_mtu", pytest.fail)
    monkeypatch.setattr(changes, "_tell", pytest.fail)
    before = read_state(run / "demo")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunError, match=r"demo/state\.json\.new: No space left on device; make room"):
        change_run("demo", "host-1-host-2", ["mtu=9000"], runs=run)
    assert read_state(run / "demo") == before


def test_a_host_that_was_started_by_hand_is_named_where_no_run_is(tmp_path):
    """With what reaches it."""
    path = tmp_path / "mine" / "h1.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        said = f"^nothing is up; a host that was started by hand is told with --socket {path}$"
        with pytest.raises(RunError, match=said):
            find_run("prod", tmp_path)


@pytest.fixture
def card(tmp_path):
    """Answer one request at a control socket in a thread: the path, what to answer, what was asked."""
    asked, answers = [], []

    def answer(request):
        asked.append(request)
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    server = ControlServer(tmp_path / "h1.sock", answer)
    ended = threading.Event()

    def serve():
        while not ended.is_set():
            if select.select([server], [], [], 0.05)[0]:
                server.serve(0.0)

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.path, answers, asked
    ended.set()
    thread.join()
    server.close()


def test_one_card_is_told_what_a_person_names(card):
    """It knows its own lab, so it finds the place; what it changed is returned. No root, no run."""
    path, answers, asked = card
    answers.append({"changes": [{"path": ["links", 0], "value": {"loss": "1%", "mtu": None}}]})
    done = change_host(path, "host-1-host-2", ["loss=1%", "mtu="])
    assert done == [Change(("links", 0), {"loss": "1%", "mtu": None})]
    assert asked == [
        ChangeTarget(command="change", target="host-1-host-2", values={"loss": "1%", "mtu": None})
    ]


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (LabFileError(["lab: a: bad", "lab: b: worse"]), LabFileError, "^lab: a: bad\nlab: b: worse$"),
        (RunError("nothing here is called `x`"), ControlError, "^nothing here is called `x`$"),
    ],
)
def test_what_one_card_refuses_is_said_as_for_a_run(card, answer, error, message):
    """A line for each problem of the lab, or why not."""
    path, answers, _ = card
    answers.append(answer)
    with pytest.raises(error, match=message):
        change_host(path, "x", ["a=1"])


def test_a_word_that_sets_nothing_is_not_sent(tmp_path):
    """It is refused before anybody is asked; a socket where nobody is comes after it."""
    with pytest.raises(RunError, match="`loss` is no assignment"):
        change_host(tmp_path / "nowhere.sock", "link_defaults", ["loss"])
    with pytest.raises(ControlError, match=r"nowhere\.sock: No such file or directory"):
        change_host(tmp_path / "nowhere.sock", "link_defaults", ["loss=1%"])
