"""A lab file becomes a lab, or a list of everything that is wrong with it."""

import copy
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.errors import LabFileError
from dtls_emu.lab import compile_lab, load_lab, shipped_labs
from dtls_emu.lab.loader import parse_lab
from dtls_emu.lab.problems import MAX_PROBLEMS


SHIPPED = "broker, jumbo-fragments, lossy, mixed-sizes, rekey, two-vms"
BASE = yaml.safe_load(Path(__file__).with_name("small.yaml").read_text())


def problems_of(text_or_data):
    """What is wrong, without the file's name."""
    text = text_or_data if isinstance(text_or_data, str) else yaml.safe_dump(text_or_data, sort_keys=False)
    with pytest.raises(LabFileError) as caught:
        parse_lab(text, "lab.yaml")
    return [problem.removeprefix("lab.yaml:") for problem in caught.value.problems]


def changed(data, path, value):
    """Data with one thing changed; a value of `...` takes it away."""
    data = copy.deepcopy(data)
    place = data
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    elif isinstance(place, list) and path[-1] == len(place):
        place.append(value)
    else:
        place[path[-1]] = value
    return data


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
def test_what_is_no_mapping_is_no_lab(text):
    """And is told what one is."""
    assert problems_of(text) == ["1: is no lab file; write a mapping with virtual_networks, hosts and vms"]


