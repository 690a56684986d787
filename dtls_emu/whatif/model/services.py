"""What Azure runs in a network: gateways, firewalls, private endpoints, resolvers, load balancers, mirrors, ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.vocabulary import EndpointKind
from dtls_emu.whatif.model.estate import Balancer, Endpoint, Mirror
from dtls_emu.whatif.model.view import parent_of


if TYPE_CHECKING:
    from dtls_emu.whatif.model.compute import Pools
    from dtls_emu.whatif.model.estate import Estate
    from dtls_emu.whatif.model.index import Index
    from dtls_emu.whatif.model.view import View


__all__ = ["SERVICE_KINDS", "build_services"]

_N: Final = "microsoft.network/"

LOAD_BALANCER: Final = f"{_N}loadbalancers"
TAP: Final = f"{_N}virtualnetworktaps"
TAP_SOURCE: Final = f"{_N}networkinterfaces/tapconfigurations"
RESOLVER: Final = f"{_N}dnsresolvers"
GATEWAY: Final = f"{_N}virtualnetworkgateways"
FIREWALL: Final = f"{_N}azurefirewalls"

_SIMPLE: Final = {
    f"{_N}privateendpoints": (EndpointKind.PRIVATE_ENDPOINT, "private endpoint", ("subnet",)),
    f"{_N}privatelinkservices": (
        EndpointKind.PRIVATE_LINK_SERVICE,
        "Private Link service",
        ("ipConfigurations",),
    ),
    f"{_N}applicationgateways": (
        EndpointKind.APPLICATION_GATEWAY,
        "application gateway",
        ("gatewayIPConfigurations",),
    ),
    f"{_N}bastionhosts": (EndpointKind.UNKNOWN, "Bastion", ("ipConfigurations",)),
    f"{RESOLVER}/inboundendpoints": (
        EndpointKind.DNS_PRIVATE_RESOLVER,
        "DNS resolver",
        ("ipConfigurations",),
    ),
    f"{RESOLVER}/outboundendpoints": (EndpointKind.DNS_PRIVATE_RESOLVER, "DNS resolver", ("subnet",)),
}
"""What is in one subnet: its kind, the word for it, and where its subnet is named."""

SERVICE_KINDS: Final = frozenset(
    {
        *_SIMPLE,
        LOAD_BALANCER,
        TAP,
        TAP_SOURCE,
        RESOLVER,
        GATEWAY,
        FIREWALL,
        f"{_N}natgateways",
        f"{_N}virtualwans",
    }
)
"""Types that are read here."""

_DELEGATED: Final = {
    "microsoft.powerplatform/vnetaccesslinks": (EndpointKind.DATA_GATEWAY, "data gateway"),
    "microsoft.containerinstance/containergroups": (EndpointKind.INJECTED_CONTAINER, "injected containers"),
}


def build_services(index: Index, estate: Estate, pools: Pools) -> None:
    """Fill in what Azure runs."""
    for kind, (endpoint, what, names) in _SIMPLE.items():
        for view in index.of(kind):
            _add(view, endpoint, what, _subnet_of(view, names), index, estate)
    for view in index.of(GATEWAY):
        is_vpn = (view.text("gatewayType") or "vpn").lower() == "vpn"
        kind, what = (
            (EndpointKind.VPN_GATEWAY, "VPN gateway")
            if is_vpn
            else (EndpointKind.EXPRESSROUTE_GATEWAY, "ExpressRoute gateway")
        )
        _add(view, kind, what, _subnet_of(view, ("ipConfigurations",)), index, estate)
    for view in index.of(FIREWALL):
        tier = (view.text("sku", "tier", default="Standard") or "").lower()
        premium = tier == "premium"
        kind = EndpointKind.FIREWALL_PREMIUM if premium else EndpointKind.FIREWALL_STANDARD
        if not tier:
            kind = EndpointKind.UNKNOWN
        what = f"firewall, {tier.capitalize() or 'tier unknown'}"
        _add(view, kind, what, _subnet_of(view, ("ipConfigurations",)), index, estate)
    _resolvers(index, estate)
    _delegated(estate)
    for view in index.of(LOAD_BALANCER):
        _balancer(view, index, estate, pools)
    _mirrors(index, estate, pools)


def _subnet_of(view: View, names: tuple[str, ...]) -> str:
    if names == ("subnet",):
        return view.reference("subnet")
    return next((found for part in view.parts(*names) if (found := part.reference("subnet"))), "")


def _add(
    view: View, kind: EndpointKind, what: str, subnet: str, index: Index, estate: Estate
) -> Endpoint | None:
    head, name = parent_of(subnet, "subnets")
    network = index.network(head, estate)
    if network is None:
        return None
    endpoint = Endpoint(
        view.id,
        view.name,
        kind,
        what,
        network.id,
        name,
        tags=view.tags(),
        certain=view.certain,
        place=view.place,
        address=_address(view),
    )
    estate.endpoints[endpoint.id] = endpoint
    return endpoint


def _address(view: View) -> str:
    found = [part.raw("privateIPAddress") for part in view.parts("ipConfigurations")]
    return next((each for each in found if isinstance(each, str)), "")


def _resolvers(index: Index, estate: Estate) -> None:
    """A resolver is in a network as a whole, too; its endpoints may be in other files."""
    with_endpoints = {
        parent_of(view.id, step)[0]
        for step in ("inboundendpoints", "outboundendpoints")
        for view in index.of(f"{RESOLVER}/{step}")
    }
    for view in index.of(RESOLVER):
        network = index.network(view.reference("virtualNetwork"), estate)
        if network is not None and view.id not in with_endpoints:
            estate.endpoints[view.id] = Endpoint(
                view.id,
                view.name,
                EndpointKind.DNS_PRIVATE_RESOLVER,
                "DNS resolver",
                network.id,
                tags=view.tags(),
                certain=view.certain,
                place=view.place,
            )


def _delegated(estate: Estate) -> None:
    """A subnet for a platform service is where its instances are."""
    for network in list(estate.networks.values()):
        for subnet in network.subnets.values():
            for service in subnet.delegations:
                if service.lower().startswith("microsoft.network/dnsresolvers"):
                    continue
                kind, what = _DELEGATED.get(service.lower(), (EndpointKind.PAAS, service))
                identity = f"{network.id}/subnets/{subnet.name.lower()}#{service.lower()}"
                estate.endpoints[identity] = Endpoint(
                    identity,
                    f"{subnet.name}: {service}",
                    kind,
                    what,
                    network.id,
                    subnet.name.lower(),
                    size=None if kind is EndpointKind.PAAS else "",
                    certain=network.certain,
                    place=network.place,
                )


def _balancer(view: View, index: Index, estate: Estate, pools: Pools) -> None:
    """One with a front in a network; a public one is outside of what encryption is about."""
    fronts = view.parts("frontendIPConfigurations")
    subnets = [each for part in fronts if (each := part.reference("subnet"))]
    head, subnet = parent_of(subnets[0], "subnets") if subnets else ("", "")
    network = index.network(head, estate)
    if network is None:
        return
    behind: dict[str, bool] = {}
    for part in view.parts("backendAddressPools"):
        pool = f"{view.id}/backendaddresspools/{part.symbol('name').lower()}"
        for endpoint, secondary in _members(pool, pools):
            behind[endpoint] = behind.get(endpoint, False) or secondary
        for configuration in part.parts("backendIPConfigurations"):
            interface, _ = parent_of(configuration.reference("id"), "ipconfigurations")
            attached = pools.by_interface.get(index.canonical(interface))
            if attached is not None:
                behind.setdefault(attached, False)
    estate.balancers[view.id] = Balancer(
        view.id,
        view.name,
        network.id,
        subnet,
        tuple(behind),
        any(behind.values()),
        view.place,
        view.tags(),
    )


def _members(pool: str, pools: Pools) -> list[tuple[str, bool]]:
    found = pools.members.get(pool)
    if found is not None:
        return found
    tail = pool.rpartition("providers/")[2]
    same = [members for other, members in pools.members.items() if other.rpartition("providers/")[2] == tail]
    return same[0] if len(same) == 1 else []


def _mirrors(index: Index, estate: Estate, pools: Pools) -> None:
    sources: dict[str, list[str]] = {}
    for view in index.of(TAP_SOURCE):
        interface, _ = parent_of(view.id, "tapconfigurations")
        tap = index.canonical(view.reference("virtualNetworkTap"))
        sources.setdefault(tap, []).append(index.canonical(interface))
    for view in index.of(f"{_N}networkinterfaces"):
        for part in view.parts("tapConfigurations"):
            tap = index.canonical(part.reference("virtualNetworkTap"))
            sources.setdefault(tap, []).append(view.id)
    for view in index.of(TAP):
        for part in view.parts("networkInterfaceTapConfigurations"):
            interface, _ = parent_of(part.reference("id"), "tapconfigurations")
            sources.setdefault(view.id, []).append(index.canonical(interface))
        found = [pools.by_interface.get(each, each) for each in sources.get(view.id, ())]
        estate.mirrors.append(Mirror(view.id, view.name, tuple(dict.fromkeys(found)), view.place))
