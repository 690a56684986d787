"""What a compiled lab consists of: virtual networks, hosts, and what lives on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtls_emu.vocabulary import EndpointKind, Outcome


if TYPE_CHECKING:
    from dtls_emu.lab.card_models import CardModel
    from dtls_emu.lab.prefixes import Address, Prefix
    from dtls_emu.vocabulary import Enforcement


__all__ = ["Host", "Network", "Vm"]


@dataclass(frozen=True, slots=True)
class Network:
    """A virtual network.

    Fields:
        name, prefixes: as in the lab file.
        vni: VXLAN network identifier, 24 bits.
        encrypted: encryption is enabled.
        enforcement: meant only where ``encrypted``.
        peers: names of the networks peered with this one. Peering is mutual and not transitive.
        region: of the network; a peering between regions is a global one.
        groups: names of the connected groups that it is in.
        remote_gateways: without a gateway of its own it uses those of its peers.
    """

    name: str
    vni: int
    prefixes: tuple[Prefix, ...]
    encrypted: bool
    enforcement: Enforcement
    peers: frozenset[str]
    region: str = "eastus"
    remote_gateways: bool = False
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Host:
    """A physical machine of the emulated cloud, with one SmartNIC.

    Fields:
        name: also the name in its certificate.
        underlay: its IP address on the fabric, in canonical text form.
        region: whose certificate authority signs for it.
        backend: name of a cipher backend, or `auto`.
        smartnic_present: False when the card is absent or faulty; it then forwards in clear only.
        model: what the simulation takes its card's time from; None: it takes none.
        line_rate: bit/s that the simulation has its card carry, each way; 0: no limit but the model's.
    """

    name: str
    underlay: str
    region: str
    backend: str
    smartnic_present: bool
    model: CardModel | None = None
    line_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Vm:
    """A guest: a VM, or an endpoint of another kind that the lab places on a host.

    Fields:
        name: as in the lab file.
        host, network: names of where it lives.
        addresses: its IPv4 address, then its IPv6 address when it has one.
        mac: 6 bytes.
        size: Azure size name; of an endpoint of another kind, its kind.
        size_capable: the size can encrypt under the lab's profile.
        accelerated_networking: on for its NIC.
        restarted: stopped and started since its network's encryption was enabled.
        flow_table_ready: its flow table (GFT) is ready; False at first boot and while the host is serviced.
        discovery: its host's networking stack supports discovery.
        mtu: of its NIC, in bytes of IP packet.
        kind: what it is; most are VMs.
        prefixes: what is behind it, and what it answers for besides its own addresses; of a gateway.
        running: False while it is stopped; it then sends and gets nothing.
        outcome: what encryption of its network means for it: AS_VM, CLEAR or FAILS.
    """

    name: str
    host: str
    network: str
    addresses: tuple[Address, ...]
    mac: bytes
    size: str
    size_capable: bool
    accelerated_networking: bool
    restarted: bool
    flow_table_ready: bool
    discovery: bool
    mtu: int
    kind: EndpointKind = EndpointKind.VM
    outcome: Outcome = Outcome.AS_VM
    prefixes: tuple[Prefix, ...] = ()
    running: bool = True

    def owns(self, address: Address) -> bool:
        """Whether packets from this address may be its own."""
        return address in self.addresses or any(address in prefix for prefix in self.prefixes)

    def address(self, version: int) -> Address | None:
        """Its address of IP version 4 or 6, None when it has none."""
        return next((address for address in self.addresses if address.version == version), None)
