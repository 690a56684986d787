"""The flow table: exact match from a flow's key to what the slow path decided for it.

Open addressing with linear probing over arrays that kernels read too; the decisions themselves are Python objects, one
per flow, found by its number. A table that is three quarters full doubles. A table at its limit lets idle flows go, all
at once, and is rebuilt: a probe never meets a gap.

Beside its decision each flow has a :data:`~dtls_emu.nic.offload.state.FLOW`: what kernels need of the decision, and what
has been counted of the flow, by whomever. It is counted nowhere else, and it is never lost: whatever leaves the table, or
is decided anew, is handed to `on_end` first.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np

from dtls_emu.nic.offload.state import FLOW, FlowMemory
from dtls_emu.wire.inspect import KEY_WORDS, FlowKey, unpack_key
from dtls_emu.wire.memory import kernel


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


__all__ = [
    "VM_FULL",
    "FlowCounts",
    "FlowStanding",
    "FlowTable",
    "LiveCounts",
    "find_key",
    "place_key",
]

Decided = TypeVar("Decided")

_SMALLEST: Final = 1024
"""Slots of a new table: 109 KB, and most labs never need more."""

_EMPTY: Final = -1

_IDLE: Final = 240.0
"""Seconds without a packet after which a flow may go (Azure's default idle timeout of a TCP flow: 4 minutes)."""

VM_FULL: Final = -2
"""Instead of a flow's number: its VM has as many as it may."""

_VM_OF_RECORD: Final = (FLOW.names or ()).index("vm")

_HISTORY: Final = np.dtype(
    [
        ("began", np.float64),
        ("decided", np.int64),
        ("exceptions", np.int64),
        ("dropped", np.int64),
        ("packets", np.int64),
        ("nbytes", np.int64),
    ]
)
"""What only Python knows of a flow: when it began, how often it was decided, packets that were a miss, and that were dropped
as decided; and what its earlier decisions have counted."""

_SWEEP_PAUSE: Final = 1.0
"""Seconds between two sweeps: a table that stays full must not be swept for every new flow."""


@dataclass(frozen=True, slots=True)
class FlowCounts(Generic[Decided]):
    """What has been counted of a flow since it was decided.

    Fields:
        key: the flow.
        flow: what was decided for it.
        packets, nbytes: inner IP packets that were sent on or delivered, and their bytes.
        started: when it was decided, in seconds.
        last_seen: when its newest packet was, dropped ones included, in seconds.
    """

    key: FlowKey
    flow: Decided
    packets: int
    nbytes: int
    started: float
    last_seen: float


@dataclass(frozen=True, slots=True)
class FlowStanding(Generic[Decided]):
    """How a flow of a table stands.

    Fields:
        key: the flow.
        flow: what is decided for it.
        packets, nbytes: inner IP packets that were sent on or delivered since it began, and their bytes.
        dropped: packets that found its entry and went no further.
        exceptions: packets that found none, or an outdated one.
        decided: how often it was decided.
        began, last_seen: when its first and its newest packet were, in seconds.
        is_fast: its newest packet found a valid entry.
    """

    key: FlowKey
    flow: Decided
    packets: int
    nbytes: int
    dropped: int
    exceptions: int
    decided: int
    began: float
    last_seen: float
    is_fast: bool

    @property
    def hits(self) -> int:
        """Packets that found a valid entry."""
        return max(self.packets + self.dropped - self.exceptions, 0)


class FlowTable(Generic[Decided]):
    """Flows of one direction of one card.

    Fields:
        slots, keys, records: what kernels read and write; other arrays after the table has grown.

    Args:
        limit: most flows it takes.
        limit_each: most flows of one VM (Azure: 500,000 in each direction); None for no such limit.
        on_move: called when there are other arrays.
        on_end: given every flow that leaves the table, or is decided anew, with its final counts.
    """

    def __init__(
        self,
        limit: int,
        limit_each: int | None = None,
        *,
        on_move: Callable[[], object] = lambda: None,
        on_end: Callable[[FlowCounts[Decided]], object] | None = None,
    ) -> None:
        self.on_end = on_end
        self._limit = limit
        self._limit_each = inf if limit_each is None else limit_each
        self._owned: Counter[int] = Counter()  # flows by number of the VM
        self._on_move = on_move
        self._decided: list[Decided] = []
        self._started = array("d")
        self._parked: tuple[Decided, float] | None = None
        self._next_sweep = -inf
        self._allocate(_SMALLEST)

    def __len__(self) -> int:
        """How many flows it holds."""
        return len(self._decided)

    def __getitem__(self, number: int) -> Decided:
        """What was decided for a flow, by its number; the number is good until the next insertion."""
        return self._decided[number] if number < len(self._decided) else self.parked

    def __iter__(self) -> Iterator[FlowCounts[Decided]]:
        """Every flow, with its counts up to now."""
        return map(self._counts, range(len(self._decided)))

    @property
    def memory(self) -> FlowMemory:
        """What kernels take, until the table moves."""
        return FlowMemory(self.slots, self.keys, self.records)

    def find(self, keys: NDArray[np.uint64], row: int) -> Decided | None:
        """What was decided for the key in ``keys[row]``, or None."""
        number = self.number(keys, row)
        return None if number < 0 else self._decided[number]

    def number(self, keys: NDArray[np.uint64], row: int) -> int:
        """The number of the flow whose key is in ``keys[row]``, or -1."""
        return find_key(self.slots, self.keys, keys, row)

    def count_dropped(self, number: int, packets: int) -> None:
        """Count packets of a flow that go no further; of one that has no place, nothing."""
        if number < len(self._decided):
            self._history["dropped"][number] += packets

    def standings(self, most: int) -> list[FlowStanding[Decided]]:
        """How flows stand, in the order in which they began; of more than ``most`` those with the newest packets."""
        numbers = np.arange(len(self._decided))
        if len(numbers) > most:
            seen = self.records["seen"][: len(numbers)]
            numbers = np.sort(np.argpartition(seen, -most)[-most:]) if most else numbers[:0]
        return [self._standing(number) for number in numbers.tolist()]

    def live(self, keys: NDArray[np.uint64], row: int) -> LiveCounts:
        """What is counted of the flow whose key is in ``keys[row]``, read whenever it is asked for."""
        return LiveCounts(self, keys[row : row + 1].copy())

    def insert(
        self,
        keys: NDArray[np.uint64],
        row: int,
        flow: Decided,
        record: tuple[Any, ...],
        now: float,
        missed: int = 1,
    ) -> int:
        """Add the flow whose key is in ``keys[row]``, or decide it anew; its counts begin at 0.

        Args:
            keys, row: its key.
            flow: what was decided.
            record: the fields of its :data:`~dtls_emu.nic.offload.state.FLOW`, but for the counts before `seen`,
                which is ``now``: see :meth:`dtls_emu.nic.flows.EgressFlow.record`.
            now: seconds.
            missed: packets that were an exception.

        Returns:
            Its number; -1 when the table is full of flows that are not idle, -2 when the flow's VM has as many as it may.
        """
        self._unpark()
        number = find_key(self.slots, self.keys, keys, row)
        owner = record[_VM_OF_RECORD]
        if number >= 0:
            self._end(number)
            self._owned[int(self.records["vm"][number])] -= 1
            self._decided[number], self._started[number] = flow, now
            history, record_before = self._history[number], self.records[number]
            history["packets"] += record_before["packets"]
            history["nbytes"] += record_before["nbytes"]
            history["decided"] += 1
            history["exceptions"] += missed
        elif owner >= 0 and not self._has_room_of(owner, now):
            return VM_FULL
        elif len(self._decided) >= self._limit and not self._sweep(now):
            return -1
        else:
            if len(self._decided) * 4 >= len(self.slots) * 3:
                self._rebuild(len(self.slots) * 2, np.arange(len(self._decided)))
            number = len(self._decided)
            self._decided.append(flow)
            self._started.append(now)
            self.keys[number] = keys[row]
            self._history[number] = now, 1, missed, 0, 0, 0
            place_key(self.slots, self.keys, number)
        self.records[number] = record
        self._owned[owner] += 1
        return number

    def park(
        self, keys: NDArray[np.uint64], row: int, flow: Decided, record: tuple[Any, ...], now: float
    ) -> int:
        """Have a flow that finds no place for the burst at hand only; as :meth:`insert`, and it is not found again."""
        self._unpark()
        number = len(self.records) - 1
        self.keys[number], self.records[number] = keys[row], record
        self._parked = flow, now
        return number

    @property
    def parked(self) -> Decided:
        """What was decided for the flow that found no place.

        Raises:
            LookupError: every flow has a place.
        """
        if self._parked is None:
            raise LookupError("no flow is parked")
        return self._parked[0]

    def clear(self) -> None:
        """Let every flow go."""
        self._unpark()
        for number in range(len(self._decided)):
            self._end(number)
        self._owned.clear()
        self._decided.clear()
        del self._started[:]
        self.slots[:] = _EMPTY

    def _counts(self, number: int) -> FlowCounts[Decided]:
        return self._counts_of(number, self._decided[number], self._started[number])

    def _counts_of(self, number: int, flow: Decided, started: float) -> FlowCounts[Decided]:
        record = self.records[number]
        return FlowCounts(
            unpack_key(self.keys[number]),
            flow,
            int(record["packets"]),
            int(record["nbytes"]),
            started,
            float(record["seen"]),
        )

    def _standing(self, number: int) -> FlowStanding[Decided]:
        began, decided, exceptions, dropped, packets, nbytes = self._history[number].item()
        counts = self._counts(number)
        return FlowStanding(
            counts.key,
            counts.flow,
            packets + counts.packets,
            nbytes + counts.nbytes,
            dropped,
            exceptions,
            decided,
            began,
            counts.last_seen,
            counts.last_seen > counts.started,
        )

    def _unpark(self) -> None:
        if self._parked is not None and self.on_end is not None:
            self.on_end(self._counts_of(len(self.records) - 1, *self._parked))
        self._parked = None

    def _end(self, number: int) -> None:
        if self.on_end is not None:
            self.on_end(self._counts(number))

    def _has_room_of(self, owner: int, now: float) -> bool:
        """Whether a VM may have one more flow, if need be after its idle ones have gone."""
        if self._owned[owner] < self._limit_each:
            return True
        return self._sweep(now) and self._owned[owner] < self._limit_each

    def _sweep(self, now: float) -> bool:
        """Let idle flows go; True when any went."""
        if now < self._next_sweep:
            return False
        self._next_sweep = now + _SWEEP_PAUSE
        is_idle = now - self.records["seen"][: len(self._decided)] >= _IDLE
        idle, kept = np.flatnonzero(is_idle), np.flatnonzero(~is_idle)
        for number in idle.tolist():
            self._end(number)
        if not len(idle):
            return False
        self._decided = [self._decided[number] for number in kept.tolist()]
        self._started = array("d", (self._started[number] for number in kept.tolist()))
        self._rebuild(len(self.slots), kept)
        self._owned = Counter(self.records["vm"][: len(kept)].tolist())
        return True

    def _allocate(self, slots: int) -> None:
        self.slots: NDArray[np.int32] = np.full(slots, _EMPTY, np.int32)
        rows = _rows_of(slots)
        self.keys: NDArray[np.uint64] = np.zeros((rows, KEY_WORDS), np.uint64)
        self.records: NDArray[Any] = np.zeros(rows, FLOW)
        self._history: NDArray[Any] = np.zeros(rows, _HISTORY)
        self._on_move()

    def _rebuild(self, slots: int, kept: NDArray[np.int64]) -> None:
        """Have so many slots for these flows. One array after the other: a large table needs no room for two of itself."""
        rows = _rows_of(slots)
        self.slots = np.full(slots, _EMPTY, np.int32)
        self.records = _moved(self.records, kept, rows)
        self.keys = _moved(self.keys, kept, rows)
        self._history = _moved(self._history, kept, rows)
        self._on_move()
        _place_keys(self.slots, self.keys, len(kept))


def _rows_of(slots: int) -> int:
    return slots * 3 // 4 + 1  # the last one is that of a flow that finds no place


def _moved(array: NDArray[Any], kept: NDArray[np.int64], rows: int) -> NDArray[Any]:
    """An array of so many rows that begins with these."""
    moved = np.zeros((rows, *array.shape[1:]), array.dtype)
    moved[: len(kept)] = array[kept]
    return moved


class LiveCounts:
    """The counts of one flow of a table as they stand, wherever the table has moved it to; 0 when it has let it go."""

    def __init__(self, table: FlowTable[Any], keys: NDArray[np.uint64]) -> None:
        """
        Args:
            table: where it is.
            keys: one row, its key.
        """
        self._table = table
        self._keys = keys

    @property
    def packets(self) -> int:
        """Inner packets that were sent on or delivered."""
        return self._count("packets")

    @property
    def nbytes(self) -> int:
        """Their bytes."""
        return self._count("nbytes")

    def _count(self, name: str) -> int:
        table = self._table
        number = find_key(table.slots, table.keys, self._keys, 0)
        return 0 if number < 0 else int(table.records[name][number])


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
    """Enter row ``index`` of ``table``, whose key is in no slot yet. There is a free slot."""
    mask = np.uint64(len(slots) - 1)
    slot = _hash(table, index) & mask
    while slots[slot] >= 0:
        slot = (slot + np.uint64(1)) & mask
    slots[slot] = index


@kernel
def _place_keys(slots: NDArray[np.int32], table: NDArray[np.uint64], count: int) -> None:
    """Enter the first rows of ``table``."""
    for index in range(count):
        place_key(slots, table, index)