def test_every_missing_section_is_said():
    """At once."""
    assert problems_of("seed: 3\n") == [
        "1: virtual_networks: missing or empty; write at least one entry",
        "1: hosts: missing or empty; write at least one entry",
        "1: vms: missing or empty; write at least one entry",
    ]


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("seeed",), 3, "seeed: unknown key; did you mean `seed`? "),
        (("seed",), -1, "seed: `-1` is too small; write at least 0"),
        (("seed",), True, "seed: `true` does not belong here; write a whole number"),
        (("profile",), "curent", "profile: no profile `curent`; write one of: current"),
        (("name",), "My Lab", "name: `My Lab` is no name; write lower-case letters, digits and hyphens, "),
        (("hosts",), None, "hosts: has no value; write a mapping of `key: value` lines"),
        (("hosts",), ["host-1"], "hosts: a list does not belong here; write a mapping of `key: value` lines"),
        (
            ("hosts", "Host"),
            {"underlay": "192.0.2.9"},
            "hosts.Host: `Host` is no name; write lower-case letters",
        ),
        (
            ("hosts", "host-1", "underlay"),
            "192.0.2",
            "hosts.host-1.underlay: `192.0.2` is no IP address; write one",
        ),
        (
            ("hosts", "host-1", "underlay"),
            5,
            "hosts.host-1.underlay: `5` is no IP address; write one such as 192.0.2.1",
        ),
        (
            ("hosts", "host-1", "underlay"),
            "fe80::1%eth0",
            "hosts.host-1.underlay: `fe80::1%eth0` is no IP address; write one such as 192.0.2.1",
        ),
        (
            ("hosts", "host-1", "underlay"),
            "224.0.0.1",
            "hosts.host-1.underlay: 224.0.0.1 is a multicast address, which ",
        ),
        (
            ("hosts", "host-1", "underlay"),
            ...,
            "hosts.host-1.underlay: missing; write it: its IP address on the fabric",
        ),
        (
            ("hosts", "host-1", "smartnic"),
            {"presnt": True},
            "hosts.host-1.smartnic.presnt: unknown key; did you mean",
        ),
        (
            ("hosts", "host-1", "smartnic"),
            {"present": 1},
            "hosts.host-1.smartnic.present: `1` does not belong here; ",
        ),
        (
            ("virtual_networks", "blue", "vni"),
            2**24,
            "virtual_networks.blue.vni: `16777216` is too large; write at most",
        ),
        (
            ("virtual_networks", "blue", "address_prefixes"),
            [],
            "virtual_networks.blue.address_prefixes: is empty; write",
        ),
        (
            ("virtual_networks", "blue", "address_prefixes", 0),
            "10.0.0.1/24",
            "virtual_networks.blue.address_prefixes[0]: `10.0.0.1/24` has bits set behind the prefix; write 10.0.",
        ),
        (
            ("virtual_networks", "blue", "address_prefixes", 0),
            10,
            "virtual_networks.blue.address_prefixes[0]: `10` is no",
        ),
        (
            ("virtual_networks", "blue", "encryption"),
            {"enabled": True, "enforcement": "DropUnencryptd"},
            "virtual_networks.blue.encryption.enforcement: `DropUnencryptd` is not known here; did you mean `DropU",
        ),
        (
            ("virtual_networks", "blue", "encryption"),
            {"enforcement": "AllowUnencrypted"},
            "virtual_networks.blue.encryption.enabled: missing; write it: encrypt traffic between VMs",
        ),
        (("vms", "vm-a", "siz"), "Standard_D4s_v5", "vms.vm-a.siz: unknown key; did you mean `size`?"),
        (
            ("vms", "vm-a", "address"),
            "fd00:10::4",
            "vms.vm-a.address: fd00:10::4 is no IPv4 address; write one such as ",
        ),
        (
            ("vms", "vm-a", "address_v6"),
            "10.0.0.4",
            "vms.vm-a.address_v6: 10.0.0.4 is no IPv6 address; write one such",
        ),
        (
            ("vms", "vm-a", "size"),
            "D4s_v5",
            "vms.vm-a.size: `D4s_v5` is no VM size that is known; did you mean `Standard_D4s_v5`? If not, write {na",
        ),
        (
            ("vms", "vm-a", "size"),
            "Standard_D4_s_v5",
            "vms.vm-a.size: `Standard_D4_s_v5` is no VM size that is known; did you mean `Standard_D4s_v5`? If not,",
        ),
        (
            ("vms", "vm-a", "size"),
            {"name": "Standard_X4_v9"},
            "vms.vm-a.size: is no size; write {name: ..., can_encrypt: true} or false, or a name such as Standard_D4",
        ),
        (
            ("vms", "vm-a", "size"),
            4,
            "vms.vm-a.size: `4` is no VM size that is known; write one such as Standard_",
        ),
        (
            ("vms", "vm-a", "mac"),
            "01:00:00:00:00:01",
            "vms.vm-a.mac: 01:00:00:00:00:01 is a group address; write one ",
        ),
        (
            ("vms", "vm-a", "mac"),
            "02-00",
            "vms.vm-a.mac: `02-00` is no MAC address; write one such as 02:00:00:00:00:01",
        ),
        (("vms", "vm-a", "mtu"), 100, "vms.vm-a.mtu: `100` is too small; write at least 576"),
        (("links", 0, "loss"), 1, "links[0].loss: `1` has no unit; write a share with its unit, such as 1%"),
        (
            ("links", 0, "between"),
            ["host-1"],
            "links[0].between: has too few entries; write two, such as [a, b]",
        ),
        (("links", 0, "between"), ["host-1"] * 3, "links[0].between: has 3 entries; write 2"),
        (
            ("links", 0, "between"),
            "host-1",
            "links[0].between: `host-1` does not belong here; write a list, such as",
        ),
        (
            ("links", 0, "from"),
            "host-1",
            "links[0]: a link names its hosts once; write `between: [host-1, host-2]`",
        ),
        (("links", 1), {"from": "host-1"}, "links[1]: a link names its hosts once; write `between: "),
        (("links", 1), {"loss": "1%"}, "links[1]: a link names its hosts once; write `between: "),
        (
            ("overrides",),
            {"replay_window": 100},
            "overrides.replay_window: `100` is out of step; write a multiple of 64",
        ),
        (
            ("overrides",),
            {"first_packet": "wait"},
            "overrides.first_packet: `wait` is not known here; write one of: queue",
        ),
        (("traffic", 0), 5, "traffic[0]: `5` does not belong here; write a mapping of `key: value` lines"),
        (
            ("traffic", 0, "kind"),
            ...,
            "traffic[0].kind: missing; write one of: bulk, fragments, pcap, ping, udp",
        ),
        (("traffic", 0, "kind"), "pin", "traffic[0].kind: `pin` is not known; did you mean `ping`?"),
        (("traffic", 0, "from"), ..., "traffic[0].from: missing; write it: name of the VM that sends"),
        (("traffic", 0, "source"), "vm-a", "traffic[0].source: unknown key; "),
        (
            ("traffic", 0, "to"),
            5,
            "traffic[0].to: `5` is neither a name nor an address; write the name of a VM",
        ),
        (("traffic", 0, "to"), "VM B", "traffic[0].to: `VM B` is no name; write lower-case letters"),
        (("traffic", 0, "count"), 0, "traffic[0].count: `0` is too small; write at least 1"),
        (("traffic", 0, "ip_version"), 5, "traffic[0].ip_version: `5` is not known here; write one of: 4, 6"),
        (
            ("traffic", 0, "start"),
            "soon",
            "traffic[0].start: `soon` is not a duration; write one such as 5ms",
        ),
        (
            ("traffic", 0, "expect"),
            {"verdict": "encrpyt"},
            "traffic[0].expect.verdict: `encrpyt` is not known here; did",
        ),
        (
            ("traffic", 0, "expect"),
            {"encryption": "NX_FALBACK"},
            "traffic[0].expect.encryption: `NX_FALBACK` is not known",
        ),
        (
            ("traffic", 0, "expect"),
            {"delivered": "most"},
            "traffic[0].expect.delivered: `most` is no number of packets; ",
        ),
        (
            ("traffic", 0, "expect"),
            {"dropped": {"fragmnt": 1}},
            "traffic[0].expect.dropped.fragmnt: `fragmnt` is not known here; did you mean `fragment`?",
        ),
        (
            ("traffic", 1),
            {"name": "x", "kind": "udp", "from": "vm-a", "to": "vm-b", "rate": "1Mbit/s", "interval": "1ms"},
            "traffic[1]: `rate` and `interval` both say the pace; write one of them",
        ),
        (
            ("traffic", 1),
            {"name": "x", "kind": "udp", "from": "vm-a", "to": "vm-b", "rate": 0},
            "traffic[1]: `rate` 0 would never send; write a rate such as 100Mbit/s",
        ),
        (
            ("traffic", 1),
            {"name": "x", "kind": "udp", "from": "vm-a", "to": "vm-b", "source_port": 65_000, "flows": 600},
            "traffic[1]: 600 flows from source port 65000 run past port 65535; write a `source_port` of at most 64936",
        ),
        (
            ("traffic", 1),
            {"name": "x", "kind": "pcap", "from": "vm-a", "file": "x.pcap"},
            "traffic[1]: missing key `to`: who plays the other side of the capture; write the name of a VM",
        ),
        (
            ("traffic", 1),
            {"name": "x", "kind": "pcap", "from": "vm-a", "to": "vm-b", "file": "x.pcap", "rewrite": "none"},
            "traffic[1]: with `rewrite: none` packets go where they say; leave `to` out",
        ),
        (
            ("traffic", 1),
            {"name": "x", "kind": "fragments", "from": "vm-a", "to": "vm-b", "shapes": ["v4-frist"]},
            "traffic[1].shapes[0]: `v4-frist` is not known here; did you mean `v4-first`?",
        ),
    ],
)
def test_one_mistake_is_one_problem(lab_data, path, value, problem):
    """At its line, under its key, with what to write instead."""
    data = changed(lab_data, path, value)
    (found,) = problems_of(data)
    line, _, rest = found.partition(": ")
    assert rest.startswith(problem)
    assert int(line) >= 1


