"""From a guest to the fabric, as kernels: read, seal where it is sent from, send with others of the turn."""

from __future__ import annotations

from typing import Any, Final

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
from dtls_emu.host.loop.noting import note_sent
from dtls_emu.host.loop.state import BROKEN_DEVICE, DONE, GUEST_PACKET, LoopState
from dtls_emu.nic.offload.kernels import count_offered, plan_out, seal_out
from dtls_emu.nic.offload.verdicts import Out
from dtls_emu.wire.burst import Shape
from dtls_emu.wire.memory import bytes_at, kernel


__all__ = ["from_guest"]

_SEND: Final = int(Out.SEND)


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
    shape = Shape(length, HEADROOM, length, 1, length)
    plan = plan_out(state.card, number, vni, memory, shape, gso_size, layout, now)
    if plan.verdict != _SEND or plan.by_call:
        return False
    if state.paths[plan.path].socket < 0 or (plan.rows - 1) * plan.size + plan.last > MAX_SEND_BYTES:
        return False
    datagrams = Datagrams(plan.path, plan.size, plan.rows, plan.last, plan.tos)
    make_room(state.sender, state.paths, datagrams, now)
    if not seal_out(state.card, plan, memory, shape, gso_size, layout, state.wire, sender.used, now):
        return False
    count_offered(state.card, plan.rows, length)
    if state.loop[0].ring:
        note_sent(state, plan, sender.used, length, now)
    note_waiting(state.sender, state.paths, datagrams, now)
    return True
