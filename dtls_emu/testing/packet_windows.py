"""Looks for packets in datagrams: whether any 16 consecutive bytes of one are on a fabric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["WINDOW", "PacketWindows", "Route"]

Route = tuple[object, object]
"""Sender and receiver of a datagram, each with its port: a hint which key is in use, nothing more."""

WINDOW: Final = 8
"""Bytes compared at once. Packets are remembered in steps of so many, so 16 in a row always hold one."""

_TELLING: Final = 4
"""Different byte values in a window that says something: runs of zeros are everywhere."""

_SPARSE: Final = 16
"""Slots for each window in the table that tells most of the others apart at once."""

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
"""Odd, and close to 2^64 over the golden ratio: neighbours spread over the table (Knuth 6.4)."""


class _Sighting(NamedTuple):
    route: Route
    start: int


class PacketWindows:
    """Windows of packets, to be looked for in datagrams. Both wait until there are many: it is cheaper then.

    Fields:
        waiting: bytes that wait.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._packets: list[bytes] = []
        self._sightings: list[_Sighting] = []
        self._bodies = bytearray()
        self._table = np.zeros(1 << 12, np.bool_)
        self._known: NDArray[np.uint64] = np.zeros(0, np.uint64)

    def remember(self, packet: bytes) -> None:
        """These bytes are nobody's business."""
        self._packets.append(packet)
        self.waiting += len(packet)

    def look_at(self, route: Route, body: bytes) -> None:
        """These bytes are on a fabric."""
        if len(body) >= WINDOW:
            self._sightings.append(_Sighting(route, len(self._bodies)))
            self._bodies += body
            self.waiting += len(body)

    def compare(self) -> list[Route]:
        """Where windows of packets have been seen, each datagram once."""
        self._learn()
        found: list[Route] = []
        if self._bodies:
            windows = _every_window(np.frombuffer(bytes(self._bodies), np.uint8))
            at = np.flatnonzero(self._table[self._slots(windows)])
            at = at[self._knows(windows[at])]
            starts = [sighting.start for sighting in self._sightings]
            hits = np.searchsorted(starts, at, side="right") - 1
            found = [self._sightings[hit].route for hit in dict.fromkeys(hits.tolist())]
        self._bodies = bytearray()
        self._sightings = []
        self.waiting = 0
        return found

    def _learn(self) -> None:
        """Enter the windows of the packets that wait."""
        grids = [np.frombuffer(each, np.uint64, len(each) // WINDOW) for each in self._packets]
        # The end of a packet may not fill a window of the grid.
        grids += [np.frombuffer(each[-WINDOW:], np.uint64) for each in self._packets if len(each) >= WINDOW]
        self._packets = []
        if not grids:
            return
        fresh = np.concatenate(grids)
        ordered = np.sort(fresh.view(np.uint8).reshape(-1, WINDOW), axis=1)
        telling = np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1) + 1 >= _TELLING
        fresh = fresh[telling]
        # Not np.unique, which hashes: sorting is ten times as fast where most repeat.
        both = np.sort(np.concatenate([self._known, fresh]))
        self._known = both[np.flatnonzero(np.diff(both, prepend=~both[:1]))]
        if len(self._known) * _SPARSE > len(self._table):
            self._table = np.zeros(1 << (len(self._known) * _SPARSE).bit_length(), np.bool_)
            fresh = self._known
        self._table[self._slots(fresh)] = True

    def _slots(self, windows: NDArray[np.uint64]) -> NDArray[np.uint64]:
        bits = len(self._table).bit_length() - 1
        return (windows * _GOLDEN) >> np.uint64(64 - bits)

    def _knows(self, windows: NDArray[np.uint64]) -> NDArray[np.bool_]:
        if not len(self._known):
            return np.zeros(len(windows), np.bool_)
        at = np.minimum(np.searchsorted(self._known, windows), len(self._known) - 1)
        same: NDArray[np.bool_] = self._known[at] == windows
        return same


def _every_window(data: NDArray[np.uint8]) -> NDArray[np.uint64]:
    windows: NDArray[np.uint64] = np.empty(len(data) - WINDOW + 1, np.uint64)
    for shift in range(min(WINDOW, len(windows))):
        part = windows[shift::WINDOW]
        part[:] = np.frombuffer(data.data, np.uint64, len(part), shift)
    return windows
