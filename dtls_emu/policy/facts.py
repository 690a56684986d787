"""The facts of a flow that a decision rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtls_emu.policy.security import judge
from dtls_emu.vocabulary import Enforcement


if TYPE_CHECKING:
    from dtls_emu.lab.topology import Address, Host, Network, Topology, Vm
    from dtls_emu.policy.security import RuleHit, Transport


__all__ = ["Endpoint", "Flow", "endpoint_of", "flow_to"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a flow: a VM, or what else a lab places on a host, and where it lives."""

    vm: Vm
    network: Network
    host: Host

    @property
    def can_encrypt(self) -> bool:
        """The VM may be encrypted: size, accelerated networking, and started since encryption was enabled."""
        return self.vm.size_capable and self.vm.accelerated_networking and self.vm.restarted

    @property
    def drops_unencrypted(self) -> bool:
        """Its network is encrypted and enforces it."""
        return self.network.encrypted and self.network.enforcement is Enforcement.DROP_UNENCRYPTED


@dataclass(frozen=True, slots=True)
class Flow:
    """What is known when a packet misses the flow table.

    Fields:
        source: the VM that sends.
        destination: the VM that the packet is for; None when the address belongs to no VM that the source
            has a private route to.
        internet: the destination is a public address. Only without a ``destination``.
        denied: a security rule denies it.
        rule: the security rule that denies it, or the last that allows it; None where none is asked.
        fragment: the packet is an IP fragment, of whatever shape.
        tunnel_failed: a tunnel between the two hosts was tried and did not come up.
        tunnel_building: it is being built, and the packet does not wait for it.
    """

    source: Endpoint
    destination: Endpoint | None
    internet: bool = False
    fragment: bool = False
    tunnel_failed: bool = False
    tunnel_building: bool = False
    denied: bool = False
    rule: RuleHit | None = None

    @property
    def ends(self) -> tuple[Endpoint, ...]:
        """The one or two VMs of the flow."""
        return (self.source,) if self.destination is None else (self.source, self.destination)


def endpoint_of(topology: Topology, vm: Vm) -> Endpoint:
    """A VM with its network and host."""
    return Endpoint(vm, topology.networks[vm.network], topology.hosts[vm.host])


def flow_to(
    topology: Topology,
    source: Vm,
    address: Address,
    *,
    fragment: bool = False,
    tunnel_failed: bool = False,
    transport: Transport | None = None,
    sender: Address | None = None,
    answers: bool = False,
) -> Flow:
    """The facts of a flow from a VM to an address.

    Args:
        topology: the lab.
        source: the VM that sends.
        address: whom it sends to.
        fragment, tunnel_failed: see :class:`Flow`.
        transport: protocol and ports, for security rules; see :func:`dtls_emu.policy.security.judge`.
        sender: the address it sends from, where it has several; by default its own of that IP version.
        answers: it answers a flow that was allowed; security rules are not asked.
    """
    vm, internet = topology.destination(source, address)
    rule = None
    if topology.security is not None and not answers and (vm is not None or internet):
        own = sender or source.address(address.version) or source.addresses[0]
        rule = judge(topology, (source, own), (vm, address), transport)
    return Flow(
        source=endpoint_of(topology, source),
        destination=None if vm is None else endpoint_of(topology, vm),
        internet=internet,
        fragment=fragment,
        tunnel_failed=tunnel_failed,
        denied=rule is not None and rule.denies,
        rule=rule,
    )
