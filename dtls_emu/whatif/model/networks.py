"""Virtual networks and what joins them: subnets, peerings, connected groups, virtual WAN; routes and security rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.vocabulary import Enforcement
from dtls_emu.whatif.model.estate import (
    AdminRule,
    ConnectedGroup,
    Hub,
    Network,
    Peering,
    Route,
    SecurityRule,
    Subnet,
)
from dtls_emu.whatif.model.view import parent_of


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.whatif.model.estate import Estate
    from dtls_emu.whatif.model.index import Index
    from dtls_emu.whatif.model.view import View


__all__ = ["NETWORK_KINDS", "build_networks"]

VNET: Final = "microsoft.network/virtualnetworks"
MANAGER: Final = "microsoft.network/networkmanagers"
ROUTE_TABLE: Final = "microsoft.network/routetables"
SECURITY_GROUP: Final = "microsoft.network/networksecuritygroups"
HUB: Final = "microsoft.network/virtualhubs"

NETWORK_KINDS: Final = frozenset(
    {
        VNET,
        f"{VNET}/subnets",
        f"{VNET}/virtualnetworkpeerings",
        ROUTE_TABLE,
        f"{ROUTE_TABLE}/routes",
        SECURITY_GROUP,
        f"{SECURITY_GROUP}/securityrules",
        HUB,
        f"{HUB}/hubvirtualnetworkconnections",
        MANAGER,
        f"{MANAGER}/networkgroups",
        f"{MANAGER}/networkgroups/staticmembers",
        f"{MANAGER}/connectivityconfigurations",
        f"{MANAGER}/securityadminconfigurations",
        f"{MANAGER}/securityadminconfigurations/rulecollections",
        f"{MANAGER}/securityadminconfigurations/rulecollections/rules",
    }
)
"""Types that are read here."""


def build_networks(index: Index, estate: Estate) -> None:
    """Fill in networks, and what joins and divides them."""
    for view in index.of(VNET):
        _network(view, index, estate)
    for view in index.of(f"{VNET}/subnets"):
        head, name = parent_of(view.id, "subnets")
        network = index.network(head, estate)
        if network is not None:
            network.subnets[name] = _subnet(view, name)
    for view in index.of(f"{VNET}/virtualnetworkpeerings"):
        head, _ = parent_of(view.id, "virtualnetworkpeerings")
        _peering(view, head, index, estate)
    _routes_and_security(index, estate)
    _hubs(index, estate)
    _manager(index, estate)


def _network(view: View, index: Index, estate: Estate) -> None:
    network = index.network(view.id, estate) or Network(view.id, view.name)
    network.name, network.declared, network.place = view.name, True, view.place
    network.certain = view.certain
    network.region = view.symbol("location").replace(" ", "").lower()
    network.prefixes = view.prefixes("addressSpace", "addressPrefixes")
    network.encrypted = view.flag("encryption", "enabled")
    network.enforcement = _enforcement(view)
    network.tags = view.tags()
    for part in view.parts("subnets"):
        name = part.symbol("name")
        network.subnets[name.lower()] = _subnet(part, name)
    estate.networks[network.id] = network
    for part in view.parts("virtualNetworkPeerings"):
        _peering(part, network.id, index, estate)


def _enforcement(view: View) -> Enforcement | None:
    said = view.text("encryption", "enforcement")
    return next((each for each in Enforcement if said is not None and each.lower() == said.lower()), None)


def _subnet(view: View, name: str) -> Subnet:
    delegations = [part.text("serviceName") or part.text("name") or "" for part in view.parts("delegations")]
    return Subnet(
        name,
        view.prefixes("addressPrefix") or view.prefixes("addressPrefixes"),
        view.reference("networkSecurityGroup"),
        view.reference("routeTable"),
        bool(view.reference("natGateway")),
        tuple(each for each in delegations if each),
    )


def _peering(view: View, network: str, index: Index, estate: Estate) -> None:
    own = index.network(network, estate)
    remote = index.network(view.reference("remoteVirtualNetwork"), estate)
    if own is None or remote is None or own is remote:
        return
    seen = view.raw("remoteVirtualNetworkEncryption")
    if not remote.declared and isinstance(seen, dict):  # what the exported peering says of the other side
        remote.encrypted = view.flag("remoteVirtualNetworkEncryption", "enabled")
        said = view.text("remoteVirtualNetworkEncryption", "enforcement")
        remote.enforcement = next(
            (each for each in Enforcement if said and each.lower() == said.lower()), None
        )
    opened = view.flag("allowVirtualNetworkAccess", default=True)
    estate.peerings.append(Peering(own.id, remote.id, opened, view.place))


def _routes_and_security(index: Index, estate: Estate) -> None:
    routes: dict[str, list[Route]] = {}
    for view in index.of(ROUTE_TABLE):
        routes.setdefault(view.id, []).extend(_routes(view.parts("routes")))
    for view in index.of(f"{ROUTE_TABLE}/routes"):
        routes.setdefault(parent_of(view.id, "routes")[0], []).extend(_routes([view]))
    estate.routes = {table: tuple(found) for table, found in routes.items()}
    rules: dict[str, list[SecurityRule]] = {}
    for view in index.of(SECURITY_GROUP):
        rules.setdefault(view.id, []).extend(_rule(part) for part in view.parts("securityRules"))
    for view in index.of(f"{SECURITY_GROUP}/securityrules"):
        rules.setdefault(parent_of(view.id, "securityrules")[0], []).append(_rule(view))
    estate.security = {group: tuple(sorted(found, key=_priority)) for group, found in rules.items()}


def _priority(rule: SecurityRule) -> int:
    return rule.priority


def _routes(views: Iterable[View]) -> list[Route]:
    """The routes to appliances; a system's next hop changes nothing about what is encrypted."""
    found = []
    for view in views:
        if (view.text("nextHopType") or "").lower() == "virtualappliance":
            prefixes = view.prefixes("addressPrefix")
            found.append(Route(prefixes[0] if prefixes else None, view.symbol("nextHopIpAddress")))
    return found