@pytest.mark.parametrize(
    ("path", "value", "problems"),
    [
        (
            ("vms", "vm-a"),
            {"adress": "10.0.0.4", "host": "host-1", "virtual_network": "blue"},
            ["vms.vm-a.adress: unknown key; did you mean `address`?"],
        ),
        (
            ("virtual_networks", "blue"),
            {"vni:5001": None, "address_prefixes": ["10.0.0.0/24"]},
            ["virtual_networks.blue.vni:5001: `vni:5001` has no space behind its colon; write `vni: 5001`"],
        ),
        (
            ("hosts", "host-1"),
            "underlay:192.0.2.1",
            ["hosts.host-1: `underlay:192.0.2.1` has no space behind its colon; write `underlay: 192.0.2.1`"],
        ),
        (
            ("hosts", "host-1"),
            {"underlay": "192.0.2.1", "smartnic": {"present": True, "backend": "auto", "colour": 1}},
            ["hosts.host-1.smartnic.colour: unknown key; leave it out"],
        ),
        (
            ("virtual_networks", "blue", "vni"),
            5e3,
            ["virtual_networks.blue.vni: `5000.0` does not belong here; write 5000"],
        ),
        (
            ("vms", "vm-a", "discovery"),
            "True",
            ["vms.vm-a.discovery: `True` does not belong here; write true without q"],
        ),
        (
            ("vms", "vm-a", "discovery"),
            "nope",
            ["vms.vm-a.discovery: `nope` does not belong here; write true or false"],
        ),
    ],
)
def test_what_follows_from_a_mistake_is_not_said_beside_it(lab_data, path, value, problems):
    """A key that is misspelt is missing, too; one problem says it, and what to write exactly."""
    found = [problem.partition(": ")[2] for problem in problems_of(changed(lab_data, path, value))]
    found = [problem for problem in found if problem.startswith(".".join(map(str, path)))]
    assert [given[: len(wanted)] for given, wanted in zip(found, problems, strict=True)] == problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hosts: !!set {host-1}", "3: hosts: the tag `!!set` has no place in a lab file; leave it out"),
        ("hosts: 0700", "3: hosts: `0700` may mean 700 or"),
        ("hosts: [host-1]", "3: hosts: a list does not belong here; write a mapping"),
        ("host: {host-1: {underlay: 192.0.2.1}}", "3: host: unknown key; did you mean `hosts`?"),
        ("hosts: {}", "3: hosts: missing or empty; write at least one entry"),
    ],
)
def test_a_section_that_cannot_be_made_out_is_one_problem(text, problem):
    """Not one more for each VM on its hosts."""
    network = "virtual_networks:\n  blue: {address_prefixes: [10.0.0.0/24], vni: 1}\n"
    vms = "\nvms:\n  vm-a: {host: host-1, virtual_network: blue, address: 10.0.0.4}\n"
    (found,) = problems_of(network + text + vms)
    assert found.startswith(problem)


