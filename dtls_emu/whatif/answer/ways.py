"""Which networks reach each other, and how.

A user's route to an appliance comes before a connected group, and that before a peering and virtual WAN; but the longest
prefix comes before all: so a default route to a firewall does not change the way between two networks that are joined.

Source: "Virtual network traffic routing"; "Connectivity configuration in Azure Virtual Network Manager".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from dtls_emu.vocabulary import EndpointKind


if TYPE_CHECKING:
    from dtls_emu.whatif.model.estate import Endpoint, Estate, Network, Route


__all__ = ["Span", "Ways", "find_ways"]


@dataclass(frozen=True, slots=True)
class Span:
    """Networks that all reach each other: in a connected group, or through something.

    Fields:
        route: for reports.
        networks: ids.
        through: id of the endpoint that traffic goes through; empty where there is none, or it is not in the files.
        is_detour: traffic goes through something.
        is_hub: it is a virtual WAN hub.
    """

    route: str
    networks: frozenset[str]
    through: str = ""
    is_detour: bool = False
    is_hub: bool = False


@dataclass(slots=True)
class Ways:
    """How networks are joined.

    Fields:
        peered: pairs of ids, each once, and the word for the peering; those that a connected group joins are left out.
        spans: what joins many, the one that takes precedence first.
        memberships: of each network in a span, the numbers of its spans.
        remarks: what is worth saying.
    """

    peered: dict[tuple[str, str], str] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    memberships: dict[str, frozenset[int]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def find_ways(estate: Estate) -> Ways:
    """Everything that joins networks."""
    ways = Ways()
    ways.spans += _connected_groups(estate)
    _add_peerings(estate, ways)
    ways.spans += [
        Span(f"through hub {hub.name}", hub.networks, is_detour=True, is_hub=True)
        for hub in estate.hubs
        if len(hub.networks) > 1
    ]
    _add_appliances(estate, ways)
    ways.memberships = _memberships(ways)
    return ways


def _memberships(ways: Ways) -> dict[str, frozenset[int]]:
    numbers: dict[str, set[int]] = {}
    for number, span in enumerate(ways.spans):
        for network in span.networks:
            numbers.setdefault(network, set()).add(number)
    return {network: frozenset(found) for network, found in numbers.items()}


def _connected_groups(estate: Estate) -> list[Span]:
    """Connected groups; one that does not cross regions is one group in each region."""
    found = []
    for group in estate.groups:
        regions: dict[str, set[str]] = {}
        for network in group.networks:
            regions.setdefault("" if group.across_regions else estate.networks[network].region, set()).add(
                network
            )
        for region, networks in sorted(regions.items()):
            name = f"{group.name} in {region}" if len(regions) > 1 else group.name
            found.append(Span(f"connected group {name}", frozenset(networks)))
    return found


def _add_peerings(estate: Estate, ways: Ways) -> None:
    sides = {(each.network, each.remote): each.open for each in estate.peerings}
    meshed = _memberships(ways)
    none: frozenset[int] = frozenset()
    one_sided: list[str] = []
    for (first, second), opened in sides.items():
        pair = min(first, second), max(first, second)
        if pair in ways.peered or not meshed.get(first, none).isdisjoint(meshed.get(second, none)):
            continue
        if opened is False and sides.get((second, first)) in {False, None}:
            continue
        one, other = estate.networks[first], estate.networks[second]
        if (second, first) not in sides and one.declared and other.declared:
            one_sided.append(f"{one.name} and {other.name}")
        apart = one.region and other.region and one.region != other.region
        ways.peered[pair] = "global peering" if apart and "{" not in one.region + other.region else "peering"
    if one_sided:
        more = f" and {len(one_sided) - 3} more" if len(one_sided) > 3 else ""
        ways.remarks.append(
            f"only one side of the peering of {'; '.join(one_sided[:3])}{more} is in the files; it is counted as "
            "joined, which it is once the other side is there"
        )


# ------------------------------------------------------------------------------------------------- appliances


def _add_appliances(estate: Estate, ways: Ways) -> None:
    """Networks that are not joined and that send to one appliance reach each other through it."""
    neighbours: dict[str, set[str]] = {}
    for first, second in ways.peered:
        neighbours.setdefault(first, set()).add(second)
        neighbours.setdefault(second, set()).add(first)
    found: dict[tuple[str, str], set[str]] = {}
    for network in estate.networks.values():
        for route in _routes(network, estate):
            if route.prefix is not None and route.prefix.prefixlen > 16:
                continue  # to a part of one network
            appliance = _appliance(route, network, neighbours, estate)
            key = (appliance.id, appliance.name) if appliance is not None else ("", route.next_hop)
            found.setdefault(key, set()).add(network.id)
    for (identity, name), networks in sorted(found.items()):
        if len(networks) > 1:
            ways.spans.append(Span(f"through {name}", frozenset(networks), identity, is_detour=True))


def _routes(network: Network, estate: Estate) -> list[Route]:
    tables = {subnet.route_table for subnet in network.subnets.values() if subnet.route_table}
    return [route for table in sorted(tables) for route in estate.routes.get(table, ())]


def _appliance(
    route: Route, network: Network, neighbours: dict[str, set[str]], estate: Estate
) -> Endpoint | None:
    """What a route leads to: by its address, or by the name that an unknown address is the state of."""
    near = {network.id, *neighbours.get(network.id, ())}
    candidates = [each for each in estate.endpoints.values() if each.network in near]
    by_address = [each for each in candidates if each.address and each.address == route.next_hop]
    if len(by_address) == 1:
        return by_address[0]
    firewalls = [each for each in candidates if each.kind in _FIREWALLS]
    named = [each for each in firewalls if _is_state_of(route.next_hop, each)]
    if len(named) == 1:
        return named[0]
    inside = [each for each in firewalls if _is_in_subnet(route.next_hop, each, estate)]
    return inside[0] if len(inside) == 1 else None


_FIREWALLS: Final = frozenset({EndpointKind.FIREWALL_STANDARD, EndpointKind.FIREWALL_PREMIUM})


def _is_state_of(next_hop: str, endpoint: Endpoint) -> bool:
    return next_hop.lower().startswith(f"reference({endpoint.name.lower()})")


def _is_in_subnet(next_hop: str, endpoint: Endpoint, estate: Estate) -> bool:
    try:
        address = ip_address(next_hop)
    except ValueError:
        return False
    subnet = estate.networks[endpoint.network].subnets.get(endpoint.subnet)
    return subnet is not None and any(address in prefix for prefix in subnet.prefixes)
