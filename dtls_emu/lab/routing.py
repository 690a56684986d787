"""Where a virtual network's routes lead: the longest prefix first, and among equal ones the more particular source.

1. The user's own route table of a subnet.
2. A connected group: what a network manager's mesh has joined.
3. The network itself and its peers.
4. What is behind a gateway of the network, or of a peer whose gateway it uses.
5. The default routes: private ranges lead nowhere, everything else to the internet.

Source: "Virtual network traffic routing"; "Connectivity configuration in Azure Virtual Network Manager"; for the order of
1 to 4 the vendor's networking blog, "Migrating from MSEE hairpin routing to AVNM mesh".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.lab.internet import is_internet
from dtls_emu.lab.prefixes import Address, Prefix, PrefixMap, nested


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dtls_emu.lab.places import Network, Vm


__all__ = ["EffectiveRoute", "Group", "Hop", "NextHop", "Routing", "Subnet", "UserRoute"]


class NextHop(StrEnum):
    """Types of next hop, as the portal's effective routes spell them."""

    VNET_LOCAL = "VnetLocal"
    PEERING = "VNetPeering"
    GLOBAL_PEERING = "GlobalVNetPeering"
    CONNECTED_GROUP = "ConnectedGroup"
    GATEWAY = "VirtualNetworkGateway"
    INTERNET = "Internet"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class UserRoute:
    """A route of a route table."""

    name: str
    prefix: Prefix
    next_hop: NextHop


