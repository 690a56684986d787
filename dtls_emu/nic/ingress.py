"""From the fabric to a VM.

1. By port and sender: VXLAN in clear, or a tunnel's datagrams. Anybody else is an unknown peer.
2. The kernels take datagrams of a steady tunnel, and what is in clear (:mod:`dtls_emu.nic.offload`): check the replay
   window, open in place, find the flow of each row, mark congestion, count. Otherwise the tunnel takes them, and keeps
   handshakes and alerts to itself.
3. Of what is open, kernels find the flows; what they leave is an exception. A flow that is not known is decided by the
   slow path: who may send it, from which host, and in clear or not. What comes in clear on a flow that is to be
   encrypted, or through the wrong host's tunnel, goes no further; nor does what has met congestion and cannot say so
   (RFC 6040 4.2).
4. Deliver; joined into super-packets (GRO) for a VM whose device takes them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.nic.effects import VNET_HEADER, Deliver
from dtls_emu.nic.offload.entries import deliver_burst, deliver_run, judge, receive_burst
from dtls_emu.nic.offload.paths import path_to
from dtls_emu.nic.offload.state import NOT_OPENED
from dtls_emu.nic.offload.verdicts import In
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.inspect import PacketClass, stated_length, unpack_key
from dtls_emu.wire.merge import merge
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_OVERHEAD, RECORD_PREFIX
from dtls_emu.wire.vxlan import VXLAN_PORT


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from dtls_emu.lab.topology import Host
    from dtls_emu.nic.arena import Arena
    from dtls_emu.nic.counters import IngressCounters
    from dtls_emu.nic.effects import Effect, UnderlayAddress
    from dtls_emu.nic.offload.datapath import Datapath
    from dtls_emu.nic.slow_path import SlowPath
    from dtls_emu.nic.tunnels import Tunnels
    from dtls_emu.nic.view import CardView
    from dtls_emu.nic.watching import Watcher


__all__ = ["Ingress"]

_MISS: Final = int(In.MISS)
_WITHOUT_A_FLOW: Final = frozenset(map(int, (In.NONE, In.MALFORMED)))
_PADDED: Final = int(PacketClass.PADDED)

_REASONS: Final = {
    In.MALFORMED: DropReason.MALFORMED,
    In.FOREIGN_SOURCE: DropReason.FOREIGN_SOURCE,
    In.CLEAR_NOT_ACCEPTED: DropReason.CLEAR_NOT_ACCEPTED,
    In.CE_NOT_CAPABLE: DropReason.CE_NOT_CAPABLE,
}


class Ingress:
    """The way in of one card.

    Fields:
        counters: of this direction.
        flows: the flow table of this direction.
        tunnels: of the card; set once, by the card.
        watcher: told what becomes of records and packets, or None.
    """

    def __init__(
        self,
        view: CardView,
        datapath: Datapath,
        slow_path: SlowPath,
        arena: Arena,
        counters: IngressCounters,
        merges_for: AbstractSet[str],
        on_drop: Callable[[DropReason, int, int], None],
    ) -> None:
        """
        Args:
            view: the lab.
            datapath: what kernels work on.
            slow_path: decides.
            arena: memory of super-packets.
            counters: see there.
            merges_for: names of VMs whose device takes super-packets.
            on_drop: called with reason, count and mark, after counting.
        """
        self.counters = counters
        self.flows = datapath.into
        self.tunnels: Tunnels
        self._view = view
        self._datapath = datapath
        self._paths = datapath.paths
        self._slow_path = slow_path
        self._arena = arena
        self._merges_for = merges_for
        self._on_drop = on_drop
        self.watcher: Watcher | None = None
        self._all_ok = np.zeros(MAX_ROWS, np.uint8)

    def receive(
        self, burst: Burst, source: UnderlayAddress, local_port: int, effects: list[Effect], now: float
    ) -> None:
        """Take datagrams of one sender, at most ``MAX_ROWS``."""
        path = self._paths.arrival(local_port, source)
        # Compiled code writes to an address; it would not notice that the memory may not be changed.
        if path >= 0 and burst.buffer.flags.writeable and self._carry(path, burst, effects, now):
            return
        self.counters.received += burst.count
        host = self._view.topology.host_by_underlay(source[0])
        if host is None or host.name == self._view.host:
            self.drop(DropReason.UNKNOWN_PEER, burst.count, burst.mark)
        elif local_port == VXLAN_PORT:
            self._deliver(burst, self._all_ok, host, effects, now, in_clear=True)
        else:
            tunnel = self.tunnels[host.name]
            outcome = self.tunnels.refuse(tunnel.receive(burst, local_port, source[1], now))
            for opened, status in outcome.opened:
                opened.tos = burst.tos
                if self.watcher is not None:
                    self.watcher.opened(host.name, (local_port, source[1]), opened, status)
                self._deliver(opened, status, host, effects, now, in_clear=False)
            self.tunnels.after(tunnel, outcome, effects, now)

    def receive_opened(
        self,
        host: Host,
        burst: Burst,
        status: NDArray[np.uint8],
        ok: int,
        effects: list[Effect],
        now: float,
    ) -> None:
        """Take datagrams that kernels have opened, and cannot deliver; `ok` of them verified."""
        self.counters.received += burst.count
        tunnel = self.tunnels[host.name]
        outcome = self.tunnels.refuse(tunnel.receive_opened(burst, status, ok, now))
        path = path_to(self._paths.number(host), sealed=True)
        ends = self._paths.local_port(path), self._paths.destination(path)[1]
        for opened, verdicts in outcome.opened:
            if self.watcher is not None:
                self.watcher.opened(host.name, ends, opened, verdicts)
            self._deliver(opened, verdicts, host, effects, now, in_clear=False)
        self.tunnels.after(tunnel, outcome, effects, now)

    def drop(self, reason: DropReason, count: int, mark: int) -> None:
        """Count records or datagrams that go no further."""
        self.counters.dropped[reason] += count
        self._on_drop(reason, count, mark)
        if self.watcher is not None:
            self.watcher.refused(reason, count, mark)

    def _carry(self, path: int, burst: Burst, effects: list[Effect], now: float) -> bool:
        """Let kernels take datagrams; False when nothing has happened to them."""
        runs, opened, number = receive_burst(
            self._datapath.addresses,
            path,
            burst.buffer,
            burst.stride,
            burst.size,
            burst.count,
            burst.last,
            burst.tos,
            now,
        )
        if runs == NOT_OPENED:
            return False
        if self._paths.is_sealed(path):
            burst.offset = RECORD_PREFIX
            burst.size -= RECORD_OVERHEAD
            burst.last -= RECORD_OVERHEAD
        if runs > 0:
            if self.watcher is not None and self._paths.is_sealed(path):
                ends = self._paths.local_port(path), self._paths.destination(path)[1]
                self.watcher.opened(self._paths.peer(path).name, ends, burst, self._all_ok)
            self._hand_over(runs, number, burst, effects)
        else:
            status = self._datapath.rows.status[: burst.count].copy()
            self.receive_opened(self._paths.peer(path), burst, status, opened, effects, now)
        return True

    def _deliver(
        self,
        burst: Burst,
        status: NDArray[np.uint8],
        sender: Host,
        effects: list[Effect],
        now: float,
        *,
        in_clear: bool,
    ) -> None:
        """Hand VXLAN frames to their VMs; rows whose status is not OK were dropped before."""
        peer = self._paths.number(sender)
        runs, left, number = deliver_burst(
            self._datapath.addresses,
            peer,
            in_clear,
            burst.buffer,
            burst.stride,
            burst.offset,
            burst.size,
            burst.count,
            burst.last,
            status,
            burst.tos,
            now,
        )
        if not left:
            self._hand_over(runs, number, burst, effects)
            return
        boundaries = self._datapath.rows.runs[: runs + 1].tolist()
        for run, flow in enumerate(self._datapath.rows.flows[:runs].tolist()):
            start, stop = boundaries[run : run + 2]
            part = burst if runs == 1 else burst.slice(start, stop)
            if self.watcher is not None and flow not in _WITHOUT_A_FLOW:
                self._tell_flow(self.watcher, start, part, is_valid=flow != _MISS)
            found = flow if flow != _MISS else self._decide(run, start, peer, in_clear, part, now)
            if found >= 0:
                self._deliver_run(run, found, part, start, effects, now)
            elif found != In.NONE:
                self._refuse(In(found), start, part)

    def _refuse(self, why: In, row: int, part: Burst) -> None:
        """Count a run, whose first row that is, that is not delivered."""
        number = -1 if why is In.MALFORMED else self.flows.number(self._datapath.rows.keys, row)
        if number >= 0:
            self.flows.count_dropped(number, part.count)
        reason = _REASONS.get(why)
        if reason is None:
            reason = (self.flows[number] if number >= 0 else self.flows.parked).refused
            assert reason is not None  # it is what the kernel has seen
        self.drop(reason, part.count, part.mark)

    def _decide(self, run: int, row: int, peer: int, in_clear: bool, part: Burst, now: float) -> int:
        """The slow path: decide the flow of a run, install it, and look at the run again."""
        view, datapath = self._view, self._datapath
        flow = self._slow_path.ingress(datapath.rows.keys[row])
        # A flow between VMs of this host has no peer: whoever sends it over the fabric forges it.
        source = None if flow.source_host in {"", view.host} else view.topology.hosts[flow.source_host]
        number = datapath.install_in(row, flow, source, view.generation, now, part.count)
        if self.watcher is not None and number < len(self.flows):
            key = unpack_key(datapath.rows.keys[row])
            live = self.flows.live(datapath.rows.keys, row)
            self.watcher.decided_ingress(key, flow, live, part.mark, in_clear=in_clear)
        return judge(datapath.addresses, run, number, peer, in_clear, part.tos)

    def _deliver_run(
        self, run: int, flow: int, part: Burst, row: int, effects: list[Effect], now: float
    ) -> None:
        """Hand one run of frames to its VM: one of a burst of which not all can be, or that was a miss."""
        addresses, is_padded = self._datapath.addresses, self._datapath.rows.classes.item(row) == _PADDED
        _strip(part)
        parts = _without_padding(part) if is_padded else [part]
        nbytes = sum(each.nbytes for each in parts)
        deliver_run(
            addresses,
            run,
            flow,
            part.count,
            nbytes,
            part.buffer,
            part.stride,
            part.offset,
            part.tos,
            now,
        )
        vm = self.flows[flow].vm
        for each in parts:
            self._hand_to(vm, each, effects)

    def _hand_over(self, runs: int, number: int, burst: Burst, effects: list[Effect]) -> None:
        """Frames that kernels have counted as delivered, by runs; ``number`` is the flow of the first."""
        _strip(burst)
        if runs == 1:
            if self.watcher is not None:
                self._tell_flow(self.watcher, 0, burst, is_valid=True)
            self._hand_to(self.flows[number].vm, burst, effects)
            return
        rows = self._datapath.rows
        for flow, (start, stop) in zip(
            rows.flows[:runs].tolist(), pairwise(rows.runs[: runs + 1].tolist()), strict=True
        ):
            part = burst.slice(start, stop)
            if self.watcher is not None:
                self._tell_flow(self.watcher, start, part, is_valid=True)
            self._hand_to(self.flows[flow].vm, part, effects)

    def _tell_flow(self, watcher: Watcher, row: int, run: Burst, *, is_valid: bool) -> None:
        """Tell which flow a run belongs to whose first row that is, and whether the table had it."""
        keys = self._datapath.rows.keys
        is_known = is_valid or self.flows.find(keys, row) is not None
        watcher.classified_ingress(unpack_key(keys[row]), run, is_valid=is_valid, is_known=is_known)

    def _hand_to(self, vm: str, run: Burst, effects: list[Effect]) -> None:
        """Packets of one flow."""
        if self.watcher is not None:
            self.watcher.delivered(vm, run)
        if run.count == 1 or vm not in self._merges_for:
            effects.append(Deliver(vm, run))
            return
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


def _strip(frames: Burst) -> None:
    """The packets, without VXLAN and Ethernet."""
    frames.offset += ENCAPSULATION
    frames.size -= ENCAPSULATION
    frames.last -= ENCAPSULATION


def _without_padding(run: Burst) -> list[Burst]:
    """Each packet by itself, cut off where it says that it ends."""
    return [run.cut(row, stated_length(run.row(row))) for row in range(run.count)]
