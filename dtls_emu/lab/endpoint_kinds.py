"""What encryption of a virtual network means for everything that a flow can end at: one row for each kind.

A lab places endpoints on hosts, as it does VMs (:mod:`dtls_emu.lab.placed`); the decision table asks what becomes of
their kind (:mod:`dtls_emu.policy`). What the vendor's documents do not say is a row, too, and says so: its basis is
INF, and a profile's `unsupported` or a lab's may set it otherwise.

Source: "What is Azure Virtual Network encryption?", supported scenarios and limitations, newest text unless a row names
another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dtls_emu.vocabulary import Basis, EndpointKind, Outcome


__all__ = ["ENDPOINTS", "PLACEABLE", "EndpointRow", "needs_capability", "resolved"]


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """One kind of endpoint.

    Fields:
        kind: its word in a lab file.
        title: its name, for reports.
        outcome: what encryption means for it, unless a profile counts it as unsupported.
        basis, source: how sure that is, and where it is said.
        placeable: it has an address in a virtual network, so that a lab can place it on a host.
    """

    kind: EndpointKind
    title: str
    outcome: Outcome
    basis: Basis
    source: str
    placeable: bool = True


_SCENARIOS: Final = "overview, supported scenarios"
_NOT_SAID: Final = "not documented by the vendor"

_ROWS: Final = (
    EndpointRow(
        EndpointKind.VM,
        "VM",
        Outcome.AS_VM,
        Basis.DOC,
        f"{_SCENARIOS}: VMs of one network, peered ones and scale sets, between listed sizes",
    ),
    EndpointRow(
        EndpointKind.VPN_GATEWAY,
        "VPN gateway",
        Outcome.CLEAR,
        Basis.INF,
        f"{_NOT_SAID}; the FAQ says it depends on the gateway's VM size, and users report lost connectivity behind "
        "appliances",
    ),
    EndpointRow(
        EndpointKind.EXPRESSROUTE_GATEWAY,
        "ExpressRoute gateway",
        Outcome.CLEAR,
        Basis.DOC,
        f"{_SCENARIOS}: supported, not encrypted",
    ),
    EndpointRow(
        EndpointKind.VIRTUAL_WAN_HUB,
        "virtual WAN hub",
        Outcome.CLEAR,
        Basis.INF,
        f"{_NOT_SAID}; taken like the gateways that are in it",
    ),
    EndpointRow(
        EndpointKind.APPLICATION_GATEWAY,
        "application gateway",
        Outcome.CLEAR,
        Basis.DOC,
        f"{_SCENARIOS}: supported, not encrypted; until 2026-06 not supported",
    ),
    EndpointRow(
        EndpointKind.FIREWALL_STANDARD,
        "firewall, Standard",
        Outcome.CLEAR,
        Basis.DOC,
        f"{_SCENARIOS}: supported, not encrypted; until 2026-06 not supported",
    ),
    EndpointRow(
        EndpointKind.FIREWALL_PREMIUM,
        "firewall, Premium",
        Outcome.AS_VM,
        Basis.DOC,
        f"{_SCENARIOS}: supported and encrypted; until 2026-06 not supported",
    ),
    EndpointRow(
        EndpointKind.LOAD_BALANCER,
        "internal load balancer",
        Outcome.AS_VM,
        Basis.DOC,
        f"{_SCENARIOS}: encrypted where all VMs behind it are of supported sizes",
        placeable=False,
    ),
    EndpointRow(
        EndpointKind.LOAD_BALANCER_MIXED,
        "internal load balancer, mixed sizes",
        Outcome.FAILS,
        Basis.DOC,
        f"{_SCENARIOS}: supported and unsupported sizes behind one load balancer are not supported",
    ),
    EndpointRow(
        EndpointKind.LOAD_BALANCER_SECONDARY,
        "internal load balancer, secondary IPv4 configurations",
        Outcome.FAILS,
        Basis.DOC,
        f"{_SCENARIOS}: connections fail",
    ),
    EndpointRow(
        EndpointKind.LOAD_BALANCER_GEN8,
        "internal load balancer, Gen8 hardware",
        Outcome.FAILS,
        Basis.DOC,
        "preview overview 2023-05: encryption enabled afterwards loses the load balancer's connectivity; later texts "
        "are silent",
    ),
    EndpointRow(
        EndpointKind.PRIVATE_ENDPOINT,
        "private endpoint",
        Outcome.CLEAR,
        Basis.DOC,
        f"{_SCENARIOS}: supported, not encrypted",
    ),
    EndpointRow(
        EndpointKind.PRIVATE_LINK_SERVICE,
        "Private Link service",
        Outcome.CLEAR,
        Basis.DOC,
        f"{_SCENARIOS}: supported, not encrypted; a copy of 2024-12 says not to enable encryption beside one",
    ),
    EndpointRow(
        EndpointKind.PAAS,
        "instance of a platform service",
        Outcome.BY_SIZE,
        Basis.DOC,
        f"{_SCENARIOS}: depends on the size of the VM that hosts it",
    ),
    EndpointRow(
        EndpointKind.INJECTED_CONTAINER,
        "injected container (Swift)",
        Outcome.FAILS,
        Basis.DOC,
        "preview overview 2023-05: these containers lose connectivity; later texts are silent",
    ),
    *(
        EndpointRow(
            kind, f"AKS pod, {mode}", Outcome.AS_VM, Basis.DOC, f"{_SCENARIOS}: nodes and pods are encrypted"
        )
        for kind, mode in (
            (EndpointKind.AKS_CNI, "Azure CNI"),
            (EndpointKind.AKS_OVERLAY, "Azure CNI overlay"),
            (EndpointKind.AKS_KUBENET, "kubenet"),
            (EndpointKind.AKS_BYOCNI, "CNI of one's own"),
        )
    ),
    EndpointRow(
        EndpointKind.AKS_POD_SUBNET,
        "AKS pod, Azure CNI with a subnet for pods",
        Outcome.CLEAR,
        Basis.DOC,
        f"{_SCENARIOS}: with dynamic pod addresses nodes are encrypted, pods are not",
    ),
    EndpointRow(
        EndpointKind.AKS_API_SERVER,
        "AKS API server in the network",
        Outcome.BLOCKED_BY_SIZE,
        Basis.REP,
        "issue of the AKS documents, 2026-04: blocked on v4 and newer node sizes, in clear on older ones",
    ),
    EndpointRow(
        EndpointKind.AKS_CONTROL_PLANE,
        "AKS control plane, managed",
        Outcome.PUBLIC,
        Basis.DOC,
        f"{_SCENARIOS}: its traffic leaves the network and is TLS anyway",
        placeable=False,
    ),
    EndpointRow(
        EndpointKind.DNS_PRIVATE_RESOLVER,
        "DNS private resolver",
        Outcome.FAILS,
        Basis.DOC,
        f"{_SCENARIOS}: not supported",
    ),
    EndpointRow(
        EndpointKind.NAT_GATEWAY,
        "NAT gateway",
        Outcome.PUBLIC,
        Basis.DOC,
        "preview overview: public IP traffic is neither dropped nor encrypted in either mode",
        placeable=False,
    ),
    EndpointRow(
        EndpointKind.DATA_GATEWAY,
        "virtual network data gateway",
        Outcome.CLEAR,
        Basis.INF,
        f"{_NOT_SAID}; a container that the vendor manages, in a subnet of its own",
    ),
    EndpointRow(
        EndpointKind.DHCP_RELAY,
        "DHCP relay",
        Outcome.CLEAR,
        Basis.INF,
        f"{_NOT_SAID}; the host answers for it",
    ),
    EndpointRow(
        EndpointKind.INTERNET,
        "the internet",
        Outcome.PUBLIC,
        Basis.DOC,
        "preview overview: public IP traffic is neither dropped nor encrypted in either mode",
        placeable=False,
    ),
    EndpointRow(
        EndpointKind.UNKNOWN,
        "something unknown",
        Outcome.CLEAR,
        Basis.INF,
        f"{_NOT_SAID}; what is in no list is not encrypted",
    ),
)

ENDPOINTS: Final[dict[EndpointKind, EndpointRow]] = {row.kind: row for row in _ROWS}
"""Every kind, in the order of :class:`~dtls_emu.vocabulary.EndpointKind`."""

PLACEABLE: Final = tuple(row.kind for row in _ROWS if row.placeable and row.kind is not EndpointKind.VM)
"""Kinds that a lab file can place."""


def needs_capability(kind: EndpointKind) -> bool:
    """Whether what becomes of an endpoint depends on the VMs that it runs on."""
    return ENDPOINTS[kind].outcome in {Outcome.BY_SIZE, Outcome.BLOCKED_BY_SIZE}


def resolved(
    kind: EndpointKind, unsupported: frozenset[EndpointKind], *, can_encrypt: bool = True
) -> Outcome:
    """What encryption means for one endpoint: AS_VM, CLEAR, FAILS or PUBLIC.

    Args:
        kind: of the endpoint.
        unsupported: kinds that the profile counts as unsupported.
        can_encrypt: of the VMs that it runs on.
    """
    if kind in unsupported:
        return Outcome.FAILS
    outcome = ENDPOINTS[kind].outcome
    if kind in _FAILING:  # another profile's text, or the lab, says otherwise
        return Outcome.AS_VM if kind in _LOAD_BALANCERS else Outcome.CLEAR
    if outcome is Outcome.BY_SIZE:
        return Outcome.AS_VM if can_encrypt else Outcome.CLEAR
    if outcome is Outcome.BLOCKED_BY_SIZE:
        return Outcome.FAILS if can_encrypt else Outcome.CLEAR
    return outcome


_FAILING: Final = frozenset(row.kind for row in _ROWS if row.outcome is Outcome.FAILS)
_LOAD_BALANCERS: Final = frozenset(
    {
        EndpointKind.LOAD_BALANCER_MIXED,
        EndpointKind.LOAD_BALANCER_SECONDARY,
        EndpointKind.LOAD_BALANCER_GEN8,
    }
)
