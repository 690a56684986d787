"""A run is read however damaged it is: what is wrong is said, and what is left of it is known."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.deploy.changes import find_run
from dtls_emu.deploy.queries import find_place, summaries
from dtls_emu.deploy.reading import STATE_FILE, has_namespace, read_state, salvage
from dtls_emu.deploy.records import RECORDS
from dtls_emu.deploy.state import CardProcess, Folder, Interface, Namespace, RunFolder, RunState
from dtls_emu.errors import DtlsEmuError, RunError
from dtls_emu.host.config import load_host_config
from dtls_emu.lab import load_lab
from dtls_emu.testing.present import present


LAB = load_lab("two-vms").model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
HOST = {
    "version": 1,
    "run": "demo",
    "host": "host-1",
    "lab": LAB,
    "backend": "null",
    "control_socket": "host-1.sock",
    "underlays": {"host-1": "pod-1.lab"},
    "credentials": {"certificate": "a", "private_key": "b", "authorities": {"eastus": "c"}},
    "vms": [{"vm": "vm-a", "netns": "demo-vm-a", "device": "tun0", "create": False}],
}


def things(folder):
    """One of each kind, as a run called demo may have them."""
    return (
        Folder(path=folder / "host-1"),
        Namespace(name="demo-vm-a", inode=5),
        Interface(namespace="demo-vm-a", name="eth0"),
        CardProcess(host="host-1", socket=folder / "host-1.sock", pid=(1 << 22) + 1, started=8),
    )


@pytest.fixture
def run(tmp_path):
    """The folder of a run, with all of its things on record."""
    with RunFolder.claim("demo", tmp_path) as folder:
        folder.write(RunState(run="demo", boot="a boot", lab=LAB))
        folder.add(*things(folder.path))
    return folder.path


WRONG_STATES = {
    "cut short": (lambda text: text[:100], "is damaged: "),
    "empty": (lambda _: "", "is damaged: "),
    "a list": (lambda _: "[]", "is damaged: not an object"),
    "nested without end": (lambda _: "[" * 100_000, "is damaged: "),
    "newer": (lambda _: '{"version": 3}', r"is of a newer dtls-emu \(version 3; this one knows 2\)"),
    "another run's": (
        lambda text: text.replace('"run": "demo"', '"run": "other"'),
        "is the state of another run, `other`",
    ),
    "no lab": (
        lambda text: json.dumps(json.loads(text) | {"lab": {}}),
        "holds no lab: lab.virtual_networks: ",
    ),
    "a wrong lab": (
        lambda text: json.dumps(json.loads(text) | {"lab": LAB | {"vms": {"x": 5}}}),
        "holds no lab: lab.vms.x: ",
    ),
}


@pytest.mark.parametrize(("damage", "message"), WRONG_STATES.values(), ids=WRONG_STATES)
def test_a_broken_state_takes_none_of_the_records_with_it(run, damage, message):
    """It is refused with what to do, and everything that was made is known."""
    path = run / STATE_FILE
    path.write_text(damage(path.read_text()))
    remedy = "`sudo dtls-emu down demo` ends the run by what can be read of it$"
    with pytest.raises(RunError, match=rf"^{path}: {message}.*; {remedy}"):
        read_state(run)
    found = salvage(run)
    assert len(found.damage) == 1
    assert present(found.state).made == things(run)
    assert present(found.state).boot == "a boot"


def test_a_state_that_is_gone_takes_none_of_the_records_with_it(run):
    """A run is there as long as it has records."""
    (run / STATE_FILE).unlink()
    with pytest.raises(RunError, match=rf"^{run / STATE_FILE}: is not there; `sudo dtls-emu down demo`"):
        read_state(run)
    assert present(salvage(run).state).made == things(run)


@pytest.mark.parametrize("kind", ["device", "fifo", "folder"])
def test_a_state_that_is_no_file_is_not_waited_for(run, kind):
    """It would never end."""
    path = run / STATE_FILE
    path.unlink()
    {
        "device": lambda: path.symlink_to("/dev/zero"),
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }[kind]()
    with pytest.raises(RunError, match="not a regular file; `sudo dtls-emu down demo`"):
        read_state(run)
    assert present(salvage(run).state).made == things(run)


def test_one_damaged_record_is_said_and_the_others_are_known(run):
    """With what follows from it."""
    (record,) = (run / RECORDS).glob("*-namespace-*")
    record.write_bytes(b"")
    found = salvage(run)
    (damage,) = found.damage
    assert damage.startswith(f"{record}: ")
    assert damage.endswith("what it is about is left as it is, unless it goes with something else of the run")
    assert present(found.state).made == tuple(each for each in things(run) if not isinstance(each, Namespace))
    assert has_namespace(run, "demo-vm-a")
    assert not has_namespace(run, "demo-vm-b")


def test_a_state_of_version_1_holds_what_was_made_itself(run):
    """A run of an earlier dtls-emu can be worked on and ended; what is changed gets a record."""
    for path in (run / RECORDS).iterdir():
        path.unlink()
    (run / RECORDS).rmdir()
    made = [each.model_dump(mode="json", exclude={"said"}) for each in things(run)]
    header = json.loads((run / STATE_FILE).read_text())
    (run / STATE_FILE).write_text(json.dumps(header | {"version": 1, "made": made}))
    assert present(read_state(run)).made == things(run)
    card = things(run)[-1]
    anew = card.model_copy(update={"pid": 77})
    with RunFolder.open("demo", run.parent) as folder:
        folder.replace(card, anew)
    assert present(read_state(run)).made == (*things(run)[:-1], anew)


def test_a_state_of_version_1_is_not_believed_beyond_the_run_either(run):
    """A socket outside, a namespace of another run."""
    header = json.loads((run / STATE_FILE).read_text())
    made = [
        {"kind": "card", "host": "host-2", "socket": "/run/dtls-emu/other/host-2.sock"},
        {"kind": "namespace", "name": "other-vm-a", "inode": 4},
        "nonsense",
    ]
    (run / STATE_FILE).write_text(json.dumps(header | {"version": 1, "made": made}))
    found = salvage(run)
    assert [each.rpartition(": ")[2] for each in found.damage[:2]] == [
        "names a control socket that is not the run's",
        "names something that is not the run's",
    ]
    assert len(found.damage) == 3
    assert set(present(found.state).made) == {
        *things(run),
        CardProcess(host="host-2", socket=run / "host-2.sock"),
    }


# ---------------------------------------------------------------------------------- whatever is in the files


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        [
            "",
            "\0",
            "a\0b",
            "\ud800",
            "..",
            "/etc/passwd",
            "x" * 300,
            "1%",
            "1e999ms",
            "::",
            "10.0.0.0/24",
            "demo-x",
        ]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


def places(document, path=()):
    """Every place in a document."""
    if path:
        yield path
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


@st.composite
def damaged(draw, document):
    """The text of a document in which a few places hold something else, or which is cut or has other bytes."""
    document = deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        there = list(places(document))
        if not there:
            break
        *way, last = draw(st.sampled_from(there))
        place = document
        for step in way:
            place = place[step]
        if draw(st.booleans()):
            place[last] = draw(VALUES)
        elif isinstance(place, dict):
            place[draw(st.sampled_from([last, "made", "x", ""]))] = draw(VALUES)
            place.pop(last, None)
    text = json.dumps(document).encode()
    how = draw(st.sampled_from(["whole", "whole", "cut", "bytes"]))
    if how == "cut":
        text = text[: draw(st.integers(0, len(text)))]
    elif how == "bytes":
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(max_size=4)) + text[at + 2 :]
    return text


ENVELOPE = {
    "version": 1,
    "boot": "a boot",
    "made": {"kind": "card", "host": "host-1", "socket": "s", "pid": 7},
}
ANYTHING = st.binary(max_size=64) | VALUES.map(lambda value: json.dumps(value).encode())
STATE = {"version": 1, "run": "demo", "boot": "b", "lab": LAB, "made": [ENVELOPE["made"]], "backend": None}


@settings(max_examples=60, deadline=None)
@given(
    state=ANYTHING | damaged(STATE),
    record=ANYTHING | damaged(ENVELOPE),
    name=st.sampled_from(
        ["card-host-1", "namespace-demo-vm-a", "folder-host-1", "interface-e@demo-a", "x-y"]
    ),
)
def test_whatever_is_in_the_files_of_a_run_is_a_documented_error_or_none(
    tmp_path_factory, state, record, name
):
    """Everything that reads a run is asked; ending it can always be begun."""
    runs = tmp_path_factory.mktemp("runs")
    folder = runs / "demo"
    (folder / RECORDS).mkdir(parents=True)
    (folder / STATE_FILE).write_bytes(state)
    (folder / RECORDS / f"000001-{name}.json").write_bytes(record)
    for act in (
        lambda: read_state(folder),
        lambda: find_place("vm-a", runs=runs),
        lambda: find_run("prod", runs),
        lambda: RunFolder.open("demo", runs).close(),
    ):
        with suppress(DtlsEmuError):
            act()
    assert len(summaries(runs)) == 1
    with RunFolder.open("demo", runs, damaged=True) as opened:
        made = opened.known.made
        opened.strike(*made)
        opened.remove()
    assert not folder.exists()
    for each in made:
        assert getattr(each, "path", folder).is_relative_to(folder)
        assert getattr(each, "socket", folder).parent in {folder, runs}
        assert getattr(each, "namespace", "demo-").startswith("demo-")


@settings(max_examples=60, deadline=None)
@given(content=ANYTHING | damaged(HOST))
def test_whatever_is_in_a_hosts_file_is_a_documented_error_or_none(tmp_path_factory, content):
    """`up` and exports write it; people change it."""
    path = tmp_path_factory.getbasetemp() / "host.json"
    path.write_bytes(content)
    complaint = None
    try:
        load_host_config(path)
    except DtlsEmuError as error:
        complaint = str(error)
    assert complaint is None or str(path) in complaint