def _rule(view: View) -> SecurityRule:
    ports = [view.text("destinationPortRange") or "", *view.texts("destinationPortRanges")]
    sources = [view.text("sourceAddressPrefix") or "", *view.texts("sourceAddressPrefixes")]
    destinations = [view.text("destinationAddressPrefix") or "", *view.texts("destinationAddressPrefixes")]
    source_ports = [view.text("sourcePortRange") or "", *view.texts("sourcePortRanges")]
    protocol = view.text("protocol")
    everything = protocol == "*" and _all_ports(ports) and _all_ports(source_ports)
    return SecurityRule(
        view.symbol("name") or view.name,
        view.number("priority", default=4096) or 4096,
        (view.text("direction") or "").lower() == "inbound",
        (view.text("access") or "").lower() == "allow",
        everything,
        tuple(each for each in sources if each),
        tuple(each for each in destinations if each),
    )


def _all_ports(ranges: list[str]) -> bool:
    said = {each for each in ranges if each}
    return not said or bool(said & {"*", "0-65535"})


def _hubs(index: Index, estate: Estate) -> None:
    connected: dict[str, set[str]] = {}
    places = {view.id: view for view in index.of(HUB)}
    for view in index.of(f"{HUB}/hubvirtualnetworkconnections"):
        head, _ = parent_of(view.id, "hubvirtualnetworkconnections")
        network = index.network(view.reference("remoteVirtualNetwork"), estate)
        if network is not None:
            connected.setdefault(head, set()).add(network.id)
    for view in places.values():
        for part in view.parts("virtualNetworkConnections"):
            network = index.network(part.reference("remoteVirtualNetwork"), estate)
            if network is not None:
                connected.setdefault(view.id, set()).add(network.id)
        networks = frozenset(connected.get(view.id, ()))
        estate.hubs.append(Hub(view.id, view.name, networks, view.place))


