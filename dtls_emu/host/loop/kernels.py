"""The loop of a host as a kernel: wait, read, let the card's fast path work, write and send. No Python in between.

It works on the same devices, sockets and epoll as :mod:`dtls_emu.host.loop.agent`, and does, for packets of offloaded flows,
what that does. It returns when there is something that only the slow path can do: a packet that is an exception, a
timer, the control socket. Then nothing waits to be sent, and what was read is in the memory it was read into.

One pass: each file that is readable has its turn, a bounded amount of work; what is still there is readable again.
An exception does not end the pass: the next call goes on with the fabric's turn, or, when the packet was a guest's,
with the files behind it.
Packets of a turn leave together when they can, as in :mod:`dtls_emu.host.loop.outbox`; here they are sealed where they
are sent from, so nothing is copied.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dtls_emu.fabric.offload import (
    GSO_REFUSALS,
    MAX_SEND_BYTES,
    MAX_SEND_SEGMENTS,
    RESUME_AT,
    SOL_UDP,
    UDP_GRO,
    may_segment,
    note_refusal,
)
from dtls_emu.fabric.udp import READS_PER_PORT
from dtls_emu.host.device.tun import HEADROOM, READ_BYTES, READ_COST
from dtls_emu.host.loop.outbox import MAX_COPY
from dtls_emu.machine.syscalls import (
    CLOCK_MONOTONIC,
    EVENT_DATA,
    EVENT_SIZE,
    MSG_DONTWAIT,
    clock_gettime,
    epoll_wait,
    error_number,
    ppoll,
    read,
    recvmsg,
    sendmsg,
    write,
)
from dtls_emu.nic.offload.kernels import count_offered, find_path, open_in, plan_out, seal_out
from dtls_emu.nic.offload.state import LEFT, NOT_OPENED, CardMemory
from dtls_emu.nic.offload.verdicts import Out
from dtls_emu.wire.burst import Shape
from dtls_emu.wire.headers import MAX_PACKET, TCP, super_packet_layout
from dtls_emu.wire.inspect import MAPPED
from dtls_emu.wire.memory import (
    bytes_at,
    kernel,
    load_u8,
    load_u16_be,
    load_u16_native,
    load_u32_be,
    load_u32_native,
    load_u64_be,
    load_u64_native,
    store_u8,
    store_u16_native,
    store_u32_native,
    store_u64_be,
)
from dtls_emu.wire.merge import (
    GROUP_GSO_SIZE,
    GROUP_LAYOUT,
    GROUP_LENGTH,
    GROUP_POSITION,
    GROUP_ROWS,
    GROUP_START,
    merge_rows,
)
from dtls_emu.wire.overhead import ENCAPSULATION, IPV6_HEADER, RECORD_OVERHEAD, RECORD_PREFIX
from dtls_emu.wire.virtio import (
    CSUM_OFFSET_AT,
    CSUM_START_AT,
    FLAGS_AT,
    GSO_NONE,
    GSO_SIZE_AT,
    GSO_TYPE_AT,
    NEEDS_CHECKSUM,
    VNET_FIELDS,
    complete_checksum,
    fill_super_packet_header,
)
from dtls_emu.wire.vxlan import VXLAN_PORT


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = [
    "ATTENTION",
    "BROKEN_DEVICE",
    "DATAGRAMS",
    "DONE",
    "GUEST_PACKET",
    "INTERRUPTED",
    "NOTHING",
    "OPENED",
    "TIMERS",
    "LoopState",
    "run_loop",
]

# What it returns.
DONE: Final = 0  # one pass
NOTHING: Final = 1  # one pass, and nothing was readable
TIMERS: Final = 2
ATTENTION: Final = 3  # a file that is not the loop's own is readable
GUEST_PACKET: Final = 4  # an exception: a guest's packet
DATAGRAMS: Final = 5  # an exception: datagrams, as they came
OPENED: Final = 6  # an exception: datagrams that have been opened
BROKEN_DEVICE: Final = 7  # a device gives an error
INTERRUPTED: Final = 8  # by a signal

# Kinds of files, by their number.
OTHER: Final = 0
DEVICE: Final = 1
FABRIC: Final = 2
PORT: Final = 3

# A device.
FILE: Final = 0
VNI: Final = 1
MEMORY: Final = 2  # address of its first row
CUTS_UDP: Final = 3
READS: Final = 4
READ_PACKETS: Final = 5
READ_TOTAL: Final = 6  # bytes
OFFERED: Final = 7
WRITTEN: Final = 8
WRITES: Final = 9
DEVICE_WORDS: Final = 10

# Where a way leads.
SOCKET: Final = 0  # file number, -1: none
NAME: Final = 1  # address of a sockaddr
NAME_LENGTH: Final = 2
TOO_LONG: Final = 3  # 1: a datagram was refused, because it is too large for the path
WAY_FIELDS: Final = 4

# Numbers of the loop.
EPOLL: Final = 0
FABRIC_EPOLL: Final = 1
SEEN_TOO_LONG: Final = 2  # any way has
USED: Final = 3  # of `wire`, by what is to be sent
COUNT: Final = 4
SIZE: Final = 5
WAY: Final = 6
PLACE: Final = 7  # of the device or port of an exception
LENGTH: Final = 8
SEGMENT: Final = 9
FLAGS: Final = 10
SEEN_OTHER: Final = 11
FABRIC_OFFERED: Final = 12
FABRIC_SENT: Final = 13
FABRIC_SENDS: Final = 14
FABRIC_RECEIVED: Final = 15
FABRIC_DELIVERED: Final = 16
FABRIC_READS: Final = 17
FABRIC_REJECTED: Final = 18
REFUSALS: Final = 19  # sends of several datagrams that were refused
READY: Final = 20  # events of this pass, and the next of them
NEXT: Final = 21
READY_PORTS: Final = 22  # likewise of ports
NEXT_PORT: Final = 23
ROUNDS: Final = 24  # of reads of ready ports, begun in the fabric's turn
TOS: Final = 25  # of what is to be sent
TOS_IN: Final = 26  # of what has arrived
TOS_LEVEL: Final = 27  # of control messages with a type of service
TOS_TYPE: Final = 28
WAY_IN: Final = 29  # by which datagrams have come that have been opened
OPENED_ROWS: Final = 30  # how many of them verified
LOOP_WORDS: Final = 31

ERRORS: Final = 256  # numbers of errors: Linux has about 133
CONTROL_SPACE: Final = 64
NAME_SPACE: Final = 32
MAX_EVENTS: Final = 64

_SEND: Final = int(Out.SEND)
_HEADER: Final = VNET_FIELDS.size
_ROW: Final = IPV6_HEADER + MAX_PACKET
_CUT_OFF: Final = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)
_INET: Final = int(socket.AF_INET)
_INET6: Final = int(socket.AF_INET6)
_CONTROL_HEADER: Final = 16  # struct cmsghdr
_CONTROL_STEP: Final = 24  # with a number behind it (CMSG_SPACE)
_EAGAIN: Final = errno.EAGAIN
_EINTR: Final = errno.EINTR
_EMSGSIZE: Final = errno.EMSGSIZE
_POLLIN: Final = 1
_NANOSECONDS: Final = 1_000_000_000


class LoopState(NamedTuple):
    """All that the loop reads and writes.

    Fields:
        card: what the card's own kernels work on.
        kinds, places: of each file number: what it is, and which of its kind.
        devices: by the number of their VM.
        ways: where each way leads.
        ports: number of the UDP port, by place.
        numbers: of the loop; what it says of an exception, and what it counts.
        segmentation: what is known of it, the fabric's.
        refused: ``[device, or after the last the fabric][error][packets, calls]``.
        arrived, wire, joined: memory for what comes in, goes out, and is joined for a guest.
        groups: scratch of the merge.
        events, port_events: scratch of epoll, bytes.
        out_message, out_vector, out_control: a ``msghdr`` and what it points to, for sending.
        in_message, in_vector, in_control, in_name: likewise, for receiving.
        timing: a ``timespec`` and a ``pollfd``, in words.
    """

    card: CardMemory
    kinds: NDArray[np.int8]
    places: NDArray[np.int32]
    devices: NDArray[np.int64]
    ways: NDArray[np.int64]
    ports: NDArray[np.int64]
    numbers: NDArray[np.int64]
    segmentation: NDArray[np.float64]
    refused: NDArray[np.int64]
    arrived: NDArray[np.uint8]
    wire: NDArray[np.uint8]
    joined: NDArray[np.uint8]
    groups: NDArray[np.int64]
    events: NDArray[np.uint8]
    port_events: NDArray[np.uint8]
    out_message: NDArray[np.int64]
    out_vector: NDArray[np.int64]
    out_control: NDArray[np.uint8]
    in_message: NDArray[np.int64]
    in_vector: NDArray[np.int64]
    in_control: NDArray[np.uint8]
    in_name: NDArray[np.uint8]
    timing: NDArray[np.int64]


@kernel
def run_loop(state: LoopState, now: float, until: float, forever: bool) -> int:
    """Work until there is something for the slow path.

    Args:
        state: of the loop.
        now: seconds, for one pass.
        until: when a timer is due, in seconds of the monotonic clock; for many passes.
        forever: pass after pass, and asleep when there is nothing to do; else one pass, without waiting.
    """
    numbers = state.numbers
    while True:
        moment = _monotonic(state) if forever else now
        due = min(until, state.card.card[0].due)
        if numbers[NEXT] >= numbers[READY]:
            ready = epoll_wait(numbers[EPOLL], state.events.ctypes.data, MAX_EVENTS, 0)
            if ready < 0:
                return INTERRUPTED
            if ready == 0:
                if not forever:
                    return NOTHING
                if moment >= due:
                    return TIMERS
                if _sleep(state, due - moment) < 0:
                    return INTERRUPTED
                continue
            numbers[READY] = ready
            numbers[NEXT] = 0
        while numbers[NEXT] < numbers[READY]:
            file = load_u32_native(state.events, numbers[NEXT] * EVENT_SIZE + EVENT_DATA)
            numbers[NEXT] += 1
            kind = state.kinds[file] if file < len(state.kinds) else OTHER
            code = DONE
            if kind == DEVICE:
                code = _from_guest(state, state.places[file], moment)
            elif kind == FABRIC:
                code = _from_fabric(state, moment)
                if code != DONE:
                    numbers[NEXT] -= 1  # its turn is not over
            else:
                numbers[SEEN_OTHER] = 1
            _flush(state, moment)
            if code != DONE:
                return code
        if numbers[SEEN_OTHER] or numbers[SEEN_TOO_LONG]:
            return ATTENTION
        if not forever:
            return DONE
        if moment >= due:
            return TIMERS


# ------------------------------------------------------------------------------------------------ from guests


@kernel
def _from_guest(state: LoopState, number: int, now: float) -> int:
    device = state.devices[number]
    memory = bytes_at(device[MEMORY], HEADROOM + _ROW)
    limit = READ_BYTES
    while limit > 0:
        got = read(device[FILE], device[MEMORY] + HEADROOM - _HEADER, _HEADER + _ROW)
        if got < 0:
            failed = error_number()
            if failed in (_EAGAIN, _EINTR):
                break
            state.numbers[PLACE] = number
            return BROKEN_DEVICE
        length = got - _HEADER
        limit -= max(READ_COST, length)
        if length > 0 and not _take_packet(state, device, number, memory, length, now):
            state.numbers[PLACE] = number
            state.numbers[LENGTH] = got
            return GUEST_PACKET
        device[READS] += 1
    return DONE


@kernel
def _take_packet(
    state: LoopState,
    device: NDArray[np.int64],
    number: int,
    memory: NDArray[np.uint8],
    length: int,
    now: float,
) -> bool:
    """Seal a packet that a guest has sent, and send it, at the latest as the turn ends; False: an exception."""
    numbers = state.numbers
    header = HEADROOM - _HEADER
    gso_size = layout = 0
    if load_u8(memory, header + GSO_TYPE_AT) != GSO_NONE:
        gso_size = load_u16_native(memory, header + GSO_SIZE_AT)
    flags = load_u8(memory, header + FLAGS_AT)
    begin = load_u16_native(memory, header + CSUM_START_AT)
    field = load_u16_native(memory, header + CSUM_OFFSET_AT)
    if gso_size > 0:
        layout = super_packet_layout(memory, HEADROOM, length, flags & NEEDS_CHECKSUM != 0, begin, field)
    elif flags & NEEDS_CHECKSUM:
        # Before the packet is looked at: the guest says where the sum is written, and that may be any field.
        complete_checksum(memory, HEADROOM, length, begin, field)
        store_u8(memory, header, flags & ~NEEDS_CHECKSUM)
    shape = Shape(length, HEADROOM, length, 1, length)
    plan = plan_out(state.card, number, device[VNI], memory, shape, gso_size, layout, now)
    if plan.verdict != _SEND or plan.by_call:
        return False
    way, rows, size, last, tos = plan.path, plan.rows, plan.size, plan.last, plan.tos
    total = (rows - 1) * size + last
    if state.ways[way, SOCKET] < 0 or total > MAX_SEND_BYTES:
        return False
    if numbers[COUNT] and (
        # The rows have one size; a shorter one can only be the last.
        (size != numbers[SIZE] and (size > numbers[SIZE] or rows > 1))
        or numbers[COUNT] + rows > MAX_SEND_SEGMENTS
        or numbers[USED] + total > MAX_SEND_BYTES
        or way != numbers[WAY]
        or tos != numbers[TOS]
        or total > MAX_COPY
    ):
        _flush(state, now)
    if not seal_out(state.card, plan, memory, shape, gso_size, layout, state.wire, numbers[USED], now):
        return False
    count_offered(state.card, rows, length)
    if numbers[COUNT] == 0:
        numbers[SIZE] = size
        numbers[WAY] = way
        numbers[TOS] = tos
    numbers[USED] += total
    numbers[COUNT] += rows
    device[READ_PACKETS] += rows
    device[READ_TOTAL] += length
    if last < numbers[SIZE] or total > MAX_COPY:
        _flush(state, now)
    return True


# The fabric's own rules, of which there is one text.
_may_segment = kernel(may_segment)
_note_refusal = kernel(note_refusal)


@kernel
def _flush(state: LoopState, now: float) -> None:
    """Send what is there."""
    numbers = state.numbers
    count = numbers[COUNT]
    if count == 0:
        return
    numbers[FABRIC_OFFERED] += count
    words = state.segmentation
    if count > 1 and words[RESUME_AT] > 0 and not _may_segment(words, now):
        _send_singly(state)
    elif _send(state, 0, numbers[USED], numbers[SIZE] if count > 1 else 0) >= 0:
        numbers[FABRIC_SENT] += count
        numbers[FABRIC_SENDS] += 1
        if count > 1 and words[RESUME_AT] > 0:
            words[:] = 0
    else:
        failed = error_number()
        if count == 1 or (failed not in GSO_REFUSALS and failed != _EMSGSIZE):
            _count_refusal(state, failed, count)
        else:
            state.refused[len(state.devices), failed % ERRORS, 1] += 1
            full_sent = _send_singly(state)
            if failed in GSO_REFUSALS:
                numbers[REFUSALS] += 1
            _note_refusal(words, failed, numbers[USED] // numbers[SIZE], full_sent, now)
    numbers[USED] = numbers[COUNT] = 0


@kernel
def _send_singly(state: LoopState) -> int:
    """Send what is there one by one. Returns how many datagrams of full size went."""
    numbers = state.numbers
    size = numbers[SIZE]
    sent = full_sent = 0
    for start in range(0, numbers[USED], size):
        length = min(size, numbers[USED] - start)
        if _send(state, start, length, 0) >= 0:
            sent += 1
            full_sent += length == size
        else:
            _count_refusal(state, error_number(), 1)
    numbers[FABRIC_SENT] += sent
    numbers[FABRIC_SENDS] += sent
    return full_sent


@kernel
def _count_refusal(state: LoopState, failed: int, count: int) -> None:
    """A call that was to send so many datagrams of a way has failed, and they are dropped."""
    refused = state.refused[len(state.devices), failed % ERRORS]
    refused[0] += count
    refused[1] += 1
    if failed == _EMSGSIZE:
        state.ways[state.numbers[WAY], TOO_LONG] = 1
        state.numbers[SEEN_TOO_LONG] = 1


@kernel
def _send(state: LoopState, start: int, length: int, segment: int) -> int:
    way = state.ways[state.numbers[WAY]]
    message = state.out_message
    state.out_vector[0] = state.wire.ctypes.data + start
    state.out_vector[1] = length
    message[0] = way[NAME]
    message[1] = way[NAME_LENGTH]
    # Two messages: the segments' size, the type of service. Each is left out where it is 0.
    tos = state.numbers[TOS]
    message[4] = state.out_control.ctypes.data + (0 if segment else _CONTROL_STEP)
    message[5] = (_CONTROL_STEP if segment else 0) + (_CONTROL_STEP if tos else 0)
    if segment:
        store_u16_native(state.out_control, _CONTROL_HEADER, segment)
    if tos:
        store_u32_native(state.out_control, _CONTROL_STEP + _CONTROL_HEADER, tos)
    return int(sendmsg(way[SOCKET], message.ctypes.data, 0))


# ------------------------------------------------------------------------------------------------ from the fabric


@kernel
def _from_fabric(state: LoopState, now: float) -> int:
    """Reads of ready ports, in turn, or the rest of them: an exception only interrupts."""
    numbers = state.numbers
    while True:
        if numbers[NEXT_PORT] >= numbers[READY_PORTS]:
            if numbers[ROUNDS] == READS_PER_PORT:
                break
            ready = epoll_wait(numbers[FABRIC_EPOLL], state.port_events.ctypes.data, MAX_EVENTS, 0)
            if ready <= 0:
                break
            numbers[ROUNDS] += 1
            numbers[READY_PORTS] = ready
            numbers[NEXT_PORT] = 0
        while numbers[NEXT_PORT] < numbers[READY_PORTS]:
            file = load_u32_native(state.port_events, numbers[NEXT_PORT] * EVENT_SIZE + EVENT_DATA)
            numbers[NEXT_PORT] += 1
            if file >= len(state.kinds) or state.kinds[file] != PORT:
                continue  # closed since
            code = _from_port(state, file, state.places[file], now)
            if code != DONE:
                return code
    numbers[ROUNDS] = 0
    return DONE


@kernel
def _from_port(state: LoopState, file: int, place: int, now: float) -> int:
    """One read of one port."""
    numbers = state.numbers
    message = state.in_message
    message[1] = NAME_SPACE
    message[5] = CONTROL_SPACE
    message[6] = 0
    got = recvmsg(file, message.ctypes.data, MSG_DONTWAIT)
    if got < 0:
        failed = error_number()
        if failed not in (_EAGAIN, _EINTR):
            state.refused[len(state.devices), failed % ERRORS, 1] += 1
        return DONE
    numbers[FABRIC_READS] += 1
    if got == 0 or message[6] & _CUT_OFF:
        numbers[FABRIC_RECEIVED] += 1
        numbers[FABRIC_REJECTED] += 1
        return DONE
    segment = _read_control(state)
    if segment <= 0 or segment >= got:
        segment = got
    count = (got + segment - 1) // segment
    last = got - (count - 1) * segment
    numbers[PLACE] = place
    numbers[LENGTH] = got
    numbers[SEGMENT] = segment
    local_port = state.ports[place]
    if not _name_key(state, local_port):
        return DATAGRAMS
    way = find_path(state.card.peers, state.card.rows.keys)
    opening = open_in(
        state.card, way, state.arrived, Shape(segment, 0, segment, count, last), numbers[TOS_IN], now
    )
    if opening.runs == NOT_OPENED:
        return DATAGRAMS
    numbers[FABRIC_RECEIVED] += count
    numbers[FABRIC_DELIVERED] += count
    numbers[WAY_IN] = way
    if opening.runs == LEFT:
        numbers[OPENED_ROWS] = opening.opened
        return OPENED
    _deliver(state, state.card.paths[way].sealed != 0, segment, count, last, opening.runs)
    return DONE


@kernel
def _read_control(state: LoopState) -> int:
    """The size of each datagram of a merged receive, 0 when it holds a single one; their type of service in `TOS_IN`."""
    control, numbers = state.in_control, state.numbers
    numbers[TOS_IN] = 0
    segment = 0
    for at in range(0, state.in_message[5] - _CONTROL_HEADER, _CONTROL_STEP):
        level, kind = load_u32_native(control, at + 8), load_u32_native(control, at + 12)
        if level == SOL_UDP and kind == UDP_GRO:
            segment = load_u32_native(control, at + _CONTROL_HEADER)
        elif level == numbers[TOS_LEVEL] and kind == numbers[TOS_TYPE]:
            # Of IPv4 a byte, of IPv6 a C int.
            is_byte = load_u64_native(control, at) == np.uint64(_CONTROL_HEADER + 1)
            numbers[TOS_IN] = (
                load_u8(control, at + _CONTROL_HEADER)
                if is_byte
                else load_u32_native(control, at + _CONTROL_HEADER) & 0xFF
            )
    return segment


@kernel
def _name_key(state: LoopState, local_port: int) -> bool:
    """Make the key of a datagram's ports and sender; a sender's port does not matter in clear."""
    name, keys = state.in_name, state.card.rows.keys
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
def _deliver(state: LoopState, sealed: bool, stride: int, count: int, last: int, runs: int) -> None:
    """Write opened packets to their VMs' devices, run by run, joined where that is possible."""
    rows_in = state.card.rows
    offset = ENCAPSULATION + (RECORD_PREFIX if sealed else 0)
    overhead = ENCAPSULATION + (RECORD_OVERHEAD if sealed else 0)
    for run in range(runs):
        start = rows_in.runs[run]
        rows = rows_in.runs[run + 1] - start
        shortest = (last if start + rows == count else stride) - overhead
        size = stride - overhead if rows > 1 else shortest
        number = int(state.card.into.flows[rows_in.flows[run]].vm)
        device = state.devices[number]
        device[OFFERED] += rows
        first = start * stride + offset
        is_tcp = rows_in.keys[start, 0] >> np.uint64(32) & np.uint64(0xFF) == np.uint64(TCP)
        if rows == 1 or not (is_tcp or device[CUTS_UDP]):
            _write_rows(state, number, first, stride, size, rows, shortest)
            continue
        groups = merge_rows(
            state.arrived, stride, first, size, rows, shortest, state.joined, _HEADER, state.groups
        )
        for index in range(groups):
            group = state.groups[index]
            row, joined = group[GROUP_START], group[GROUP_ROWS]
            if group[GROUP_GSO_SIZE] == 0:  # as they are
                end = shortest if row + joined == rows else size
                _write_rows(state, number, first + row * stride, stride, size, joined, end)
            else:
                packet = group[GROUP_POSITION]
                at = packet - _HEADER
                layout, gso_size = group[GROUP_LAYOUT], group[GROUP_GSO_SIZE]
                fill_super_packet_header(state.joined, packet, layout, gso_size, state.joined, at)
                _write(state, number, state.joined.ctypes.data + at, group[GROUP_LENGTH], joined)


