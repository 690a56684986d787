"""Each thing that a run makes has a record of its own, and none is believed beyond the run itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dtls_emu.deploy.records import (
    RECORDS,
    CardProcess,
    Folder,
    Interface,
    Keeper,
    Namespace,
    encode_record,
    is_record,
    keep_to_the_run,
    parse_made,
    read_records,
    record_file,
    record_key,
)


RUN = Path("/run/dtls-emu/demo")
TOKEN = "0123456789abcdef" * 2
CARD = CardProcess(host="host-1", socket=RUN / "host-1.sock", pid=7, started=8, said=9)
THINGS: dict[str, Folder | Namespace | Interface | CardProcess | Keeper] = {
    "folder-host-1": Folder(path=RUN / "host-1"),
    "namespace-demo-vm-a": Namespace(name="demo-vm-a", inode=5),
    "interface-eth0@demo-vm-a": Interface(namespace="demo-vm-a", name="eth0"),
    "card-host-1": CARD,
    f"keeper-{TOKEN}": Keeper(token=TOKEN, pid=10, started=11),
}


def record(folder, number, key, content):
    """Write a record, whatever is in it."""
    path = folder / RECORDS / record_file(number, key)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def run(tmp_path):
    """The folder of a run called demo, and the same things in it."""
    folder = tmp_path / "demo"
    folder.mkdir()
    card = CARD.model_copy(update={"socket": folder / "host-1.sock"})
    return folder, THINGS | {"folder-host-1": Folder(path=folder / "host-1"), "card-host-1": card}


def test_the_name_of_a_record_says_what_it_is_about():
    """Kind and name; the number is the order of making."""
    assert [record_key(each) for each in THINGS.values()] == list(THINGS)
    assert record_file(7, "namespace-demo-vm-a") == "000007-namespace-demo-vm-a.json"
    assert is_record("000007-namespace-demo-vm-a.json")
    assert not is_record("new")
    assert not is_record("notes.txt")


def test_records_are_read_in_the_order_of_making(run):
    """By their numbers, also when those grow longer."""
    folder, things = run
    numbers = (1_000_000, 9, 10, 2, 11)
    for number, (key, made) in zip(numbers, things.items(), strict=True):
        record(folder, number, key, encode_record(made, "a boot"))
    found = read_records(folder)
    assert [each.number for each in found] == sorted(numbers)
    assert {each.key: each.made for each in found} == things
    assert {(each.boot, each.damage) for each in found} == {("a boot", "")}


def test_a_run_that_has_made_nothing_has_no_records(tmp_path):
    """Not even their folder."""
    assert read_records(tmp_path) == []


@pytest.mark.parametrize("cut", [0, 1, 40, -2])
def test_a_record_that_is_cut_short_takes_no_other_with_it(run, cut):
    """The rest is known; of the damaged one its name tells what can only be there once in the run's folder."""
    folder, things = run
    for number, (key, made) in enumerate(things.items()):
        record(folder, number, key, encode_record(made, "a boot"))
    for number, key in enumerate(things):
        whole = encode_record(things[key], "a boot")
        record(folder, number, key, whole[:cut])
        found = {each.key: each for each in read_records(folder)}
        assert found[key].damage
        assert {each: found[each].made for each in found if each != key} == {
            each: things[each] for each in things if each != key
        }
        made = found[key].made
        assert made == {
            "folder-host-1": things["folder-host-1"],
            # Which process it was is not known any more; it ends with the namespace that it is in.
            "card-host-1": CardProcess(host="host-1", socket=folder / "host-1.sock"),
            # What is in its namespaces is known by the token.
            f"keeper-{TOKEN}": Keeper(token=TOKEN),
        }.get(key)
        record(folder, number, key, whole)


def test_a_record_of_another_version_or_about_something_else_is_not_obeyed(run):
    """Nor is a link to one elsewhere."""
    folder, things = run
    key = "namespace-demo-vm-a"
    right = json.loads(encode_record(things[key], "a boot"))
    path = record(folder, 1, key, b"")
    for wrong in (
        right | {"version": 2},
        right | {"surprise": 1},
        right | {"made": right["made"] | {"name": "demo-vm-b"}},
        right | {"made": right["made"] | {"inode": -1}},
        [right],
    ):
        path.write_text(json.dumps(wrong))
        (found,) = read_records(folder)
        assert (found.made, bool(found.damage)) == (None, True), wrong
    path.unlink()
    (folder / "elsewhere").write_bytes(encode_record(things[key], "a boot"))
    path.symlink_to(folder / "elsewhere")
    (found,) = read_records(folder)
    assert (found.made, found.damage) == (None, "is a symbolic link, not a regular file")


def test_a_folder_of_records_that_is_elsewhere_is_not_looked_into(run, tmp_path):
    """A symbolic link may lead to the records of another run."""
    folder, things = run
    record(tmp_path, 1, "namespace-demo-vm-a", encode_record(things["namespace-demo-vm-a"], "a boot"))
    (folder / RECORDS).symlink_to(tmp_path / RECORDS)
    assert read_records(folder) == []


@pytest.mark.parametrize(
    "made",
    [
        Folder(path=Path("/etc")),
        Folder(path=RUN),
        Folder(path=RUN / ".."),
        Folder(path=RUN / "..." / "host-1"),
        Folder(path=RUN / "host-1" / ".."),
        Folder(path=RUN / "made.d"),
        Folder(path=Path("host-1")),
        Namespace(name="other-vm-a"),
        Namespace(name="demo"),
        Interface(namespace="other-vm-a", name="eth0"),
        CardProcess(host="..", socket=RUN / "...sock"),
        CardProcess(host="a/b", socket=RUN / "a/b.sock"),
    ],
    ids=repr,
)
def test_what_is_outside_of_the_run_is_not_the_runs(made):
    """Whatever a record says."""
    assert keep_to_the_run(made, RUN) == (None, "names something that is not the run's")


@pytest.mark.parametrize(
    "name", ["/run/dtls-emu/other/h1.sock", "/etc/passwd", "../other/h1.sock", "/run/dtls-emu/demo/h2.sock"]
)
def test_a_card_that_names_a_socket_elsewhere_keeps_its_process_only(name):
    """Which is known by its identity; the socket is that of the host in the run's folder."""
    made, problem = keep_to_the_run(CARD.model_copy(update={"socket": Path(name)}), RUN)
    assert made == CARD
    assert problem == "names a control socket that is not the run's"


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"kind": "city"},
        {"kind": "namespace", "name": "../../proc/1/ns/net"},
        {"kind": "namespace", "name": "/proc/1/ns/net"},
        {"kind": "interface", "namespace": "demo-a", "name": "../x"},
        {"kind": "card", "host": "h", "socket": "h.sock", "pid": 10**400},
        {"kind": "keeper", "token": "dtls-emu"},
    ],
    ids=repr,
)
def test_what_is_no_thing_says_why(document):
    """Nothing is raised."""
    made, problem = parse_made(document, RUN)
    assert made is None
    assert problem