# --------------------------------------------------------------------------------------------- network managers


def _manager(index: Index, estate: Estate) -> None:
    members = _members(index, estate)
    for view in index.of(f"{MANAGER}/connectivityconfigurations"):
        applies = view.parts("appliesToGroups")
        topology = (view.text("connectivityTopology") or "").lower()
        everywhere = view.flag("isGlobal")
        for part in applies:
            group = part.reference("networkGroupId")
            networks = index.value(group, members)
            if networks is None:
                index.doubt(
                    f"members of {group.rpartition('/')[2]}", "no members are in these files", part.place
                )
                continue
            direct = (part.text("groupConnectivity") or "").lower() == "directlyconnected"
            reach = everywhere if topology == "mesh" else part.flag("isGlobal")
            if topology == "mesh" or direct:
                name = view.name.rpartition("/")[2]
                estate.groups.append(ConnectedGroup(view.id, name, frozenset(networks), reach, view.place))
            if topology == "hubandspoke":
                _spokes(view, networks, index, estate)
    _admin_rules(index, estate, members)


def _members(index: Index, estate: Estate) -> dict[str, set[str]]:
    """The networks of each network group, by its id: static members, and those in line as in the API of 2021."""
    found: dict[str, set[str]] = {}
    for view in index.of(f"{MANAGER}/networkgroups/staticmembers"):
        head, _ = parent_of(view.id, "staticmembers")
        network = index.network(view.reference("resourceId"), estate)
        if network is not None:
            found.setdefault(head, set()).add(network.id)
    for view in index.of(f"{MANAGER}/networkgroups"):
        for part in view.parts("groupMembers"):
            network = index.network(part.reference("resourceId") or part.reference("vnetId"), estate)
            if network is not None:
                found.setdefault(view.id, set()).add(network.id)
        if view.raw("conditionalMembership") and isinstance(view.raw("conditionalMembership"), str | dict):
            index.doubt(f"members of {view.name}", "membership by a condition is not evaluated", view.place)
    return found


def _spokes(view: View, networks: set[str], index: Index, estate: Estate) -> None:
    """A hub-and-spoke configuration makes peerings, which no file shows."""
    for part in view.parts("hubs"):
        hub = index.network(part.reference("resourceId"), estate)
        if hub is None:
            continue
        for network in sorted(networks - {hub.id}):
            estate.peerings.append(Peering(hub.id, network, open=True, place=view.place))
            estate.peerings.append(Peering(network, hub.id, open=True, place=view.place))


def _admin_rules(index: Index, estate: Estate, members: dict[str, set[str]]) -> None:
    collections: dict[str, set[str]] = {}
    for view in index.of(f"{MANAGER}/securityadminconfigurations/rulecollections"):
        groups = [part.reference("networkGroupId") for part in view.parts("appliesToGroups")]
        found = [index.value(group, members) for group in groups]
        collections[view.id] = set().union(*(each for each in found if each))
    for view in index.of(f"{MANAGER}/securityadminconfigurations/rulecollections/rules"):
        head, _ = parent_of(view.id, "rules")
        access = (view.text("access") or "").lower()
        rule = SecurityRule(
            view.name.rpartition("/")[2],
            view.number("priority", default=4096) or 4096,
            (view.text("direction") or "").lower() == "inbound",
            access != "deny",
            (view.text("protocol") or "").lower() == "any"
            and _all_ports(view.texts("destinationPortRanges")),
            tuple(part.symbol("addressPrefix") for part in view.parts("sources")),
            tuple(part.symbol("addressPrefix") for part in view.parts("destinations")),
            final=access in {"deny", "alwaysallow"},
        )
        estate.admin_rules.append(AdminRule(rule, frozenset(collections.get(head, ()))))
    estate.admin_rules.sort(key=lambda each: each.rule.priority)
