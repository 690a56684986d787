"""The facts of a flow, from a compiled lab."""

from ipaddress import ip_address

import pytest

from dtls_emu.lab import load_lab
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.policy import flow_to


@pytest.fixture(scope="module")
def topology():
    return compile_lab(load_lab("mixed-sizes"))


@pytest.mark.parametrize(
    ("address", "vm", "internet"),
    [
        ("10.1.0.5", "allow-b", False),  # the same network
        ("10.2.0.5", "drop-b", False),  # a peered network
        ("10.1.0.99", None, False),  # in a prefix, but nobody's
        ("10.9.0.1", None, False),  # private, and in no prefix
        ("203.0.113.7", None, True),
        ("2001:db8::7", None, True),
        ("fd00::7", None, False),
    ],
)
def test_an_address_is_a_vm_the_internet_or_nobody(topology, address, vm, internet):
    """A VM where a private route leads to one; the internet only for a public address."""
    flow = flow_to(topology, topology.vms["allow-a"], ip_address(address))
    assert (flow.destination and flow.destination.vm.name, flow.internet) == (vm, internet)


def test_an_endpoint_knows_its_network_and_host(topology):
    """So that a decision needs no look-up."""
    flow = flow_to(
        topology, topology.vms["allow-a"], ip_address("10.2.0.9"), fragment=True, tunnel_failed=True
    )
    assert [(end.vm.name, end.network.name, end.host.name) for end in flow.ends] == [
        ("allow-a", "allow", "host-1"),
        ("drop-no-card", "drop", "host-3"),
    ]
    assert (flow.fragment, flow.tunnel_failed) == (True, True)
