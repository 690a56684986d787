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
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from dtls_emu.crypto.native import has_native_ends
from dtls_emu.errors import LocalProtocolError
from dtls_emu.events import Direction
from dtls_emu.nic.arena import Arena
from dtls_emu.nic.counters import Sent
from dtls_emu.nic.effects import ClosePort, Deliver, RequestKeys, Transmit
from dtls_emu.nic.egress import Egress
from dtls_emu.nic.ingress import Ingress
from dtls_emu.nic.offload.fast_path import FastPath
from dtls_emu.nic.slow_path import SlowPath
from dtls_emu.nic.waiting import WaitingRoom
from dtls_emu.nic.watching import Watcher
from dtls_emu.policy import decide, flow_to
from dtls_emu.tunnel.attempts import HalfOpen
from dtls_emu.tunnel.peers import Peer
from dtls_emu.tunnel.ports import DYNAMIC_PORTS, PortAllocator
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.tunnel import Tunnel
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.inspect import PacketClass, key_of, stated_length


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryptography import x509
    from numpy.typing import NDArray

    from dtls_emu.crypto.backend import Backend
    from dtls_emu.events import Observer
    from dtls_emu.lab.topology import Topology
    from dtls_emu.nic.counters import PacketObserver
    from dtls_emu.nic.effects import Effect, UnderlayAddress
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
        egress, ingress: the two ways, with their counters and flow tables.
        tunnels: by name of the peer host.
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
        self.engine = engine
        self._topology = topology
        self._vms = {vm.name: (vm, topology.networks[vm.network].vni) for vm in topology.vms_on(self.host)}
        self._arena = Arena()
        self._generation = 0
        self._due = inf
        self._path_limits: dict[str, int] = {}  # what real paths carry, by peer, where that is known
        self._fast_path: FastPath | None = None
        ports = PortAllocator(first_port)
        half_open = HalfOpen()
        profile = topology.profile
        settings = settings or TunnelSettings(
            replay_window=profile.replay_window,
            keying=profile.keying,
            rekey_records=profile.rekey_records,
            rekey_seconds=profile.rekey_seconds,
        )
        self._settings = settings

        def drop_ingress(reason: DropReason, count: int, mark: int) -> None:
            self.ingress.drop(reason, count, mark)

        self.tunnels = {
            host.name: Tunnel(
                identity,
                Peer(host.name, host.underlay, authorities[host.region]),
                backend=engine.backend,
                settings=settings,
                ports=ports,
                path_mtu=topology.link(self.host, host.name).mtu,
                on_drop=drop_ingress,
                half_open=half_open,
            )
            for host in topology.hosts.values()
            if host.name != self.host
        }
        self._on_packets = on_packets
        self._waiting = {peer: WaitingRoom(topology.profile.waiting_packets) for peer in self.tunnels}
        self._released: list[str] = []  # peers whose waiting packets may go
        self._seen: dict[str, tuple[int, int]] = dict.fromkeys(self.tunnels, (0, 0))
        self._slow_path = SlowPath(topology, self.host, self.tunnels)
        tell_drop = on_drop or (lambda _reason, _count, _mark: None)
        self.egress = Egress(
            topology, self._slow_path, self._waiting, self._arena, tell_drop, self._after_tunnel, on_packets
        )
        self._watcher = self.egress.watcher = None if observer is None else Watcher(self.host, observer)
        self.merges_for: set[str] = set()
        self.ingress = Ingress(
            topology, self._slow_path, self.tunnels, self._arena, self.merges_for, tell_drop
        )
        self.ingress.watcher = self._watcher
        if self._watcher is not None:
            self.egress.flows.on_end = partial(self._watcher.flow_ended, Direction.EGRESS)
            self.ingress.flows.on_end = partial(self._watcher.flow_ended, Direction.INGRESS)

    def from_guest(self, vm: str, burst: Burst, now: float) -> list[Effect]:
        """Take IP packets, or one super-packet, that a VM of this host sends.

        Raises:
            LocalProtocolError: more than 64 rows, or no VM of this host.
        """
        if burst.count > MAX_ROWS:
            raise LocalProtocolError(f"a burst has at most {MAX_ROWS} rows: {burst.count}")
        try:
            source, vni = self._vms[vm]
        except KeyError:
            raise LocalProtocolError(f"{vm} is no VM of host {self.host}") from None
        self._arena.reset()
        effects: list[Effect] = []
        if self._watcher is not None:
            self._watcher.now = now
            self._watcher.offered(vm, burst)
        self.egress.counters.offered += burst.packets
        self.egress.counters.offered_bytes += burst.nbytes
        self.egress.forward(source, vni, burst, effects, now)
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
            tunnel = self.ingress.receive(part, source, local_port, effects, now)
            if tunnel is not None and (tunnel.touched or self.ingress.is_behind(tunnel)):
                self._after_tunnel(tunnel, effects, now)
        return self._finish(effects, now)

    def from_opened(
        self, peer: str, burst: Burst, status: NDArray[np.uint8], ok: int, now: float
    ) -> list[Effect]:
        """Go on with datagrams of a peer that the fast path has opened, and cannot deliver.

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
        tunnel = self.tunnels[peer]
        self.ingress.receive_opened(tunnel, burst, status, ok, effects, now)
        if tunnel.touched or self.ingress.is_behind(tunnel):
            self._after_tunnel(tunnel, effects, now)
        return self._finish(effects, now)

    def offload(self, vms: Sequence[str]) -> FastPath:
        """Have flows carried by compiled code from now on; the caller runs it.

        Args:
            vms: of this host, in the order of their numbers there.
        """
        self._fast_path = FastPath(self.egress, self.ingress, self.tunnels, vms)
        return self._fast_path

    def settle(self) -> None:
        """Enter in the books what the fast path has carried, and note the timers that it has set."""
        if self._fast_path is not None:
            self._due = min(self._due, self._fast_path.settle())

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
        vm = self._topology.locate(network, ip_address(destination))
        if vm is None or vm.host != self.host:
            self.ingress.drop(DropReason.UNKNOWN_DESTINATION, 1, mark)
            return []
        counters.delivered += 1
        counters.delivered_bytes += len(packet)
        if self._on_packets is not None:
            flow = flow_to(self._topology, vm, ip_address(source))
            self._on_packets(decide(flow, self._topology.profile), Sent.GATEWAY, 1, mark)
        burst = Burst.from_packets([packet], mark=mark)
        if self._watcher is not None:
            self._watcher.came_in(vm.name, self._topology.networks[network].vni, burst)
        return [Deliver(vm.name, burst)]

    def next_timeout(self) -> float:
        """When `handle_timeout` wants to be called, in seconds; infinity when it does not."""
        return self._due

    def handle_timeout(self, now: float) -> list[Effect]:
        """Let time pass: retransmit, give up, rekey, let go."""
        if self._watcher is not None:
            self._watcher.now = now
        self._arena.reset()
        effects: list[Effect] = []
        self._due = inf
        for tunnel in self.tunnels.values():
            if tunnel.timeout() <= now:
                tunnel.handle_timeout(now)
                self._after_tunnel(tunnel, effects, now, is_timer=True)
            self._due = min(self._due, tunnel.timeout())
        return self._finish(effects, now)

    def rekey(self, peer: str, now: float) -> list[Effect]:
        """Begin a fresh association with a peer host now, beside the live one."""
        if self._watcher is not None:
            self._watcher.now = now
        self._arena.reset()
        effects: list[Effect] = []
        self.tunnels[peer].rekey(now)
        self._after_tunnel(self.tunnels[peer], effects, now)
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
        self.tunnels[peer].install(keys, now)
        self._after_tunnel(self.tunnels[peer], effects, now)
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
            if tunnel.port_unavailable(port, now):
                self._after_tunnel(tunnel, effects, now)
        return self._finish(effects, now)

    def close(self, now: float) -> list[Effect]:
        """Say goodbye on every tunnel and seal nothing more; packets that wait are dropped.

        Keys go as the peers answer, or when time passes; :meth:`abort` overwrites them at once.
        """
        if self._watcher is not None:
            self._watcher.now = now
        self._arena.reset()
        effects: list[Effect] = []
        for peer, tunnel in self.tunnels.items():
            tunnel.close(now)
            self._drop_waiting(peer)
            self._after_tunnel(tunnel, effects, now)
        return self._finish(effects, now)

    def abort(self) -> None:
        """Overwrite every key now."""
        for tunnel in self.tunnels.values():
            tunnel.abort()
        if self._watcher is not None:
            self._watcher.close()

    def update(self, topology: Topology) -> None:
        """Go on under a changed lab: policy, VMs' facts, links. Tunnels stay up; every flow is decided again.

        Raises:
            LocalProtocolError: the lab has other hosts, or other VMs on this one.
        """
        vms = {vm.name: (vm, topology.networks[vm.network].vni) for vm in topology.vms_on(self.host)}
        if vms.keys() != self._vms.keys() or topology.hosts.keys() != self._topology.hosts.keys():
            raise LocalProtocolError("a running card cannot take other hosts or VMs")
        self._vms = vms
        self._topology = self._slow_path.topology = topology
        self.egress.take(topology)
        self.ingress.topology = topology
        for peer in self.tunnels:
            self._set_path_mtu(peer)
        self.revalidate()

    def limit_path(self, peer: str, mtu: int | None) -> None:
        """Keep to what the real path to a host carries, too: the way is as small as the lab's link and it together.

        Args:
            peer: name of the host.
            mtu: largest outer IP packet, in bytes; None when only the link counts.
        """
        if mtu is None:
            self._path_limits.pop(peer, None)
        else:
            self._path_limits[peer] = mtu
        before = self.tunnels[peer].path_mtu
        self._set_path_mtu(peer)
        if self.tunnels[peer].path_mtu != before:
            self.revalidate()

    def inner_mtu(self, peer: str, *, encrypted: bool) -> int:
        """Largest packet of a VM on the way to a host, in bytes: the one that is enforced."""
        return self._slow_path.inner_mtu(peer, encrypted=encrypted)

    def _set_path_mtu(self, peer: str) -> None:
        link = self._topology.link(self.host, peer).mtu
        self.tunnels[peer].path_mtu = min(link, self._path_limits.get(peer, link))

    def revalidate(self) -> None:
        """Policy, links or tunnels have changed: every flow is decided again at its next packet.

        AccelNet calls the number a generation ID (Firestone et al., NSDI 2018).
        """
        self._generation += 1
        self.egress.generation = self.ingress.generation = self._generation

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
            "tunnels": {
                peer: {
                    "state": str(tunnel.state),
                    "failure": tunnel.failure,
                    "handshakes": tunnel.handshakes,
                    "last_handshake_seconds": tunnel.last_handshake,
                    "forgeries": tunnel.forgeries,
                    "waiting": len(self._waiting[peer]),
                }
                for peer, tunnel in self.tunnels.items()
            },
        }

    def _after_tunnel(
        self, tunnel: Tunnel, effects: list[Effect], now: float, *, is_timer: bool = False
    ) -> None:
        """Send what a tunnel has to say, and notice when it came up, or failed."""
        peer = tunnel.peer
        outgoing, closed, requests = (
            tunnel.take_outgoing(),
            tunnel.take_closed_ports(),
            tunnel.take_key_requests(),
        )
        if self._watcher is not None:
            self._watcher.tunnel_called(tunnel, outgoing, closed, requests, is_timer=is_timer)
        for out in outgoing:
            datagram = np.frombuffer(out.datagram, np.uint8)
            effects.append(
                Transmit(Burst.from_datagrams(datagram), out.local_port, (peer.address, out.remote_port))
            )
        effects += [ClosePort(port) for port in closed]
        effects += [RequestKeys(peer.name, port) for port in requests]
        tunnel.touched = False
        if self._fast_path is not None:
            self._fast_path.refresh(tunnel)
        self.ingress.enter(tunnel)
        self._due = min(self._due, tunnel.timeout())
        seen = tunnel.changes, tunnel.failures
        before, self._seen[peer.name] = self._seen[peer.name], seen
        if seen == before:
            return
        self.revalidate()  # what a flow's decision rests on has changed
        has_failed = tunnel.failures != before[1]
        if tunnel.room() or (has_failed and tunnel.active is None):
            self._released.append(peer.name)
        elif has_failed:
            # The key is worn out, and there is no other. Clear is for a peer that there is no tunnel to.
            self._drop_waiting(peer.name)

    def _drop_waiting(self, peer: str) -> None:
        """There will be no tunnel for packets that have waited for it."""
        for vm, burst in self._waiting[peer].leave():
            self.egress.counters.waiting -= burst.packets
            if self._watcher is not None:
                self._watcher.sending(vm, burst)
            self.egress.drop(DropReason.TUNNEL_DOWN, burst.packets, burst.mark)

    def _finish(self, effects: list[Effect], now: float) -> list[Effect]:
        """Let packets go whose tunnel has come up, or failed: behind those that were on their way already."""
        while self._released:
            for vm, burst in self._waiting[self._released.pop()].leave():
                self.egress.counters.waiting -= burst.packets
                source, vni = self._vms[vm]
                self.egress.forward(source, vni, burst, effects, now)
        return effects
