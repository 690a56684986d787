"""What security rules say of a packet: those of administrators, then those of security groups, at both ends.

Rules are about connections: whoever knows that a packet answers one that was allowed does not ask. Both ends' rules are
asked where the flow is decided, at its sender; a real cloud asks the receiver's at the receiving host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.lab.rules import Access


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.lab.prefixes import Address, PrefixSet
    from dtls_emu.lab.rules import Ports, Question, Rule
    from dtls_emu.lab.topology import Topology, Vm


__all__ = ["Packet", "RuleHit", "Transport", "judge", "judge_end"]


class Transport(NamedTuple):
    """What rules look at besides addresses; ports are 0 where the protocol has none, or the packet is a fragment."""

    protocol: int
    source_port: int = 0
    destination_port: int = 0


class Packet(NamedTuple):
    """What rules are asked about.

    Fields:
        source, destination: addresses.
        source_is_private, destination_is_private: the tag `VirtualNetwork` holds, otherwise `Internet`: there is a
            private route between the ends, or the one of them is the internet.
        transport: None where it is not known.
    """

    source: Address
    destination: Address
    source_is_private: bool
    destination_is_private: bool
    transport: Transport | None


@dataclass(frozen=True, slots=True)
class RuleHit:
    """The rule that decided.

    Fields:
        acl: name of the security group; "" for an administrator's rule.
        rule: its name, as flow logs have it.
        outbound: it is about what the sender sends; otherwise about what the receiver gets.
        denies: whether it denies.
    """

    acl: str
    rule: str
    outbound: bool
    denies: bool


def judge(
    topology: Topology,
    source: tuple[Vm, Address],
    destination: tuple[Vm | None, Address],
    transport: Transport | None,
) -> RuleHit | None:
    """The rule that denies a packet, or else the last one that allows it; None where no rules are.

    Args:
        topology: the lab.
        source, destination: VM and address of each end; no VM where the destination is the internet.
        transport: of the packet; None where it is not known: then only rules for any protocol and port match.
    """
    sender, address = source
    receiver, target = destination
    about = Packet(address, target, True, receiver is not None, transport)
    hit = judge_end(topology, sender, about, outbound=True)
    if receiver is None or (hit is not None and hit.denies):
        return hit
    return judge_end(topology, receiver, about, outbound=False) or hit


def judge_end(topology: Topology, vm: Vm, packet: Packet, *, outbound: bool) -> RuleHit | None:
    """What the rules of one end say: of a VM that sends (``outbound``), or gets."""
    security = topology.security
    if security is None:
        return None
    admin = _first(security.admin(vm.network, outbound=outbound), packet)
    if admin is not None and admin.access is not Access.ALLOW:
        return RuleHit("", admin.name, outbound, admin.access is Access.DENY)
    subnet = topology.routing.subnet_of(vm)
    if subnet is not None and subnet.security_group:
        rule = _first(security.group(subnet.security_group, outbound=outbound), packet)
        if rule is not None:
            return RuleHit(subnet.security_group, rule.name, outbound, rule.access is Access.DENY)
    return None if admin is None else RuleHit("", admin.name, outbound, denies=False)


def _first(questions: Iterable[Question], packet: Packet) -> Rule | None:
    source, destination, from_private, to_private, transport = packet
    protocol, source_port, destination_port = transport or _UNKNOWN
    has_ports = protocol in _WITH_PORTS
    for rule, protocols, sources, destinations, source_ports, destination_ports in questions:
        if protocols is not None and protocol not in protocols:
            continue
        if destination_ports and not (has_ports and _is_among(destination_ports, destination_port)):
            continue
        if source_ports and not (has_ports and _is_among(source_ports, source_port)):
            continue
        if sources is not None and not _is_in(sources, source, from_private):
            continue
        if destinations is not None and not _is_in(destinations, destination, to_private):
            continue
        return rule
    return None


def _is_in(asked: PrefixSet | bool, address: Address, is_private: bool) -> bool:
    return asked is is_private if isinstance(asked, bool) else address in asked


def _is_among(ranges: Ports, port: int) -> bool:
    return any(low <= port <= high for low, high in ranges)


_WITH_PORTS: Final = frozenset({6, 17})
_UNKNOWN: Final = Transport(-1)
"""Matches no rule for a protocol or a port."""
