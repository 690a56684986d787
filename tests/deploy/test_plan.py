"""A plan has every host, VM, cable and card of a lab, with names that Linux takes, and says how to undo each."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from dtls_emu.deploy.plan import (
    JoinHosts,
    MakeFolder,
    MakeNamespace,
    MakeNic,
    StartCard,
    cable_mtu,
    plan_run,
)
from dtls_emu.errors import RunError
from dtls_emu.lab import compile_lab, load_lab, shipped_labs
from dtls_emu.lab.loader import parse_lab


FOLDER = Path("/run/dtls-emu/demo")

LAB = """
virtual_networks:
  prod: {{address_prefixes: [10.0.0.0/24, "fd00::/64"], vni: 1}}
hosts:
  {one}: {{underlay: {first}}}
  {two}: {{underlay: {second}}}
  third: {{underlay: {other}}}
vms:
  vm-a: {{host: {one}, virtual_network: prod, address: 10.0.0.4, address_v6: "fd00::4", mtu: 9000}}
  vm-b: {{host: {two}, virtual_network: prod, address: 10.0.0.5}}
links:
{links}
"""


@pytest.fixture
def topology():
    """Make a lab of three hosts and two VMs."""

    def make(*links, one="host-1", two="host-2", version=4):
        form = "2001:db8::{}" if version == 6 else "192.0.2.{}"
        first, second, other = map(form.format, (1, 2, 3))
        lines = "\n".join(f"  - {{{link}}}" for link in links) or "  []"
        text = LAB.format(one=one, two=two, first=first, second=second, other=other, links=lines)
        return compile_lab(parse_lab(text, "demo.yaml"))

    return make


def steps_of(plan, kind):
    return [step for step in plan.steps if isinstance(step, kind)]


def test_everything_is_made_in_an_order_in_which_it_can_be(topology):
    """Folders, namespaces, cables between them, NICs in them, and only then cards."""
    plan = plan_run(topology(), "demo", FOLDER)
    kinds = [type(step) for step in plan.steps]
    expected = [MakeFolder] * 3 + [MakeNamespace] * 5 + [JoinHosts] * 3 + [MakeNic] * 2 + [StartCard] * 3
    assert kinds == expected


def test_namespaces_carry_the_name_of_the_run(topology):
    """So two runs have different ones."""
    names = [step.name for step in steps_of(plan_run(topology(), "demo", FOLDER), MakeNamespace)]
    assert names == ["demo-host-1", "demo-host-2", "demo-third", "demo-vm-a", "demo-vm-b"]


def test_every_pair_of_hosts_has_a_cable_with_the_addresses_of_both(topology):
    """Each end is named after the other host."""
    cable = steps_of(plan_run(topology(), "demo", FOLDER), JoinHosts)[0]
    near, far = cable.ends
    assert (near.namespace, near.device, far.namespace, far.device) == (
        "demo-host-1",
        "to-host-2",
        "demo-host-2",
        "to-host-1",
    )
    assert (near.address, near.peer) == (far.peer, far.address)
    assert near.address == ip_address("192.0.2.1")


def test_the_address_of_a_host_can_be_bound_without_any_cable(topology):
    """It is on the loopback as well; a VM's namespace has no such address."""
    host, *_, vm = steps_of(plan_run(topology(), "demo", FOLDER), MakeNamespace)
    assert (host.address, vm.address) == (ip_address("192.0.2.1"), None)


def test_ipv6_is_off_where_nobody_has_an_address_of_it(topology):
    """So that nothing is on the fabric that no card has sent."""
    namespaces = steps_of(plan_run(topology(), "demo", FOLDER), MakeNamespace)
    assert {step.name: step.ipv6 for step in namespaces} == {
        "demo-host-1": False,
        "demo-host-2": False,
        "demo-third": False,
        "demo-vm-a": True,
        "demo-vm-b": False,
    }
    assert namespaces[0].settings == {"disable_ipv6": 1}


