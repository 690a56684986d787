"""From a guest to the fabric, as kernels: read, seal where it is sent from, send with others of the turn."""

from __future__ import annotations

from typing import Any

from dtls_emu.fabric.offload import MAX_SEND_BYTES
from dtls_emu.fabric.udp_send import Datagrams, make_room, note_waiting
from dtls_emu.host.device.tun_io import (
    BROKEN,
    HEADROOM,
    NOTHING,
    READ_BYTES,
    ROW_BYTES,
    device_at,
    read_packet,
)
from dtls_emu.host.loop.state import BROKEN_DEVICE, DONE, GUEST_PACKET, LoopState
from dtls_emu.nic.offload.kernels import (
    PLAN_LAST,
    PLAN_ROWS,
    PLAN_SIZE,
    PLAN_TOS,
    PLAN_WAY,
    plan_out,
    seal_out,
)
from dtls_emu.wire.memory import bytes_at, kernel


__all__ = ["from_guest"]


@kernel
def from_guest(state: LoopState, number: int, now: float) -> int:
    """A turn of a guest's device: :data:`DONE`, or the exception that interrupts it."""
    device = device_at(state.guests[number].device, 1)[0]
    device.turn.budget = READ_BYTES
    while True:
        outcome = read_packet(device, 0)
        if outcome == NOTHING:
            return DONE
        if outcome == BROKEN or not _take_packet(state, device, number, now):
            state.loop[0].guest = number
            return BROKEN_DEVICE if outcome == BROKEN else GUEST_PACKET


@kernel
def _take_packet(state: LoopState, device: Any, number: int, now: float) -> bool:
    """Seal the packet that was read last, and send it, at the latest as the turn ends; False: an exception."""
    memory = bytes_at(device.memory, HEADROOM + ROW_BYTES)
    packet, sender = device.packet, state.sender[0]
    length, gso_size, layout = packet.size, packet.gso_size, packet.layout
    vni = state.guests[number].vni
    if not plan_out(state.card, number, vni, memory, HEADROOM, length, gso_size, layout):
        return False
    plan = state.card.numbers
    way, rows, size, last = plan[PLAN_WAY], plan[PLAN_ROWS], plan[PLAN_SIZE], plan[PLAN_LAST]
    if state.paths[way].socket < 0 or (rows - 1) * size + last > MAX_SEND_BYTES:
        return False
    datagrams = Datagrams(way, size, rows, last, plan[PLAN_TOS])
    make_room(state.sender, state.paths, datagrams, now)
    if not seal_out(state.card, memory, HEADROOM, length, gso_size, state.wire, sender.used, now, layout):
        return False
    note_waiting(state.sender, state.paths, datagrams, now)
    return True
