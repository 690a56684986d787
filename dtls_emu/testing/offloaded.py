"""A card whose known flows compiled code carries, without sockets and devices: the bench for the fast path.

It is called as a :class:`~dtls_emu.nic.card.Card` is, and does with each packet and each receive what a host's
loop does (:mod:`dtls_emu.host.loop.turn`): first the kernels; with what they leave, the card itself::

    card = OffloadedCard(cards["h1"])
    effects = card.from_guest("a", burst, now)
    assert card.carried_out == 1

What kernels leave must be as it was: that is checked each time.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from dtls_emu.fabric.offload import MAX_SEND_BYTES
from dtls_emu.nic.effects import Deliver, LeaveFabric, Transmit
from dtls_emu.nic.offload.kernels import count_offered, find_path, open_in, plan_out, seal_out
from dtls_emu.nic.offload.paths import path_to
from dtls_emu.nic.offload.state import LEFT, NOT_OPENED, Plan
from dtls_emu.nic.offload.verdicts import Out
from dtls_emu.wire.burst import MAX_ROWS, Burst, Shape
from dtls_emu.wire.inspect import address_words
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_OVERHEAD, RECORD_PREFIX
from dtls_emu.wire.vxlan import VXLAN_PORT


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.nic.card import Card
    from dtls_emu.nic.effects import Effect, UnderlayAddress
    from dtls_emu.tunnel.tunnel import Tunnel


__all__ = ["OffloadedCard", "path_of"]


class OffloadedCard:
    """See the module. What is not here is the card's.

    Fields:
        card: itself.
        data: what its kernels work on.
        vms: of its host, in the order of their numbers.
        carried_out, carried_in: packets that kernels have carried.

    Args:
        card: nobody has offloaded yet.
    """

    def __init__(self, card: Card) -> None:
        self.card = card
        self.vms = [vm.name for vm in card.topology.vms_on(card.host)]
        self.data = card.offload(self.vms)
        self.carried_out = 0
        self.carried_in = 0

    def __getattr__(self, name: str) -> Any:
        """What the card has."""
        return getattr(self.card, name)

    def from_guest(self, vm: str, burst: Burst, now: float) -> list[Effect]:
        """As the card's, packet by packet; what can leave together does."""
        if burst.count > MAX_ROWS or vm not in self.vms:
            return self.card.from_guest(vm, burst, now)  # which raises
        effects: list[Effect] = []
        for row in range(burst.count):
            single = burst if burst.count == 1 else burst.slice(row, row + 1)
            effects += self._carry_out(vm, single, now)
        return _joined(effects)

    def from_fabric(self, burst: Burst, source: UnderlayAddress, local_port: int, now: float) -> list[Effect]:
        """As the card's; the burst stays as it is."""
        arrived = burst.wire.copy()  # nothing behind the last byte
        size, count, last = burst.size, burst.count, burst.last
        memory = self.data.memory
        remote_port = 0 if local_port == VXLAN_PORT else source[1]
        ports = local_port << 16 | remote_port
        memory.rows.keys[0] = np.array((ports, *address_words(source[0]), 0, 0, 0), np.uint64)
        before = self.memory()
        path = find_path(memory.peers, memory.rows.keys)
        opening = open_in(memory, path, arrived, Shape(size, 0, size, count, last), burst.tos, now)
        whole = Burst.from_datagrams(arrived, size, burst.mark, burst.tos)
        if opening.runs == NOT_OPENED:
            assert self.memory() == before
            assert bytes(arrived) == burst.wire.tobytes()
            return _kept(self.card.from_fabric(whole, source, local_port, now))
        if self.data.paths.is_sealed(path):
            _move(whole, RECORD_PREFIX, RECORD_OVERHEAD)
        if opening.runs == LEFT:
            peer = self.data.paths.peer(path).name
            status = memory.rows.status[:count]
            return _kept(self.card.from_opened(peer, whole, status, opening.opened, now))
        return self._deliver(whole, opening.runs)

    def plan(self, packet: bytes, vm: str = "", gso_size: int = 0, vni: int = 0, now: float = 0.0) -> Plan:
        """What kernels would do with a packet of a VM: of the first, in its own network, unless said."""
        number = self.vms.index(vm) if vm else 0
        own_vni = self.card.vni_of(self.vms[number])
        data = np.frombuffer(bytearray(packet), np.uint8)
        before = self.memory()
        shape = Shape(len(data), 0, len(data), 1, len(data))
        plan = plan_out(self.data.memory, number, vni or own_vni, data, shape, gso_size, 0, now)
        assert self.memory() == before
        assert data.tobytes() == packet
        return plan

    def plans(self, packet: bytes, vm: str = "", gso_size: int = 0, vni: int = 0) -> bool:
        """Whether kernels would send a packet of a VM to another host."""
        return self.plan(packet, vm, gso_size, vni).verdict == Out.SEND

    def memory(self) -> dict[str, bytes]:
        """All that kernels work on and that outlives a call: tables, books, timers, records' numbers, windows."""
        state = self.data.memory
        memory = {
            "card": state.card.tobytes(),
            "paths": state.paths[: self.data.paths.count].tobytes(),
        }
        for name, table, flows in (("out", self.data.out, state.out), ("into", self.data.into, state.into)):
            memory[f"slots {name}"] = flows.slots.tobytes()
            memory[f"keys {name}"] = flows.keys[: len(table)].tobytes()
            memory[f"flows {name}"] = flows.flows[: len(table)].tobytes()
        for peer, tunnel in self.card.tunnels.items():
            memory |= {f"{what} of {peer}": data for what, data in _tunnel_memory(tunnel)}
        return memory

    def _carry_out(self, vm: str, burst: Burst, now: float) -> list[Effect]:
        packet, length = burst.row(0).copy(), burst.size
        memory, number = self.data.memory, self.vms.index(vm)
        vni = self.card.vni_of(vm)
        before = self.memory()
        gso_size, layout = burst.gso_size, burst.layout
        shape = Shape(length, 0, length, 1, length)
        plan = plan_out(memory, number, vni, packet, shape, gso_size, layout, now)
        if plan.verdict == Out.SEND and not plan.by_call:
            rows, size = plan.rows, plan.size
            total = (rows - 1) * size + plan.last
            wire = np.zeros(rows * size, np.uint8)
            if total <= MAX_SEND_BYTES and seal_out(
                memory, plan, packet, shape, gso_size, layout, wire, 0, now
            ):
                count_offered(memory, rows, length)
                self.carried_out += rows
                assert rows == burst.packets
                sent = Burst.from_datagrams(wire[:total], size, burst.mark, plan.tos)
                paths = self.data.paths
                return [Transmit(sent, paths.local_port(plan.path), paths.destination(plan.path))]
        assert self.memory() == before
        assert bytes(packet) == burst.row(0).tobytes()
        return _kept(self.card.from_guest(vm, burst, now))

    def _deliver(self, whole: Burst, runs: int) -> list[Effect]:
        rows = self.data.rows
        _move(whole, ENCAPSULATION, ENCAPSULATION)
        effects: list[Effect] = []
        for run, (start, stop) in enumerate(pairwise(rows.runs[: runs + 1].tolist())):
            part = whole.slice(start, stop)
            vm = self.vms[int(self.data.into.records[rows.flows[run]]["vm"])]
            effects.append(Deliver(vm, part))
            self.carried_in += part.count
        return effects