def test_a_nic_has_the_addresses_with_the_prefix_lengths_of_the_network(topology):
    """And the VM's MTU."""
    nic = steps_of(plan_run(topology(), "demo", FOLDER), MakeNic)[0]
    assert (nic.device, nic.mtu) == ("eth0", 9000)
    assert nic.addresses == ((ip_address("10.0.0.4"), 24), (ip_address("fd00::4"), 64))


def test_a_gateway_answers_for_the_networks_behind_it():
    """Its namespace has them as its own; nobody else's does."""
    nics = steps_of(plan_run(compile_lab(load_lab("routes")), "demo", FOLDER), MakeNic)
    assert {nic.vm: list(map(str, nic.behind)) for nic in nics if nic.behind} == {
        "gateway": ["192.168.0.0/16"]
    }
    (gateway,) = [nic for nic in nics if nic.behind]
    assert f"ip -n {gateway.namespace} route add local 192.168.0.0/16 dev eth0" in gateway.commands


def test_a_cable_carries_what_the_larger_direction_of_its_link_does(topology):
    """A veth drops what is larger than the receiver's MTU; the card keeps to that of each direction."""
    lab = topology("between: [host-1, host-2], mtu: 1400", "from: host-2, to: host-1, mtu: 9000")
    assert (cable_mtu(lab, "host-1", "host-2"), cable_mtu(lab, "host-2", "host-1")) == (9000, 9000)
    assert cable_mtu(lab, "host-1", "third") == 1650


@pytest.mark.parametrize(("version", "expected"), [(4, 304), (6, 1280)])
def test_a_cable_is_never_too_small_for_its_addresses(topology, version, expected):
    """Linux takes IPv6 off an interface of less than 1280 bytes."""
    lab = topology("between: [host-1, host-2], mtu: 304", version=version)
    assert cable_mtu(lab, "host-1", "host-2") == expected


@pytest.mark.parametrize("lab", shipped_labs())
def test_every_shipped_lab_can_be_planned_within_the_limits_of_linux(lab):
    """Interface names of at most 15 bytes, none used twice in a namespace; paths of sockets that can be bound."""
    plan = plan_run(compile_lab(load_lab(lab)), lab, FOLDER)
    devices = [(end.namespace, end.device) for step in steps_of(plan, JoinHosts) for end in step.ends]
    devices += [(step.namespace, step.device) for step in steps_of(plan, MakeNic)]
    assert all(len(device) <= 15 for _, device in devices)
    assert len(set(devices)) == len(devices)
    assert all(len(bytes(step.socket)) <= 107 for step in steps_of(plan, StartCard))


def test_names_that_clash_are_refused_whoever_made_the_topology(topology, monkeypatch):
    """Validation has refused them in a lab file."""
    lab = topology()
    lab.vms["host-1"] = lab.vms["vm-a"]
    with pytest.raises(
        RunError, match=r"vms\.host-1: a host is called `host-1`, too, .*; rename one of them"
    ):
        plan_run(lab, "demo", FOLDER)
    del lab.vms["host-1"]
    monkeypatch.setattr("dtls_emu.lab.kernel_names.cable_device", lambda _: "to-somebody")
    with pytest.raises(RunError, match=r"hosts\.host-2: too much like the host `host-1`"):
        plan_run(lab, "demo", FOLDER)


def test_a_socket_that_linux_cannot_bind_is_refused_before_anything_is_made(topology):
    """Long names of run and host add up."""
    folder = FOLDER.with_name("r" * 63)
    with pytest.raises(
        RunError, match=r"has 1\d\d bytes, 107 are possible; choose a shorter name with --name"
    ):
        plan_run(topology(one="h" * 63), folder.name, folder)


def test_every_step_says_how_it_is_undone(topology):
    """In words of a shell, as it says how it is done."""
    plan = plan_run(topology(), "demo", FOLDER)
    assert [step.undo for step in plan.steps[:1] + plan.steps[3:4] + plan.steps[8:9] + plan.steps[11:12]] == [
        "rm -r /run/dtls-emu/demo/host-1",
        "ip netns del demo-host-1",
        "ip -n demo-host-1 link del to-host-2",
        "ip -n demo-vm-a link del eth0",
    ]
    assert all(step.commands and step.undo for step in plan.steps)
