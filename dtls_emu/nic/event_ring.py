"""The ring in which compiled code leaves what it has done, for an observer: written there, emptied by Python.

A record stands for the packets of one flow that one call of a kernel has carried. Kernels neither wait nor allocate: a
ring that is full takes no more, and counts what it was not told. Python empties it whenever the loop comes back to it,
and tells as many records as it has time for; which ones, goes by the numbers of their packets, so that the hosts at both
ends tell of the same ones. Both run on one thread, so neither needs to look out for the other.

Where nobody observes there is no ring (arrays of no records), and the loop looks at its length once for each packet or
super-packet that it reads, and once for each run of packets that it delivers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dtls_emu.wire.memory import kernel


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = [
    "DELIVERED",
    "DELIVERED_CLEAR",
    "SENT_CLEAR",
    "SENT_SEALED",
    "EventRing",
    "Noted",
    "RingMemory",
    "Taken",
    "note",
]

SENT_SEALED: Final = 0
"""Packets of a VM left the card as records."""
SENT_CLEAR: Final = 1
"""Packets of a VM left the card in clear."""
DELIVERED: Final = 2
"""Records were opened, and their packets handed to a VM."""
DELIVERED_CLEAR: Final = 3
"""Packets that came in clear were handed to a VM."""

_KINDS: Final = 4

RING_RECORD: Final = np.dtype(
    [
        ("time", np.float64),
        ("kind", np.int64),
        ("flow", np.int64),
        ("path", np.int64),
        ("packets", np.int64),
        ("nbytes", np.int64),
        ("number", np.int64),
        ("tos", np.int64),
    ]
)
"""What was done to packets of one flow.

Fields:
    time: in seconds.
    kind: one of the constants above.
    flow: its number in the table of its direction.
    path: number of the path to, or from, the other host: it has the ports and the epoch.
    packets, nbytes: how many, and bytes of what a VM sent or got; a super-packet has one header.
    number: of the first record, the others follow one by one; in clear, of the packet among those that went that way.
    tos: type of service of the outer packets; of what came in.
"""

RING_STATE: Final = np.dtype([("written", np.int64), ("read", np.int64)])
"""How many records were ever written, and read."""

_RECORDS: Final = 4096
"""262 KB: what a loop carries in a hundredth of a second, of super-packets of one flow in ten times as long."""


class Noted(NamedTuple):
    """One record of a ring, in Python's types; fields as in :data:`RING_RECORD`."""

    time: float
    kind: int
    flow: int
    path: int
    packets: int
    nbytes: int
    number: int
    tos: int


class Taken(NamedTuple):
    """What was in a ring.

    Fields:
        told: records, in order.
        left_out: how many records of each kind are not among them.
    """

    told: list[Noted]
    left_out: list[int]


class RingMemory(NamedTuple):
    """What kernels write.

    Fields:
        records: :data:`RING_RECORD`; none where nobody observes.
        state: one :data:`RING_STATE`.
        left_out: how many records of each kind found no room.
    """

    records: NDArray[Any]
    state: NDArray[Any]
    left_out: NDArray[np.int64]


class EventRing:
    """The ring of one card.

    Fields:
        memory: what kernels write.

    Args:
        size: how many records it holds; 0: there is no ring.
    """

    def __init__(self, size: int = _RECORDS) -> None:
        self.memory = RingMemory(
            np.zeros(size, RING_RECORD), np.zeros(1, RING_STATE), np.zeros(_KINDS, np.int64)
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written since it was emptied."""
        written, read = self.memory.state[0].item()
        return bool(written == read)

    def take(self, most: int) -> Taken:
        """Empty it.

        Args:
            most: records that are told at the most. Where there are more, it is those that have a packet whose number is
                a multiple of a power of two: of the smallest that lets so few through.
        """
        records, state, left_out = self.memory
        written, read = state[0].item()
        size = len(records)
        found = records[np.arange(read, written) % max(size, 1)]
        state["read"] = written
        chosen = found if len(found) <= most else found[_sampled(found, most)]
        missing = left_out.copy()
        left_out[:] = 0
        if len(chosen) < len(found):
            missing += np.bincount(found["kind"], minlength=_KINDS)
            missing -= np.bincount(chosen["kind"], minlength=_KINDS)
        return Taken([Noted(*each) for each in chosen.tolist()], missing.tolist())


def _sampled(found: NDArray[Any], most: int) -> NDArray[np.bool_]:
    """Which records are told, of more than ``most``."""
    first, last = found["number"], found["number"] + found["packets"] - 1
    step = 1
    while True:
        step *= 2
        chosen: NDArray[np.bool_] = last // step * step >= first
        if int(np.count_nonzero(chosen)) <= most:
            return chosen
        if step > int(last.max()):  # all that is left begins with packet 0
            return chosen & (np.cumsum(chosen) <= most)


@kernel
def note(ring: RingMemory, noted: Noted) -> None:
    """Leave a record in a ring; where there is no room, count it."""
    records, state = ring.records, ring.state[0]
    if state.written - state.read >= len(records):
        ring.left_out[noted.kind] += 1
        return
    record = records[state.written % len(records)]
    record.time = noted.time
    record.kind = noted.kind
    record.flow = noted.flow
    record.path = noted.path
    record.packets = noted.packets
    record.nbytes = noted.nbytes
    record.number = noted.number
    record.tos = noted.tos
    state.written += 1
