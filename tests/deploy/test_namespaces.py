"""Namespaces, cables and NICs are what the plan says, are where they belong, and go without a trace."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from dtls_emu.deploy.namespaces import (
    is_ours,
    join_hosts,
    make_namespace,
    make_nic,
    remove_interface,
    remove_namespace,
    set_link_up,
    set_mtu,
)
from dtls_emu.deploy.plan import JoinHosts, MakeNamespace, MakeNic, plan_run
from dtls_emu.deploy.state import Interface, Namespace
from dtls_emu.errors import RunError
from dtls_emu.lab import compile_lab
from dtls_emu.lab.loader import parse_lab
from dtls_emu.machine.netns import NETNS_FOLDER, entered
from dtls_emu.testing.waiting import eventually


pytestmark = pytest.mark.root

LAB = """
virtual_networks:
  prod: {{address_prefixes: [10.0.0.0/24, "fd00::/64"], vni: 1}}
hosts:
  h1: {{underlay: {first}}}
  h2: {{underlay: {second}}}
vms:
  a: {{host: h1, virtual_network: prod, address: 10.0.0.4, address_v6: "fd00::4", mtu: 1400}}
  b: {{host: h2, virtual_network: prod, address: 10.0.0.5}}
"""
UNDERLAYS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2"), "own": ("own", "198.51.100.7")}
CHANCE = {"ifindex", "link_index", "link_netnsid", "flags", "operstate"}
"""Keys of what differs from one making to the next, or a moment later (the kernel watches links now and then)."""

MAC = r"([0-9a-f]{2}:){5}[0-9a-f]{2}"
PORT = 4433


@pytest.fixture
def plan(request):
    """The steps of a lab over an underlay of IPv4, or of the kind that a test asks for; undone at the end."""
    first, second = UNDERLAYS[getattr(request, "param", 4)]
    if first == "own":
        first = own_address()
    run = f"t{os.getpid()}"
    topology = compile_lab(parse_lab(LAB.format(first=first, second=second), "demo.yaml"))
    plan = plan_run(topology, run, Path("/nowhere"))
    yield plan
    for step in plan.steps:
        if isinstance(step, MakeNamespace):
            remove_namespace(Namespace(name=step.name), same_boot=True)


def make(plan):
    """Carry out everything but folders and cards; give the inodes of namespaces by name."""
    inodes = {}
    for step in plan.steps:
        if isinstance(step, MakeNamespace):
            inodes[step.name] = make_namespace(step)
        elif isinstance(step, JoinHosts):
            join_hosts(step)
        elif isinstance(step, MakeNic):
            make_nic(step)
    return inodes


def ip(*arguments):
    return json.loads(subprocess.check_output(["ip", "-json", *arguments]) or "[]")


def own_address():
    """An address that this machine has; where it has none to speak of, any other one."""
    found = [address["local"] for link in ip("-4", "address") for address in link["addr_info"]]
    return next((address for address in found if not address.startswith("127.")), UNDERLAYS[4][0])


def without_chance(value):
    """What `ip` shows, without what differs from one making to the next."""
    if isinstance(value, dict):
        return {
            key: without_chance(each)
            for key, each in value.items()
            if key not in CHANCE and not (key == "address" and re.fullmatch(MAC, each))
        }
    return [without_chance(each) for each in value] if isinstance(value, list) else value


def picture(plan):
    """Everything the kernel shows of the namespaces."""
    shown = {}
    for step in plan.steps:
        if isinstance(step, MakeNamespace):
            at = ("-n", step.name)
            shown[step.name] = [
                without_chance(ip(*at, "-details", "address")),
                [sorted(map(str, without_chance(ip(*at, version, "route")))) for version in ("-4", "-6")],
            ]
    return shown


@pytest.mark.parametrize("plan", [4, 6], indirect=True)
def test_what_the_plan_prints_is_what_is_made(plan):
    """The printed commands, given to a shell, make the same interfaces, addresses and routes."""
    make(plan)
    made = picture(plan)
    for step in plan.steps:
        if isinstance(step, MakeNamespace):
            assert remove_namespace(Namespace(name=step.name), same_boot=True) == ""
    for step in plan.steps:
        if isinstance(step, MakeNamespace | JoinHosts | MakeNic):
            for command in step.commands:
                subprocess.run(command, shell=True, check=True)
    assert picture(plan) == made


@pytest.mark.parametrize("plan", [4, 6], indirect=True)
def test_hosts_reach_each_other_before_and_after_a_cable_was_down(plan):
    """Either end may have been down; addresses and routes come back by themselves."""
    make(plan)
    (cable,) = (step for step in plan.steps if isinstance(step, JoinHosts))
    for end in (None, *cable.ends):
        if end is not None:
            set_link_up(end.namespace, end.device, up=False)
            set_link_up(end.namespace, end.device, up=True)
        near, far = cable.ends
        assert arrives(near, far)
        assert arrives(far, near)


def arrives(sender, receiver):
    """Whether a datagram gets from one end of a cable to the other."""
    family = socket.AF_INET if sender.address.version == 4 else socket.AF_INET6
    with entered(receiver.namespace):
        there = socket.socket(family, socket.SOCK_DGRAM)
    with entered(sender.namespace):
        here = socket.socket(family, socket.SOCK_DGRAM)
    with here, there:
        there.settimeout(0.2)
        there.bind((str(receiver.address), PORT))
        here.bind((str(sender.address), 0))

        def heard():  # Linux brings a link up, and an IPv6 route with it, in its own time
            with suppress(OSError):
                here.sendto(b"hello", (str(receiver.address), PORT))
            with suppress(TimeoutError):
                return there.recv(16)
            return b""

        return eventually(heard, "a datagram arrives") == b"hello"


@pytest.mark.parametrize("plan", [4, "own"], indirect=True)
def test_nothing_is_put_where_the_machine_itself_lives(plan):
    """Its interfaces, addresses and routes are the same; a host of a lab may even have the machine's address."""
    before = [without_chance(ip("address")), without_chance(ip("route"))]
    make(plan)
    assert [without_chance(ip("address")), without_chance(ip("route"))] == before


