"""The ring in which compiled code leaves what it has done, for an observer: written there, emptied by Python.

A record stands for the packets of one flow that one call of a kernel has carried. Kernels neither wait nor allocate: a
ring that is full takes no more, and counts what it was not told. Python empties it whenever the loop comes back to it,
and tells as many records as it has time for; which ones, goes by the numbers of their packets, so that the hosts at both
ends tell of the same ones. Both run on one thread, so neither needs to look out for the other.

Where nobody observes there is no ring, and the loop looks at its address once for each packet or super-packet that it
reads, and once for each read from the fabric. Kernels are given the address: an argument more would cost each call of the
loop 0.3 us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dtls_emu.wire.memory import array_at, kernel, words_at


if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


__all__ = [
    "DELIVERED",
    "DELIVERED_CLEAR",
    "SENT_CLEAR",
    "SENT_SEALED",
    "EventRing",
    "Noted",
    "Taken",
    "note",
    "ring_is_empty",
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

RING: Final = np.dtype(
    [
        ("records", np.int64),
        ("size", np.int64),
        ("left_out", np.int64),
        ("written", np.int64),
        ("read", np.int64),
    ]
)
"""A ring, as kernels find it.

Fields:
    records, size: address and number of its :data:`RING_RECORD`.
    left_out: address of as many counters as there are kinds: of records that found no room.
    written, read: how many records ever were.
"""

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


class EventRing:
    """The ring of one card.

    Fields:
        address: of its :data:`RING`, good as long as it lives.

    Args:
        size: how many records it holds.
    """

    def __init__(self, size: int = _RECORDS) -> None:
        self._records: NDArray[Any] = np.zeros(size, RING_RECORD)
        self._left_out: NDArray[np.int64] = np.zeros(_KINDS, np.int64)
        self._ring: NDArray[Any] = np.zeros(1, RING)
        self._ring["records"], self._ring["size"] = self._records.ctypes.data, size
        self._ring["left_out"] = self._left_out.ctypes.data
        self.address: int = self._ring.ctypes.data

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written since it was emptied."""
        return bool(self._ring["written"][0] == self._ring["read"][0])

    def take(self, most: int) -> Taken:
        """Empty it.

        Args:
            most: records that are told at the most. Where there are more, it is those that have a packet whose number is
                a multiple of a power of two: of the smallest that lets so few through.
        """
        written, read = int(self._ring["written"][0]), int(self._ring["read"][0])
        found = self._records[np.arange(read, written) % len(self._records)]
        self._ring["read"] = written
        chosen = found if len(found) <= most else found[_sampled(found, most)]
        missing = self._left_out.copy()
        self._left_out[:] = 0
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


_rings_at: Callable[[int, int], NDArray[Any]] = array_at("rings_at", RING)
_records_at: Callable[[int, int], NDArray[Any]] = array_at("records_of_ring_at", RING_RECORD)


@kernel
def ring_is_empty(address: int) -> bool:
    """Whether nothing was written to the ring at an address since it was emptied."""
    ring = _rings_at(address, 1)[0]
    return bool(ring.written == ring.read)


@kernel
def note(address: int, noted: Noted) -> None:
    """Leave a record in the ring at an address; where there is no room, count it."""
    ring = _rings_at(address, 1)[0]
    if ring.written - ring.read >= ring.size:
        words_at(ring.left_out, _KINDS)[noted.kind] += 1
        return
    record = _records_at(ring.records, ring.size)[ring.written % ring.size]
    record.time = noted.time
    record.kind = noted.kind
    record.flow = noted.flow
    record.path = noted.path
    record.packets = noted.packets
    record.nbytes = noted.nbytes
    record.number = noted.number
    record.tos = noted.tos
    ring.written += 1
