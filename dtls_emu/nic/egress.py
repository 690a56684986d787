"""From a VM to the fabric.

1. Inspect every row: fragment test, lying headers, flow key. A mixed burst is taken apart, flow by flow.
2. Flow table; on a miss the slow path decides and the flow is installed.
3. Drop, deliver on this host, or hand to the gateway, as decided.
4. Size: what does not fit the way is dropped, and answered by ICMP.
5. Put VXLAN in front of each row, cutting a super-packet into rows: the one copy of a payload.
6. In clear, to the peer's VXLAN port; or sealed in place. Without a tunnel the packets wait for it.

The functions below stand in this order. One Python call a burst and stage; no object per packet.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.events import Direction
from dtls_emu.nic.counters import EgressCounters, Sent
from dtls_emu.nic.effects import VNET_HEADER, Deliver, LeaveFabric, Transmit
from dtls_emu.nic.flow_table import FlowTable
from dtls_emu.policy import in_clear_meanwhile, while_building
from dtls_emu.vocabulary import DropReason, FirstPacket, Verdict
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.grouping import gather, group_rows
from dtls_emu.wire.headers import DONT_FRAGMENT, transport_layout
from dtls_emu.wire.icmp import ErrorLimit, packet_too_big
from dtls_emu.wire.inspect import KEY_WORDS, PacketClass, inspect_packets, stated_length, unpack_key
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_PREFIX, TAG
from dtls_emu.wire.segment import segment
from dtls_emu.wire.vxlan import encapsulate


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from dtls_emu.lab.topology import Topology, Vm
    from dtls_emu.nic.arena import Arena
    from dtls_emu.nic.counters import PacketObserver
    from dtls_emu.nic.effects import Effect
    from dtls_emu.nic.flows import EgressFlow
    from dtls_emu.nic.slow_path import SlowPath
    from dtls_emu.nic.waiting import WaitingRoom
    from dtls_emu.nic.watching import Watcher
    from dtls_emu.policy import Decision
    from dtls_emu.tunnel.tunnel import Tunnel


__all__ = ["VXLAN_PORT", "Egress"]

VXLAN_PORT: Final = 4789
"""UDP port of VXLAN (RFC 7348 8)."""

_MALFORMED: Final = int(PacketClass.MALFORMED)
_PADDED: Final = int(PacketClass.PADDED)
_FLAGS_AT: Final = 6
"""Where an IPv4 header has its flags (RFC 791 3.1)."""


class Egress:
    """The way out of one card.

    Fields:
        counters: the books.
        flows: the flow table of this direction.
        topology: the lab as it stands.
        watcher: told what becomes of packets, or None.
        tos_kept, tos_set: which bits of the inner type of service go outside, and which are there besides.
        generation: of the policy; raising it makes every flow be decided again at its next packet.
    """

    def __init__(
        self,
        topology: Topology,
        slow_path: SlowPath,
        waiting: dict[str, WaitingRoom],
        arena: Arena,
        on_drop: Callable[[DropReason, int, int], None],
        after_tunnel: Callable[[Tunnel, list[Effect], float], None],
        on_packets: PacketObserver | None = None,
    ) -> None:
        """
        Args:
            topology: the lab.
            slow_path: decides.
            waiting: the waiting room of each peer host.
            arena: memory of the wire bursts.
            on_drop: called with reason, count and mark, after counting.
            after_tunnel: called when a tunnel was touched and may have something to send.
            on_packets: told what became of packets whose flow was decided.
        """
        self.counters = EgressCounters()
        self.flows: FlowTable[EgressFlow] = FlowTable(topology.profile.flow_table)
        self.generation = 0
        self.take(topology)
        self._slow_path = slow_path
        self._waiting = waiting
        self._arena = arena
        self._on_drop = on_drop
        self._after_tunnel = after_tunnel
        self._on_packets = on_packets
        self.watcher: Watcher | None = None
        self._keys = np.zeros((MAX_ROWS, KEY_WORDS), np.uint64)
        self._classes = np.zeros(MAX_ROWS, np.uint8)
        self._runs = np.zeros(MAX_ROWS + 1, np.int64)
        self._services = np.zeros(MAX_ROWS, np.uint8)
        self._groups = np.zeros(MAX_ROWS, np.uint8)
        self._heads = np.zeros(MAX_ROWS, np.int64)
        self._sizes = np.zeros(MAX_ROWS, np.int64)
        self._error_limits: dict[tuple[str, int], ErrorLimit] = {}

    def take(self, topology: Topology) -> None:
        """Go on under this lab."""
        self.topology = topology
        self.tos_kept, self.tos_set = topology.profile.outer_tos

    def forward(self, vm: Vm, vni: int, burst: Burst, effects: list[Effect], now: float) -> None:
        """Send a VM's packets on their way. At most ``MAX_ROWS`` rows; they are not changed."""
        if self.watcher is not None:
            self.watcher.sending(vm.name, burst)
        runs = inspect_packets(
            burst.buffer,
            burst.stride,
            burst.offset,
            burst.size,
            burst.count,
            burst.last,
            vni,
            self._keys,
            self._classes,
            self._runs,
            self._services,
        )
        if runs == 1 and self._classes.item(0) != _PADDED:
            flow = self._admit(vm, 0, burst, burst.packets, effects, now)
            if flow is not None:
                burst.tos = self._services.item(0) & self.tos_kept | self.tos_set
                self._send(flow, burst, effects, now)
            return
        # As bytes: NumPy takes microseconds to look at so few of them.
        if _PADDED in self._classes[: burst.count].tobytes():
            self._forward_padded(vm, vni, burst, self._runs[: runs + 1].tolist(), effects, now)
            return
        flows = group_rows(self._keys, self._classes, burst.count, self._groups, self._heads, self._sizes)
        heads, sizes = self._heads[:flows].tolist(), self._sizes[:flows].tolist()
        all_services = self._services[: burst.count].tobytes()
        is_uniform = all_services.count(all_services[0]) == burst.count
        for group, (head, count) in enumerate(zip(heads, sizes, strict=True)):
            flow = self._admit(vm, head, burst, count, effects, now)
            if flow is not None:
                memory = self._arena.take(count * burst.size)
                rows = gather(burst, self._groups, group, count, memory)
                if is_uniform:
                    rows.tos = all_services[0] & self.tos_kept | self.tos_set
                    self._send(flow, rows, effects, now)
                    continue
                services = self._services[: burst.count][self._groups[: burst.count] == group]
                for start, stop, tos in _stretches(services & self.tos_kept | self.tos_set):
                    part = rows.slice(start, stop)
                    part.tos = tos
                    self._send(flow, part, effects, now)

    def _forward_padded(
        self, vm: Vm, vni: int, burst: Burst, boundaries: list[int], effects: list[Effect], now: float
    ) -> None:
        """Send packets of which some have bytes behind their end: without them, one by one and in order."""
        if burst.gso_size:
            self.drop(DropReason.MALFORMED, burst.packets, burst.mark)
            return
        is_padded = (self._classes[: burst.count] == _PADDED).tolist()
        for start, stop in pairwise(boundaries):
            if not is_padded[start]:
                self.forward(vm, vni, burst.slice(start, stop), effects, now)
                continue
            for row in range(start, stop):
                self.forward(vm, vni, burst.cut(row, stated_length(burst.row(row))), effects, now)

    def drop(self, reason: DropReason, count: int, mark: int, decision: Decision | None = None) -> None:
        """Count packets that go no further."""
        self.counters.dropped[reason] += count
        self._on_drop(reason, count, mark)
        if self.watcher is not None:
            self.watcher.dropped(reason, count, mark, decision)

    def _admit(
        self, vm: Vm, row: int, burst: Burst, packets: int, effects: list[Effect], now: float
    ) -> EgressFlow | None:
        """The flow of so many packets, whose key is in ``row``; None when they are dropped."""
        if self._classes[row] == _MALFORMED:
            self.drop(DropReason.MALFORMED, packets, burst.mark)
            return None
        flow = self.flows.find(self._keys, row)
        if self.watcher is not None:
            key = unpack_key(self._keys[row])
            self.watcher.classified(Direction.EGRESS, vm.name, key, packets, burst.mark)
        if flow is None or flow.generation != self.generation or now >= flow.expires_at:
            if self.watcher is not None:
                self.watcher.missed(
                    Direction.EGRESS, vm.name, key, packets, burst.mark, stale=flow is not None
                )
            flow = self._decide(vm, row, burst.mark, packets, effects, now)
            if flow is None:
                return None
        elif flow.vm != vm.name:
            self.drop(DropReason.SPOOFED_SOURCE, packets, burst.mark)
            return None
        flow.last_seen = now
        if flow.decision.verdict is Verdict.DROP:
            assert flow.decision.reason is not None  # a dropping row names its reason
            self._drop_of(flow, flow.decision.reason, packets, burst.mark)
            return None
        return flow

    def _send(self, flow: EgressFlow, burst: Burst, effects: list[Effect], now: float) -> None:
        """Packets of one flow that is not dropped."""
        longest = burst.size if not burst.gso_size else _longest_segment(burst)
        if longest < 0:
            self._drop_of(flow, DropReason.MALFORMED, burst.packets, burst.mark)
            return
        fitting = burst if longest <= flow.inner_mtu else self._drop_too_big(flow, burst, effects, now)
        if fitting is None:
            return
        if flow.decision.verdict is Verdict.ENCRYPT:
            self._send_encrypted(flow, fitting, effects, now)
        elif flow.local_vm is not None:
            self._account(flow, fitting, flow.decision, Sent.LOCAL)
            self.counters.local += fitting.packets
            effects.append(Deliver(flow.local_vm, fitting))
        elif flow.tunnel is None:
            self._account(flow, fitting, flow.decision, Sent.GATEWAY)
            self.counters.gateway += fitting.packets
            effects.append(LeaveFabric(flow.vm, fitting))
        else:
            self._send_clear(flow, flow.decision, fitting, effects)

    def _decide(
        self, vm: Vm, row: int, mark: int, packets: int, effects: list[Effect], now: float
    ) -> EgressFlow | None:
        """The slow path: decide the flow whose key is in ``row``, and install it."""
        flow = self._slow_path.decide_egress(vm, unpack_key(self._keys[row]), self.generation, now)
        if flow is None:
            self.drop(DropReason.SPOOFED_SOURCE, packets, mark)
            return None
        if not self.flows.insert(self._keys, row, flow, now):
            self.drop(DropReason.FLOW_TABLE_FULL, packets, mark)
            return None
        if self.watcher is not None:
            self.watcher.decided_egress(unpack_key(self._keys[row]), flow, mark)
        if flow.tunnel is not None and flow.facts.tunnel_failed:
            # Traffic still wants the tunnel: the next attempt starts as soon as its pause is over.
            flow.tunnel.connect(now)
            self._after_tunnel(flow.tunnel, effects, now)
        return flow

    def _drop_too_big(
        self, flow: EgressFlow, burst: Burst, effects: list[Effect], now: float
    ) -> Burst | None:
        """Drop the rows that do not fit; only a shorter last one can.

        IPv4 without DF could be cut before it is sealed, but a cloud's card does not: "packets exceeding the MTU are
        dropped instead of fragmented", and fragments are dropped anyway (Azure, FAQ of virtual network encryption).
        """
        fits = int(burst.last <= flow.inner_mtu)
        forbidding = _forbid_fragments(burst)
        rows = forbidding[: burst.count - fits]
        without = int(np.count_nonzero(~rows)) if not burst.gso_size else burst.packets * int(not rows[0])
        if without:
            self._drop_of(flow, DropReason.TOO_BIG_NO_DF, without, burst.mark)
        if without < burst.packets - fits:
            self._drop_of(flow, DropReason.TOO_BIG, burst.packets - fits - without, burst.mark)
            if self.topology.profile.icmp_too_big:
                self._answer_too_big(flow, burst.row(int(np.argmax(rows))), effects, now, burst.mark)
        return burst.slice(burst.count - 1, burst.count) if fits else None

    def _answer_too_big(
        self, flow: EgressFlow, packet: NDArray[np.uint8], effects: list[Effect], now: float, mark: int
    ) -> None:
        """Tell a VM what fits, unless no error may be sent about this packet, or it has had enough of them."""
        answer = packet_too_big(packet.tobytes(), flow.inner_mtu)
        if answer is None:
            return
        # One version must not take the other's errors away.
        limit = self._error_limits.setdefault((flow.vm, answer[0] >> 4), ErrorLimit())
        if not limit.allows(now):
            self.counters.icmp_limited += 1
            return
        self.counters.answered += 1
        if self.watcher is not None:
            self.watcher.answered(flow.vm, flow.inner_mtu, mark, answer)
        effects.append(Deliver(flow.vm, Burst.from_packets([answer], headroom=VNET_HEADER)))

    def _wire(self, flow: EgressFlow, burst: Burst, headroom: int, tailroom: int) -> list[Burst]:
        """The rows behind their encapsulation, with room for a record around each."""
        assert flow.header is not None  # the way to another host
        room = ENCAPSULATION + headroom + tailroom
        if not burst.gso_size:
            memory = self._arena.take(burst.count * (burst.size + room))
            return [encapsulate(burst, flow.header, memory, headroom=headroom, tailroom=tailroom)]
        # Every row repeats the headers; a row is rounded up to the longest.
        memory = self._arena.take(burst.packets * (_longest_segment(burst) + room))
        wires = segment(
            burst.row(0),
            burst.gso_size,
            header=flow.header,
            headroom=headroom,
            tailroom=tailroom,
            buffer=memory,
            mark=burst.mark,
            tos=burst.tos,
            layout=burst.layout,
        )
        if not wires:
            self._drop_of(flow, DropReason.MALFORMED, burst.packets, burst.mark)
        return wires

    def _send_clear(self, flow: EgressFlow, decision: Decision, burst: Burst, effects: list[Effect]) -> None:
        assert flow.tunnel is not None  # the way to another host
        for wire in self._wire(flow, burst, 0, 0):
            self._account(flow, wire, decision, Sent.CLEAR)
            self.counters.clear += wire.count
            effects.append(Transmit(wire, VXLAN_PORT, (flow.tunnel.peer.address, VXLAN_PORT)))

    def _send_encrypted(self, flow: EgressFlow, burst: Burst, effects: list[Effect], now: float) -> None:
        tunnel = flow.tunnel
        assert tunnel is not None  # only a flow to another host is encrypted
        room = tunnel.room()
        if room < burst.packets:  # none yet, or its key is worn out before the next is there
            if burst.gso_size and tunnel.active is not None:
                # A key may hold fewer records than a super-packet has: its packets go one by one.
                parts = segment(
                    burst.row(0), burst.gso_size, mark=burst.mark, tos=burst.tos, layout=burst.layout
                )
                for part in parts:
                    self._send_encrypted(flow, part, effects, now)
                if not parts:
                    self._drop_of(flow, DropReason.MALFORMED, burst.packets, burst.mark)
                return
            if room and not burst.gso_size:
                self._send_encrypted(flow, burst.slice(0, room), effects, now)
                burst = burst.slice(room, burst.count)
            self._await_tunnel(flow, tunnel, burst, effects, now)
            return
        for wire in self._wire(flow, burst, RECORD_PREFIX, TAG):
            self._account(flow, wire, flow.decision, Sent.ENCRYPTED)
            association = tunnel.seal(wire, now)
            if self.watcher is not None:
                self.watcher.sealed(tunnel.peer.name, association.ends, wire)
            self.counters.encrypted += wire.count
            effects.append(
                Transmit(wire, association.local_port, (tunnel.peer.address, association.remote_port))
            )
        if tunnel.touched:
            self._after_tunnel(tunnel, effects, now)

    def _await_tunnel(
        self, flow: EgressFlow, tunnel: Tunnel, burst: Burst, effects: list[Effect], now: float
    ) -> None:
        """The tunnel is not up (yet): keep the packets, drop them, or send them in clear, as the profile says."""
        if tunnel.is_ending:
            self._drop_of(flow, DropReason.TUNNEL_DOWN, burst.packets, burst.mark)
            return
        choice = while_building(flow.facts, self.topology.profile)
        if choice is FirstPacket.QUEUE:
            kept = self._waiting[tunnel.peer.name].admit(flow.vm, burst)
            self.counters.waiting += kept
            if self.watcher is not None and kept:
                self.watcher.queued(tunnel.peer.name, kept, burst.mark)
            if kept < burst.packets:
                self._drop_of(flow, DropReason.QUEUE_FULL, burst.packets - kept, burst.mark)
        elif choice is FirstPacket.CLEAR:
            self._send_clear(flow, in_clear_meanwhile(flow.facts, self.topology.profile), burst, effects)
        else:
            self._drop_of(flow, DropReason.FIRST_PACKET, burst.packets, burst.mark)
        tunnel.connect(now, waiting=choice is FirstPacket.QUEUE)
        self._after_tunnel(tunnel, effects, now)

    def _account(self, flow: EgressFlow, burst: Burst, decision: Decision, sent: Sent) -> None:
        flow.packets += burst.packets
        flow.nbytes += burst.nbytes
        if self._on_packets is not None:
            self._on_packets(decision, sent, burst.packets, burst.mark)
        if self.watcher is not None:
            self.watcher.forwarded(flow, burst, decision, sent)

    def _drop_of(self, flow: EgressFlow, reason: DropReason, count: int, mark: int) -> None:
        """Count packets of a flow that go no further."""
        self.drop(reason, count, mark, flow.decision)
        if self._on_packets is not None:
            self._on_packets(flow.decision, reason, count, mark)


def _stretches(services: NDArray[np.uint8]) -> Iterable[tuple[int, int, int]]:
    """Rows that follow one another with one type of service: from where, to where, which."""
    edges = [0, *(np.flatnonzero(services[1:] != services[:-1]) + 1).tolist(), len(services)]
    return [(start, stop, int(services[start])) for start, stop in pairwise(edges)]


def _longest_segment(burst: Burst) -> int:
    """Bytes of the longest packet that a super-packet is cut into; negative when it cannot be cut."""
    layout = burst.layout or transport_layout(burst.buffer, burst.offset, burst.size)
    return min(burst.size, (layout & 0xFFFF) + burst.gso_size) if layout >= 0 else -1


def _forbid_fragments(burst: Burst) -> NDArray[np.bool_]:
    """Of each row, whether its sender forbids fragments: DF of IPv4; always so of IPv6. All are of one flow."""
    if burst.buffer[burst.offset] >> 4 != 4:
        return np.ones(burst.count, np.bool_)
    flags = burst.buffer[burst.offset + _FLAGS_AT :: burst.stride][: burst.count]
    forbidding: NDArray[np.bool_] = (flags & (DONT_FRAGMENT >> 8)) != 0
    return forbidding