def test_the_caller_stays_where_he_is(plan):
    """Making namespaces and working in them moves nobody."""
    here = Path("/proc/thread-self/ns/net").stat().st_ino
    make(plan)
    assert Path("/proc/thread-self/ns/net").stat().st_ino == here


def test_no_descriptor_is_left_open(plan):
    """Neither by making nor by removing."""
    make_namespace(plan.steps[2])  # the first use of the library may keep something
    remove_namespace(Namespace(name=plan.steps[2].name), same_boot=True)
    before = len([*Path("/proc/self/fd").iterdir()])
    make(plan)
    (cable,) = (step for step in plan.steps if isinstance(step, JoinHosts))
    remove_interface(Interface(namespace=cable.ends[0].namespace, name=cable.ends[0].device))
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_what_is_removed_may_be_gone_already(plan):
    """Interfaces and namespaces, twice."""
    make(plan)
    (cable,) = (step for step in plan.steps if isinstance(step, JoinHosts))
    near = cable.ends[0]
    for _ in range(2):
        remove_interface(Interface(namespace=near.namespace, name=near.device))
        assert [each["ifname"] for each in ip("-n", near.namespace, "link")] == ["lo"]
    for _ in range(2):
        assert remove_namespace(Namespace(name=near.namespace), same_boot=True) == ""
        assert not (NETNS_FOLDER / near.namespace).exists()


def test_a_namespace_that_somebody_made_since_is_left_alone(plan):
    """The same name, another inode; it is said, and it is still there."""
    inodes = make(plan)
    name = plan.steps[2].name
    made = Namespace(name=name, inode=inodes[name])
    assert is_ours(made)
    (NETNS_FOLDER / "keep").touch()
    try:  # keep the old one, or the new one might get its inode
        subprocess.run(["mount", "--bind", NETNS_FOLDER / name, NETNS_FOLDER / "keep"], check=True)
        subprocess.run(["ip", "netns", "del", name], check=True)
        subprocess.run(["ip", "netns", "add", name], check=True)
        assert not is_ours(made)
        assert remove_namespace(made, same_boot=True) == f"/run/netns/{name} is another namespace by now"
        assert (NETNS_FOLDER / name).exists()
    finally:
        subprocess.run(["ip", "netns", "del", "keep"], check=True)


def test_after_a_boot_only_an_empty_file_is_ours(plan):
    """Numbers of inodes begin anew, so an equal one means nothing."""
    inodes = make(plan)
    name = plan.steps[2].name
    made = Namespace(name=name, inode=inodes[name])
    assert remove_namespace(made, same_boot=False) == f"/run/netns/{name} is another namespace by now"
    assert (NETNS_FOLDER / name).exists()


def test_the_file_of_a_namespace_that_was_not_finished_is_removed(plan):
    """Its maker was killed between making the file and putting the namespace on it."""
    name = plan.steps[2].name
    (NETNS_FOLDER / name).touch()
    assert not is_ours(Namespace(name=name))
    assert remove_namespace(Namespace(name=name), same_boot=True) == ""
    assert not (NETNS_FOLDER / name).exists()


def test_a_file_with_something_in_it_is_no_namespace(plan):
    """It is left alone."""
    path = NETNS_FOLDER / plan.steps[2].name
    path.write_text("mine")
    try:
        assert remove_namespace(Namespace(name=path.name), same_boot=True) == f"{path} is no namespace"
        assert path.read_text() == "mine"
    finally:
        path.unlink()


def test_a_namespace_that_is_there_is_not_taken_over(plan):
    """Making it fails, and it is as it was."""
    step = plan.steps[2]
    inode = make_namespace(step)
    with pytest.raises(FileExistsError):
        make_namespace(step)
    assert (NETNS_FOLDER / step.name).stat().st_ino == inode


def test_a_device_that_cannot_be_had_is_said_with_its_place(plan):
    """The name of the thing, the namespace, and the reason of the kernel."""
    make(plan)
    nic = next(step for step in plan.steps if isinstance(step, MakeNic))
    with pytest.raises(RunError, match=rf"^TUN device eth0 in {nic.namespace}: File exists"):
        make_nic(nic)
    with pytest.raises(RunError, match=rf"^none in {nic.namespace}: No such device"):
        set_mtu(nic.namespace, "none", 1400)
    with pytest.raises(
        RunError, match=r"^eth0 in nowhere: network namespace /run/netns/nowhere: No such file"
    ):
        set_mtu("nowhere", "eth0", 1400)


def test_an_mtu_is_set(plan):
    """As `set` does it on both ends of a cable."""
    make(plan)
    (cable,) = (step for step in plan.steps if isinstance(step, JoinHosts))
    for end in cable.ends:
        set_mtu(end.namespace, end.device, 1400)
    (link,) = ip("-n", cable.ends[1].namespace, "link", "show", cable.ends[1].device)
    assert link["mtu"] == 1400