@pytest.mark.parametrize("word", ["yes", "Yes", "on", "ON", "true"])
def test_switches_may_be_words_and_names_may_look_like_switches(lab_data, word):
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


def test_keys_with_x_at_the_top_hold_anchors():
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


def test_of_many_problems_the_first_are_said():
    """With how many there are at least."""
    found = problems_of("\n".join(f"key-{index}: 1" for index in range(5000)))
    assert len(found) == MAX_PROBLEMS + 1
    assert found[0].startswith("1: key-0: unknown key; ")
    assert found[-1] == f" there are more than these {MAX_PROBLEMS} problems; mend these first"


def test_the_line_is_that_of_the_mistake():
    """Of the key itself, and of what is around a key that is missing."""
    text = """\
virtual_networks:
  blue: {address_prefixes: [10.0.0.0/24], vni: 5001}
hosts:
  host-1:
    underlay: 192.0.2.1
    regoin: eastus
vms:
  vm-a:
    host: host-1
    virtual_network: blue
traffic:
  - name: ping
    kind: ping
    from: vm-a
    to: vm-b
    count:
      none
"""
    assert [problem.split(" ")[0] + problem.split(" ")[1] for problem in problems_of(text)] == [
        "6:hosts.host-1.regoin:",
        "8:vms.vm-a.address:",
        "15:traffic[0].to:",
        "16:traffic[0].count:",
    ]


