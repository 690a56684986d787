"""What the control plane shows of a lab: encryption of networks, of the other side of peerings, and of NICs."""

from dtls_emu.lab import compile_lab, load_lab
from dtls_emu.lab.control_plane import network_interface, resources, virtual_network


TOPOLOGY = compile_lab(load_lab("mixed-sizes"))


def test_a_peering_shows_the_encryption_of_the_other_side():
    """A network without encryption as one that allows unencrypted traffic."""
    network = virtual_network(TOPOLOGY, TOPOLOGY.networks["allow"])["properties"]
    assert network["encryption"] == {"enabled": True, "enforcement": "AllowUnencrypted"}
    remote = {
        peering["properties"]["remoteVirtualNetwork"]["id"]: peering["properties"][
            "remoteVirtualNetworkEncryption"
        ]
        for peering in network["virtualNetworkPeerings"]
    }
    assert remote == {
        "virtualNetworks/drop": {"enabled": True, "enforcement": "DropUnencrypted"},
        "virtualNetworks/plain": {"enabled": False, "enforcement": "AllowUnencrypted"},
    }


def test_a_nic_shows_whether_its_vm_supports_encryption():
    """By size; accelerated networking is a property of its own."""
    shown = {
        name: (nic["vnetEncryptionSupported"], nic["enableAcceleratedNetworking"])
        for name in ("allow-a", "allow-burstable", "drop-slow-nic", "allow-not-restarted")
        for nic in [network_interface(TOPOLOGY.vms[name])["properties"]]
    }
    assert shown == {
        "allow-a": (True, True),
        "allow-burstable": (False, True),
        "drop-slow-nic": (True, False),
        "allow-not-restarted": (True, True),
    }


def test_endpoints_that_are_no_vm_have_no_nic_of_the_users():
    """Networks and VMs only."""
    topology = compile_lab(load_lab("endpoints"))
    assert [each["name"] for each in resources(topology)] == ["prod", "plain", "web-nic", "visitor-nic"]
