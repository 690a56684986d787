"""The model: virtual networks, what lives in them, and what joins them.

Everything refers to everything else by id, in lower case. A fact that cannot be known is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from dtls_emu.lab.prefixes import Prefix
    from dtls_emu.vocabulary import EndpointKind, Enforcement
    from dtls_emu.whatif.template.values import Place


__all__ = [
    "AdminRule",
    "Balancer",
    "ConnectedGroup",
    "Doubt",
    "Endpoint",
    "Estate",
    "Hub",
    "Mirror",
    "Network",
    "Peering",
    "Route",
    "SecurityRule",
    "Subnet",
]


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that cannot be known.

    Fields:
        what: it is; why: it cannot be known, and what would help.
        place: where it was asked for.
        matters: an answer depends on it.
    """

    what: str
    why: str
    place: Place
    matters: bool


@dataclass(frozen=True, slots=True)
class Subnet:
    """A part of a virtual network.

    Fields:
        name: as written; prefixes: of it.
        security_group, route_table: ids, empty where there is none.
        nat_gateway: the internet is reached through one.
        delegations: names of the services that it is for.
    """

    name: str
    prefixes: tuple[Prefix, ...] = ()
    security_group: str = ""
    route_table: str = ""
    nat_gateway: bool = False
    delegations: tuple[str, ...] = ()


@dataclass(slots=True)
class Network:
    """A virtual network.

    Fields:
        id, name, region: of it; the region is empty where it is not known.
        prefixes: those that are known.
        encrypted: encryption is enabled, as the files say.
        enforcement: as the files say; None where they do not.
        declared: it is in the files; False: they only refer to it.
        certain: its being there depends on nothing unknown.
        subnets: by name in lower case.
        tags: of the resource.
    """

    id: str
    name: str
    region: str = ""
    prefixes: tuple[Prefix, ...] = ()
    encrypted: bool | None = None
    enforcement: Enforcement | None = None
    declared: bool = False
    certain: bool = True
    subnets: dict[str, Subnet] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Peering:
    """One side of a peering: ids of two networks, and whether it lets traffic through."""

    network: str
    remote: str
    open: bool | None
    place: Place


@dataclass(slots=True)
class Endpoint:
    """What a flow can end at: one thing, or several that are alike.

    Fields:
        id, name: of it.
        kind: of endpoint; `what` is the word for reports.
        network, subnet: id and name of where it lives.
        count: how many; None where that is not known.
        size: of its VMs; empty where it has none, None where it is not known.
        can_encrypt: the size's capability, where the files say so themselves.
        accelerated: accelerated networking is on.
        restarted: stopped and started since encryption was enabled; None: the files do not say.
        address: fixed private address, empty where there is none.
        mtu: of its interface; None where the files do not say, as templates never do.
        tags: of it.
        certain: its being there depends on nothing unknown.
        place: in the files.
        security_group: id of the one on its interface.
        secondary: its interface has more than one IPv4 configuration.
        conditions: what else a lab says that decides: no card, no discovery, flow table not ready.
    """

    id: str
    name: str
    kind: EndpointKind
    what: str
    network: str
    subnet: str = ""
    count: int | None = 1
    size: str | None = ""
    can_encrypt: bool | None = None
    accelerated: bool | None = True
    restarted: bool | None = None
    address: str = ""
    mtu: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    certain: bool = True
    place: Place | None = None
    security_group: str = ""
    secondary: bool = False
    conditions: int = 0


@dataclass(slots=True)
class Balancer:
    """An internal load balancer: where its front is, and the endpoints behind it by id.

    Fields:
        secondary: a pool of its uses a secondary IPv4 configuration of an interface.
    """

    id: str
    name: str
    network: str
    subnet: str
    backends: tuple[str, ...]
    secondary: bool | None
    place: Place
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConnectedGroup:
    """Networks that a network manager joins directly.

    Fields:
        across_regions: global mesh; None where it is not known.
    """

    id: str
    name: str
    networks: frozenset[str]
    across_regions: bool | None
    place: Place


@dataclass(frozen=True, slots=True)
class Hub:
    """A virtual WAN hub and the networks that are connected with it."""

    id: str
    name: str
    networks: frozenset[str]
    place: Place


@dataclass(frozen=True, slots=True)
class Route:
    """A user's route to an appliance.

    Fields:
        prefix: what it is for; None where it is not known.
        next_hop: address of the appliance, or the symbol of what is unknown.
    """

    prefix: Prefix | None
    next_hop: str


@dataclass(frozen=True, slots=True)
class SecurityRule:
    """A rule of a security group, or of an administrator, as far as it matters for whole pairs.

    Fields:
        name, priority: of it; the lowest number is first.
        inbound, allow: its direction and what it does; `final`: no security group is asked after it.
        everything: it is for every protocol and port.
        sources, destinations: prefixes and service tags, as written.
    """

    name: str
    priority: int
    inbound: bool
    allow: bool
    everything: bool
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    final: bool = False


@dataclass(frozen=True, slots=True)
class AdminRule:
    """A rule of an administrator, and the networks that it is for."""

    rule: SecurityRule
    networks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Mirror:
    """A virtual network TAP: its name, and the interfaces' endpoints that it mirrors, by id."""

    id: str
    name: str
    sources: tuple[str, ...]
    place: Place


@dataclass(slots=True)
class Estate:
    """All of it.

    Fields:
        networks, endpoints, balancers: by id.
        routes: by id of the route table.
        security: rules by id of the security group.
        doubts: what cannot be known.
        notes: what is worth saying of the files themselves.
        counts: how many resources of each type there were, those that mean nothing here included.
    """

    networks: dict[str, Network] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    balancers: dict[str, Balancer] = field(default_factory=dict)
    peerings: list[Peering] = field(default_factory=list)
    groups: list[ConnectedGroup] = field(default_factory=list)
    hubs: list[Hub] = field(default_factory=list)
    mirrors: list[Mirror] = field(default_factory=list)
    routes: dict[str, tuple[Route, ...]] = field(default_factory=dict)
    security: dict[str, tuple[SecurityRule, ...]] = field(default_factory=dict)
    admin_rules: list[AdminRule] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
