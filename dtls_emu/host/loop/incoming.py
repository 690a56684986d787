"""From the fabric to guests, as kernels: receive, open, write to the devices, joined where that is possible."""

from __future__ import annotations

import socket
from typing import Any, Final

import numpy as np

from dtls_emu.fabric.udp_receive import receive_next
from dtls_emu.host.device.tun_io import device_at, write_rows, write_super_packet
from dtls_emu.host.loop.noting import note_delivered
from dtls_emu.host.loop.state import DATAGRAMS, DONE, OPENED, LoopState
from dtls_emu.nic.offload.kernels import find_path, open_in
from dtls_emu.nic.offload.state import LEFT, NOT_OPENED
from dtls_emu.wire.burst import Shape
from dtls_emu.wire.headers import TCP
from dtls_emu.wire.inspect import MAPPED
from dtls_emu.wire.memory import kernel, load_u16_be, load_u16_native, load_u32_be, load_u64_be
from dtls_emu.wire.merge import (
    GROUP_GSO_SIZE,
    GROUP_LAYOUT,
    GROUP_LENGTH,
    GROUP_POSITION,
    GROUP_ROWS,
    GROUP_START,
    merge_rows,
)
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_OVERHEAD, RECORD_PREFIX
from dtls_emu.wire.vxlan import VXLAN_PORT


__all__ = ["from_fabric"]

_INET: Final = int(socket.AF_INET)
_INET6: Final = int(socket.AF_INET6)


@kernel
def from_fabric(state: LoopState, now: float) -> int:
    """A turn of the fabric, or the rest of one: :data:`DONE`, or the exception that interrupts it."""
    while receive_next(state.receiver, state.ports):
        code = _take_arrival(state, now)
        if code != DONE:
            return code
    return DONE


@kernel
def _take_arrival(state: LoopState, now: float) -> int:
    """Open what one read has brought, and deliver it."""
    receiver = state.receiver[0]
    arrival = receiver.arrival
    if not _name_key(state, receiver, arrival.port):
        return DATAGRAMS
    card = state.card
    path = find_path(card.peers, card.rows.keys)
    shape = Shape(arrival.size, 0, arrival.size, arrival.count, arrival.last)
    opening = open_in(card, path, state.arrived, shape, arrival.tos, now)
    if opening.runs == NOT_OPENED:
        return DATAGRAMS
    if opening.runs == LEFT:
        state.loop[0].path = path
        state.loop[0].opened = opening.opened
        return OPENED
    if state.loop[0].ring:
        note_delivered(state, path, shape, arrival.tos, opening.runs, now)
    _deliver(state, card.paths[path].sealed != 0, shape, opening.runs)
    return DONE


@kernel
def _name_key(state: LoopState, receiver: Any, local_port: int) -> bool:
    """Make the key of a datagram's ports and sender; a sender's port does not matter in clear."""
    name, keys = receiver.name, state.card.rows.keys
    family = load_u16_native(name, 0)
    remote_port = 0 if local_port == VXLAN_PORT else load_u16_be(name, 2)
    if family == _INET:
        keys[0, 1] = 0
        keys[0, 2] = MAPPED | load_u32_be(name, 4)
    elif family == _INET6:
        keys[0, 1] = load_u64_be(name, 8)
        keys[0, 2] = load_u64_be(name, 16)
    else:
        return False
    keys[0, 0] = local_port << 16 | remote_port
    keys[0, 3] = keys[0, 4] = keys[0, 5] = 0
    return True


@kernel
def _deliver(state: LoopState, is_sealed: bool, wire: Shape, runs: int) -> None:
    """Write opened packets to their VMs' devices, run by run."""
    found, flows = state.card.rows, state.card.into.flows
    offset = ENCAPSULATION + (RECORD_PREFIX if is_sealed else 0)
    overhead = ENCAPSULATION + (RECORD_OVERHEAD if is_sealed else 0)
    for run in range(runs):
        start = found.runs[run]
        rows = found.runs[run + 1] - start
        last = (wire.last if start + rows == wire.rows else wire.size) - overhead
        size = wire.size - overhead if rows > 1 else last
        device = device_at(state.guests[flows[found.flows[run]].vm].device, 1)
        first = start * wire.stride + offset
        is_tcp = found.keys[start, 0] >> np.uint64(32) & np.uint64(0xFF) == np.uint64(TCP)
        if rows > 1 and (is_tcp or device[0].cuts_udp):
            _write_joined(state, device, first, wire.stride, size, rows, last)
        else:
            write_rows(device, state.arrived, first, wire.stride, size, rows, last)


@kernel
def _write_joined(
    state: LoopState, device: Any, first: int, stride: int, size: int, rows: int, last: int
) -> None:
    """Write the packets of one flow, as super-packets where they can be joined."""
    arrived, joined = state.arrived, state.joined
    groups = merge_rows(arrived, stride, first, size, rows, last, joined, 0, state.groups)
    for index in range(groups):
        group = state.groups[index]
        row, count, gso_size = group[GROUP_START], group[GROUP_ROWS], group[GROUP_GSO_SIZE]
        if gso_size == 0:  # as they are
            end = last if row + count == rows else size
            write_rows(device, arrived, first + row * stride, stride, size, count, end)
        else:
            position, length, layout = group[GROUP_POSITION], group[GROUP_LENGTH], group[GROUP_LAYOUT]
            write_super_packet(device, joined, position, length, gso_size, layout, count)
