"""Large clouds, made up: so many hosts with VMs, in networks of which every one is peered with the first."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any, Final

from dtls_emu.lab.schema import Lab


__all__ = ["VMS_OF_A_HOST", "cloud"]

VMS_OF_A_HOST: Final = 4
VMS_OF_A_NETWORK: Final = 200

_UNDERLAYS: Final = int(IPv4Address("172.16.0.0"))
_GUESTS: Final = int(IPv4Address("10.0.0.0"))


def cloud(hosts: int) -> Lab:
    """A lab of so many hosts, at most 65,000; its networks are encrypted."""
    vms = hosts * VMS_OF_A_HOST
    networks = -(-vms // VMS_OF_A_NETWORK)
    content: dict[str, Any] = {
        "name": "cloud",
        "virtual_networks": {
            f"net-{number}": {
                "address_prefixes": [f"{IPv4Address(_GUESTS + (number << 8))}/24"],
                "vni": number + 1,
                "encryption": {"enabled": True},
                "peerings": ["net-0"] if number else [],
            }
            for number in range(networks)
        },
        "hosts": {
            f"host-{number}": {"underlay": str(IPv4Address(_UNDERLAYS + number))}
            for number in range(1, hosts + 1)
        },
        "vms": {
            f"vm-{number}": {
                "host": f"host-{1 + number % hosts}",
                "virtual_network": f"net-{number % networks}",
                "address": str(IPv4Address(_GUESTS + (number % networks << 8) + 4 + number // networks)),
            }
            for number in range(vms)
        },
    }
    return Lab.model_validate(content)