@dataclass(frozen=True, slots=True)
class Subnet:
    """A part of a virtual network with settings of its own.

    Fields:
        name, network, prefixes: as in the lab file.
        private: it has no default outbound access.
        routes: of its route table.
        propagates: routes to what is behind gateways hold in it.
        security_group: name of its security group; "" without one.
    """

    name: str
    network: str
    prefixes: tuple[Prefix, ...]
    private: bool = False
    routes: tuple[UserRoute, ...] = ()
    propagates: bool = True
    security_group: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A connected group: networks that a mesh joins, in one region unless the mesh is global."""

    name: str
    members: tuple[str, ...]


class Hop(NamedTuple):
    """Where a route leads, and how.

    Fields:
        next_hop: its type.
        owner: name of the network that has the address, or of the gateway that it is behind; "" elsewhere.
    """

    next_hop: NextHop
    owner: str


@dataclass(frozen=True, slots=True)
class EffectiveRoute:
    """One line of what the portal prints as effective routes.

    Fields:
        source: `Default`, `User` or `VirtualNetworkGateway`.
        state: `Active`, or `Invalid` where a route of the same prefix goes before it.
        prefixes: of one next hop.
        next_hop: its type.
        next_hop_address: of a gateway; "" elsewhere.
        name: of a user's route; "" elsewhere.
        leads_to: the network or endpoint behind it; not in the portal.
    """

    source: str
    state: str
    prefixes: tuple[Prefix, ...]
    next_hop: NextHop
    next_hop_address: str = ""
    name: str = ""
    leads_to: str = ""


_DROP: Final = Hop(NextHop.NONE, "")
_INTERNET: Final = Hop(NextHop.INTERNET, "")

NOT_INTERNET: Final = tuple(
    IPv4Network(prefix) for prefix in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
"""Private ranges that lead nowhere unless something more particular does."""


class Routing:
    """The routes of all networks of a lab. Lookups are dictionary hits, whatever the number of networks."""

    def __init__(
        self,
        networks: Mapping[str, Network],
        vms: Mapping[str, Vm],
        subnets: Iterable[Subnet],
        groups: Iterable[Group],
    ) -> None:
        self._networks = networks
        self._vms = vms
        self._prefixes = PrefixMap(
            (prefix, network.name) for network in networks.values() for prefix in network.prefixes
        )
        self._reach = {name: network.peers | {name} for name, network in networks.items()}
        self.groups = {group.name: group for group in groups}
        self._joined: dict[str, list[str]] = {}
        self._maps: dict[str, tuple[PrefixMap, frozenset[str]]] = {}
        for group in self.groups.values():
            members = frozenset(group.members)
            left_out = self._overlapping(group)
            kept = [pair for pair in self._pairs(group.members) if pair not in left_out]
            self._maps[group.name] = PrefixMap(kept), members
            for member in group.members:
                self._joined.setdefault(member, []).append(group.name)
        self._gateways: dict[str, list[str]] = {}
        for vm in vms.values():
            if vm.prefixes:
                self._gateways.setdefault(vm.network, []).append(vm.name)
        self._behind = PrefixMap((prefix, vm.name) for vm in vms.values() for prefix in vm.prefixes)
        self._usable = {
            name: frozenset(gateway for _, gateway in self._gateways_of(network))
            for name, network in networks.items()
            if self._gateways
        }
        self._subnets: dict[str, list[Subnet]] = {}
        for subnet in subnets:
            self._subnets.setdefault(subnet.network, []).append(subnet)
        self._subnet_maps = {
            network: (
                PrefixMap((prefix, each.name) for each in own for prefix in each.prefixes),
                frozenset(each.name for each in own),
            )
            for network, own in self._subnets.items()
        }
        self._named = {(each.network, each.name): each for own in self._subnets.values() for each in own}
        self._subnet_of_vm: dict[str, Subnet | None] = {}

    def has_user_routes(self, vm: Vm) -> bool:
        """Whether a VM's subnet has routes of its own."""
        subnet = self.subnet_of(vm)
        return subnet is not None and bool(subnet.routes)

    @property
    def subnets(self) -> list[Subnet]:
        """All of the lab's."""
        return list(self._named.values())

    def subnet_of(self, vm: Vm) -> Subnet | None:
        """The subnet that a VM's address lies in, or None."""
        if not self._named:
            return None
        if vm.name not in self._subnet_of_vm:
            places = self._subnet_maps.get(vm.network)
            name = None if places is None else places[0].find(vm.addresses[0], places[1])
            self._subnet_of_vm[vm.name] = None if name is None else self._named[vm.network, name]
        return self._subnet_of_vm[vm.name]

    def hop(self, network: str, address: Address) -> Hop:
        """Where the routes of a network lead, but for its subnets' own."""
        return self._system(network, address)[1]

    def hop_of(self, vm: Vm, address: Address) -> Hop:
        """Where the routes of a VM lead: those of its subnet, too."""
        subnet = self.subnet_of(vm)
        if subnet is None:
            return self._system(vm.network, address)[1]
        length, found = self._system(vm.network, address, behind_gateways=subnet.propagates)
        for route in subnet.routes:
            prefix = route.prefix
            if prefix.version == address.version and prefix.prefixlen >= length and address in prefix:
                length, found = prefix.prefixlen + 0.5, self._user_hop(vm, route, address)
        if subnet.private and found.next_hop is NextHop.INTERNET:
            return _DROP
        return found

    def reachable(self, vm: Vm) -> list[Prefix]:
        """The private prefixes that a VM has routes to: what its NIC must be handed."""
        found = [
            prefix
            for route in self.effective(vm)
            if route.next_hop not in {NextHop.INTERNET, NextHop.NONE} and route.state == "Active"
            for prefix in route.prefixes
        ]
        return list(dict.fromkeys(found))

    def effective(self, vm: Vm) -> list[EffectiveRoute]:
        """The effective routes of a VM's NIC, in the order in which the portal has them."""
        network = self._networks[vm.network]
        versions = {address.version for address in vm.addresses}
        subnet = self.subnet_of(vm)
        rows: list[tuple[int, EffectiveRoute]] = []

        def add(rank: int, route: EffectiveRoute) -> None:
            rows.extend(
                (rank, replace(route, prefixes=(prefix,)))
                for prefix in route.prefixes
                if prefix.version in versions
            )

        add(2, EffectiveRoute("Default", "", network.prefixes, NextHop.VNET_LOCAL, leads_to=network.name))
        for name in sorted(network.peers):
            peer = self._networks[name]
            add(
                2,
                EffectiveRoute("Default", "", peer.prefixes, _peering(network, peer), leads_to=name),
            )
        for group in self._joined.get(network.name, ()):
            kept = self._maps[group][0]
            for member in self.groups[group].members:
                if member != network.name:
                    prefixes = tuple(
                        prefix for prefix in self._networks[member].prefixes if kept.has(prefix, member)
                    )
                    add(1, EffectiveRoute("Default", "", prefixes, NextHop.CONNECTED_GROUP, leads_to=member))
        if subnet is None or subnet.propagates:
            for gateway in sorted(self._usable.get(network.name, ())):
                end = self._vms[gateway]
                source = "VirtualNetworkGateway"
                address = str(end.addresses[0])
                add(3, EffectiveRoute(source, "", end.prefixes, NextHop.GATEWAY, address, leads_to=gateway))
        outside = NextHop.NONE if subnet is not None and subnet.private else NextHop.INTERNET
        add(4, EffectiveRoute("Default", "", (ip_network("0.0.0.0/0"), ip_network("::/0")), outside))
        for prefix in NOT_INTERNET:
            add(4, EffectiveRoute("Default", "", (prefix,), NextHop.NONE))
        for route in () if subnet is None else subnet.routes:
            add(0, EffectiveRoute("User", "", (route.prefix,), route.next_hop, name=route.name))
        best: dict[Prefix, int] = {}
        for rank, each in rows:
            best[each.prefixes[0]] = min(rank, best.get(each.prefixes[0], rank))
        return [
            replace(each, state="Active" if best[each.prefixes[0]] == rank else "Invalid")
            for rank, each in rows
        ]

    def _system(self, network: str, address: Address, *, behind_gateways: bool = True) -> tuple[float, Hop]:
        """The route of the longest prefix that is no user's, and the length of its prefix."""
        length = -1.0
        found = _DROP
        own = self._prefixes.find_longest(address, self._reach[network])
        is_own = False
        if own is not None:
            owner, length = own
            is_own = owner == network
            found = Hop(NextHop.VNET_LOCAL if is_own else NextHop.PEERING, owner)
        # Nothing in a mesh is inside a member's own prefixes: overlaps are left out.
        for group in () if is_own else self._joined.get(network, ()):
            prefixes, members = self._maps[group]
            joined = prefixes.find_longest(address, members)
            if joined is not None and joined[1] >= length and joined[0] != network:
                found, length = Hop(NextHop.CONNECTED_GROUP, joined[0]), joined[1]
        if behind_gateways and self._usable:
            behind = self._behind.find_longest(address, self._usable[network])
            if behind is not None and behind[1] > length:
                found, length = Hop(NextHop.GATEWAY, behind[0]), behind[1]
        if length >= 0:
            return length, found
        return 0, _INTERNET if is_internet(address) else _DROP

    def _user_hop(self, vm: Vm, route: UserRoute, address: Address) -> Hop:
        if route.next_hop is NextHop.INTERNET:
            return _INTERNET
        if route.next_hop is NextHop.VNET_LOCAL:
            own = self._prefixes.find(address, frozenset({vm.network}))
            return _DROP if own is None else Hop(NextHop.VNET_LOCAL, own)
        if route.next_hop is NextHop.GATEWAY:
            gateways = sorted(self._usable.get(vm.network, ()))
            behind = self._behind.find(address, self._usable.get(vm.network, frozenset()))
            gateway = behind or (gateways[0] if gateways else None)
            return _DROP if gateway is None else Hop(NextHop.GATEWAY, gateway)
        return _DROP

    def _gateways_of(self, network: Network) -> Iterator[tuple[str, str]]:
        """Networks and names of the gateways that a network may use: its own; without any, its peers' where it says so."""
        own = self._gateways.get(network.name, ())
        if own:
            yield from ((network.name, gateway) for gateway in own)
        elif network.remote_gateways:
            for peer in sorted(network.peers):
                yield from ((peer, gateway) for gateway in self._gateways.get(peer, ()))

    def _pairs(self, members: Iterable[str]) -> list[tuple[Prefix, str]]:
        return [(prefix, name) for name in members for prefix in self._networks[name].prefixes]

    def _overlapping(self, group: Group) -> set[tuple[Prefix, str]]:
        """Prefixes that a mesh leaves out: they overlap another member's, or those of a member's peer outside of it.

        Source: "Connectivity configuration": traffic to overlapping prefixes is dropped; a member that is peered with an
        overlapping network outside of the group goes on to route there.
        """
        members = set(group.members)
        outside = {
            peer for name in group.members for peer in self._networks[name].peers if peer not in members
        }
        pairs = self._pairs([*group.members, *sorted(outside)])
        found: set[tuple[Prefix, str]] = set()
        for outer, inner in nested([prefix for prefix, _ in pairs]):
            if pairs[outer][1] != pairs[inner][1]:
                found |= {pairs[outer], pairs[inner]}
        return found


def _peering(network: Network, peer: Network) -> NextHop:
    return NextHop.PEERING if network.region == peer.region else NextHop.GLOBAL_PEERING
