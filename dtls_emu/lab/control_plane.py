"""What the cloud's control plane shows of a lab: networks, peerings and NICs as its API has them.

There is no "effective encryption" among them: what is encrypted is the decision table's to say, and flow logs'.

Source: ``Microsoft.Network/virtualNetworks``, ``virtualNetworkPeerings`` and ``networkInterfaces``, API 2024-05-01: encryption
of a network is written; ``remoteVirtualNetworkEncryption`` and ``vnetEncryptionSupported`` are read only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtls_emu.vocabulary import EndpointKind, Enforcement


if TYPE_CHECKING:
    from dtls_emu.lab.topology import Network, Topology, Vm


__all__ = ["network_interface", "resources", "virtual_network"]


def resources(topology: Topology) -> list[dict[str, Any]]:
    """Every virtual network and every VM's network interface of a lab."""
    return [
        *(virtual_network(topology, network) for network in topology.networks.values()),
        *(network_interface(vm) for vm in topology.vms.values() if vm.kind is EndpointKind.VM),
    ]


def virtual_network(topology: Topology, network: Network) -> dict[str, Any]:
    """A virtual network with its peerings, each with the encryption of the other side."""
    return {
        "type": "Microsoft.Network/virtualNetworks",
        "name": network.name,
        "location": network.region,
        "properties": {
            "addressSpace": {"addressPrefixes": [str(prefix) for prefix in network.prefixes]},
            "encryption": _encryption(network),
            "virtualNetworkPeerings": [
                {
                    "name": f"{network.name}-to-{peer}",
                    "properties": {
                        "peeringState": "Connected",
                        "remoteVirtualNetwork": {"id": f"virtualNetworks/{peer}"},
                        "remoteVirtualNetworkEncryption": _encryption(topology.networks[peer]),
                    },
                }
                for peer in sorted(network.peers)
            ],
        },
    }


def network_interface(vm: Vm) -> dict[str, Any]:
    """The NIC of a VM."""
    return {
        "type": "Microsoft.Network/networkInterfaces",
        "name": f"{vm.name}-nic",
        "properties": {
            "macAddress": "-".join(f"{octet:02X}" for octet in vm.mac),
            "virtualMachine": {"id": f"virtualMachines/{vm.name}"},
            "ipConfigurations": [
                {"properties": {"privateIPAddress": str(address)}} for address in vm.addresses
            ],
            "enableAcceleratedNetworking": vm.accelerated_networking,
            # "Whether the virtual machine this nic is attached to supports encryption": its size, not its state.
            "vnetEncryptionSupported": vm.size_capable,
        },
    }


def _encryption(network: Network) -> dict[str, Any]:
    """A network without encryption is shown as one that allows unencrypted traffic."""
    enforcement = network.enforcement if network.encrypted else Enforcement.ALLOW_UNENCRYPTED
    return {"enabled": network.encrypted, "enforcement": str(enforcement)}
