"""The card of one host: both ways of the pipeline, its tunnels, its timers.

Bursts and the time go in, effects come out in the order in which they are to be carried out::

    for effect in card.from_guest("vm-a", burst, now):
        ...

An effect's burst is valid until the next call. `next_timeout` says when `handle_timeout` wants to be called.
Not safe for concurrent use: one loop drives one card.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import numpy as np

from dtls_emu.crypto.native import has_native_ends
from dtls_emu.errors import LocalProtocolError
from dtls_emu.events import Direction
from dtls_emu.nic.arena import Arena
from dtls_emu.nic.carried import CarriedPackets
from dtls_emu.nic.counters import EgressCounters, IngressCounters, Sent
from dtls_emu.nic.effects import Deliver
from dtls_emu.nic.egress import Egress
from dtls_emu.nic.ingress import Ingress
from dtls_emu.nic.offload.datapath import Datapath
from dtls_emu.nic.slow_path import SlowPath
from dtls_emu.nic.tunnels import Tunnels
from dtls_emu.nic.view import CardView
from dtls_emu.nic.watching import Watcher
from dtls_emu.policy import decide, flow_to
from dtls_emu.tunnel.ports import DYNAMIC_PORTS
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.inspect import PacketClass, key_of, stated_length, unpack_key


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryptography import x509
    from numpy.typing import NDArray

    from dtls_emu.crypto.backend import Backend
    from dtls_emu.events import Observer
    from dtls_emu.lab.topology import Topology
    from dtls_emu.nic.counters import PacketObserver
    from dtls_emu.nic.effects import Effect, UnderlayAddress
    from dtls_emu.nic.event_ring import EventRing
    from dtls_emu.tunnel.peers import Identity
    from dtls_emu.tunnel.session_keys import SessionKeys


__all__ = ["Card", "Engine"]


@dataclass(frozen=True, slots=True)
class Engine:
    """Who seals and opens on a card, and why it is that one."""

    backend: Backend
    reason: str

    @property
    def is_native(self) -> bool:
        """Whether compiled code can call the backend without Python in between."""
        return has_native_ends(self.backend)


class Card:
    """One host's SmartNIC.

    Fields:
        host: its name.
        engine: cipher backend in use.
        egress, ingress: the two directions, with their counters and flow tables.
        tunnels: by name of the peer host; of those that somebody has wanted yet.
        datapath: what kernels and Python share.
        merges_for: names of VMs whose device takes super-packets; the card joins packets for them (GRO).
    """

    def __init__(
        self,
        topology: Topology,
        identity: Identity,
        authorities: Mapping[str, x509.Certificate],
        engine: Engine,
        *,
        settings: TunnelSettings | None = None,
        on_drop: Callable[[DropReason, int, int], None] | None = None,
        on_packets: PacketObserver | None = None,
        observer: Observer | None = None,
        first_port: int = DYNAMIC_PORTS.start,
    ) -> None:
        """
        Args:
            topology: the lab; `identity.name` is one of its hosts.
            identity: of this host.
            authorities: the CA certificate of each region.
            engine: seals and opens.
            settings: tunnels' knobs; from the lab's profile when there are none.
            on_drop: called with reason, count and mark for everything dropped, after it was counted.
            on_packets: told how packets from VMs, or for them from the gateway, left the card; None costs nothing.
            observer: told of everything that happens; None costs nothing.
            first_port: of its own attempts, as :class:`~dtls_emu.tunnel.ports.PortAllocator` says.
        """
        self.host = identity.name
        self._identity = identity
        self.engine = engine
        vms = [vm.name for vm in topology.vms_on(self.host)]
        self.datapath = Datapath(
            vms, len(topology.hosts) - 1, topology.profile.flow_table, topology.profile.flows_per_vm
        )
        self._view = CardView(topology, self.host, self.datapath.card)
        due: Any = self.datapath.card["due"].data
        self._due: memoryview[float] = due
        self._arena = Arena()
        self._on_packets = on_packets
        self.merges_for: set[str] = set()
        tell_drop = on_drop or (lambda _reason, _count, _mark: None)
        slow_path = self._slow_path = SlowPath(self._view)
        out, into = EgressCounters(self.datapath.card), IngressCounters(self.datapath.card)
        self.egress = Egress(self._view, self.datapath, slow_path, self._arena, out, tell_drop, on_packets)
        self.ingress = Ingress(
            self._view, self.datapath, slow_path, self._arena, into, self.merges_for, tell_drop
        )
        profile = topology.profile
        self.tunnels = Tunnels(
            self._view,
            identity,
            authorities,
            engine.backend,
            settings
            or TunnelSettings(
                replay_window=profile.replay_window,
                keying=profile.keying,
                rekey_records=profile.rekey_records,
                rekey_seconds=profile.rekey_seconds,
            ),
            first_port,
            self.datapath.paths,
            (out, into),
            (self.egress.drop, self.ingress.drop),
        )
        slow_path.datapath = self.datapath
        self.egress.tunnels = self.ingress.tunnels = slow_path.tunnels = self.tunnels
        self.observe(observer)

    def observe(
        self,
        observer: Observer | None,
        leave_out: Callable[[str, int], object] = lambda _name, _count: None,
        *,
        carried: bool = True,
    ) -> None:
        """Tell an observer from now on of everything that happens here; None, the default, costs nothing.

        A flow that is going on already is decided again at its next packet, so that it is told of, and counts from there.

        Args:
            observer: told, or None.
            leave_out: called with the name of events and their number, where a compiled loop carries more than can be
                told.
            carried: also of packets that a compiled loop carries; False: of flows, tunnels and exceptions only.
        """
        watcher = self._watcher = None if observer is None else Watcher(self.host, observer)
        self._observer, self._leave_out = observer, leave_out
        self.tell_of_carried(wanted=carried)
        self.egress.watcher = self.ingress.watcher = watcher
        self.tunnels.observe(watcher)
        ended = None if watcher is None else watcher.flow_ended
        self.egress.flows.on_end = None if ended is None else partial(ended, Direction.EGRESS)
        self.ingress.flows.on_end = None if ended is None else partial(ended, Direction.INGRESS)
        if watcher is not None:
            self.revalidate()

    def tell_of_carried(self, *, wanted: bool) -> None:
        """Tell the observer, from now on, of packets that a compiled loop carries, or not."""
        self._carried = (
            CarriedPackets(self._watcher, self._observer, self.datapath, self._leave_out)
            if wanted and self._watcher is not None and self._observer is not None
            else None
        )

    def log_keys(self, key_log: Callable[[bytes], None]) -> None:
        """Hand out the secrets of every handshake from now on; see :func:`~dtls_emu.tunnel.context.build_contexts`."""
        self._identity.contexts.log_keys(key_log)

    @property
    def ring(self) -> EventRing | None:
        """Where a compiled loop leaves what it has carried; None while nobody observes."""
        return None if self._carried is None else self._carried.ring

    def tell_carried(self, now: float) -> None:
        """Tell what is in the ring, before anything else happens to the card."""
        if self._carried is not None:
            self._carried.tell(now)

    def from_guest(self, vm: str, burst: Burst, now: float) -> list[Effect]:
        """Take IP packets, or one super-packet, that a VM of this host sends.

        Raises:
            LocalProtocolError: more than 64 rows, or no VM of this host.
        """
        if burst.count > MAX_ROWS:
            raise LocalProtocolError(f"a burst has at most {MAX_ROWS} rows: {burst.count}")
        if vm not in self._view.vms:
            raise LocalProtocolError(f"{vm} is no VM of host {self.host}")
        self._arena.reset()
        effects: list[Effect] = []
        if self._watcher is not None:
            self._watcher.now = now
            self._watcher.offered(vm, burst)
        counters = self.egress.counters
        counters.offered += burst.packets
        counters.offered_bytes += burst.nbytes
        self.egress.forward(vm, burst, effects, now)
        return self._finish(effects, now)

    def from_fabric(self, burst: Burst, source: UnderlayAddress, local_port: int, now: float) -> list[Effect]:
        """Take UDP payloads of one sender, back to back; they are opened in place. Never raises for content.

        Args:
            burst: the datagrams.
            source: who sent them, as the fabric says.
            local_port: where they came in.
            now: seconds.
        """
        if self._watcher is not None:
            self._watcher.now = now
            self._watcher.received(burst, source, local_port)
        self._arena.reset()
        effects: list[Effect] = []
        for start in range(0, burst.count, MAX_ROWS):
            part = (
                burst if burst.count <= MAX_ROWS else burst.slice(start, min(start + MAX_ROWS, burst.count))
            )
            self.ingress.receive(part, source, local_port, effects, now)
        return self._finish(effects, now)

    def from_opened(
        self, peer: str, burst: Burst, status: NDArray[np.uint8], ok: int, now: float
    ) -> list[Effect]:
        """Go on with datagrams of a peer that kernels have opened, and cannot deliver: of a compiled loop.

        Args:
            peer: name of the host they came from.
            burst: what became of them.
            status: a :class:`~dtls_emu.wire.protocol.RowStatus` for each.
            ok: how many of them verified.
            now: seconds.
        """
        if self._watcher is not None:
            self._watcher.now = now
        self._arena.reset()
        effects: list[Effect] = []
        self.ingress.receive_opened(self._view.topology.hosts[peer], burst, status, ok, effects, now)
        return self._finish(effects, now)

    def vni_of(self, vm: str) -> int:
        """The VXLAN network identifier of a VM of this host."""
        return self._view.vms[vm][1]

    def offload(self, vms: Sequence[str]) -> Datapath:
        """Give what kernels work on to a caller that runs them itself, such as a host's compiled loop.

        Args:
            vms: all of this host, in the order of the numbers that the caller has for them.
        """
        self.datapath.number_vms(vms)
        self.revalidate()
        return self.datapath

    def from_gateway(self, network: str, packet: bytes, now: float, mark: int = 0) -> list[Effect]:
        """Take one packet from the internet for a VM of this host."""
        counters = self.ingress.counters
        counters.received += 1
        if self._watcher is not None:
            self._watcher.now = now
            self._watcher.offered("", Burst.from_packets([packet], mark=mark))
        seen, _ = key_of(packet, 0)
        if seen is PacketClass.MALFORMED:
            self.ingress.drop(DropReason.MALFORMED, 1, mark)
            return []
        if seen is PacketClass.PADDED:
            packet = packet[: stated_length(np.frombuffer(packet, np.uint8))]
        source, destination = (
            (packet[12:16], packet[16:20]) if packet[0] >> 4 == 4 else (packet[8:24], packet[24:40])
        )
        topology = self._view.topology
        vm = topology.locate(network, ip_address(destination))
        if vm is None or vm.host != self.host:
            self.ingress.drop(DropReason.UNKNOWN_DESTINATION, 1, mark)
            return []
        if topology.security is not None:
            _, words = key_of(packet, topology.networks[network].vni)
            if not self._slow_path.admits(vm, unpack_key(words)):
                self.ingress.drop(DropReason.DENIED, 1, mark)
                return []
        counters.delivered += 1
        counters.delivered_bytes += len(packet)
        burst = Burst.from_packets([packet], mark=mark)
        if self._on_packets is not None or self._watcher is not None:
            decision = decide(flow_to(topology, vm, ip_address(source)), topology.profile)
            if self._on_packets is not None:
                self._on_packets(decision, Sent.GATEWAY, 1, mark)
            if self._watcher is not None:
                self._watcher.came_in(vm.name, topology.networks[network].vni, burst, decision)
        return [Deliver(vm.name, burst)]

    def next_timeout(self) -> float:
        """When `handle_timeout` wants to be called, in seconds; infinity when it does not."""
        return min(self._due[0], self.tunnels.next_timeout())

    def handle_timeout(self, now: float) -> list[Effect]:
        """Let time pass: retransmit, give up, rekey, let go."""
        if self._watcher is not None:
            self._watcher.now = now
        self._arena.reset()
        effects: list[Effect] = []
        self.tunnels.handle_timeout(now, effects)
        self._due[0] = self.datapath.paths.next_due()
        return self._finish(effects, now)

    def rekey(self, peer: str, now: float) -> list[Effect]:
        """Begin a fresh association with a peer host now, beside the live one."""
        if self._watcher is not None:
            self._watcher.now = now
        self._arena.reset()
        effects: list[Effect] = []
        tunnel = self.tunnels[peer]
        self.tunnels.after(tunnel, tunnel.rekey(now), effects, now)
        return self._finish(effects, now)

    def install(self, peer: str, keys: SessionKeys, now: float) -> list[Effect]:
        """Take a broker's session keys for the tunnel to a peer host.

        Raises:
            LocalProtocolError: see :meth:`dtls_emu.tunnel.tunnel.Tunnel.install`.
        """
        if self._watcher is not None:
            self._watcher.now = now
        self._arena.reset()
        effects: list[Effect] = []
        tunnel = self.tunnels[peer]
        self.tunnels.after(tunnel, tunnel.install(keys, now), effects, now)
        return self._finish(effects, now)

    def port_unavailable(self, port: int, now: float) -> list[Effect]:
        """A local port of an effect cannot be opened, another program has it: go on with the next one at once.

        The edge says so when it has carried out the other effects of the same call.
        """
        if self._watcher is not None:
            self._watcher.now = now
        self._arena.reset()
        effects: list[Effect] = []
        for tunnel in self.tunnels.values():
            self.tunnels.after(tunnel, tunnel.port_unavailable(port, now), effects, now)
        return self._finish(effects, now)

    def close(self, now: float) -> list[Effect]:
        """Say goodbye on every tunnel and seal nothing more; packets that wait are dropped.

        Keys go as the peers answer, or when time passes; :meth:`abort` overwrites them at once.
        """
        if self._watcher is not None:
            self._watcher.now = now
        self._arena.reset()
        effects: list[Effect] = []
        self.tunnels.close(now, effects)
        return self._finish(effects, now)

    def abort(self, now: float | None = None) -> None:
        """Overwrite every key now; for an observer every flow ends at this time."""
        for tunnel in self.tunnels.values():
            tunnel.abort()
        if self._watcher is not None:
            self._watcher.close(now)

    def update(self, topology: Topology) -> None:
        """Go on under a changed lab: policy, VMs' facts, links. Tunnels stay up; every flow is decided again.

        Raises:
            LocalProtocolError: the lab has other hosts, or other VMs on this one.
        """
        vms = {vm.name for vm in topology.vms_on(self.host)}
        if vms != self._view.vms.keys() or topology.hosts.keys() != self._view.topology.hosts.keys():
            raise LocalProtocolError("a running card cannot take other hosts or VMs")
        self._view.take(topology)
        self.tunnels.keep_to_paths()

    def limit_path(self, peer: str, mtu: int | None) -> None:
        """Keep to what the real path to a host carries, too: it is as small as the lab's link and it together.

        Args:
            peer: name of the host.
            mtu: largest outer IP packet, in bytes; None when only the link counts.
        """
        before = self._view.path_mtu(peer)
        self._view.limit_path(peer, mtu)
        if self._view.path_mtu(peer) != before:
            self.tunnels.keep_to_paths()
            self.revalidate()

    def inner_mtu(self, peer: str, *, encrypted: bool) -> int:
        """Largest packet of a VM on the way to a host, in bytes: the one that is enforced."""
        return self._view.inner_mtu(peer, encrypted=encrypted)

    def revalidate(self) -> None:
        """Policy, links or tunnels have changed: every flow is decided again at its next packet."""
        self._view.revalidate()

    def report_flows(self, now: float, most: int) -> None:
        """Tell an observer how flows stand that have gone on since it was told last; so many are looked at."""
        if self._watcher is not None:
            self._watcher.flows.report_changed(now, most)

    def report_all_flows(self, now: float) -> None:
        """Tell an observer how every flow stands, also of those of which there is nothing new."""
        if self._watcher is not None:
            self._watcher.flows.report(now)

    @property
    def topology(self) -> Topology:
        """The lab as it stands."""
        return self._view.topology

    @property
    def peers(self) -> list[str]:
        """Names of all other hosts of the lab, whether a tunnel to them was ever wanted or not."""
        return [host for host in self._view.topology.hosts if host != self.host]

    @property
    def balanced(self) -> bool:
        """Whether every packet and record is accounted for, in both directions."""
        return self.egress.counters.balanced and self.ingress.counters.balanced

    def status(self) -> dict[str, Any]:
        """What `status` and a result file say of this card; JSON types only, no key material."""
        backend = self.engine.backend
        return {
            "host": self.host,
            "backend": backend.name,
            "backend_detail": backend.detail,
            "backend_reason": self.engine.reason,
            "protects": backend.protects,
            "flows": {"egress": len(self.egress.flows), "ingress": len(self.ingress.flows)},
            "egress": self.egress.counters.as_dict(),
            "ingress": self.ingress.counters.as_dict(),
            "tunnels": {peer: self._tunnel_status(peer) for peer in self.peers},
        }

    def _tunnel_status(self, peer: str) -> dict[str, Any]:
        """Of one tunnel; one that nobody has wanted yet is idle."""
        tunnel = self.tunnels.made(peer)
        return {
            "state": str(TunnelState.IDLE if tunnel is None else tunnel.state),
            "failure": "" if tunnel is None else tunnel.failure,
            "handshakes": 0 if tunnel is None else tunnel.handshakes,
            "last_handshake_seconds": 0.0 if tunnel is None else tunnel.last_handshake,
            "forgeries": 0 if tunnel is None else tunnel.forgeries,
            "waiting": 0 if tunnel is None else len(self.tunnels.waiting(peer)),
        }

    def _finish(self, effects: list[Effect], now: float) -> list[Effect]:
        """Let packets go whose tunnel has come up, or failed: behind those that were on their way already."""
        tunnels = self.tunnels
        while tunnels.released:
            for vm, burst in tunnels.waiting(tunnels.released.pop()).leave():
                self.egress.counters.waiting -= burst.packets
                self.egress.forward(vm, burst, effects, now)
        return effects
