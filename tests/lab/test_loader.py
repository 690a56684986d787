"""A lab file, or the name of a shipped lab, becomes a lab."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from dtls_emu.errors import LabFileError
from dtls_emu.lab import compile_lab, load_lab, shipped_labs
from dtls_emu.lab.loader import parse_lab


SHIPPED = "broker, endpoints, jumbo-fragments, lossy, mixed-sizes, rekey, routes, security-rules, two-vms"


def test_a_right_lab_is_loaded(write_lab, lab_data):
    """With defaults filled in, and the file's name for its own."""
    lab = load_lab(write_lab(lab_data))
    assert (lab.name, lab.profile, lab.seed) == ("my-lab", "current", 1)
    assert lab.virtual_networks["green"].encryption.enabled is False
    assert lab.traffic[0].source == "vm-a"


def test_a_shipped_lab_is_loaded_by_its_name():
    """From anywhere."""
    assert load_lab("two-vms").name == "two-vms"


def test_a_file_here_goes_before_a_shipped_lab(write_lab, lab_data, monkeypatch):
    """A name that is a file in the current folder is that file."""
    path = write_lab(lab_data)
    path.rename(path.with_name("two-vms"))
    monkeypatch.chdir(path.parent)
    assert set(load_lab("two-vms").vms) == {"vm-a", "vm-b", "vm-c"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "two-vm",
            f"two-vm: no such file, and no shipped lab of that name; did you mean `two-vms`? (one of: {SHIPPED})",
        ),
        (
            "zzz",
            f"zzz: no such file, and no shipped lab of that name; write one of: {SHIPPED}",
        ),
        ("zzz.yaml", "zzz.yaml: cannot be read: No such file or directory; write the path of a lab file"),
        ("../zzz", "../zzz: cannot be read: No such file or directory; write the path of a lab file"),
    ],
)
def test_what_is_not_there_is_said(name, message, tmp_path, monkeypatch):
    """A name without path could be a shipped lab, so those are listed."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabFileError) as caught:
        load_lab(name)
    assert caught.value.problems == [message]


def test_bytes_that_are_no_text_are_said(tmp_path):
    """With what to do."""
    path = tmp_path / "lab.yaml"
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(LabFileError) as caught:
        load_lab(path)
    assert caught.value.problems == [f"{path}: not UTF-8 (invalid start byte at byte 6); save it as UTF-8"]


def test_what_is_no_regular_file_is_not_read(tmp_path, monkeypatch):
    """Nor waited for; a FIFO in the current folder goes before a shipped lab's name, too."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("two-vms")
    Path("lab.yaml").touch()
    os.truncate("lab.yaml", 1 << 40)
    found, most = [], "the most that is read of such a file"
    for path in ("/dev/zero", "two-vms", ".", "lab.yaml", "a\0b.yaml"):
        with pytest.raises(LabFileError) as caught:
            load_lab(path)
        found += caught.value.problems
    assert found == [
        "/dev/zero: cannot be read: is a device, not a regular file; write the path of a lab file",
        "two-vms: cannot be read: is a FIFO, not a regular file; write the path of a lab file",
        ".: cannot be read: is a folder, not a regular file; write the path of a lab file",
        f"lab.yaml: cannot be read: is larger than 8 MiB, {most}; write the path of a lab file",
        "a\0b.yaml: cannot be read: no file can have this name; write the path of a lab file",
    ]


@pytest.mark.parametrize("text", ["", "# nothing", "just text", "[1, 2]", "5"])
def test_what_is_no_mapping_is_no_lab(problems_of, text):
    """And is told what one is."""
    assert problems_of(text) == ["1: is no lab file; write a mapping with virtual_networks, hosts and vms"]


