"""The ring in which compiled code leaves what it has done, for an observer: written there, emptied by Python.

A record stands for the packets of one flow that one call of a kernel has carried. Kernels neither wait nor allocate: a ring
that is full takes no more, and counts what it was not told, in packets. Python empties it whenever the loop comes back to
it, which happens at the latest for the next timer. Both run on one thread, so neither needs to look out for the other.

Where nobody observes there is no ring (an array of no records), and a kernel looks at its length once for each flow of a
burst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dtls_emu.wire.memory import kernel


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = [
    "CLEAR",
    "DELIVERED",
    "REFUSED",
    "RING_COUNTERS",
    "RING_RECORD",
    "SEALED",
    "EventRing",
    "Noted",
    "note",
]

SEALED: Final = 1
"""Packets of a VM left the card as records: ``forwarded`` and ``sealed``."""
CLEAR: Final = 2
"""Packets of a VM left the card in clear: ``forwarded``."""
DELIVERED: Final = 3
"""Packets were handed to a VM: ``opened``, unless they came in clear, and ``delivered``."""
REFUSED: Final = 4
"""Records were dropped: ``refused``."""

RING_RECORD: Final = np.dtype(
    [
        ("time", np.float64),
        ("kind", np.int64),
        ("flow", np.int64),
        ("path", np.int64),
        ("packets", np.int64),
        ("nbytes", np.int64),
        ("number", np.int64),
        ("reason", np.int64),
    ]
)
"""What was done to packets of one flow.

Fields:
    time: in seconds.
    kind: one of the constants above.
    flow: its number in the table of its direction; -1 when the packets were not looked at.
    path: number of the path to, or from, the other host: it has the ports and the epoch; -1 for none.
    packets, nbytes: how many, and bytes of inner IP packets.
    number: of the first record; the others of one that was sealed follow one by one.
    reason: of what was refused, a :class:`~dtls_emu.wire.protocol.RowStatus`.
"""

RING_COUNTERS: Final = np.dtype([("written", np.int64), ("read", np.int64), ("left_out", np.int64)])
"""How many records were ever written and read; and packets that were left out since the ring was emptied."""

_RECORDS: Final = 4096
"""262 KB, and more than a loop carries between two looks at its timers: a millisecond of bursts of one packet."""


class Noted(NamedTuple):
    """One record of a ring, in Python's types; fields as in :data:`RING_RECORD`."""

    time: float
    kind: int
    flow: int
    path: int
    packets: int
    nbytes: int
    number: int
    reason: int


class EventRing:
    """The ring of one card.

    Fields:
        records, counters: what kernels write: see :data:`RING_RECORD` and :data:`RING_COUNTERS`.

    Args:
        size: how many records it holds.
    """

    def __init__(self, size: int = _RECORDS) -> None:
        self.records: NDArray[Any] = np.zeros(size, RING_RECORD)
        self.counters: NDArray[Any] = np.zeros(1, RING_COUNTERS)

    def take(self) -> tuple[list[Noted], int]:
        """Everything in it, in order, and how many packets were left out since the last time. Afterwards it is empty."""
        counters = self.counters[0]
        written, read, left_out = map(int, counters)
        size = len(self.records)
        found = [Noted(*self.records[index % size].item()) for index in range(read, written)]
        counters["read"], counters["left_out"] = written, 0
        return found, left_out


@kernel
def note(
    records: NDArray[Any],
    counters: NDArray[Any],
    time: float,
    kind: int,
    flow: int,
    path: int,
    packets: int,
    nbytes: int,
    number: int,
    reason: int,
) -> None:
    """Leave a record in a ring, or count the packets when there is no room; nothing where there is no ring."""
    size = len(records)
    if not size:
        return
    ring = counters[0]
    if ring.written - ring.read >= size:
        ring.left_out += packets
        return
    record = records[ring.written % size]
    record.time = time
    record.kind = kind
    record.flow = flow
    record.path = path
    record.packets = packets
    record.nbytes = nbytes
    record.number = number
    record.reason = reason
    ring.written += 1
