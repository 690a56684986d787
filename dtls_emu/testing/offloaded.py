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
from dtls_emu.nic.egress import VXLAN_PORT
from dtls_emu.nic.offload.kernels import (
    DELIVERED_BYTES,
    EXCEPTION,
    NOT_OPENED,
    OPENED_ROWS,
    PLAN_LAST,
    PLAN_ROWS,
    PLAN_SIZE,
    PLAN_TOS,
    PLAN_WAY,
    WAY_SEALED,
    count_delivery,
    open_in,
    plan_out,
    seal_out,
)
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.inspect import address_words
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_OVERHEAD, RECORD_PREFIX


if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from dtls_emu.nic.card import Card
    from dtls_emu.nic.effects import Effect, UnderlayAddress
    from dtls_emu.tunnel.tunnel import Tunnel


__all__ = ["OffloadedCard", "way_to"]


class OffloadedCard:
    """See the module. What is not here is the card's.

    Fields:
        card: itself.
        fast: its fast path.
        vms: of its host, in the order of their numbers.
        carried_out, carried_in: packets that kernels have carried.

    Args:
        card: nobody has offloaded yet.
    """

    def __init__(self, card: Card) -> None:
        self.card = card
        self.vms = [vm.name for vm in card._topology.vms_on(card.host)]  # noqa: SLF001  # the bench looks inside
        self.fast = card.offload(self.vms)
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
        self.card.settle()
        return _joined(effects)

    def from_fabric(self, burst: Burst, source: UnderlayAddress, local_port: int, now: float) -> list[Effect]:
        """As the card's; the burst stays as it is."""
        arrived = burst.wire.copy()  # nothing behind the last byte
        size, count, last = burst.size, burst.count, burst.last
        state = self.fast.state
        remote_port = 0 if local_port == VXLAN_PORT else source[1]
        ports = local_port << 16 | remote_port
        state.keys[0] = np.array((ports, *address_words(source[0]), 0, 0, 0), np.uint64)
        before = self.memory()
        runs = open_in(state, arrived, size, count, last, now, burst.tos)
        whole = Burst.from_datagrams(arrived, size, burst.mark, burst.tos)
        effects: list[Effect]
        if runs == NOT_OPENED:
            assert self.memory() == before
            assert bytes(arrived) == burst.wire.tobytes()
            effects = _kept(self.card.from_fabric(whole, source, local_port, now))
            self.fast.offload_in()
        elif runs == EXCEPTION:
            peer = self.fast.peers[int(state.numbers[PLAN_WAY])]
            _move(whole, RECORD_PREFIX, RECORD_OVERHEAD)
            opened = int(state.numbers[OPENED_ROWS])
            effects = _kept(self.card.from_opened(peer, whole, state.status[:count], opened, now))
            self.fast.offload_in()
        else:
            effects = self._deliver(whole, runs, now)
        self.card.settle()
        return effects

    def plans(self, packet: bytes, vm: str = "", gso_size: int = 0, vni: int = 0) -> bool:
        """Whether kernels would take a packet of a VM: of the first, in its own network, unless said."""
        number = self.vms.index(vm) if vm else 0
        own_vni = self.card._vms[self.vms[number]][1]  # noqa: SLF001  # as above
        data = np.frombuffer(bytearray(packet), np.uint8)
        before = self.memory()
        planned = plan_out(self.fast.state, number, vni or own_vni, data, 0, len(data), gso_size)
        assert self.memory() == before
        assert data.tobytes() == packet
        return planned

    def memory(self) -> dict[str, bytes]:
        """All that kernels work on and that outlives a call: tables, books, timers, records' numbers, windows."""
        state = self.fast.state
        flows = {"out": len(self.card.egress.flows), "in": len(self.card.ingress.flows)}
        used = {f"{way}_{what}": count for way, count in flows.items() for what in ("keys", "facts")}
        used["numbers"] = DELIVERED_BYTES + 1
        memory = {
            name: getattr(state, name)[: used.get(name)].tobytes()
            for name in state._fields
            if name not in {"keys", "classes", "runs", "status", "flows", "services"}
        }
        for peer, tunnel in self.card.tunnels.items():
            memory |= {f"{what} of {peer}": data for what, data in _tunnel_memory(tunnel)}
        return memory

    def _carry_out(self, vm: str, burst: Burst, now: float) -> list[Effect]:
        packet, length = burst.row(0).copy(), burst.size
        state, number = self.fast.state, self.vms.index(vm)
        vni = self.card._vms[vm][1]  # noqa: SLF001  # as above
        before = self.memory()
        gso_size, layout = burst.gso_size, burst.layout
        if plan_out(state, number, vni, packet, 0, length, gso_size, layout):
            way, rows, size, last = state.numbers[[PLAN_WAY, PLAN_ROWS, PLAN_SIZE, PLAN_LAST]].tolist()
            total = (rows - 1) * size + last
            wire = np.zeros(rows * size, np.uint8)
            if total <= MAX_SEND_BYTES and seal_out(state, packet, 0, length, gso_size, wire, 0, now, layout):
                self.carried_out += rows
                assert rows == burst.packets
                tos = int(state.numbers[PLAN_TOS])
                sent = Burst.from_datagrams(wire[:total], size, burst.mark, tos)
                address, port = self.fast.addresses[way]
                return [Transmit(sent, self.fast.local_port(way), (address, port))]
        assert self.memory() == before
        assert bytes(packet) == burst.row(0).tobytes()
        effects = _kept(self.card.from_guest(vm, burst, now))
        self.fast.offload_out()
        return effects

    def _deliver(self, whole: Burst, runs: int, now: float) -> list[Effect]:
        state = self.fast.state
        if state.ways[state.numbers[PLAN_WAY], WAY_SEALED]:
            _move(whole, RECORD_PREFIX, RECORD_OVERHEAD)
        _move(whole, ENCAPSULATION, ENCAPSULATION)
        effects: list[Effect] = []
        for run, (start, stop) in enumerate(pairwise(state.runs[: runs + 1].tolist())):
            part = whole.slice(start, stop)
            number = count_delivery(state, int(state.flows[run]), part.count, part.nbytes, now)
            effects.append(Deliver(self.vms[number], part))
            self.carried_in += part.count
        return effects


def way_to(card: OffloadedCard, peer: str = "h2") -> NDArray[np.int64]:
    """What kernels know of the sealed way to a host."""
    about: NDArray[np.int64] = card.fast.state.ways[card.fast.peers.index(peer)]
    return about


def _tunnel_memory(tunnel: Tunnel) -> Iterable[tuple[str, bytes]]:
    yield "times", tunnel.times.tobytes()
    for number, association in enumerate(tunnel.associations):
        yield f"words {number}", association.words.tobytes()
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
