"""The compiled lab: what a card, a fabric and the policy look things up in.

Plain dataclasses and dictionaries; a lookup is a dictionary hit. Nothing here knows YAML or pydantic:
:mod:`dtls_emu.lab.compiling` makes a topology from a validated lab file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dtls_emu.lab.internet import is_internet
from dtls_emu.lab.places import Host, Network, Vm
from dtls_emu.lab.prefixes import Address, Prefix
from dtls_emu.lab.routing import Group, NextHop, Routing, Subnet


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.lab.profiles import Profile
    from dtls_emu.lab.routing import Hop
    from dtls_emu.lab.rules import Security


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
        routing: where routes lead.
        security: rules of security groups and administrators, or None.
        networks, hosts, vms: by name; the VMs include endpoints of other kinds.
        default_link: what a link is like that the lab file does not name; its ends mean nothing.
    """

    __slots__ = (
        "_by_host",
        "_by_underlay",
        "_by_vni",
        "_links",
        "_own",
        "default_link",
        "hosts",
        "name",
        "networks",
        "profile",
        "routing",
        "security",
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
        subnets: Iterable[Subnet] = (),
        groups: Iterable[Group] = (),
        security: Security | None = None,
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
            if vm.running:
                self._own[vm.network].update(dict.fromkeys(vm.addresses, vm))
        self.security = security
        self.routing = Routing(self.networks, self.vms, subnets, groups)

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
            subnets=self.routing.subnets,
            groups=self.routing.groups.values(),
            security=self.security,
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
        """The VM with this address, or the gateway that it is behind, as far as the network's routes lead there.

        Routes of subnets do not count: :meth:`destination` is about those of one VM.
        """
        own = self._own[network].get(address)
        return own if own is not None else self._at(self.routing.hop(network, address), address)

    def destination(self, source: Vm, address: Address) -> tuple[Vm | None, bool]:
        """Who gets what a VM sends to an address, or None; and whether it goes to the internet instead."""
        if not source.running:
            return None, False
        if not self.routing.has_user_routes(source):
            own = self._own[source.network].get(address)
            if own is not None:
                return own, False
        hop = self.routing.hop_of(source, address)
        if hop.next_hop is NextHop.INTERNET:
            return None, is_internet(address)
        return self._at(hop, address), False

    def is_private_route(self, network: str, address: Address) -> bool:
        """True when the address lies in a prefix of the network, of one joined with it, or behind a gateway."""
        return self.routing.hop(network, address).next_hop not in {NextHop.INTERNET, NextHop.NONE}

    def _at(self, hop: Hop, address: Address) -> Vm | None:
        if hop.next_hop is NextHop.GATEWAY:
            return self.vms[hop.owner]
        return self._own[hop.owner].get(address) if hop.owner else None