@kernel
def _write_rows(
    state: LoopState, number: int, first: int, stride: int, size: int, rows: int, last: int
) -> None:
    """Write packets singly, the header of each in the place of the encapsulation that it had."""
    for row in range(rows):
        at = first + row * stride
        store_u64_be(state.arrived, at - _HEADER, 0)
        store_u16_native(state.arrived, at - 2, 0)
        length = last if row == rows - 1 else size
        _write(state, number, state.arrived.ctypes.data + at - _HEADER, length, 1)


@kernel
def _write(state: LoopState, number: int, address: int, length: int, packets: int) -> None:
    device = state.devices[number]
    if write(device[FILE], address, _HEADER + length) >= 0:
        device[WRITTEN] += packets
        device[WRITES] += 1
    else:
        refused = state.refused[number, error_number() % ERRORS]
        refused[0] += packets
        refused[1] += 1


# ------------------------------------------------------------------------------------------------ time


@kernel
def _monotonic(state: LoopState) -> float:
    """Seconds of the monotonic clock, as Python's ``time.monotonic`` counts them."""
    clock_gettime(CLOCK_MONOTONIC, state.timing.ctypes.data)
    return float(state.timing[0] + state.timing[1] / _NANOSECONDS)


@kernel
def _sleep(state: LoopState, seconds: float) -> int:
    """Until a file is readable, or so many seconds. Not in epoll, which would round them up to milliseconds."""
    timing = state.timing
    timing[2] = _POLLIN << 32 | state.numbers[EPOLL]  # struct pollfd: file and events
    time = 0
    if seconds < _NANOSECONDS:  # else there is no timer
        timing[0] = int(seconds)
        timing[1] = int((seconds - int(seconds)) * _NANOSECONDS)
        time = timing.ctypes.data
    return int(ppoll(timing.ctypes.data + 16, 1, time, 0))
