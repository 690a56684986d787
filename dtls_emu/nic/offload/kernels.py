"""The card's fast path as kernels: a packet of a known flow becomes sealed rows, sealed rows become packets.

They do, for the one flow that they are given, what :mod:`dtls_emu.nic.egress`, :mod:`dtls_emu.nic.ingress` and the
tunnel do, out of the same kernels and on the same memory: flow tables, numbers of records, replay windows,
timers. What is not plainly a packet of an offloaded flow they leave alone, and say so (an *exception*): then the
slow path takes it as if nothing had been here before.

`plan_out` looks, and changes nothing; `seal_out` does what was planned. `open_in` opens a burst of datagrams and finds
the flow of each row; the caller delivers them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.nic.flow_table import (
    FACT_BYTES,
    FACT_GENERATION,
    FACT_HEADER,
    FACT_LIMIT,
    FACT_PACKETS,
    FACT_SEEN,
    FACT_VM,
    FACT_WAY,
    find_key,
)
from dtls_emu.tunnel.liveness import TIMES, note_heard, note_sent
from dtls_emu.tunnel.record_kernels import (
    CLOSED,
    NEXT_SEQUENCE,
    SEALED_BYTES,
    UNFIT,
    WORDS,
    open_burst,
    seal_burst,
)
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.ecn import ECN
from dtls_emu.wire.ecn_kernels import NOT_CAPABLE, combine, mark_rows
from dtls_emu.wire.headers import transport_layout
from dtls_emu.wire.inspect import PacketClass, inspect_frames, inspect_packets
from dtls_emu.wire.memory import bytes_at, copy_bytes, kernel, times_at, words_at
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_OVERHEAD, RECORD_PREFIX
from dtls_emu.wire.segment import segment_packet


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = [
    "DELIVERED",
    "DELIVERED_BYTES",
    "ENCRYPTED",
    "EXCEPTION",
    "GENERATION",
    "IN_CLEAR",
    "KEYED_ROWS",
    "NOT_OPENED",
    "NUMBERS",
    "OFFERED",
    "OFFERED_BYTES",
    "OPENED_ROWS",
    "PEER",
    "PLAN_FLOW",
    "PLAN_LAST",
    "PLAN_ROWS",
    "PLAN_SIZE",
    "PLAN_TOS",
    "PLAN_WAY",
    "RECEIVED",
    "TOS_KEPT",
    "TOS_SET",
    "WAY_BYTES",
    "WAY_EPOCH",
    "WAY_LENGTH",
    "WAY_LOCAL_PORT",
    "WAY_OPEN",
    "WAY_OPEN_STATE",
    "WAY_REMOTE_PORT",
    "WAY_SEAL",
    "WAY_SEALED",
    "WAY_SEAL_STATE",
    "WAY_SEQUENCE",
    "WAY_STATE",
    "WAY_TIMES",
    "WAY_WINDOW",
    "WAY_WINDOW_WORDS",
    "WAY_WORDS",
    "FastState",
    "count_delivery",
    "open_in",
    "plan_out",
    "seal_out",
]

# A way: how to another host, sealed or in clear.
WAY_STATE: Final = 0  # 1: usable
WAY_SEALED: Final = 1
WAY_LOCAL_PORT: Final = 2
WAY_REMOTE_PORT: Final = 3
WAY_SEAL: Final = 4
WAY_SEAL_STATE: Final = 5
WAY_OPEN: Final = 6
WAY_OPEN_STATE: Final = 7
WAY_EPOCH: Final = 8
WAY_SEQUENCE: Final = 9  # a record's number that is the slow path's: the key is worn
WAY_BYTES: Final = 10  # likewise
WAY_WORDS: Final = 11  # addresses of what the association and the tunnel share
WAY_WINDOW: Final = 12
WAY_WINDOW_WORDS: Final = 13
WAY_TIMES: Final = 14
PEER: Final = 15  # number of the host at the other end
WAY_LENGTH: Final = 16

# Numbers of the card: the generation that flows must have, counters, and what one call tells the next.
GENERATION: Final = 0
OFFERED: Final = 1
OFFERED_BYTES: Final = 2
ENCRYPTED: Final = 3
IN_CLEAR: Final = 4
RECEIVED: Final = 5
DELIVERED: Final = 6
DELIVERED_BYTES: Final = 7
PLAN_FLOW: Final = 8
PLAN_WAY: Final = 9
PLAN_ROWS: Final = 10
PLAN_SIZE: Final = 11  # of a row on the wire, in bytes
PLAN_LAST: Final = 12
OPENED_ROWS: Final = 13
KEYED_ROWS: Final = 14  # rows whose keys are in `keys`
TOS_KEPT: Final = 15  # bits of the inner type of service that go outside, and those that are there besides
TOS_SET: Final = 16
PLAN_TOS: Final = 17  # of the packets outside
NUMBERS: Final = 18

EXCEPTION: Final = -1
"""Of `open_in`: the slow path must go on with it. Rows are opened; not all of them can be delivered from here."""

NOT_OPENED: Final = -2
"""Of `open_in`: the slow path must look at it; nothing has happened yet."""

_WHOLE: Final = int(PacketClass.WHOLE)
_MICROSECONDS: Final = 1e6


class FastState(NamedTuple):
    """All that the kernels read and write.

    Fields:
        out_slots, out_keys, out_facts: the flow table of the way out.
        in_slots, in_keys, in_facts: of the way in.
        ways: ``int64``, a row each: to each host sealed, then to each host in clear.
        peer_slots, peer_keys, peer_ways: from a datagram's ports and sender to its way.
        numbers: of the card, ``int64``.
        due: when a timer is due that was set here, in seconds; ``float64``, one.
        keys, classes, runs, status, flows, services: scratch, for 64 rows.
    """

    out_slots: NDArray[np.int32]
    out_keys: NDArray[np.uint64]
    out_facts: NDArray[np.int64]
    in_slots: NDArray[np.int32]
    in_keys: NDArray[np.uint64]
    in_facts: NDArray[np.int64]
    ways: NDArray[np.int64]
    peer_slots: NDArray[np.int32]
    peer_keys: NDArray[np.uint64]
    peer_ways: NDArray[np.int64]
    numbers: NDArray[np.int64]
    due: NDArray[np.float64]
    keys: NDArray[np.uint64]
    classes: NDArray[np.uint8]
    runs: NDArray[np.int64]
    status: NDArray[np.uint8]
    flows: NDArray[np.int64]
    services: NDArray[np.uint8]


@kernel
def plan_out(
    state: FastState,
    vm: int,
    vni: int,
    packet: NDArray[np.uint8],
    start: int,
    length: int,
    gso_size: int,
    layout: int = 0,
) -> bool:
    """Look at a packet, or super-packet, at ``start`` of ``packet``: whether its flow is offloaded and can be sent.

    ``gso_size`` and ``layout`` are those of a super-packet's :class:`~dtls_emu.wire.burst.Burst`, 0 of a packet.
    If so, ``numbers`` has its flow, its way, rows, their lengths and their type of service on the wire. Its key is in ``keys[0]``.
    """
    numbers = state.numbers
    inspect_packets(
        packet, length, start, length, 1, length, vni, state.keys, state.classes, state.runs, state.services
    )
    if state.classes[0] != _WHOLE:
        return False
    flow = find_key(state.out_slots, state.out_keys, state.keys, 0)
    if flow < 0:
        return False
    facts = state.out_facts[flow]
    if facts[FACT_GENERATION] != numbers[GENERATION] or facts[FACT_VM] != vm:
        return False
    rows = 1
    size = last = length
    if gso_size > 0:
        if layout == 0:
            layout = transport_layout(packet, start, length)
        if layout < 0:
            return False
        headers = layout & 0xFFFF
        payload = length - headers
        rows = max((payload + gso_size - 1) // gso_size, 1)
        size = headers + min(gso_size, payload)
        last = headers + payload - (rows - 1) * gso_size
    if rows > MAX_ROWS or size > facts[FACT_LIMIT]:
        return False
    way = facts[FACT_WAY]
    about = state.ways[way]
    if about[WAY_STATE] == 0:
        return False
    overhead = ENCAPSULATION
    if about[WAY_SEALED]:
        words = words_at(about[WAY_WORDS], WORDS)
        if (
            words[CLOSED]
            or words[NEXT_SEQUENCE] + rows >= about[WAY_SEQUENCE]
            or words[SEALED_BYTES] + rows * (size + ENCAPSULATION) >= about[WAY_BYTES]
        ):
            return False
        overhead += RECORD_OVERHEAD
    numbers[PLAN_FLOW] = flow
    numbers[PLAN_WAY] = way
    numbers[PLAN_ROWS] = rows
    numbers[PLAN_SIZE] = size + overhead if rows > 1 else last + overhead
    numbers[PLAN_LAST] = last + overhead
    numbers[PLAN_TOS] = int(state.services[0]) & numbers[TOS_KEPT] | numbers[TOS_SET]
    return True


@kernel
def seal_out(
    state: FastState,
    packet: NDArray[np.uint8],
    start: int,
    length: int,
    gso_size: int,
    wire: NDArray[np.uint8],
    at: int,
    now: float,
    layout: int = 0,
) -> bool:
    """Make of a packet that was planned its rows on the wire, at ``at`` of ``wire``, one behind the other.

    ``wire`` has room for as many rows of the longest size. False, with nothing done, when it cannot be cut.
    """
    numbers = state.numbers
    facts = state.out_facts[numbers[PLAN_FLOW]]
    about = state.ways[numbers[PLAN_WAY]]
    rows = numbers[PLAN_ROWS]
    stride = numbers[PLAN_SIZE]
    sealed = about[WAY_SEALED]
    headroom = RECORD_PREFIX if sealed else 0
    overhead = RECORD_OVERHEAD if sealed else 0
    header = bytes_at(facts[FACT_HEADER], ENCAPSULATION)
    if gso_size > 0:
        target = wire[at : at + rows * stride]
        inner = packet[start : start + length]
        if segment_packet(inner, length, gso_size, target, stride, headroom, header, layout) != rows:
            return False
    else:
        copy_bytes(wire, at + headroom, header, 0, ENCAPSULATION)
        copy_bytes(wire, at + headroom + ENCAPSULATION, packet, start, length)
    size = stride - overhead
    last = numbers[PLAN_LAST] - overhead
    total = (rows - 1) * size + last
    if sealed:
        words = words_at(about[WAY_WORDS], WORDS)
        if not seal_burst(
            words,
            about[WAY_SEQUENCE],
            about[WAY_SEAL],
            about[WAY_SEAL_STATE],
            wire[at : at + rows * stride],
            RECORD_PREFIX,
            stride,
            size,
            rows,
            last,
            about[WAY_EPOCH],
        ):
            return False
        times = times_at(about[WAY_TIMES], TIMES)
        state.due[0] = min(state.due[0], note_sent(times, now))
        numbers[ENCRYPTED] += rows
    else:
        numbers[IN_CLEAR] += rows
    numbers[OFFERED] += rows
    numbers[OFFERED_BYTES] += length
    facts[FACT_PACKETS] += rows
    facts[FACT_BYTES] += total
    facts[FACT_SEEN] = int(now * _MICROSECONDS)
    return True


@kernel
def open_in(
    state: FastState,
    buffer: NDArray[np.uint8],
    size: int,
    count: int,
    last: int,
    now: float,
    tos: int = 0,
) -> int:
    """Open datagrams of one sender, ``size`` bytes each and back to back; their way's key is in ``keys[0]``.

    ``tos`` is the type of service that they came with; congestion that it tells of is marked on the packets inside.

    Returns:
        The number of runs of rows of one flow: ``runs[i]`` to ``runs[i + 1]`` go to the VM of flow ``flows[i]``;
        packets begin behind the record's and the encapsulation's headers. Or :data:`NOT_OPENED`; or
        :data:`EXCEPTION`: ``status`` and ``numbers[OPENED_ROWS]`` say what was opened; of the books only the
        association's words know.
    """
    numbers = state.numbers
    numbers[KEYED_ROWS] = 0
    found = find_key(state.peer_slots, state.peer_keys, state.keys, 0)
    if found < 0 or count > MAX_ROWS:
        return NOT_OPENED
    way = state.peer_ways[found]
    about = state.ways[way]
    if about[WAY_STATE] == 0:
        return NOT_OPENED
    numbers[PLAN_WAY] = way
    if not about[WAY_SEALED]:
        state.status[:count] = 0
        runs = _find_flows(state, buffer, size, 0, size, count, last, about[PEER], tos, in_clear=True)
        if runs < 0:
            return NOT_OPENED
        if tos & ECN:
            _mark(state, buffer, size, ENCAPSULATION, runs, tos)
        numbers[RECEIVED] += count
        return runs
    words = words_at(about[WAY_WORDS], WORDS)
    window = words_at(about[WAY_WINDOW], about[WAY_WINDOW_WORDS])
    found = open_burst(
        words,
        window,
        about[WAY_OPEN],
        about[WAY_OPEN_STATE],
        buffer,
        size,
        size,
        count,
        last,
        about[WAY_EPOCH],
        state.status,
        True,
    )
    if found == UNFIT or found >> 8 != count:
        return NOT_OPENED
    opened = found & 0xFF
    numbers[OPENED_ROWS] = opened
    if opened != count:
        return EXCEPTION
    packet, shortest = size - RECORD_OVERHEAD, last - RECORD_OVERHEAD
    runs = _find_flows(
        state, buffer, size, RECORD_PREFIX, packet, count, shortest, about[PEER], tos, in_clear=False
    )
    if runs < 0:
        return EXCEPTION
    if tos & ECN:
        _mark(state, buffer, size, RECORD_PREFIX + ENCAPSULATION, runs, tos)
    times = times_at(about[WAY_TIMES], TIMES)
    state.due[0] = min(state.due[0], note_heard(times, now))
    numbers[RECEIVED] += count
    return runs


@kernel
def _find_flows(
    state: FastState,
    buffer: NDArray[np.uint8],
    stride: int,
    offset: int,
    size: int,
    count: int,
    last: int,
    peer: int,
    tos: int,
    in_clear: bool,
) -> int:
    """The runs of a burst, all of them of flows that are offloaded and may come from this peer like this; or -1."""
    runs = inspect_frames(
        buffer,
        stride,
        offset,
        size,
        count,
        last,
        state.status,
        state.keys,
        state.classes,
        state.runs,
        state.services,
    )
    state.numbers[KEYED_ROWS] = count
    for run in range(runs):
        row = state.runs[run]
        if state.classes[row] != _WHOLE:
            return -1
        flow = find_key(state.in_slots, state.in_keys, state.keys, row)
        if flow < 0:
            return -1
        facts = state.in_facts[flow]
        if facts[FACT_GENERATION] != state.numbers[GENERATION] or facts[FACT_WAY] != peer:
            return -1
        if in_clear and not facts[FACT_LIMIT]:
            return -1
        if combine(int(state.services[row]), tos) == NOT_CAPABLE:
            return -1
        state.flows[run] = flow
    return runs


@kernel
def _mark(state: FastState, buffer: NDArray[np.uint8], stride: int, offset: int, runs: int, tos: int) -> None:
    """Have the packets of each run say what happened to them outside; they can."""
    for run in range(runs):
        start = state.runs[run]
        inner = int(state.services[start])
        marked = combine(inner, tos)
        if marked != inner & ECN:
            mark_rows(buffer, stride, start * stride + offset, state.runs[run + 1] - start, marked)


@kernel
def count_delivery(state: FastState, flow: int, packets: int, nbytes: int, now: float) -> int:
    """Enter so many packets of a flow in the books. Returns the number of the VM that gets them."""
    facts = state.in_facts[flow]
    facts[FACT_PACKETS] += packets
    facts[FACT_BYTES] += nbytes
    facts[FACT_SEEN] = int(now * _MICROSECONDS)
    state.numbers[DELIVERED] += packets
    state.numbers[DELIVERED_BYTES] += nbytes
    return int(facts[FACT_VM])
