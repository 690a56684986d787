"""Everything that is wrong with a lab file is said at once, each thing once, with its line and what to write."""

from __future__ import annotations

import re

import pytest

from dtls_emu.lab.problems import MAX_PROBLEMS


def test_every_missing_section_is_said(problems_of):
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
def test_one_mistake_is_one_problem(changed, problems_of, lab_data, path, value, problem):
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
            {
                "underlay": "192.0.2.1",
                "smartnic": {
                    "present": True,
                    "backend": "auto",
                    "model": "accelnet-2018",
                    "line_rate": "2Gbit/s",
                    "colour": 1,
                },
            },
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
def test_what_follows_from_a_mistake_is_not_said_beside_it(
    changed, problems_of, lab_data, path, value, problems
):
    """A key that is misspelt is missing, too; one problem says it, and what to write exactly."""
    found = [problem.partition(": ")[2] for problem in problems_of(changed(lab_data, path, value))]
    found = [problem for problem in found if problem.startswith(".".join(map(str, path)))]
    assert [given[: len(wanted)] for given, wanted in zip(found, problems, strict=True)] == problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hosts: !!set {host-1}", "3: hosts: the tag `!!set` has no place here; leave it out"),
        ("hosts: 0700", "3: hosts: `0700` may mean 700 or"),
        ("hosts: [host-1]", "3: hosts: a list does not belong here; write a mapping"),
        ("host: {host-1: {underlay: 192.0.2.1}}", "3: host: unknown key; did you mean `hosts`?"),
        ("hosts: {}", "3: hosts: missing or empty; write at least one entry"),
    ],
)
def test_a_section_that_cannot_be_made_out_is_one_problem(problems_of, text, problem):
    """Not one more for each VM on its hosts."""
    network = "virtual_networks:\n  blue: {address_prefixes: [10.0.0.0/24], vni: 1}\n"
    vms = "\nvms:\n  vm-a: {host: host-1, virtual_network: blue, address: 10.0.0.4}\n"
    (found,) = problems_of(network + text + vms)
    assert found.startswith(problem)


def test_of_many_problems_the_first_are_said(problems_of):
    """With how many there are at least."""
    found = problems_of("\n".join(f"key-{index}: 1" for index in range(5000)))
    assert len(found) == MAX_PROBLEMS + 1
    assert found[0].startswith("1: key-0: unknown key; ")
    assert found[-1] == f" there are more than these {MAX_PROBLEMS} problems; mend these first"


def test_the_line_is_that_of_the_mistake(problems_of):
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


def test_everything_is_said_at_once(problems_of):
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
