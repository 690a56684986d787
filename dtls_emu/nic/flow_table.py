"""The flow table: exact match from a flow's key to what the slow path decided for it.

Open addressing with linear probing over two arrays that the lookup kernel reads; the decisions themselves are
Python objects, one per flow, found by index. A table that is three quarters full doubles. A table at its limit
lets idle flows go, all at once, and is rebuilt: a probe never meets a gap.

Beside its entry each flow has a row of *facts*, what of it the fast path needs and what the fast path has counted,
``int64``; zeros until the flow is offloaded (:mod:`dtls_emu.nic.offload.fast_path`)::

    [0] generation + 1   [1] VM   [2] way   [3] largest packet, or whether clear is accepted   [4] header's address
    [5] packets, [6] bytes since the books were last settled   [7] newest packet, in microseconds
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import numpy as np

from dtls_emu.wire.inspect import KEY_WORDS, unpack_key
from dtls_emu.wire.memory import kernel


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from dtls_emu.wire.inspect import FlowKey


__all__ = [
    "FACT_BYTES",
    "FACT_GENERATION",
    "FACT_HEADER",
    "FACT_LIMIT",
    "FACT_PACKETS",
    "FACT_SEEN",
    "FACT_VM",
    "FACT_WAY",
    "FlowTable",
    "find_key",
    "place_key",
]

FACT_GENERATION: Final = 0
FACT_VM: Final = 1
FACT_WAY: Final = 2
FACT_LIMIT: Final = 3
FACT_HEADER: Final = 4
FACT_PACKETS: Final = 5
FACT_BYTES: Final = 6
FACT_SEEN: Final = 7
_FACTS: Final = 8


class _Entry(Protocol):
    last_seen: float
    packets: int
    nbytes: int


Entry = TypeVar("Entry", bound=_Entry)

_SMALLEST: Final = 1024
"""Slots of a new table: 52 KB, and most labs never need more."""

_EMPTY: Final = -1

_IDLE: Final = 240.0
"""Seconds without a packet after which a flow may go (Azure's default idle timeout of a TCP flow: 4 minutes)."""

_SWEEP_PAUSE: Final = 1.0
"""Seconds between two sweeps: a table that stays full must not be swept for every new flow."""


class FlowTable(Generic[Entry]):
    """Flows of one direction of one card.

    Fields:
        slots, keys, facts: what kernels read; other arrays after the table has grown.
        on_end: given every flow that leaves the table, or is decided anew, with its final counts; or None.

    Args:
        limit: most flows it takes (Azure: 500,000 in each direction of a VM).
    """

    def __init__(self, limit: int) -> None:
        self.on_end: Callable[[FlowKey, Entry], object] | None = None
        self._limit = limit
        self._entries: list[Entry] = []
        self._next_sweep = -inf
        self._allocate(_SMALLEST)

    def __len__(self) -> int:
        """How many flows it holds."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """Every flow's entry."""
        self.settle()
        return iter(self._entries)

    def find(self, keys: NDArray[np.uint64], row: int) -> Entry | None:
        """The entry of the key in ``keys[row]``, or None (then it is an exception packet)."""
        index = find_key(self.slots, self.keys, keys, row)
        return None if index < 0 else self._entries[index]

    def locate(self, keys: NDArray[np.uint64], row: int) -> tuple[int, Entry] | None:
        """The entry of the key in ``keys[row]``, and the row of its facts; or None."""
        index = find_key(self.slots, self.keys, keys, row)
        return None if index < 0 else (index, self._entries[index])

    def settle(self) -> None:
        """Enter in the entries what the fast path has counted."""
        facts = self.facts[: len(self._entries)]
        for index in np.flatnonzero(facts[:, FACT_PACKETS]).tolist():
            entry = self._entries[index]
            entry.packets += int(facts[index, FACT_PACKETS])
            entry.nbytes += int(facts[index, FACT_BYTES])
            entry.last_seen = max(entry.last_seen, int(facts[index, FACT_SEEN]) / 1e6)
        facts[:, FACT_PACKETS] = facts[:, FACT_BYTES] = 0

    def insert(self, keys: NDArray[np.uint64], row: int, entry: Entry, now: float) -> bool:
        """Add a flow, or replace its entry. False when the table is full of flows that are not idle."""
        index = find_key(self.slots, self.keys, keys, row)
        if index >= 0:
            self._end(index)
            self._entries[index] = entry
            self.facts[index] = 0
            return True
        if len(self._entries) >= self._limit and not self._sweep(now):
            return False
        if len(self._entries) * 4 >= len(self.slots) * 3:
            self._rebuild(len(self.slots) * 2, np.arange(len(self._entries)))
        index = len(self._entries)
        self._entries.append(entry)
        self.keys[index] = keys[row]
        place_key(self.slots, self.keys, index)
        return True

    def _end(self, index: int) -> None:
        if self.on_end is not None:
            self.settle()
            self.on_end(unpack_key(self.keys[index]), self._entries[index])

    def _sweep(self, now: float) -> bool:
        """Let idle flows go; True when any went."""
        if now < self._next_sweep:
            return False
        self._next_sweep = now + _SWEEP_PAUSE
        self.settle()
        kept = [index for index, entry in enumerate(self._entries) if now - entry.last_seen < _IDLE]
        if len(kept) == len(self._entries):
            return False
        for index in sorted(set(range(len(self._entries))) - set(kept)) if self.on_end is not None else ():
            self._end(index)
        self._entries = [self._entries[index] for index in kept]
        self._rebuild(len(self.slots), np.array(kept, np.int64))
        return True

    def _allocate(self, slots: int) -> None:
        self.slots: NDArray[np.int32] = np.full(slots, _EMPTY, np.int32)
        # One row more than the fill limit needs, so that the kernel may write before it is counted.
        rows = slots * 3 // 4 + 1
        self.keys: NDArray[np.uint64] = np.zeros((rows, KEY_WORDS), np.uint64)
        self.facts: NDArray[np.int64] = np.zeros((rows, _FACTS), np.int64)

    def _rebuild(self, slots: int, kept: NDArray[np.int64]) -> None:
        keys, facts = self.keys[kept], self.facts[kept]
        self._allocate(slots)
        self.keys[: len(keys)] = keys
        self.facts[: len(facts)] = facts
        for index in range(len(keys)):
            place_key(self.slots, self.keys, index)


@kernel
def _hash(keys: NDArray[np.uint64], row: int) -> np.uint64:
    # Ports and addresses are close to one another: each word is multiplied by an odd constant (the golden
    # ratio, as in Knuth 6.4) and the high half folded down, so that neighbours spread over the table.
    mixed = np.uint64(0)
    for word in range(KEY_WORDS):
        mixed = (mixed ^ keys[row, word]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    return mixed


@kernel
def find_key(slots: NDArray[np.int32], table: NDArray[np.uint64], keys: NDArray[np.uint64], row: int) -> int:
    """The row of ``table`` that is the key in ``keys[row]``, or -1. ``slots`` has a power of two of them."""
    mask = np.uint64(len(slots) - 1)
    slot = _hash(keys, row) & mask
    while True:
        index = slots[slot]
        if index < 0:
            return -1
        same = True
        for word in range(KEY_WORDS):
            same &= table[index, word] == keys[row, word]
        if same:
            return int(index)
        slot = (slot + np.uint64(1)) & mask


@kernel
def place_key(slots: NDArray[np.int32], table: NDArray[np.uint64], index: int) -> None:
    """Make row ``index`` of ``table``, whose key is in no slot yet, to be found. There is a free slot."""
    mask = np.uint64(len(slots) - 1)
    slot = _hash(table, index) & mask
    while slots[slot] >= 0:
        slot = (slot + np.uint64(1)) & mask
    slots[slot] = index
