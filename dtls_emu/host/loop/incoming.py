"""From the fabric to guests, as kernels: receive, open, write to the devices, joined where that is possible."""

from __future__ import annotations

import socket
from typing import Any, Final

import numpy as np

from dtls_emu.fabric.udp_receive import receive_next
from dtls_emu.host.device.tun_io import device_at, write_rows, write_super_packet
from dtls_emu.host.loop.state import DATAGRAMS, DONE, OPENED, LoopState
from dtls_emu.nic.egress import VXLAN_PORT
from dtls_emu.nic.offload.kernels import (
    EXCEPTION,
    NOT_OPENED,
    PLAN_WAY,
    WAY_SEALED,
    count_delivery,
    open_in,
)
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
    runs = open_in(state.card, state.arrived, arrival.size, arrival.count, arrival.last, now, arrival.tos)
    if runs == NOT_OPENED:
        return DATAGRAMS
    if runs == EXCEPTION:
        return OPENED
    _deliver(state, arrival.size, arrival.count, arrival.last, runs, now)
    return DONE


@kernel
def _name_key(state: LoopState, receiver: Any, local_port: int) -> bool:
    """Make the key of a datagram's ports and sender; a sender's port does not matter in clear."""
    name, keys = receiver.name, state.card.keys
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
def _deliver(state: LoopState, stride: int, count: int, last: int, runs: int, now: float) -> None:
    """Write opened packets to their VMs' devices, run by run."""
    card = state.card
    sealed = card.ways[card.numbers[PLAN_WAY], WAY_SEALED]
    offset = ENCAPSULATION + (RECORD_PREFIX if sealed else 0)
    overhead = ENCAPSULATION + (RECORD_OVERHEAD if sealed else 0)
    for run in range(runs):
        start = card.runs[run]
        rows = card.runs[run + 1] - start
        shortest = (last if start + rows == count else stride) - overhead
        size = stride - overhead if rows > 1 else shortest
        nbytes = (rows - 1) * size + shortest
        number = count_delivery(card, card.flows[run], rows, nbytes, now)
        device = device_at(state.guests[number].device, 1)
        first = start * stride + offset
        is_tcp = card.keys[start, 0] >> np.uint64(32) & np.uint64(0xFF) == np.uint64(TCP)
        if rows > 1 and (is_tcp or device[0].cuts_udp):
            _write_joined(state, device, first, stride, size, rows, shortest)
        else:
            write_rows(device, state.arrived, first, stride, size, rows, shortest)


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
