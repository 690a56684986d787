"""The compiled lab: what a card, a fabric and the policy look things up in.

Plain dataclasses and dictionaries; a lookup is a dictionary hit. Nothing here knows YAML or pydantic:
:mod:`dtls_emu.lab.compiling` makes a topology from a validated lab file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final

from dtls_emu.lab.prefixes import Address, Prefix, PrefixMap, PrefixSet
from dtls_emu.vocabulary import EndpointKind, Outcome


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.lab.profiles import Profile
    from dtls_emu.vocabulary import Enforcement


__all__ = [
    "DEFAULT_DELAY",
    "DEFAULT_LINK_MTU",
    "Address",
    "Host",
    "Link",
    "Network",
    "Prefix",
    "Topology",
    "Vm",
    "is_internet",
]

DEFAULT_LINK_MTU: Final = 1650
"""Carries a 1500-byte packet with every overhead, over IPv4 and IPv6."""

DEFAULT_DELAY: Final = 50e-6
"""Seconds from one host to the other: two racks of one data centre."""


@dataclass(frozen=True, slots=True)
class Network:
    """A virtual network.

    Fields:
        name, prefixes: as in the lab file.
        vni: VXLAN network identifier, 24 bits.
        encrypted: encryption is enabled.
        enforcement: meant only where ``encrypted``.
        peers: names of the networks peered with this one. Peering is mutual and not transitive.
    """

    name: str
    vni: int
    prefixes: tuple[Prefix, ...]
    encrypted: bool
    enforcement: Enforcement
    peers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Host:
    """A physical machine of the emulated cloud, with one SmartNIC.

    Fields:
        name: also the name in its certificate.
        underlay: its IP address on the fabric, in canonical text form.
        region: whose certificate authority signs for it.
        backend: name of a cipher backend, or `auto`.
        smartnic_present: False when the card is absent or faulty; it then forwards in clear only.
    """

    name: str
    underlay: str
    region: str
    backend: str
    smartnic_present: bool


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

    def address(self, version: int) -> Address | None:
        """Its address of IP version 4 or 6, None when it has none."""
        return next((address for address in self.addresses if address.version == version), None)


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of the link between two hosts; without impairments unless they are given.

    Fields:
        source, destination: host names.
        mtu: largest outer IP packet, in bytes.
        delay: one-way, in seconds.
        jitter: most that is added to or taken from the delay, in seconds; never below zero delay.
        loss, reorder, duplicate, corrupt: probability for each datagram, 0 to 1.
        rate: bit/s of outer IP packets; 0 means unlimited.
        ecn_mark: probability that a datagram that is ECN-capable is marked CE (RFC 3168 5), 0 to 1.
    """

    source: str
    destination: str
    mtu: int
    delay: float
    jitter: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    rate: float = 0.0
    ecn_mark: float = 0.0


class Topology:
    """Everything of a lab but its traffic. Never changed after construction.

    Fields:
        name: of the lab.
        profile: with the lab's overrides applied.
        seed: of every random choice of a run.
        networks, hosts, vms: by name; the VMs include endpoints of other kinds.
        default_link: what a link is like that the lab file does not name; its ends mean nothing.
    """

    __slots__ = (
        "_by_host",
        "_by_underlay",
        "_by_vni",
        "_links",
        "_own",
        "_prefixes",
        "_reach",
        "default_link",
        "hosts",
        "name",
        "networks",
        "profile",
        "seed",
        "vms",
    )

    def __init__(
        self,
        *,
        name: str,
        profile: Profile,
        seed: int,
        networks: Iterable[Network],
        hosts: Iterable[Host],
        vms: Iterable[Vm],
        links: Iterable[Link],
        default_link: Link,
    ) -> None:
        """Index everything. The caller has checked names, addresses and overlaps."""
        self.name = name
        self.profile = profile
        self.seed = seed
        self.networks = {network.name: network for network in networks}
        self.hosts = {host.name: host for host in hosts}
        self.vms = {vm.name: vm for vm in vms}
        self._links = {(link.source, link.destination): link for link in links}
        self.default_link = default_link
        self._by_vni = {network.vni: network for network in self.networks.values()}
        self._by_underlay = {host.underlay: host for host in self.hosts.values()}
        self._by_host: dict[str, list[Vm]] = {host: [] for host in self.hosts}
        self._own: dict[str, dict[Address, Vm]] = {network: {} for network in self.networks}
        for vm in self.vms.values():
            self._by_host[vm.host].append(vm)
            self._own[vm.network].update(dict.fromkeys(vm.addresses, vm))
        self._reach = {name: network.peers | {name} for name, network in self.networks.items()}
        self._prefixes = PrefixMap(
            (prefix, network.name) for network in self.networks.values() for prefix in network.prefixes
        )

    def without_encryption(self) -> Topology:
        """The same lab with encryption off in every network: the baseline of a comparison."""
        return Topology(
            name=self.name,
            profile=self.profile,
            seed=self.seed,
            networks=[replace(network, encrypted=False) for network in self.networks.values()],
            hosts=self.hosts.values(),
            vms=self.vms.values(),
            links=self._links.values(),
            default_link=self.default_link,
        )

    def link(self, source: str, destination: str) -> Link:
        """The way from one host to another; with the lab's defaults where the lab file has no such link."""
        pair = source, destination
        link = self._links.get(pair)
        if link is None:
            link = replace(self.default_link, source=source, destination=destination)
            self._links[pair] = link
        return link

    def host_by_underlay(self, address: str) -> Host | None:
        """The host with this fabric address (canonical text form)."""
        return self._by_underlay.get(address)

    def network_by_vni(self, vni: int) -> Network | None:
        """The virtual network with this VXLAN network identifier."""
        return self._by_vni.get(vni)

    def vms_on(self, host: str) -> tuple[Vm, ...]:
        """The VMs of a host, in the lab file's order."""
        return tuple(self._by_host[host])

    def locate(self, network: str, address: Address) -> Vm | None:
        """The VM with this address in the network, or in one peered with it."""
        own = self._own[network].get(address)
        if own is not None:
            return own
        holder = self._prefixes.find(address, self._reach[network])
        return None if holder is None else self._own[holder].get(address)

    def is_private_route(self, network: str, address: Address) -> bool:
        """True when the address lies in a prefix of the network, or of one peered with it."""
        return self._prefixes.find(address, self._reach[network]) is not None


def is_internet(address: Address) -> bool:
    """True when the default routes send an address to the internet, unless a private route takes it first.

    Source: "Virtual network traffic routing", default system routes: all of IPv4 but 10/8, 172.16/12,
    192.168/16 and 100.64/10. IPv6 likewise: global unicast only (RFC 4291 2.4).
    """
    return address not in _NOT_INTERNET_4 if address.version == 4 else address in _INTERNET_6


_NOT_INTERNET_4: Final = PrefixSet(
    IPv4Network(prefix)
    for prefix in (
        "0.0.0.0/8",  # this network, RFC 1122
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_INTERNET_6: Final = IPv6Network("2000::/3")
