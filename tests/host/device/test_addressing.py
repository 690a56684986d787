"""Routes around the card: closed in a container, and refused where the fabric is in the VMs' own networks."""

import errno
import os
import socket
import subprocess

import pytest

from dtls_emu.host.device.addressing import (
    AddressingError,
    check_underlays,
    close_other_ways,
    configure_device,
)
from dtls_emu.host.device.tun import open_tun
from dtls_emu.lab import Lab, compile_lab
from dtls_emu.machine.netns import entered
from dtls_emu.testing.present import present


def topology(prefixes=("10.0.0.0/24", "fd00::/64"), underlay="192.0.2.{}"):
    """VM a on h1 and b on h2, in networks that are peered; c's network is nobody's peer."""
    return compile_lab(
        Lab.model_validate(
            {
                "virtual_networks": {
                    "one": {"address_prefixes": list(prefixes), "vni": 1, "peerings": ["two"]},
                    "two": {"address_prefixes": ["10.2.0.0/24"], "vni": 2},
                    "three": {"address_prefixes": ["10.3.0.0/24"], "vni": 3},
                },
                "hosts": {name: {"underlay": underlay.format(name[1])} for name in ("h1", "h2")},
                "vms": {
                    "a": {
                        "host": "h1",
                        "virtual_network": "one",
                        "address": "10.0.0.4",
                        "address_v6": "fd00::4",
                    },
                    "b": {"host": "h2", "virtual_network": "two", "address": "10.2.0.4"},
                    "c": {"host": "h2", "virtual_network": "three", "address": "10.3.0.4"},
                },
            }
        )
    )


@pytest.fixture
def namespace():
    """A network namespace, removed with all that is in it."""
    name = f"dtls-emu-test-{os.getpid()}-container"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture
def container(namespace):
    """It has a way to everywhere, as that of a container has."""
    for command in (
        "link add eth0 type veth peer name far",
        "link set far up",
        "link set eth0 up",
        "addr add 192.0.2.1/24 dev eth0",
        "addr add 2001:db8::1/64 dev eth0 nodad",
        "route add default via 192.0.2.254",
        "route add default via 2001:db8::fe dev eth0",
    ):
        subprocess.run(["ip", "-netns", namespace, *command.split()], check=True)
    return namespace


def way(namespace, address):
    """The device that packets to an address leave by, or the kernel's word for why they do not."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with entered(namespace), socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((address, 7))
        except OSError as error:
            return errno.errorcode[present(error.errno)]
        own = sock.getsockname()[0]
    return {"10.0.0.4": "tun0", "fd00::4": "tun0"}.get(own, "eth0")


@pytest.mark.root
def test_packets_for_vms_have_no_way_around_the_card(container):
    """Neither before its device is there nor after it has gone; to anywhere else the way is as it was."""
    lab = topology()
    assert [way(container, address) for address in ("10.0.0.5", "10.2.0.4", "fd00::5")] == ["eth0"] * 3

    with entered(container):
        for _ in range(2):  # a host that comes back finds them there
            close_other_ways([lab.vms["a"]], lab)
    closed = [way(container, address) for address in ("10.0.0.5", "10.2.0.4", "fd00::5")]
    assert closed == ["EHOSTUNREACH"] * 3

    device = open_tun("tun0", netns=container, create=True)
    configure_device("tun0", container, lab.vms["a"], lab, metric=1)
    assert [way(container, address) for address in ("10.0.0.5", "10.2.0.4", "fd00::5")] == ["tun0"] * 3

    device.close()
    assert [way(container, address) for address in ("10.0.0.5", "10.2.0.4", "fd00::5")] == closed
    assert [way(container, address) for address in ("192.0.2.2", "8.8.8.8", "10.3.0.4")] == ["eth0"] * 3


def test_a_fabric_inside_a_network_of_a_vm_is_refused():
    """The message names the host, its address, the prefix and the VM."""
    lab = topology(underlay="10.2.0.{}")
    with pytest.raises(AddressingError, match=r"h1 has the address 10\.2\.0\.1 .* 10\.2\.0\.0/24 .* of a;"):
        check_underlays([lab.vms["a"]], lab)


def test_a_fabric_inside_a_network_that_a_vm_does_not_reach_is_none_of_its_business():
    """What is not routed into the card takes the way of the fabric."""
    lab = topology(underlay="10.3.0.{}")
    check_underlays([lab.vms["a"]], lab)
    with pytest.raises(AddressingError):
        check_underlays([lab.vms["c"]], lab)
