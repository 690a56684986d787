"""What security rules say of a packet: those of administrators, then those of security groups, at both ends.

Rules are about connections: whoever knows that a packet answers one that was allowed does not ask. Both ends' rules are
asked where the flow is decided, at its sender; a real cloud asks the receiver's at the receiving host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.lab.internet import is_internet
from dtls_emu.lab.rules import Access, Where


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.lab.prefixes import Address, Prefix
    from dtls_emu.lab.rules import Rule
    from dtls_emu.lab.topology import Topology, Vm


__all__ = ["RuleHit", "Transport", "judge", "judge_end"]


class Transport(NamedTuple):
    """What rules look at besides addresses; ports are 0 where the protocol has none, or the packet is a fragment."""

    protocol: int
    source_port: int = 0
    destination_port: int = 0


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
    hit = judge_end(topology, sender, address, target, transport, outbound=True)
    if receiver is None or (hit is not None and hit.denies):
        return hit
    return judge_end(topology, receiver, address, target, transport, outbound=False) or hit


def judge_end(
    topology: Topology,
    vm: Vm,
    source: Address,
    destination: Address,
    transport: Transport | None,
    *,
    outbound: bool,
) -> RuleHit | None:
    """What the rules of one end say: of a VM that sends (``outbound``), or gets."""
    security = topology.security
    if security is None:
        return None
    about = topology, vm.network, source, destination, transport
    admin = _first(security.admin.get(vm.network, ()), outbound, *about)
    if admin is not None and admin.access is not Access.ALLOW:
        return RuleHit("", admin.name, outbound, admin.access is Access.DENY)
    subnet = topology.routing.subnet_of(vm)
    if subnet is not None and subnet.security_group:
        rule = _first(security.groups[subnet.security_group], outbound, *about)
        if rule is not None:
            return RuleHit(subnet.security_group, rule.name, outbound, rule.access is Access.DENY)
    return None if admin is None else RuleHit("", admin.name, outbound, denies=False)


def _first(
    rules: Iterable[Rule],
    outbound: bool,
    topology: Topology,
    network: str,
    source: Address,
    destination: Address,
    transport: Transport | None,
) -> Rule | None:
    for rule in rules:
        if (
            rule.outbound is outbound
            and _covers(rule, transport)
            and _is_in(rule.source, source, topology, network)
            and _is_in(rule.destination, destination, topology, network)
        ):
            return rule
    return None


def _covers(rule: Rule, transport: Transport | None) -> bool:
    if transport is None:
        return rule.protocols is None and not rule.source_ports and not rule.destination_ports
    if rule.protocols is not None and transport.protocol not in rule.protocols:
        return False
    for ranges, port in (
        (rule.source_ports, transport.source_port),
        (rule.destination_ports, transport.destination_port),
    ):
        if ranges and not (
            transport.protocol in _WITH_PORTS and any(low <= port <= high for low, high in ranges)
        ):
            return False
    return True


_WITH_PORTS: Final = frozenset({6, 17})


def _is_in(where: tuple[Prefix, ...] | Where, address: Address, topology: Topology, network: str) -> bool:
    if where is Where.ANY:
        return True
    if where is Where.VIRTUAL_NETWORK:
        return topology.is_private_route(network, address)
    if where is Where.INTERNET:
        return is_internet(address) and not topology.is_private_route(network, address)
    assert not isinstance(where, Where)
    return any(prefix.version == address.version and address in prefix for prefix in where)
