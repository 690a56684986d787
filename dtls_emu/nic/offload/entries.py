"""How the card calls the kernels: a burst at a time, with numbers, arrays and one record of addresses.

Each does what the compiled loop of a real host does between its own system calls, out of the same kernels. A burst's
shape comes as plain numbers, and answers are plain tuples, because Python pays for every bundle: 0.6 us for a
:class:`~dtls_emu.wire.burst.Shape`, 0.7 us for a named tuple in return, where all of a burst's Python takes three. This
is the one place with functions of more than ten parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.nic.offload.kernels import (
    count_delivery,
    count_flow,
    deliver_found,
    find_flows,
    judge_flow,
    judge_out,
    mark_run,
    open_in,
    plan_out,
    seal_out,
)
from dtls_emu.nic.offload.state import Records, memory_at
from dtls_emu.nic.offload.verdicts import Out
from dtls_emu.wire.burst import Shape
from dtls_emu.wire.memory import kernel


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = [
    "count_sent",
    "deliver_burst",
    "deliver_run",
    "judge",
    "judge_groups",
    "receive_burst",
    "send_burst",
]

_SEND: Final = int(Out.SEND)
_MALFORMED: Final = int(Out.MALFORMED)
_NO_ROOM: Final = int(Out.NO_ROOM)
_DROP: Final = int(Out.DROP)


@kernel
def send_burst(
    addresses: Records,
    vm: int,
    vni: int,
    buffer: NDArray[np.uint8],
    stride: int,
    offset: int,
    size: int,
    rows: int,
    last: int,
    gso_size: int,
    layout: int,
    wire: NDArray[np.uint8],
    at: int,
    now: float,
) -> tuple[int, int, int, int, int, int, int, bool]:
    """Plan a VM's burst, and if it is to be sent, lay it out at ``at`` of ``wire``, seal and count it.

    Returns:
        The fields of a :class:`~dtls_emu.nic.offload.state.Plan`; what is to be sent is done, but for the sealing where
        `by_call` is set.
    """
    memory = memory_at(addresses)
    shape = Shape(stride, offset, size, rows, last)
    plan = plan_out(memory, vm, vni, buffer, shape, gso_size, layout, now)
    verdict = plan.verdict
    if verdict == _SEND:
        if at + plan.rows * plan.size > len(wire):
            verdict = _NO_ROOM
        elif not seal_out(memory, plan, buffer, shape, gso_size, layout, wire, at, now):
            verdict = _MALFORMED
    return verdict, plan.flow, plan.path, plan.rows, plan.size, plan.last, plan.tos, plan.by_call


@kernel
def judge_groups(
    addresses: Records,
    vm: int,
    heads: NDArray[np.int64],
    count: int,
    now: float,
    verdicts: NDArray[np.int64],
    flows: NDArray[np.int64],
) -> None:
    """Of the first rows of several flows in a burst that was inspected: an Admission each, in two arrays.

    Of known flows that are dropped it is noted that they were seen.
    """
    memory = memory_at(addresses)
    for group in range(count):
        admission = judge_out(memory, heads[group], vm, now)
        verdicts[group], flows[group] = admission.verdict, admission.flow
        if admission.verdict == _DROP:
            memory.out.flows[admission.flow].seen = now


@kernel
def count_sent(addresses: Records, flow: int, packets: int, nbytes: int, now: float) -> None:
    """Count inner packets of a flow from a VM that Python has sent on."""
    count_flow(memory_at(addresses), flow, packets, nbytes, now)


@kernel
def receive_burst(
    addresses: Records,
    path: int,
    buffer: NDArray[np.uint8],
    stride: int,
    size: int,
    rows: int,
    last: int,
    tos: int,
    now: float,
) -> tuple[int, int, int]:
    """Open datagrams at offset 0 of their rows, and count them as delivered.

    Returns:
        The fields of an :class:`~dtls_emu.nic.offload.state.Opening`, and the flow of the first run.
    """
    memory = memory_at(addresses)
    opening = open_in(memory, path, buffer, Shape(stride, 0, size, rows, last), tos, now)
    return opening.runs, opening.opened, memory.rows.flows[0]


@kernel
def deliver_burst(
    addresses: Records,
    peer: int,
    in_clear: bool,
    buffer: NDArray[np.uint8],
    stride: int,
    offset: int,
    size: int,
    rows: int,
    last: int,
    status: NDArray[np.uint8],
    tos: int,
    now: float,
) -> tuple[int, int, int]:
    """Find the flows of frames that Python has had opened, and count them as delivered if all can be.

    Returns:
        The fields of a :class:`~dtls_emu.nic.offload.state.Found`, and the flow of the first run. While any run is left
        none is counted.
    """
    memory = memory_at(addresses)
    shape = Shape(stride, offset, size, rows, last)
    found = find_flows(memory, buffer, shape, status, peer, in_clear, tos)
    if not found.left:
        deliver_found(memory, found.runs, buffer, shape, tos, now)
    return found.runs, found.left, memory.rows.flows[0]


@kernel
def judge(addresses: Records, run: int, number: int, peer: int, in_clear: bool, tos: int) -> int:
    """The flow of a run that was a miss, once it is decided; or an :class:`~dtls_emu.nic.offload.verdicts.In`."""
    return judge_flow(memory_at(addresses), run, number, peer, in_clear, tos)


@kernel
def deliver_run(
    addresses: Records,
    run: int,
    flow: int,
    packets: int,
    nbytes: int,
    buffer: NDArray[np.uint8],
    stride: int,
    first: int,
    tos: int,
    now: float,
) -> None:
    """Mark one run of a burst, whose first packet is at ``first``, and count it as delivered."""
    memory = memory_at(addresses)
    mark_run(memory, run, buffer, stride, first, tos)
    count_delivery(memory, flow, packets, nbytes, now)
