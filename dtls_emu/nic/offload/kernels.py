"""The datapath of known flows, compiled: every rule about their packets.

As in the cloud's own cards (Firestone et al., NSDI 2018) the first packet of a flow is an exception: the slow path
decides, and the decision is installed in the flow table. From then on kernels carry the flow's packets, until something
that the decision rests on changes: policy, links, the tunnel's association. Then the next packet is an exception again.

Who calls whom::

    card, a burst at a time                          a host's compiled loop, a packet or a receive at a time
    nic/egress.py, nic/ingress.py                    host/loop/kernels.py
            |                                                |
    entries.py   numbers and addresses               (no Python in between)
            |                                                |
            +-------------------- kernels.py ----------------+
                 plan_out, seal_out | find_path, open_in, take_in
                                      |
        wire/ inspect, segment, encapsulate, merge    tunnel/record_kernels.py seal, open

* *One rule, one place.* Whether a packet is of a known flow, fits, may be sealed, may be delivered, and how it is counted,
  is decided here only. Both callers get a verdict (`verdicts.py`); the loop hands every exception to the card,
  and the card's Python does misses, drops, fragments, what is too big or has to wait, and nothing else.
* *A backend without native ends* (`cryptography`, `openssl`) has the same kernels plan, lay out, find flows and count. Only
  the cipher over the burst is a call of Python: :attr:`~state.Plan.by_call` says so on the way out, and on the way in the
  tunnel opens the records and `entries.deliver_burst` goes on.
* *One memory.* What both change (record numbers, replay windows, timers, counters, flow tables) is in records of NumPy
  (`state.py`), which Python reads and writes, too. So the callers may take turns at any time, and nothing has to be
  settled between them. What a call tells its caller is in what it returns.
* *Paths* (`paths.py`) lead to other hosts, sealed or in clear. One is usable while nothing but traffic is to be expected
  of its association; the card refreshes it after every call on the tunnel.
* *Flows are decided anew* when the generation of the card's decisions changes; `datapath.py` installs them. A flow's
  counters are exact whoever carried it, and are handed on before they are overwritten (:mod:`dtls_emu.nic.flow_table`).

The functions below stand in the order of a packet. Out:

1. :func:`plan_out` inspects a burst, finds its flow, and says what is to become of it. It changes nothing.
2. :func:`seal_out` lays out its rows on the wire, each behind its encapsulation (the one copy of a payload), seals them
   where the backend has a native sealer, and counts them.

In:

3. :func:`find_path` finds how datagrams came; :func:`open_in` checks and opens them, where the backend has a native
   opener.
4. :func:`take_in` finds the flow of each row, marks congestion (RFC 6040), and counts what is delivered.

What is not plainly a packet of a known flow is an *exception*: it is left alone, and Python takes it as if nothing had
been here before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.crypto.native import NativeEnd
from dtls_emu.nic.flow_table import find_key
from dtls_emu.nic.offload.state import (
    DELIVER_ANY,
    DROP,
    GATEWAY,
    LEFT,
    LOCAL,
    NOT_OPENED,
    SEND,
    Admission,
    CardMemory,
    Found,
    Opening,
    PeerMemory,
    Plan,
)
from dtls_emu.nic.offload.verdicts import In, Out
from dtls_emu.tunnel.liveness import liveness_at, note_heard, note_sent
from dtls_emu.tunnel.record_kernels import UNFIT, open_burst, records_at, seal_burst
from dtls_emu.wire.burst import MAX_ROWS, Shape
from dtls_emu.wire.ecn import ECN
from dtls_emu.wire.ecn_kernels import NOT_CAPABLE, combine, mark_rows
from dtls_emu.wire.headers import transport_layout
from dtls_emu.wire.inspect import Inspection, PacketClass, inspect_frames, inspect_packets
from dtls_emu.wire.memory import bytes_at, kernel, words_at
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_OVERHEAD, RECORD_PREFIX
from dtls_emu.wire.segment import segment_packet
from dtls_emu.wire.vxlan import encapsulate_rows


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = [
    "count_delivery",
    "count_flow",
    "count_offered",
    "deliver_found",
    "find_flows",
    "find_path",
    "judge_flow",
    "judge_out",
    "judge_run",
    "mark_run",
    "open_in",
    "plan_out",
    "seal_out",
    "take_in",
]

# Plain numbers: what an enumeration costs a kernel at compile time, each of them pays again.
_FRAGMENT: Final = int(PacketClass.FRAGMENT)
_MALFORMED: Final = int(PacketClass.MALFORMED)
_PADDED: Final = int(PacketClass.PADDED)
_NONE: Final = int(PacketClass.NONE)

_OUT_SEND: Final = int(Out.SEND)
_OUT_MIXED: Final = int(Out.MIXED)
_OUT_MALFORMED: Final = int(Out.MALFORMED)
_OUT_PADDED: Final = int(Out.PADDED)
_OUT_MISS: Final = int(Out.MISS)
_OUT_FOREIGN_VM: Final = int(Out.FOREIGN_VM)
_OUT_DROP: Final = int(Out.DROP)
_OUT_TOO_BIG: Final = int(Out.TOO_BIG)
_OUT_LOCAL: Final = int(Out.LOCAL)
_OUT_GATEWAY: Final = int(Out.GATEWAY)
_OUT_NO_PATH: Final = int(Out.NO_PATH)
_OUT_TOO_MANY_ROWS: Final = int(Out.TOO_MANY_ROWS)

_IN_MISS: Final = int(In.MISS)
_IN_NONE: Final = int(In.NONE)
_IN_MALFORMED: Final = int(In.MALFORMED)
_IN_REFUSED: Final = int(In.REFUSED)
_IN_FOREIGN_SOURCE: Final = int(In.FOREIGN_SOURCE)
_IN_CLEAR_NOT_ACCEPTED: Final = int(In.CLEAR_NOT_ACCEPTED)
_IN_CE_NOT_CAPABLE: Final = int(In.CE_NOT_CAPABLE)


# ------------------------------------------------------------------------------------------------ out


@kernel
def plan_out(
    memory: CardMemory,
    vm: int,
    vni: int,
    buffer: NDArray[np.uint8],
    shape: Shape,
    gso_size: int,
    layout: int,
    now: float,
) -> Plan:
    """Look at packets, or one super-packet, that a VM of the virtual network ``vni`` sends. Changes nothing.

    ``shape``, ``gso_size`` and ``layout`` are those of a :class:`~dtls_emu.wire.burst.Burst`.
    """
    seen = memory.rows
    inspection = Inspection(seen.keys, seen.classes, seen.services, seen.runs)
    if inspect_packets(buffer, shape, vni, inspection) != 1:
        return _exception(_OUT_MIXED, -1)
    found = judge_out(memory, 0, vm, now)
    number = found.flow
    if found.verdict != _OUT_SEND:
        return _exception(found.verdict, number)
    card = memory.card[0]
    flow = memory.out.flows[number]
    rows, size, last = shape.rows, shape.size, shape.last
    if gso_size > 0:
        if layout == 0:
            layout = transport_layout(buffer, shape.offset, size)
        if layout < 0:
            return _exception(_OUT_MALFORMED, number)
        headers = layout & 0xFFFF
        payload = size - headers
        rows = max((payload + gso_size - 1) // gso_size, 1)
        size = headers + min(gso_size, payload)
        last = headers + payload - (rows - 1) * gso_size
    if size > flow.limit:
        return _exception(_OUT_TOO_BIG, number)
    if flow.action == LOCAL:
        return _exception(_OUT_LOCAL, number)
    if flow.action == GATEWAY:
        return _exception(_OUT_GATEWAY, number)
    path = memory.paths[flow.path]
    if flow.action != SEND or not path.usable:
        return _exception(_OUT_NO_PATH, number)
    if rows > MAX_ROWS:
        return _exception(_OUT_TOO_MANY_ROWS, number)
    overhead = ENCAPSULATION
    if path.sealed:
        if seen.classes[0] == _FRAGMENT:
            return _exception(_OUT_DROP, number)  # never sealed, whatever its flow says
        records = records_at(path.records, 1)[0]
        if (
            records.closed
            or records.next_sequence + rows >= path.worn_sequence
            or records.sealed_bytes + rows * (size + ENCAPSULATION) >= path.worn_bytes
        ):
            return _exception(_OUT_NO_PATH, number)
        overhead += RECORD_OVERHEAD
    return Plan(
        _OUT_SEND,
        number,
        int(flow.path),
        rows,
        (size if rows > 1 else last) + overhead,
        last + overhead,
        int(seen.services[0]) & card.tos_kept | card.tos_set,
        path.sealed != 0 and path.sealer == 0,
    )


@kernel
def judge_out(memory: CardMemory, row: int, vm: int, now: float) -> Admission:
    """The flow of a row that was inspected, and whether its packets go on: then the verdict is SEND, of any action."""
    seen = memory.rows
    if seen.classes[row] == _MALFORMED:
        return Admission(_OUT_MALFORMED, -1)
    if seen.classes[row] == _PADDED:
        return Admission(_OUT_PADDED, -1)
    number = find_key(memory.out.slots, memory.out.keys, seen.keys, row)
    if number < 0:
        return Admission(_OUT_MISS, -1)
    flow = memory.out.flows[number]
    if flow.generation != memory.card[0].generation or now >= flow.expires:
        return Admission(_OUT_MISS, number)
    if flow.vm != vm:
        return Admission(_OUT_FOREIGN_VM, number)
    return Admission(_OUT_DROP if flow.action == DROP else _OUT_SEND, number)


@kernel
def _exception(verdict: int, flow: int) -> Plan:
    """A plan for nothing."""
    return Plan(verdict, flow, 0, 0, 0, 0, 0, False)


@kernel
def seal_out(
    memory: CardMemory,
    plan: Plan,
    buffer: NDArray[np.uint8],
    shape: Shape,
    gso_size: int,
    layout: int,
    wire: NDArray[np.uint8],
    at: int,
    now: float,
) -> bool:
    """Make of a burst that was planned its rows on the wire, at ``at`` of ``wire``, one behind the other.

    ``wire`` has room for as many rows of the longest size. False, with nothing done, when it cannot be cut.
    """
    path = memory.paths[plan.path]
    flow = memory.out.flows[plan.flow]
    overhead = RECORD_OVERHEAD if path.sealed else 0
    headroom = RECORD_PREFIX if path.sealed else 0
    header = bytes_at(flow.header, ENCAPSULATION)
    stride, rows = plan.size, plan.rows
    target = wire[at : at + rows * stride]
    if gso_size > 0:
        packet = buffer[shape.offset : shape.offset + shape.size]
        if segment_packet(packet, shape.size, gso_size, target, stride, headroom, header, layout) != rows:
            return False
    else:
        encapsulate_rows(buffer, shape, target, stride, headroom, header)
    size, last = stride - overhead, plan.last - overhead
    card = memory.card[0]
    if not path.sealed:
        card.clear += rows
    else:
        if path.sealer:
            sealer = NativeEnd(path.sealer, path.sealer_state)
            framed = Shape(stride, RECORD_PREFIX, size, rows, last)
            if not seal_burst(
                records_at(path.records, 1), path.worn_sequence, sealer, target, framed, path.epoch
            ):
                return False
            due = note_sent(liveness_at(path.liveness, 1), now)
            path.due = min(path.due, due)
            card.due = min(card.due, due)
        card.encrypted += rows
    count_flow(memory, plan.flow, rows, (rows - 1) * size + last - rows * ENCAPSULATION, now)
    return True


@kernel
def count_flow(memory: CardMemory, flow: int, packets: int, nbytes: int, now: float) -> None:
    """Count inner packets of a flow from a VM."""
    counted = memory.out.flows[flow]
    counted.packets += packets
    counted.nbytes += nbytes
    counted.seen = now


@kernel
def count_offered(memory: CardMemory, packets: int, nbytes: int) -> None:
    """Count inner packets that a VM has handed to the card."""
    card = memory.card[0]
    card.offered += packets
    card.offered_bytes += nbytes


# ------------------------------------------------------------------------------------------------ in


@kernel
def find_path(peers: PeerMemory, keys: NDArray[np.uint64]) -> int:
    """The path of datagrams whose ports and sender are the key in ``keys[0]``, or -1."""
    return find_key(peers.slots, peers.keys, keys, 0)


@kernel
def open_in(
    memory: CardMemory, number: int, buffer: NDArray[np.uint8], shape: Shape, tos: int, now: float
) -> Opening:
    """Take datagrams that came by path ``number``, at offset 0 of their rows; open them in place.

    ``tos`` is the type of service that they came with; congestion that it tells of is marked on the packets inside.
    """
    if number < 0 or not 0 < shape.rows <= MAX_ROWS:
        return Opening(NOT_OPENED, 0)
    path = memory.paths[number]
    status = memory.rows.status
    if not path.usable or (path.sealed and path.opener == 0):
        return Opening(NOT_OPENED, 0)
    stride, _, size, rows, last = shape
    if not path.sealed:
        status[:rows] = 0
        runs = take_in(memory, buffer, shape, status, path.peer, True, tos, now)
        if runs == LEFT:
            return Opening(NOT_OPENED, 0)
        memory.card[0].received += rows
        return Opening(runs, 0)
    found = open_burst(
        records_at(path.records, 1),
        words_at(path.window, path.window_words),
        NativeEnd(path.opener, path.opener_state),
        buffer,
        shape,
        path.epoch,
        status,
        True,
    )
    if found == UNFIT or found >> 8 != rows:
        return Opening(NOT_OPENED, 0)
    opened = found & 0xFF
    if opened != rows:
        return Opening(LEFT, opened)
    packets = Shape(stride, RECORD_PREFIX, size - RECORD_OVERHEAD, rows, last - RECORD_OVERHEAD)
    runs = take_in(memory, buffer, packets, status, path.peer, False, tos, now)
    if runs != LEFT:
        due = note_heard(liveness_at(path.liveness, 1), now)
        path.due = min(path.due, due)
        memory.card[0].due = min(memory.card[0].due, due)
        memory.card[0].received += rows
    return Opening(runs, opened)


@kernel
def take_in(
    memory: CardMemory,
    buffer: NDArray[np.uint8],
    shape: Shape,
    status: NDArray[np.uint8],
    peer: int,
    in_clear: bool,
    tos: int,
    now: float,
) -> int:
    """Find the flows of frames that are open, and count them as delivered if all of them can be.

    Returns:
        The number of runs, as in :class:`~dtls_emu.nic.offload.state.Opening`, or
        :data:`~dtls_emu.nic.offload.state.LEFT`, with nothing done but what :func:`find_flows` does.
    """
    found = find_flows(memory, buffer, shape, status, peer, in_clear, tos)
    if found.left:
        return LEFT
    deliver_found(memory, found.runs, buffer, shape, tos, now)
    return found.runs


@kernel
def deliver_found(
    memory: CardMemory, runs: int, buffer: NDArray[np.uint8], shape: Shape, tos: int, now: float
) -> None:
    """Mark and count every run of a burst of frames; none of them is left."""
    for run in range(runs):
        start, stop = memory.rows.runs[run], memory.rows.runs[run + 1]
        rows = stop - start
        last = shape.last if stop == shape.rows else shape.size
        mark_run(memory, run, buffer, shape.stride, start * shape.stride + shape.offset + ENCAPSULATION, tos)
        nbytes = (rows - 1) * shape.size + last - rows * ENCAPSULATION
        count_delivery(memory, memory.rows.flows[run], rows, nbytes, now)


@kernel
def find_flows(
    memory: CardMemory,
    buffer: NDArray[np.uint8],
    shape: Shape,
    status: NDArray[np.uint8],
    peer: int,
    in_clear: bool,
    tos: int,
) -> Found:
    """Find the flow of each run of frames whose ``status`` is OK, VXLAN in front: :func:`judge_run` for each."""
    seen = memory.rows
    inspection = Inspection(seen.keys, seen.classes, seen.services, seen.runs)
    runs = inspect_frames(buffer, shape, status, inspection)
    left = 0
    for run in range(runs):
        flow = judge_run(memory, run, peer, in_clear, tos)
        seen.flows[run] = flow
        if flow < 0 or seen.classes[seen.runs[run]] == _PADDED:
            left += 1
    return Found(runs, left)


@kernel
def judge_run(memory: CardMemory, run: int, peer: int, in_clear: bool, tos: int) -> int:
    """The flow of a run, if it may come from this peer like this; or an :class:`~dtls_emu.nic.offload.verdicts.In`."""
    seen = memory.rows
    row = seen.runs[run]
    if seen.classes[row] == _NONE:
        return _IN_NONE
    if seen.classes[row] == _MALFORMED:
        return _IN_MALFORMED
    number = find_key(memory.into.slots, memory.into.keys, seen.keys, row)
    if number < 0 or memory.into.flows[number].generation != memory.card[0].generation:
        return _IN_MISS
    return judge_flow(memory, run, number, peer, in_clear, tos)


@kernel
def judge_flow(memory: CardMemory, run: int, number: int, peer: int, in_clear: bool, tos: int) -> int:
    """Likewise of a run whose flow is known."""
    flow = memory.into.flows[number]
    if flow.action == DROP:
        return _IN_REFUSED
    if flow.path != peer:
        return _IN_FOREIGN_SOURCE
    if in_clear and flow.action != DELIVER_ANY:
        return _IN_CLEAR_NOT_ACCEPTED
    if combine(int(memory.rows.services[memory.rows.runs[run]]), tos) == NOT_CAPABLE:
        return _IN_CE_NOT_CAPABLE
    return int(number)


@kernel
def mark_run(
    memory: CardMemory, run: int, buffer: NDArray[np.uint8], stride: int, first: int, tos: int
) -> None:
    """Have the packets of a run, of which the first is at ``first``, say what happened to them outside; they can."""
    if tos & ECN == 0:
        return
    start = memory.rows.runs[run]
    inner = int(memory.rows.services[start])
    marked = combine(inner, tos)
    if marked != inner & ECN:
        mark_rows(buffer, stride, first, memory.rows.runs[run + 1] - start, marked)


@kernel
def count_delivery(memory: CardMemory, flow: int, packets: int, nbytes: int, now: float) -> None:
    """Count inner packets of a flow to a VM as delivered."""
    counted = memory.into.flows[flow]
    counted.packets += packets
    counted.nbytes += nbytes
    counted.seen = now
    card = memory.card[0]
    card.delivered += packets
    card.delivered_bytes += nbytes
