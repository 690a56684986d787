"""The slow path: an exception packet's flow is looked up, decided by the policy and made ready to install.

Runs once a flow, on the host's CPU. The VNI on the wire is that of the destination's virtual network, so the
receiving card finds the VM without knowing where the packet came from.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from dtls_emu.nic.flows import EgressFlow, IngressFlow
from dtls_emu.policy import Flow, decide, endpoint_of, flow_to
from dtls_emu.vocabulary import DropReason, Verdict
from dtls_emu.wire.overhead import path_overhead
from dtls_emu.wire.vxlan import encapsulation_header


if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtls_emu.lab.topology import Topology, Vm
    from dtls_emu.tunnel.tunnel import Tunnel
    from dtls_emu.wire.inspect import FlowKey


__all__ = ["SlowPath"]

_FALLBACK_LIFE: Final = 1.0
"""Seconds after which a flow that fell back to clear, or is dropped, for want of a tunnel is decided again."""


class SlowPath:
    """Decisions of one host's card.

    Fields:
        topology: the lab as it stands.
    """

    def __init__(self, topology: Topology, host: str, tunnels: Mapping[str, Tunnel]) -> None:
        self.topology = topology
        self._host = host
        self._tunnels = tunnels

    def decide_egress(self, vm: Vm, key: FlowKey, generation: int, now: float) -> EgressFlow | None:
        """Decide a flow from a VM; None when the source address is not the VM's own."""
        if key.source not in vm.addresses:
            return None
        located = self.topology.locate(vm.network, key.destination)
        remote = located is not None and located.host != self._host
        tunnel = self._tunnels[located.host] if located is not None and remote else None
        failed = tunnel is not None and tunnel.has_failed(now)
        facts = flow_to(self.topology, vm, key.destination, fragment=key.is_fragment, tunnel_failed=failed)
        decision = decide(facts, self.topology.profile)
        if tunnel is not None and failed and decision.verdict is Verdict.DROP and not tunnel.is_pausing(now):
            # Nothing is lost by waiting for the attempt that runs, or that this packet begins.
            failed = False
            facts = flow_to(self.topology, vm, key.destination, fragment=key.is_fragment)
            decision = decide(facts, self.topology.profile)
        header = None
        inner_mtu = vm.mtu
        if facts.destination is not None and remote:
            destination = facts.destination
            header = encapsulation_header(
                destination.network.vni, vm.mac, destination.vm.mac, ip_version=key.version
            )
            inner_mtu = self.inner_mtu(destination.host.name, encrypted=decision.verdict is Verdict.ENCRYPT)
        return EgressFlow(
            vm=vm.name,
            facts=facts,
            decision=decision,
            local_vm=located.name if located is not None and not remote else None,
            tunnel=tunnel,
            header=header,
            inner_mtu=inner_mtu,
            generation=generation,
            expires_at=now + _FALLBACK_LIFE if failed else inf,
        )

    def decide_ingress(self, key: FlowKey, generation: int) -> IngressFlow:
        """Decide a flow that comes from the fabric."""

        def refuse(reason: DropReason) -> IngressFlow:
            return IngressFlow("", "", reason, accepts_clear=False, generation=generation)

        network = self.topology.network_by_vni(key.vni)
        if network is None:
            return refuse(DropReason.UNKNOWN_VNI)
        destination = self.topology.locate(network.name, key.destination)
        if destination is None or destination.host != self._host or destination.network != network.name:
            return refuse(DropReason.UNKNOWN_DESTINATION)
        source = self.topology.locate(network.name, key.source)
        if source is None:
            return refuse(DropReason.FOREIGN_SOURCE)
        facts = Flow(
            endpoint_of(self.topology, source),
            endpoint_of(self.topology, destination),
            fragment=key.is_fragment,
        )
        decision = decide(facts, self.topology.profile)
        fallback = decision
        if decision.verdict is Verdict.ENCRYPT:
            # The sender may have had to fall back; whether that is accepted is policy, not trust.
            without_tunnel = Flow(facts.source, facts.destination, tunnel_failed=True)
            fallback = decide(without_tunnel, self.topology.profile)
        return IngressFlow(
            vm=destination.name,
            source_host=source.host,
            refused=decision.reason,
            accepts_clear=fallback.verdict is Verdict.CLEAR,
            generation=generation,
        )

    def inner_mtu(self, peer_host: str, *, encrypted: bool) -> int:
        """Largest inner packet on the way to a host: what its path carries, and what a record holds."""
        version = 6 if ":" in self.topology.hosts[peer_host].underlay else 4
        overhead = path_overhead(encrypted=encrypted, underlay_version=version)
        return overhead.inner_mtu(self._tunnels[peer_host].path_mtu)
