"""From a VM to the fabric.

1. The kernels take the burst (:mod:`dtls_emu.nic.offload`): inspect it, find its flow, put VXLAN in front of each row,
   cutting a super-packet into rows, seal in place, count. That is all there is to packets of a known flow.
2. What they leave is an exception, by the verdict that they give. A burst of several flows is taken apart, flow by flow.
   A flow that is not known is decided by the slow path and installed, and the kernels take the burst again.
3. Drop, deliver on this host, or hand to the gateway, as decided.
4. What does not fit the path is dropped, and answered by ICMP.
5. Without a tunnel packets wait for it; or a worn key seals its last ones.

The functions below stand in this order.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.events import Direction
from dtls_emu.nic.counters import EgressCounters, Sent
from dtls_emu.nic.effects import VNET_HEADER, Deliver, LeaveFabric, Transmit
from dtls_emu.nic.flow_table import VM_FULL
from dtls_emu.nic.offload.entries import count_sent, judge_groups, send_burst
from dtls_emu.nic.offload.verdicts import Out
from dtls_emu.policy import in_clear_meanwhile, while_building
from dtls_emu.vocabulary import DropReason, FirstPacket, Verdict
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.grouping import gather, group_rows
from dtls_emu.wire.headers import DONT_FRAGMENT
from dtls_emu.wire.icmp import ErrorLimit, packet_too_big
from dtls_emu.wire.inspect import PacketClass, stated_length, unpack_key
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_OVERHEAD, RECORD_PREFIX, TAG
from dtls_emu.wire.segment import segment
from dtls_emu.wire.vxlan import VXLAN_PORT, encapsulate


if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dtls_emu.nic.arena import Arena
    from dtls_emu.nic.counters import PacketObserver
    from dtls_emu.nic.effects import Effect
    from dtls_emu.nic.flows import EgressFlow
    from dtls_emu.nic.offload.datapath import Datapath
    from dtls_emu.nic.slow_path import SlowPath
    from dtls_emu.nic.tunnels import Tunnels
    from dtls_emu.nic.view import CardView
    from dtls_emu.nic.watching import Watcher
    from dtls_emu.policy import Decision
    from dtls_emu.tunnel.tunnel import Tunnel


__all__ = ["Egress"]

# Compared with what kernels return, which are plain numbers: an enumeration's members are three times as slow.
_SEND: Final = int(Out.SEND)
_MISS: Final = int(Out.MISS)
_DROP: Final = int(Out.DROP)
_MALFORMED: Final = int(Out.MALFORMED)
_TOO_BIG: Final = int(Out.TOO_BIG)
_NO_ROOM: Final = int(Out.NO_ROOM)

_SEVERAL: Final = frozenset(map(int, (Out.MIXED, Out.PADDED, Out.TOO_MANY_ROWS)))
"""Bursts that are forwarded in parts: each part is told of by itself."""

_PADDED: Final = int(PacketClass.PADDED)
_FLAGS_AT: Final = 6
"""Where an IPv4 header has its flags (RFC 791 3.1)."""


class Egress:
    """The way out of one card.

    Fields:
        counters: of this direction.
        flows: the flow table of this direction.
        tunnels: of the card; set once, by the card.
        watcher: told what becomes of packets, or None.
    """

    def __init__(
        self,
        view: CardView,
        datapath: Datapath,
        slow_path: SlowPath,
        arena: Arena,
        counters: EgressCounters,
        on_drop: Callable[[DropReason, int, int], None],
        on_packets: PacketObserver | None = None,
    ) -> None:
        """
        Args:
            view: the lab.
            datapath: what kernels work on.
            slow_path: decides.
            arena: memory of the wire bursts.
            counters: see there.
            on_drop: called with reason, count and mark, after counting.
            on_packets: told what became of packets whose flow was decided.
        """
        self.counters = counters
        self.flows = datapath.out
        self.tunnels: Tunnels
        self._view = view
        self._datapath = datapath
        self._paths = datapath.paths
        self._slow_path = slow_path
        self._arena = arena
        self._on_drop = on_drop
        self._on_packets = on_packets
        self.watcher: Watcher | None = None
        self._verdicts = np.zeros(MAX_ROWS, np.int64)
        self._numbers = np.zeros(MAX_ROWS, np.int64)
        self._error_limits: dict[tuple[str, int], ErrorLimit] = {}

    def forward(self, vm: str, burst: Burst, effects: list[Effect], now: float) -> None:
        """Send a VM's packets on their way. At most ``MAX_ROWS`` rows; they are not changed."""
        arena = self._arena
        wire, at = arena.buffer, arena.used
        verdict, number, path, rows, size, last, tos, by_call = self._carry(vm, burst, wire, at, now)
        if self.watcher is not None:
            self._tell_flow(self.watcher, verdict, number, vm, burst)
        if verdict == _MISS:
            if not self._decide(vm, burst, effects, now):
                return
            verdict, number, path, rows, size, last, tos, by_call = self._carry(vm, burst, wire, at, now)
        if verdict == _NO_ROOM:
            wire, at = np.empty(rows * size, np.uint8), 0
            verdict, number, path, rows, size, last, tos, by_call = self._carry(vm, burst, wire, at, now)
        if verdict != _SEND:
            self._take_exception(Out(verdict), vm, number, burst, effects, now)
            return
        end = at + rows * size
        if wire is arena.buffer:
            arena.used = end
        paths = self._paths
        if self._on_packets is not None:
            sent = Sent.ENCRYPTED if paths.is_sealed(path) else Sent.CLEAR
            self._on_packets(self.flows[number].decision, sent, rows, burst.mark)
        # Of what is yet to be sealed, the packets; of the rest, datagrams.
        frame, overhead = (RECORD_PREFIX, RECORD_OVERHEAD) if by_call else (0, 0)
        out = Burst(
            wire[at:end],
            stride=size,
            offset=frame,
            size=size - overhead,
            count=rows,
            last=last - overhead,
            mark=burst.mark,
            tos=tos,
        )
        effects.append(Transmit(out, paths.local_port(path), paths.destination(path)))
        if by_call:
            tunnel = self.tunnels[paths.peer(path).name]
            _, outcome = tunnel.seal(out, now)
            if self.watcher is not None:
                self._tell_sent(self.watcher, number, path, out)
            self.tunnels.after(tunnel, outcome, effects, now)
        elif self.watcher is not None:
            self._tell_sent(self.watcher, number, path, out)

    def drop(self, reason: DropReason, count: int, mark: int, decision: Decision | None = None) -> None:
        """Count packets that go no further."""
        self.counters.dropped[reason] += count
        self._on_drop(reason, count, mark)
        if self.watcher is not None:
            self.watcher.dropped(reason, count, mark, decision)

    def _tell_flow(self, watcher: Watcher, verdict: int, number: int, vm: str, burst: Burst) -> None:
        """Tell which flow a burst belongs to that kernels have looked at, and whether the table had it."""
        watcher.sending(vm, burst)
        if verdict in _SEVERAL or (verdict == _MALFORMED and number < 0):
            return
        keys = self._datapath.rows.keys
        key = unpack_key(keys[0])
        # A last row that fits, of a burst that does not, is forwarded, and told of, by itself.
        fits = verdict == _TOO_BIG and burst.last <= self.flows[number].inner_mtu
        watcher.classified(Direction.EGRESS, vm, key, burst.packets - fits, burst.mark)
        if verdict == _MISS:
            is_stale = self.flows.find(keys, 0) is not None
            watcher.missed(Direction.EGRESS, vm, key, burst.packets, burst.mark, stale=is_stale)

    def _tell_sent(self, watcher: Watcher, number: int, path: int, out: Burst) -> None:
        """Tell of packets that kernels have sent by a path."""
        flow, paths = self.flows[number], self._paths
        is_sealed = paths.is_sealed(path)
        watcher.forwarded(flow, out, flow.decision, Sent.ENCRYPTED if is_sealed else Sent.CLEAR)
        if is_sealed:
            ends = paths.local_port(path), paths.destination(path)[1]
            watcher.sealed(paths.peer(path).name, ends, out)

    def _carry(
        self, vm: str, burst: Burst, wire: NDArray[np.uint8], at: int, now: float
    ) -> tuple[int, int, int, int, int, int, int, bool]:
        """Let kernels take a burst; see :func:`~dtls_emu.nic.offload.entries.send_burst`."""
        return send_burst(
            self._datapath.addresses,
            self._datapath.numbers[vm],
            self._view.vms[vm][1],
            burst.buffer,
            burst.stride,
            burst.offset,
            burst.size,
            burst.count,
            burst.last,
            burst.gso_size,
            burst.layout,
            wire,
            at,
            now,
        )

    # --------------------------------------------------------------------------------------- exceptions

    def _take_exception(
        self, verdict: Out, vm: str, number: int, burst: Burst, effects: list[Effect], now: float
    ) -> None:
        """Do what kernels have left; its flow's number is meant where they have found it."""
        if verdict is Out.MIXED:
            self._forward_mixed(vm, burst, effects, now)
        elif verdict is Out.PADDED:
            self._forward_padded(vm, burst, [0, burst.count], effects, now)
        elif verdict is Out.FOREIGN_VM:
            self.drop(DropReason.SPOOFED_SOURCE, burst.packets, burst.mark)
        elif number < 0:
            self.drop(DropReason.MALFORMED, burst.packets, burst.mark)
        else:
            self.flows.records["seen"][number] = now
            self._take_known(verdict, number, burst, effects, now)

    def _take_known(self, verdict: Out, number: int, burst: Burst, effects: list[Effect], now: float) -> None:
        """Packets of a known flow that are not simply sent to another host."""
        flow = self.flows[number]
        if verdict is Out.DROP:
            reason = flow.decision.reason or DropReason.FRAGMENT
            self._drop_known(number, reason, burst.packets, burst.mark)
        elif verdict is Out.MALFORMED:
            self._drop_known(number, DropReason.MALFORMED, burst.packets, burst.mark)
        elif verdict is Out.TOO_BIG:
            fitting = self._drop_too_big(number, burst, effects, now)
            if fitting is not None:
                self.forward(flow.vm, fitting, effects, now)
        elif verdict is Out.LOCAL:
            assert flow.local_vm is not None
            self._account(number, flow.decision, Sent.LOCAL, burst, burst.nbytes, now)
            self.counters.local += burst.packets
            effects.append(Deliver(flow.local_vm, burst))
        elif verdict is Out.GATEWAY:
            self._account(number, flow.decision, Sent.GATEWAY, burst, burst.nbytes, now)
            self.counters.gateway += burst.packets
            effects.append(LeaveFabric(flow.vm, burst))
        elif verdict is Out.TOO_MANY_ROWS:
            for part in self._cut(number, burst):
                self.forward(flow.vm, part, effects, now)
        elif verdict is not Out.NO_PATH:
            raise AssertionError(f"kernels have left {verdict!r} of a flow that is decided")
        else:
            kept, added = self._view.topology.profile.outer_tos
            burst.tos = self._datapath.rows.services.item(0) & kept | added
            self._send_worn(number, burst, effects, now)

    def _forward_mixed(self, vm: str, burst: Burst, effects: list[Effect], now: float) -> None:
        """Packets of several flows, classes or types of service: each by itself, and in order of the first ones."""
        seen = self._datapath.rows
        # As bytes: NumPy takes microseconds to look at so few of them.
        if _PADDED in seen.classes[: burst.count].tobytes():
            boundaries = [0, *_edges(seen.classes[: burst.count]), burst.count]
            self._forward_padded(vm, burst, boundaries, effects, now)
            return
        groups = np.empty(burst.count, np.uint8)
        heads, sizes = np.empty(burst.count, np.int64), np.empty(burst.count, np.int64)
        count = group_rows(seen.keys, seen.classes, burst.count, groups, heads, sizes)
        verdicts, numbers = self._verdicts, self._numbers
        judge_groups(
            self._datapath.addresses, self._datapath.numbers[vm], heads, count, now, verdicts, numbers
        )
        services = seen.services[: burst.count].copy()
        all_services = services.tobytes()
        is_uniform = all_services.count(all_services[0]) == burst.count
        judged = list(
            zip(sizes[:count].tolist(), verdicts[:count].tolist(), numbers[:count].tolist(), strict=True)
        )
        # Flows that are dropped, before another is decided: a number is good until then.
        flows = [self.flows[number] if verdict == _DROP else None for _, verdict, number in judged]
        for rows, verdict, number in judged:
            if verdict == _DROP:
                self.flows.count_dropped(number, rows)
        keys = seen.keys[heads[:count]] if self.watcher is not None else None
        for group, (rows, verdict, _) in enumerate(judged):
            flow = flows[group]
            if self.watcher is not None and (flow is not None or verdict == _MALFORMED):
                self.watcher.sending(
                    vm, gather(burst, groups, group, rows, np.empty(rows * burst.size, np.uint8))
                )
                if keys is not None and flow is not None:
                    key = unpack_key(keys[group])
                    self.watcher.classified(Direction.EGRESS, vm, key, rows, burst.mark)
            if flow is not None:
                self._drop_of(flow, flow.decision.reason or DropReason.FRAGMENT, rows, burst.mark)
            elif verdict == _MALFORMED:
                self.drop(DropReason.MALFORMED, rows, burst.mark)
            else:
                together = gather(burst, groups, group, rows, self._arena.take(rows * burst.size))
                edges = [] if is_uniform else _edges(services[groups == group])
                for start, stop in pairwise([0, *edges, rows]):
                    part = together.slice(start, stop) if edges else together
                    self.forward(vm, part, effects, now)

    def _forward_padded(
        self, vm: str, burst: Burst, boundaries: list[int], effects: list[Effect], now: float
    ) -> None:
        """Send packets of which some have bytes behind their end: without them, one by one and in order."""
        if burst.gso_size:
            self.drop(DropReason.MALFORMED, burst.packets, burst.mark)
            return
        is_padded = (self._datapath.rows.classes[: burst.count] == _PADDED).tolist()
        for start, stop in pairwise(boundaries):
            if not is_padded[start]:
                self.forward(vm, burst.slice(start, stop), effects, now)
                continue
            for row in range(start, stop):
                self.forward(vm, burst.cut(row, stated_length(burst.row(row))), effects, now)

    def _decide(self, vm: str, burst: Burst, effects: list[Effect], now: float) -> bool:
        """The slow path: decide the flow of a burst that was inspected, and install it; False when it is dropped."""
        machine, _ = self._view.vms[vm]
        words = self._datapath.rows.keys[0]
        flow = self._slow_path.egress(machine, words, now)
        if flow is not None and flow.peer is not None and flow.facts.tunnel_failed:
            # Traffic still wants the tunnel: the next attempt starts as soon as its pause is over.
            generation, tunnel = self._view.generation, self.tunnels[flow.peer.name]
            self.tunnels.after(tunnel, tunnel.connect(now), effects, now)
            if self._view.generation != generation:  # that has changed what the decision rests on
                flow = self._slow_path.egress(machine, words, now)
        if flow is None:
            self.drop(DropReason.SPOOFED_SOURCE, burst.packets, burst.mark)
            return False
        number = self._datapath.install_out(flow, self._view.generation, now, burst.packets)
        if number < 0:
            reason = DropReason.FLOW_LIMIT if number == VM_FULL else DropReason.FLOW_TABLE_FULL
            self.drop(reason, burst.packets, burst.mark)
            return False
        if self.watcher is not None:
            live = self.flows.live(self._datapath.rows.keys, 0)
            self.watcher.decided_egress(unpack_key(words), flow, live, burst.mark)
        return True

    def _drop_too_big(self, number: int, burst: Burst, effects: list[Effect], now: float) -> Burst | None:
        """Drop the rows that do not fit; only a shorter last one can.

        IPv4 without DF could be cut before it is sealed, but a cloud's card does not: "packets exceeding the MTU are
        dropped instead of fragmented", and fragments are dropped anyway (Azure, FAQ of virtual network encryption).
        """
        flow = self.flows[number]
        fits = int(burst.last <= flow.inner_mtu)
        forbidding = _forbid_fragments(burst)
        rows = forbidding[: burst.count - fits]
        without = int(np.count_nonzero(~rows)) if not burst.gso_size else burst.packets * int(not rows[0])
        if without:
            self._drop_known(number, DropReason.TOO_BIG_NO_DF, without, burst.mark)
        if without < burst.packets - fits:
            self._drop_known(number, DropReason.TOO_BIG, burst.packets - fits - without, burst.mark)
            if self._view.topology.profile.icmp_too_big:
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

    # --------------------------------------------------------------------------------------- without a path

    def _send_worn(self, number: int, burst: Burst, effects: list[Effect], now: float) -> None:
        """Packets for a tunnel that is not steady: it has no key yet, or one that is worn; or it may be dead."""
        flow = self.flows[number]
        assert flow.peer is not None  # all others have a path
        if flow.decision.verdict is Verdict.CLEAR:
            self._send_clear(number, flow.decision, burst, effects, now)
            return
        tunnel = self.tunnels[flow.peer.name]
        room = tunnel.room()
        if room < burst.packets:  # none yet, or its key is worn out before the next is there
            if burst.gso_size and tunnel.active is not None:
                # A key may hold fewer records than a super-packet has: its packets go one by one.
                for part in self._cut(number, burst):
                    self._send_worn(number, part, effects, now)
                return
            if room and not burst.gso_size:
                self._send_worn(number, burst.slice(0, room), effects, now)
                burst = burst.slice(room, burst.count)
            self._await_tunnel(number, tunnel, burst, effects, now)
            return
        caused = []
        for wire in self._wire(number, burst, RECORD_PREFIX, TAG):
            nbytes = wire.nbytes - wire.count * ENCAPSULATION
            self._account(number, flow.decision, Sent.ENCRYPTED, wire, nbytes, now)
            association, outcome = tunnel.seal(wire, now)
            if self.watcher is not None:
                self.watcher.sealed(tunnel.peer.name, association.ends, wire)
            self.counters.encrypted += wire.count
            effects.append(
                Transmit(wire, association.local_port, (tunnel.peer.address, association.remote_port))
            )
            if not outcome.is_quiet:
                caused.append(outcome)
        for outcome in caused:
            self.tunnels.after(tunnel, outcome, effects, now)

    def _send_clear(
        self, number: int, decision: Decision, burst: Burst, effects: list[Effect], now: float
    ) -> None:
        flow = self.flows[number]
        assert flow.peer is not None  # what is not encapsulated has nowhere to go
        for wire in self._wire(number, burst, 0, 0):
            nbytes = wire.nbytes - wire.count * ENCAPSULATION
            self._account(number, decision, Sent.CLEAR, wire, nbytes, now)
            self.counters.clear += wire.count
            effects.append(Transmit(wire, VXLAN_PORT, (flow.peer.underlay, VXLAN_PORT)))

    def _await_tunnel(
        self, number: int, tunnel: Tunnel, burst: Burst, effects: list[Effect], now: float
    ) -> None:
        """The tunnel is not up (yet): keep the packets, drop them, or send them in clear, as the profile says."""
        flow, profile = self.flows[number], self._view.topology.profile
        if tunnel.is_ending:
            self._drop_known(number, DropReason.TUNNEL_DOWN, burst.packets, burst.mark)
            return
        choice = while_building(flow.facts, profile)
        if choice is FirstPacket.QUEUE:
            kept = self.tunnels.waiting(tunnel.peer.name).admit(flow.vm, burst)
            self.counters.waiting += kept
            if self.watcher is not None and kept:
                self.watcher.queued(tunnel.peer.name, kept, burst.mark)
            if kept < burst.packets:
                self._drop_known(number, DropReason.QUEUE_FULL, burst.packets - kept, burst.mark)
        elif choice is FirstPacket.CLEAR:
            self._send_clear(number, in_clear_meanwhile(flow.facts, profile), burst, effects, now)
        else:
            self._drop_known(number, DropReason.FIRST_PACKET, burst.packets, burst.mark)
        outcome = tunnel.connect(now, waiting=choice is FirstPacket.QUEUE)
        self.tunnels.after(tunnel, outcome, effects, now)

    def _wire(self, number: int, burst: Burst, headroom: int, tailroom: int) -> list[Burst]:
        """The rows behind their encapsulation, with room for a record around each."""
        flow = self.flows[number]
        assert flow.header is not None  # it goes to another host
        if not burst.gso_size:
            memory = self._arena.take(burst.count * (burst.size + ENCAPSULATION + headroom + tailroom))
            return [encapsulate(burst, flow.header, memory, headroom=headroom, tailroom=tailroom)]
        return self._cut(number, burst, header=flow.header, headroom=headroom, tailroom=tailroom)

    def _cut(
        self,
        number: int,
        burst: Burst,
        *,
        header: NDArray[np.uint8] | None = None,
        headroom: int = 0,
        tailroom: int = 0,
    ) -> list[Burst]:
        """A super-packet as bursts of packets; none, and it is dropped, when it cannot be cut."""
        parts = segment(
            burst.row(0),
            burst.gso_size,
            header=header,
            headroom=headroom,
            tailroom=tailroom,
            mark=burst.mark,
            tos=burst.tos,
            layout=burst.layout,
        )
        if not parts:
            self._drop_known(number, DropReason.MALFORMED, burst.packets, burst.mark)
        return parts

    # --------------------------------------------------------------------------------------- counters

    def _account(
        self, number: int, decision: Decision, sent: Sent, burst: Burst, nbytes: int, now: float
    ) -> None:
        """Count packets of a flow that are sent on; ``nbytes`` are those of the inner packets."""
        count_sent(self._datapath.addresses, number, burst.packets, nbytes, now)
        if self._on_packets is not None:
            self._on_packets(decision, sent, burst.packets, burst.mark)
        if self.watcher is not None:
            self.watcher.forwarded(self.flows[number], burst, decision, sent)

    def _drop_known(self, number: int, reason: DropReason, count: int, mark: int) -> None:
        """Count packets of a flow, by its number, that have found its entry and go no further."""
        self.flows.count_dropped(number, count)
        self._drop_of(self.flows[number], reason, count, mark)

    def _drop_of(self, flow: EgressFlow, reason: DropReason, count: int, mark: int) -> None:
        """Count packets of a flow that go no further."""
        self.drop(reason, count, mark, flow.decision)
        if self._on_packets is not None:
            self._on_packets(flow.decision, reason, count, mark)


def _edges(values: NDArray[np.uint8]) -> list[int]:
    """The rows whose value is not that of the row before."""
    return (np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()


def _forbid_fragments(burst: Burst) -> NDArray[np.bool_]:
    """Of each row, whether its sender forbids fragments: DF of IPv4; always so of IPv6. All are of one flow."""
    if burst.buffer[burst.offset] >> 4 != 4:
        return np.ones(burst.count, np.bool_)
    flags = burst.buffer[burst.offset + _FLAGS_AT :: burst.stride][: burst.count]
    forbidding: NDArray[np.bool_] = (flags & (DONT_FRAGMENT >> 8)) != 0
    return forbidding
