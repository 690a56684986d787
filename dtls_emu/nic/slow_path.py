"""The slow path: an exception packet's flow is looked up, decided by the policy and made ready to install.

Runs once a flow, on the host's CPU. The VNI on the wire is that of the destination's virtual network, so the
receiving card finds the VM without knowing where the packet came from.

No row of the policy looks at ports or protocol: flows between the same addresses are decided alike. So a decision is
kept for as long as it holds, and the next flow between them costs a look-up, and no memory of its own but its entry.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from dtls_emu.nic.flows import EgressFlow, IngressFlow
from dtls_emu.policy import Flow, decide, endpoint_of, flow_to
from dtls_emu.vocabulary import DropReason, Verdict
from dtls_emu.wire.inspect import unpack_key
from dtls_emu.wire.vxlan import encapsulation_header


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.lab.topology import Vm
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
        tunnels: of the card; set once, by the card.

    Args:
        view: the lab.
    """

    def __init__(self, view: CardView) -> None:
        self.tunnels: Tunnels
        self._view = view
        self._generation = 0  # of what is kept
        self._kept_out: dict[tuple[str, bytes], EgressFlow] = {}
        self._kept_in: dict[tuple[int, bytes], IngressFlow] = {}

    def egress(self, vm: Vm, words: NDArray[np.uint64], now: float) -> EgressFlow | None:
        """As :meth:`decide_egress`, of the words of a key; what is decided for its addresses already holds for it, too."""
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
        facts = flow_to(topology, vm, key.destination, fragment=key.is_fragment)
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
        facts = Flow(
            endpoint_of(topology, source),
            endpoint_of(topology, destination),
            fragment=key.is_fragment,
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