@pytest.mark.parametrize("word", ["yes", "Yes", "on", "ON", "true"])
def test_switches_may_be_words_and_names_may_look_like_switches(changed, lab_data, word):
    """`no` is off where a switch is meant, and a host called `no` where a name is."""
    data = changed(lab_data, ("hosts", "no"), {"underlay": "192.0.2.9"})
    data = changed(data, ("vms", "on"), {"host": "no", "virtual_network": "blue", "address": "10.0.0.9"})
    text = yaml.safe_dump(data).replace("'no'", "no").replace("'on'", "on")
    lab = parse_lab(
        text.replace("  on:\n", f"  on:\n    discovery: {word}\n    accelerated_networking: no\n"), "x.yaml"
    )
    assert (lab.vms["on"].host, lab.vms["on"].discovery, lab.vms["on"].accelerated_networking) == (
        "no",
        True,
        False,
    )


def test_keys_with_x_at_the_top_hold_anchors(problems_of):
    """They are no part of the lab."""
    text = """\
x-capable: &capable
  virtual_network: blue
  size: Standard_E4s_v5
virtual_networks:
  blue: {address_prefixes: [10.0.0.0/24], vni: 1}
hosts:
  host-1: {underlay: 192.0.2.1}
vms:
  vm-a: {<<: *capable, host: host-1, address: 10.0.0.4}
  vm-b: {<<: *capable, host: host-1, address: 10.0.0.5, size: Standard_B2s}
"""
    lab = parse_lab(text, "lab.yaml")
    assert [vm.size for vm in lab.vms.values()] == ["Standard_E4s_v5", "Standard_B2s"]
    assert problems_of(text.replace("network: blue\n", "network: bleu\n")) == [
        "2: vms.vm-a.virtual_network: no virtual network `bleu`; did you mean `blue`?",
        "2: vms.vm-b.virtual_network: no virtual network `bleu`; did you mean `blue`?",
    ]


@pytest.mark.parametrize("spelling", ["DropUnencrypted", "dropUnencrypted", "DROPUNENCRYPTED"])
def test_enforcement_is_read_in_any_case_and_written_as_arm_does(lab_data, write_lab, spelling):
    """The Azure CLI spells it in camelCase."""
    lab_data["virtual_networks"]["blue"]["encryption"]["enforcement"] = spelling
    lab = load_lab(write_lab(lab_data))
    assert lab.model_dump(mode="json")["virtual_networks"]["blue"]["encryption"] == {
        "enabled": True,
        "enforcement": "DropUnencrypted",
    }


@pytest.mark.parametrize(
    ("written", "name", "capable"),
    [
        ("Standard_D4s_V5", "Standard_D4s_v5", True),
        ("standard_d4S_v5", "Standard_D4s_v5", True),
        ("STANDARD_B2S", "Standard_B2s", False),
        ({"name": "Standard_X4_v9", "can_encrypt": True}, "Standard_X4_v9", True),
        ({"name": "Standard_D4s_v5", "can_encrypt": False}, "Standard_D4s_v5", False),
    ],
)
def test_a_size_is_read_in_any_case_or_with_its_capability(lab_data, write_lab, written, name, capable):
    """And the lab as JSON is the same lab."""
    lab_data["vms"]["vm-a"]["size"] = written
    lab = load_lab(write_lab(lab_data))
    vm = compile_lab(lab).vms["vm-a"]
    assert (vm.size, vm.size_capable) == (name, capable)
    assert parse_lab(lab.model_dump_json(), "my-lab.yaml") == lab


@pytest.mark.parametrize(
    ("stem", "name"),
    [("My Lab_2", "my-lab-2"), ("2nd", "lab"), ("...", "lab"), ("x" * 80, "x" * 63), ("Ä", "lab")],
)
def test_a_file_name_becomes_a_name(lab_data, stem, name):
    """Whatever the file is called."""
    assert parse_lab(yaml.safe_dump(lab_data), f"{stem}.yaml").name == name


@pytest.mark.parametrize("name", shipped_labs())
def test_a_lab_written_as_json_is_the_same_lab(name):
    """JSON is YAML: every unit, amount and address survives the way out and back."""
    lab = load_lab(name)
    assert parse_lab(lab.model_dump_json(), "other/place.yaml") == lab
