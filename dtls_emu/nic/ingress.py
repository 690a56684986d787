"""From the fabric to a VM.

1. By port and sender: VXLAN in clear, or a tunnel's datagrams. Anybody else is an unknown peer.
2. The tunnel checks the replay window, opens in place, and keeps handshakes and alerts to itself.
3. Inspect every opened row: VXLAN, Ethernet, the packet's own headers, flow key.
4. Flow table; on a miss the slow path decides who may send this flow, from which host, and in clear or not.
5. What came in clear on a flow that is to be encrypted, or through the wrong host's tunnel, goes no further.
6. Congestion that the fabric has marked is marked on the packet inside, or the packet dropped (RFC 6040 4.2).
7. Deliver; joined into super-packets (GRO) for a VM whose device takes them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.nic.counters import IngressCounters
from dtls_emu.nic.effects import VNET_HEADER, Deliver
from dtls_emu.nic.egress import VXLAN_PORT
from dtls_emu.nic.flow_table import FlowTable
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.ecn import ECN
from dtls_emu.wire.ecn_kernels import NOT_CAPABLE, combine, mark_rows
from dtls_emu.wire.inspect import KEY_WORDS, PacketClass, inspect_frames, stated_length, unpack_key
from dtls_emu.wire.merge import merge
from dtls_emu.wire.overhead import ENCAPSULATION


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from dtls_emu.lab.topology import Topology
    from dtls_emu.nic.arena import Arena
    from dtls_emu.nic.effects import Effect, UnderlayAddress
    from dtls_emu.nic.flows import IngressFlow
    from dtls_emu.nic.slow_path import SlowPath
    from dtls_emu.nic.watching import Watcher
    from dtls_emu.tunnel.tunnel import Tunnel


__all__ = ["Ingress"]

_MALFORMED: Final = int(PacketClass.MALFORMED)
_PADDED: Final = int(PacketClass.PADDED)
_NONE: Final = int(PacketClass.NONE)


class Ingress:
    """The way in of one card.

    Fields:
        counters: the books.
        flows: the flow table of this direction.
        watcher: told what becomes of records and packets, or None.
        topology, generation: as in :class:`dtls_emu.nic.egress.Egress`.
    """

    def __init__(
        self,
        topology: Topology,
        slow_path: SlowPath,
        tunnels: Mapping[str, Tunnel],
        arena: Arena,
        merges_for: AbstractSet[str],
        on_drop: Callable[[DropReason, int, int], None],
    ) -> None:
        """
        Args:
            topology: the lab.
            slow_path: decides.
            tunnels: by name of the peer host.
            arena: memory of super-packets.
            merges_for: names of VMs whose device takes super-packets.
            on_drop: called with reason, count and mark, after counting.
        """
        self.counters = IngressCounters()
        self.flows: FlowTable[IngressFlow] = FlowTable(topology.profile.flow_table)
        self.generation = 0
        self.topology = topology
        self._slow_path = slow_path
        self._tunnels = tunnels
        self._arena = arena
        self._merges_for = merges_for
        self._on_drop = on_drop
        self.watcher: Watcher | None = None
        self._keys = np.zeros((MAX_ROWS, KEY_WORDS), np.uint64)
        self._classes = np.zeros(MAX_ROWS, np.uint8)
        self._runs = np.zeros(MAX_ROWS + 1, np.int64)
        self._services = np.zeros(MAX_ROWS, np.uint8)
        self._all_ok = np.zeros(MAX_ROWS, np.uint8)
        self._entered: dict[str, tuple[int, int]] = {}

    def receive(
        self, burst: Burst, source: UnderlayAddress, local_port: int, effects: list[Effect], now: float
    ) -> Tunnel | None:
        """Take datagrams; returns the tunnel that was touched, which may have something to send."""
        self.counters.received += burst.count
        host = self.topology.host_by_underlay(source[0])
        tunnel = None if host is None else self._tunnels.get(host.name)
        if tunnel is None:
            self.drop(DropReason.UNKNOWN_PEER, burst.count, burst.mark)
            return None
        if local_port == VXLAN_PORT:
            self._deliver(burst, self._all_ok, tunnel.peer.name, effects, now, in_clear=True)
            return None
        if self.watcher is not None:
            self.watcher.flight_received(tunnel.peer.name, (local_port, source[1]), burst)
        for opened, status in tunnel.receive(burst, local_port, source[1], now):
            opened.tos = burst.tos
            if self.watcher is not None:
                self.watcher.opened(tunnel.peer.name, (local_port, source[1]), opened, status)
            self._deliver(opened, status, tunnel.peer.name, effects, now, in_clear=False)
        return tunnel

    def receive_opened(
        self,
        tunnel: Tunnel,
        burst: Burst,
        status: NDArray[np.uint8],
        ok: int,
        effects: list[Effect],
        now: float,
    ) -> None:
        """Take datagrams that the fast path has opened; `ok` of them verified."""
        self.counters.received += burst.count
        for opened, verdicts in tunnel.receive_opened(burst, status, ok, now):
            self._deliver(opened, verdicts, tunnel.peer.name, effects, now, in_clear=False)

    def is_behind(self, tunnel: Tunnel) -> bool:
        """Whether a tunnel has counted something that is not entered yet."""
        return self._entered.get(tunnel.peer.name) != (tunnel.control, tunnel.extra_records)

    def enter(self, tunnel: Tunnel) -> None:
        """Enter what a tunnel has counted since the last time, on whatever occasion."""
        control, extra = self._entered.get(tunnel.peer.name, (0, 0))
        self.counters.control += tunnel.control - control
        self.counters.received += tunnel.extra_records - extra
        self._entered[tunnel.peer.name] = tunnel.control, tunnel.extra_records

    def drop(self, reason: DropReason, count: int, mark: int) -> None:
        """Count records or datagrams that go no further."""
        self.counters.dropped[reason] += count
        self._on_drop(reason, count, mark)
        if self.watcher is not None:
            self.watcher.refused(reason, count, mark)

    def _deliver(
        self,
        burst: Burst,
        status: NDArray[np.uint8],
        sender: str,
        effects: list[Effect],
        now: float,
        *,
        in_clear: bool,
    ) -> None:
        """Hand VXLAN frames to their VMs; rows whose status is not OK were dropped before."""
        runs = inspect_frames(
            burst.buffer,
            burst.stride,
            burst.offset,
            burst.size,
            burst.count,
            burst.last,
            status,
            self._keys,
            self._classes,
            self._runs,
            self._services,
        )
        boundaries = (0, burst.count) if runs == 1 else self._runs[: runs + 1].tolist()
        for start, stop in pairwise(boundaries):
            seen = int(self._classes[start])
            if seen == _NONE:
                continue
            run = burst if runs == 1 else burst.slice(start, stop)
            if seen == _MALFORMED:
                self.drop(DropReason.MALFORMED, run.count, run.mark)
                continue
            flow = self.flows.find(self._keys, start)
            if self.watcher is not None:
                is_valid = flow is not None and flow.generation == self.generation
                key = unpack_key(self._keys[start])
                self.watcher.classified_ingress(key, run, is_valid=is_valid, is_known=flow is not None)
            if flow is None or flow.generation != self.generation:
                flow = self._slow_path.decide_ingress(unpack_key(self._keys[start]), self.generation)
                # A full table only costs the decision again: what came this far is authentic or in clear.
                is_kept = self.flows.insert(self._keys, start, flow, now)
                if self.watcher is not None and is_kept:
                    self.watcher.decided_ingress(unpack_key(self._keys[start]), flow, run.mark)
            refused = flow.refused
            if refused is None and flow.source_host != sender:
                refused = DropReason.FOREIGN_SOURCE
            if refused is None and in_clear and not flow.accepts_clear:
                refused = DropReason.CLEAR_NOT_ACCEPTED
            if refused is not None:
                self.drop(refused, run.count, run.mark)
                continue
            run.offset += ENCAPSULATION
            run.size -= ENCAPSULATION
            run.last -= ENCAPSULATION
            if run.tos & ECN and not self._mark(run, int(self._services[start])):
                continue
            flow.last_seen = now
            flow.packets += run.count
            self.counters.delivered += run.count
            for part in (run,) if seen != _PADDED else _without_padding(run):
                if self.watcher is not None:
                    self.watcher.delivered(flow.vm, part)
                nbytes = part.nbytes
                flow.nbytes += nbytes
                self.counters.delivered_bytes += nbytes
                if part.count > 1 and flow.vm in self._merges_for:
                    self._merge(flow.vm, part, effects)
                else:
                    effects.append(Deliver(flow.vm, part))

    def _mark(self, run: Burst, inner: int) -> bool:
        """Have packets of this type of service say what happened outside; False when they cannot."""
        marked = combine(inner, run.tos)
        if marked == NOT_CAPABLE:
            self.drop(DropReason.CE_NOT_CAPABLE, run.count, run.mark)
            return False
        if marked != inner & ECN:
            mark_rows(run.buffer, run.stride, run.offset, run.count, marked)
        return True

    def _merge(self, vm: str, run: Burst, effects: list[Effect]) -> None:
        memory = self._arena.take(run.nbytes + run.count * VNET_HEADER)
        for group in merge(run, memory, headroom=VNET_HEADER):
            if group.packet is None:
                joined = run.slice(group.start_row, group.start_row + group.row_count)
            else:
                joined = Burst.super_packet(
                    memory,
                    offset=group.position,
                    length=len(group.packet),
                    gso_size=group.gso_size,
                    layout=group.transport << 16 | group.payload,
                    packets=group.row_count,
                    mark=run.mark,
                )
            effects.append(Deliver(vm, joined))


def _without_padding(run: Burst) -> list[Burst]:
    """Each packet by itself, cut off where it says that it ends."""
    return [run.cut(row, stated_length(run.row(row))) for row in range(run.count)]