def test_everything_is_said_at_once():
    """Mistakes within entries and between them; those of a list at their own place though others are left out."""
    text = """\
virtual_networks:
  blue: {address_prefixes: [10.0.0.0/24], vni: 5001}
hosts:
  host-1: {underlay: 192.0.2.1}
  host-1: {underlay: 192.0.2.2}
vms:
  vm-a: {host: host-2, virtual_network: blue, address: 10.0.0.4, mtu: lots}
  vm-b: {host: host-1, virtual_network: bleu, address: 10.0.0.4, colour: blue}
  vm-c: {host: host-1, virtual_network: blue}
traffic:
  - {name: one, kind: pong, from: vm-a, to: vm-c}
  - {name: two, kind: ping, from: vm-a, to: vm-d}
  - {name: three, kind: ping, from: vm-c, to: vm-c, count: x}
  - {name: two, kind: ping, from: vm-b, to: vm-a}
"""
    assert [re.sub(r";.*", "", problem) for problem in problems_of(text)] == [
        "5: hosts.host-1: written twice, first on line 4",
        "7: vms.vm-a.mtu: `lots` does not belong here",
        "7: vms.vm-a.host: no host `host-2`",
        "8: vms.vm-b.colour: unknown key",
        "8: vms.vm-b.virtual_network: no virtual network `bleu`",
        "9: vms.vm-c.address: missing",
        "11: traffic[0].kind: `pong` is not known",
        "12: traffic[1].to: no VM `vm-d`",
        "13: traffic[2].count: `x` does not belong here",
        "13: traffic[2].to: `vm-c` sends to itself, which no card sees",
        "14: traffic[3].name: an earlier item is named `two`",
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


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["10.0.0.0/24", "10.0.0.4", "fd00::4", "host-1", "vm-a", "blue", "ping", "1%", "5ms", "all", 2**900]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _paths(data, path=()):
    yield path
    if isinstance(data, dict | list):
        for step, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _paths(value, (*path, step))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([path for path in _paths(BASE) if path]),
            st.none()
            | st.sampled_from(["vni", "host", "from", "to", "kind", "expect", "file", "shapes", "zzz"]),
            st.just(...) | JUNK,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_change_gives_a_lab_or_problems_with_place_and_remedy(changes):
    """Nothing is raised but LabFileError; every line says file, line, key, what is wrong and what to write."""
    data = copy.deepcopy(BASE)
    for path, key, value in changes:
        try:
            data = changed(data, path if key is None else (*path, key), value)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    try:
        parse_lab(yaml.safe_dump(data), "lab.yaml")
    except LabFileError as error:
        problems = error.problems
        assert problems
    else:
        return
    for problem in problems:
        assert re.fullmatch(r"lab\.yaml:\d+: [^\n]+[;?] [^\n]+", problem), problem
        assert len(problem) < 500


TOKENS = st.sampled_from(
    [
        *(
            "a: ",
            "x-a: ",
            "&a ",
            "*a ",
            "<<: *a ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            ": ",
            ":",
            "'",
            '"',
            "#",
            "? ",
        ),
        *(
            "\n",
            "\n  ",
            "\n    ",
            "\t",
            ">\n",
            "|\n",
            "---\n",
            "...\n",
            "%",
            "@",
            "!x ",
            "!!binary ",
            "~",
            "yes",
        ),
        *("0700", "vni:5001", "10.0.0.4", "hosts: ", "vms: ", "\0", "\ud800", "\ufeff"),
    ]
)
YAML_LIKE = st.lists(TOKENS, max_size=40).map(lambda tokens: "".join(tokens).encode("utf-8", "surrogatepass"))


@st.composite
def damaged(draw):
    """The small lab with a few tokens put somewhere into it, or bytes taken out."""
    data = Path(__file__).with_name("small.yaml").read_bytes()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        taken = draw(st.integers(0, 20))
        data = data[:at] + draw(TOKENS).encode("utf-8", "surrogatepass") + data[at + taken :]
    return data


@pytest.fixture(scope="module")
def lab_file(tmp_path_factory):
    return tmp_path_factory.mktemp("any") / "lab.yaml"


@settings(max_examples=400)
@given(st.binary(max_size=100) | YAML_LIKE | damaged())
def test_any_bytes_are_a_lab_or_problems(lab_file, data):
    """Whatever a file holds; each problem is a short line, and there are not more than are worth saying."""
    lab_file.write_bytes(data)
    try:
        load_lab(lab_file)
    except LabFileError as error:
        problems = error.problems
        assert problems
    else:
        return
    assert len(problems) <= MAX_PROBLEMS + 1
    for problem in problems:
        text = problem.removeprefix(str(lab_file))
        assert text.isprintable()
        assert ";" in text or "?" in text
        assert len(text) < 600
