"""The tunnels of one card: made when they are first wanted, looked after, and asked what they have to say.

This is the one place of the card that asks a tunnel what has come of a call: :meth:`Tunnels.after`.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from dtls_emu.nic.effects import ClosePort, RequestKeys, Transmit
from dtls_emu.nic.waiting import WaitingRoom
from dtls_emu.tunnel.handshake_keys import HalfOpen
from dtls_emu.tunnel.peers import Peer
from dtls_emu.tunnel.ports import PortAllocator
from dtls_emu.tunnel.tunnel import Tunnel
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import Burst


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography import x509

    from dtls_emu.crypto.backend import Backend
    from dtls_emu.nic.counters import EgressCounters, IngressCounters
    from dtls_emu.nic.effects import Effect
    from dtls_emu.nic.offload.paths import Paths
    from dtls_emu.nic.view import CardView
    from dtls_emu.nic.watching import Watcher
    from dtls_emu.tunnel.outcome import Outcome
    from dtls_emu.tunnel.peers import Identity
    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["Tunnels"]


class Tunnels(Mapping[str, Tunnel]):
    """By name of the peer host. Of those that somebody has wanted yet, which is all that there is to see of it.

    ``tunnels[peer]`` makes the one to any other host of the lab, if need be; to iterate, and to ask whether it has one,
    makes none.

    Fields:
        released: peers whose waiting packets may go.
    """

    def __init__(
        self,
        view: CardView,
        identity: Identity,
        authorities: Mapping[str, x509.Certificate],
        backend: Backend,
        settings: TunnelSettings,
        first_port: int,
        paths: Paths,
        counters: tuple[EgressCounters, IngressCounters],
        on_drop: tuple[Callable[[DropReason, int, int], None], Callable[[DropReason, int, int], None]],
    ) -> None:
        """
        Args:
            view: the lab.
            identity, authorities, settings, first_port: as in :class:`~dtls_emu.nic.card.Card`.
            backend: seals and opens.
            paths: is told what kernels may do.
            counters: of the card, out and in.
            on_drop: what the card does with drops, out and in.
        """
        self.released: list[str] = []
        self._view = view
        self._identity = identity
        self._authorities = authorities
        self._backend = backend
        self._settings = settings
        self._ports = PortAllocator(first_port)
        self._half_open = HalfOpen()
        self._paths = paths
        self._egress, self._ingress = counters
        self._drop_out, self._drop_in = on_drop
        self._tunnels: dict[str, Tunnel] = {}
        self._waiting: dict[str, WaitingRoom] = {}
        self._timers: list[tuple[float, str]] = []  # a heap; only the earliest of each peer counts
        self._timer_of: dict[str, float] = {}
        self._is_closed = False
        self._watcher: Watcher | None = None

    def __getitem__(self, peer: str) -> Tunnel:
        """The tunnel to a host; KeyError when there is no such other host."""
        tunnel = self._tunnels.get(peer)
        return self._make(peer) if tunnel is None else tunnel

    def __iter__(self) -> Iterator[str]:
        """Peers to which there is one."""
        return iter(list(self._tunnels))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._tunnels)

    def __contains__(self, peer: object) -> bool:
        """Whether there is one."""
        return peer in self._tunnels

    def made(self, peer: str) -> Tunnel | None:
        """The tunnel to a host if there is one yet; `get` would make it."""
        return self._tunnels.get(peer)

    def observe(self, watcher: Watcher | None) -> None:
        """Have a watcher told of what happens to tunnels, and to packets that have waited for one in vain."""
        self._watcher = watcher
        for tunnel in self._tunnels.values():
            tunnel.is_observed = watcher is not None

    def waiting(self, peer: str) -> WaitingRoom:
        """Where packets wait for a tunnel."""
        room = self._waiting.get(peer)
        if room is None:
            room = self._waiting[peer] = WaitingRoom(self._view.topology.profile.waiting_packets)
        return room

    def keep_to_paths(self) -> None:
        """The lab's links, or real paths, have changed."""
        for peer, tunnel in self._tunnels.items():
            tunnel.path_mtu = self._view.path_mtu(peer)

    def close(self, now: float, effects: list[Effect]) -> None:
        """Say goodbye on every tunnel; those that are made later are closed, too."""
        self._is_closed = True
        for peer, tunnel in self._tunnels.items():
            outcome = tunnel.close(now)
            self.drop_waiting(peer)
            self.after(tunnel, outcome, effects, now)

    # ------------------------------------------------------------------------------------------- timers

    def next_timeout(self) -> float:
        """When `handle_timeout` wants to be called, in seconds, or infinity; but for what kernels have set."""
        return self._timers[0][0] if self._timers else inf

    def handle_timeout(self, now: float, effects: list[Effect]) -> None:
        """Let time pass for those tunnels of which a timer is due."""
        due = self._paths.due(now)
        while self._timers and self._timers[0][0] <= now:
            moment, peer = heappop(self._timers)
            if self._timer_of.get(peer) == moment:
                del self._timer_of[peer]
                due.append(peer)
        order = self._tunnels if len(due) > 1 else due  # of those due at once, the one that is older first
        wanted = set(due)
        for peer in [each for each in order if each in wanted]:
            tunnel = self._tunnels[peer]
            if tunnel.timeout() <= now:
                self.after(tunnel, tunnel.handle_timeout(now), effects, now)
            self._set_timer(tunnel)

    def _set_timer(self, tunnel: Tunnel) -> None:
        peer, moment = tunnel.peer.name, tunnel.timeout()
        if moment < self._timer_of.get(peer, inf):
            self._timer_of[peer] = moment
            heappush(self._timers, (moment, peer))

    # ------------------------------------------------------------------------------------------- outcomes

    def refuse(self, outcome: Outcome) -> Outcome:
        """Count what a tunnel has refused of what came in; the rest of the outcome is for :meth:`after`.

        It is refused before anything else of the burst is open, so it is told of before that is.
        """
        for reason, count, mark in outcome.dropped:
            self._drop_in(reason, count, mark)
        return outcome._replace(dropped=()) if outcome.dropped else outcome

    def after(self, tunnel: Tunnel, outcome: Outcome, effects: list[Effect], now: float) -> None:
        """Carry out what a tunnel's call has caused, but for what it has opened, which is delivered before."""
        if outcome.is_quiet:
            return
        peer = tunnel.peer
        self._ingress.control += outcome.control
        self._ingress.received += outcome.extra_records
        for reason, count, mark in outcome.dropped:
            self._drop_in(reason, count, mark)
        if self._watcher is not None:
            self._watcher.happened(peer.name, outcome.happenings)
        for out in outcome.datagrams:
            datagram = np.frombuffer(out.datagram, np.uint8)
            effects.append(
                Transmit(Burst.from_datagrams(datagram), out.local_port, (peer.address, out.remote_port))
            )
        effects += [ClosePort(port) for port in outcome.closed_ports]
        effects += [RequestKeys(peer.name, port) for port in outcome.key_requests]
        self._paths.refresh(self._view.topology.hosts[peer.name], tunnel)
        self._set_timer(tunnel)
        if not (outcome.keys_changed or outcome.attempt_failed):
            return
        self._view.revalidate()  # what a flow's decision rests on has changed
        if tunnel.room() or (outcome.attempt_failed and tunnel.active is None):
            self.released.append(peer.name)
        elif outcome.attempt_failed:
            # The key is worn out, and there is no other. Clear is for a peer that there is no tunnel to.
            self.drop_waiting(peer.name)

    def drop_waiting(self, peer: str) -> None:
        """There will be no tunnel for packets that have waited for it."""
        for vm, burst in self.waiting(peer).leave():
            self._egress.waiting -= burst.packets
            if self._watcher is not None:
                self._watcher.sending(vm, burst)
            self._drop_out(DropReason.TUNNEL_DOWN, burst.packets, burst.mark)

    def _make(self, peer: str) -> Tunnel:
        if peer == self._view.host:
            raise KeyError(peer)
        host = self._view.topology.hosts[peer]
        tunnel = self._tunnels[peer] = Tunnel(
            self._identity,
            Peer(host.name, host.underlay, self._authorities[host.region]),
            backend=self._backend,
            settings=self._settings,
            ports=self._ports,
            path_mtu=self._view.path_mtu(peer),
            half_open=self._half_open,
        )
        tunnel.is_observed = self._watcher is not None
        if self._is_closed:
            tunnel.close(0.0)  # there is nobody yet to say so to
        return tunnel