def path_of(card: OffloadedCard, peer: str = "h2") -> Any:
    """What kernels know of the sealed path to a host."""
    paths = card.data.paths
    return paths.table[path_to(paths.number(card.topology.hosts[peer]), sealed=True)]


def _tunnel_memory(tunnel: Tunnel) -> Iterable[tuple[str, bytes]]:
    yield "times", tunnel.times.tobytes()
    for number, association in enumerate(tunnel.associations):
        yield f"records {number}", association.records.tobytes()
        yield f"window {number}", association.window.state.tobytes()


def _move(burst: Burst, headers: int, overhead: int) -> None:
    """Each row without what was around it."""
    burst.offset += headers
    burst.size -= overhead
    burst.last -= overhead


def _kept(effects: Iterable[Effect]) -> list[Effect]:
    """Effects that outlive the card's next call."""
    return [
        replace(each, burst=_copy(each.burst)) if isinstance(each, Deliver | LeaveFabric | Transmit) else each
        for each in effects
    ]


def _joined(effects: Iterable[Effect]) -> list[Effect]:
    """Datagrams of one size to one address as one send, as a loop has them; the last may be shorter."""
    joined: list[Effect] = []
    for each in effects:
        before = joined[-1] if joined else None
        if (
            isinstance(each, Transmit)
            and isinstance(before, Transmit)
            and (each.source_port, each.destination) == (before.source_port, before.destination)
            and before.burst.last == before.burst.size >= each.burst.size
            and (each.burst.size == before.burst.size or each.burst.count == 1)
            and each.burst.mark == before.burst.mark
            and each.burst.tos == before.burst.tos
            and each.burst.count + before.burst.count <= MAX_ROWS
            and each.burst.nbytes + before.burst.nbytes <= MAX_SEND_BYTES
        ):
            rows = np.concatenate((before.burst.wire, each.burst.wire))
            before.burst = Burst.from_datagrams(rows, before.burst.size, before.burst.mark, before.burst.tos)
        else:
            joined.append(each)
    return joined


def _copy(burst: Burst) -> Burst:
    return Burst(
        burst.buffer.copy(),
        stride=burst.stride,
        offset=burst.offset,
        size=burst.size,
        count=burst.count,
        last=burst.last,
        mark=burst.mark,
        tos=burst.tos,
        gso_size=burst.gso_size,
        layout=burst.layout,
        packets=burst.packets,
    )
