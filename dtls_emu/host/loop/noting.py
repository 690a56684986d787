"""What the compiled loop leaves for whoever observes its card, as kernels: only called while somebody does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.nic.event_ring import (
    DELIVERED,
    DELIVERED_CLEAR,
    SENT_CLEAR,
    SENT_SEALED,
    Noted,
    note,
    ring_is_empty,
)
from dtls_emu.wire.memory import kernel, load_u48_be
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_OVERHEAD


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.host.loop.state import LoopState
    from dtls_emu.nic.offload.state import Plan
    from dtls_emu.wire.burst import Shape


__all__ = ["TELL_SECONDS", "note_delivered", "note_sent"]

TELL_SECONDS: Final = 0.02
"""How long a record waits in the ring at the most while the loop is busy, or asleep."""

_NUMBER_AT: Final = 5
"""Where a record has its number, 6 bytes (RFC 6347 4.1)."""


@kernel
def note_sent(state: LoopState, plan: Plan, at: int, nbytes: int, now: float) -> None:
    """Note that a packet, or a super-packet of ``nbytes``, is at ``at`` of the wire as it was planned."""
    is_sealed = state.card.paths[plan.path].sealed != 0
    number = _number(state.wire, at) if is_sealed else state.card.card[0].clear - plan.rows
    kind = SENT_SEALED if is_sealed else SENT_CLEAR
    _note(state, Noted(now, kind, plan.flow, plan.path, plan.rows, nbytes, number, plan.tos))


@kernel
def note_delivered(state: LoopState, path: int, wire: Shape, tos: int, runs: int, now: float) -> None:
    """Note that every run of what one read has brought by a path was counted as delivered.

    Records whose numbers do not follow one by one are noted apart.
    """
    rows = state.card.rows
    is_sealed = state.card.paths[path].sealed != 0
    overhead = ENCAPSULATION + (RECORD_OVERHEAD if is_sealed else 0)
    count = state.card.card[0].delivered - wire.rows
    for run in range(runs):
        start, end = rows.runs[run], rows.runs[run + 1]
        while start < end:
            number = _number(state.arrived, start * wire.stride) if is_sealed else count + start
            stop = start + 1
            while stop < end and (
                not is_sealed or _number(state.arrived, stop * wire.stride) == number + stop - start
            ):
                stop += 1
            packets = stop - start
            last = wire.last if stop == wire.rows else wire.size
            nbytes = (packets - 1) * wire.size + last - packets * overhead
            kind = DELIVERED if is_sealed else DELIVERED_CLEAR
            _note(state, Noted(now, kind, rows.flows[run], path, packets, nbytes, number, tos))
            start = stop


@kernel
def _number(buffer: NDArray[np.uint8], at: int) -> int:
    """Of the record that begins at a place."""
    return int(load_u48_be(buffer, at + _NUMBER_AT))


@kernel
def _note(state: LoopState, noted: Noted) -> None:
    """Leave a record, and come back to Python in time to tell it."""
    address, card = state.loop[0].ring, state.card.card[0]
    if ring_is_empty(address):
        card.due = min(card.due, noted.time + TELL_SECONDS)
    note(address, noted)
