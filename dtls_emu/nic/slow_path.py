"""The slow path: an exception packet's flow is looked up, decided by the policy and made ready to install.

Runs once a flow, on the host's CPU. The VNI on the wire is that of the destination's virtual network, so the
receiving card finds the VM without knowing where the packet came from.

Where a lab has no security rules, nothing looks at ports or protocol: flows between the same addresses are decided alike.
So a decision is kept for as long as it holds, and the next flow between them costs a look-up, and no memory of its own but
its entry.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from dtls_emu.events import Direction
from dtls_emu.nic.flows import EgressFlow, IngressFlow
from dtls_emu.policy import Flow, Transport, decide, endpoint_of, flow_to
from dtls_emu.policy.security import Packet, judge, judge_end
from dtls_emu.vocabulary import DropReason, Verdict
from dtls_emu.wire.inspect import pack_key, unpack_key
from dtls_emu.wire.vxlan import encapsulation_header


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.lab.topology import Vm
    from dtls_emu.nic.offload.datapath import Datapath
    from dtls_emu.nic.tunnels import Tunnels
    from dtls_emu.nic.view import CardView
    from dtls_emu.wire.inspect import FlowKey


__all__ = ["SlowPath"]

_Asked = TypeVar("_Asked")
_Decided = TypeVar("_Decided")

_FALLBACK_LIFE: Final = 1.0
"""Seconds after which a flow that fell back to clear, or is dropped, for want of a tunnel is decided again."""

_MOST_KEPT: Final = 65_536
"""Decisions of each direction, about 1 KB each: a VM that scans addresses cannot fill the memory."""

_VNI_AT: Final = 40
"""Where the first word of a key has it; the words behind are addresses, version and fragment."""


class SlowPath:
    """Decisions of one host's card.

    Fields:
        tunnels, datapath: of the card; set once, by the card.

    Args:
        view: the lab.
    """

    def __init__(self, view: CardView) -> None:
        self.tunnels: Tunnels
        self.datapath: Datapath
        self._view = view
        self._generation = 0  # of what is kept
        self._kept_out: dict[tuple[str, bytes], EgressFlow] = {}
        self._kept_in: dict[tuple[int, bytes], IngressFlow] = {}

    def egress(self, vm: Vm, words: NDArray[np.uint64], now: float) -> EgressFlow | None:
        """As :meth:`decide_egress`, of the words of a key; what is decided for its addresses already holds for it, too."""
        if (
            self._view.topology.security is not None
        ):  # rules are about ports, and about what was allowed before
            return self.decide_egress(vm, unpack_key(words), now)
        self._forget_old()
        asked = vm.name, words[1:].tobytes()
        flow = self._kept_out.get(asked)
        if flow is None:
            flow = self.decide_egress(vm, unpack_key(words), now)
            if flow is not None and flow.expires_at == inf:
                _keep(self._kept_out, asked, flow)
        return flow

    def ingress(self, words: NDArray[np.uint64]) -> IngressFlow:
        """As :meth:`decide_ingress`, likewise."""
        if self._view.topology.security is not None:
            return self.decide_ingress(unpack_key(words))
        self._forget_old()
        asked = int(words[0]) >> _VNI_AT, words[1:].tobytes()
        flow = self._kept_in.get(asked)
        if flow is None:
            flow = self.decide_ingress(unpack_key(words))
            _keep(self._kept_in, asked, flow)
        return flow

    def decide_egress(self, vm: Vm, key: FlowKey, now: float) -> EgressFlow | None:
        """Decide a flow from a VM; None when the source address is not the VM's own."""
        if not vm.owns(key.source):
            return None
        topology = self._view.topology
        facts = flow_to(
            topology,
            vm,
            key.destination,
            fragment=key.is_fragment,
            transport=Transport(key.protocol, key.source_port, key.destination_port),
            sender=key.source,
            answers=topology.security is not None and self._answers(key, Direction.EGRESS),
        )
        located = None if facts.destination is None else facts.destination.vm
        peer = tunnel = None
        if located is not None and located.host != self._view.host:
            peer = topology.hosts[located.host]
            tunnel = self.tunnels.made(peer.name)
        failed = tunnel is not None and tunnel.has_failed(now)
        waiting = facts
        if failed:
            facts = replace(facts, tunnel_failed=True)
        decision = decide(facts, topology.profile)
        if tunnel is not None and failed and decision.verdict is Verdict.DROP and not tunnel.is_pausing(now):
            # Nothing is lost by waiting for the attempt that runs, or that this packet begins.
            failed = False
            facts = waiting
            decision = decide(facts, topology.profile)
        header = None
        inner_mtu = vm.mtu
        if facts.destination is not None and peer is not None:
            destination = facts.destination
            header = encapsulation_header(
                destination.network.vni, vm.mac, destination.vm.mac, ip_version=key.version
            )
            is_encrypted = decision.verdict is Verdict.ENCRYPT
            inner_mtu = self._view.inner_mtu(peer.name, encrypted=is_encrypted)
        return EgressFlow(
            vm=vm.name,
            facts=facts,
            decision=decision,
            local_vm=located.name if located is not None and peer is None else None,
            peer=peer,
            header=header,
            inner_mtu=inner_mtu,
            expires_at=now + _FALLBACK_LIFE if failed else inf,
        )

    def decide_ingress(self, key: FlowKey) -> IngressFlow:
        """Decide a flow that comes from the fabric."""

        def refuse(reason: DropReason) -> IngressFlow:
            return IngressFlow("", "", reason, accepts_clear=False)

        topology = self._view.topology
        network = topology.network_by_vni(key.vni)
        if network is None:
            return refuse(DropReason.UNKNOWN_VNI)
        destination = topology.locate(network.name, key.destination)
        if destination is None or destination.host != self._view.host or destination.network != network.name:
            return refuse(DropReason.UNKNOWN_DESTINATION)
        source = topology.locate(network.name, key.source)
        if source is None:
            return refuse(DropReason.FOREIGN_SOURCE)
        rule = None
        if topology.security is not None and not self._answers(key, Direction.INGRESS):
            transport = Transport(key.protocol, key.source_port, key.destination_port)
            rule = judge(topology, (source, key.source), (destination, key.destination), transport)
        facts = Flow(
            endpoint_of(topology, source),
            endpoint_of(topology, destination),
            fragment=key.is_fragment,
            denied=rule is not None and rule.denies,
            rule=rule,
        )
        decision = decide(facts, topology.profile)
        fallback = decision
        if decision.verdict is Verdict.ENCRYPT:
            # The sender may have had to fall back; whether that is accepted is policy, not trust.
            without_tunnel = Flow(facts.source, facts.destination, tunnel_failed=True)
            fallback = decide(without_tunnel, topology.profile)
        return IngressFlow(
            vm=destination.name,
            source_host=source.host,
            refused=decision.reason,
            accepts_clear=fallback.verdict is Verdict.CLEAR,
            decision=decision,
            fallback=fallback,
        )

    def admits(self, vm: Vm, key: FlowKey) -> bool:
        """Whether a packet from the internet may reach a VM: security rules allow it, or it answers one of the VM's."""
        topology = self._view.topology
        if topology.security is None or self._answers(key, Direction.INGRESS):
            return True
        transport = Transport(key.protocol, key.source_port, key.destination_port)
        packet = Packet(key.source, key.destination, False, True, transport)
        hit = judge_end(topology, vm, packet, outbound=False)
        return hit is None or not hit.denies

    def _answers(self, key: FlowKey, direction: Direction) -> bool:
        """Whether the opposite flow is in a table of this card, and was allowed: connections are allowed both ways.

        Of a flow between two VMs of this host only what is sent has an entry, under the VNI of its sender's network.
        """
        topology = self._view.topology
        opposite = key._replace(
            source=key.destination,
            destination=key.source,
            source_port=key.destination_port,
            destination_port=key.source_port,
        )
        words = pack_key(opposite)
        sent = self.datapath.out.find(words, 0)
        if sent is None and direction is Direction.EGRESS:
            came = self.datapath.into.find(words, 0)
            if came is not None:
                return came.refused is None
            network = topology.network_by_vni(key.vni)
            other = None if network is None else topology.locate(network.name, key.destination)
            if other is not None and other.host == self._view.host:
                there = opposite._replace(vni=topology.networks[other.network].vni)
                sent = self.datapath.out.find(pack_key(there), 0)
        return sent is not None and sent.decision.verdict is not Verdict.DROP

    def _forget_old(self) -> None:
        """Let decisions go that rest on another policy, other links or other tunnels."""
        generation = self._view.generation
        if generation != self._generation:
            self._generation = generation
            self._kept_out.clear()
            self._kept_in.clear()


def _keep(kept: dict[_Asked, _Decided], asked: _Asked, flow: _Decided) -> None:
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[asked] = flow
