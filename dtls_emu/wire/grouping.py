"""Rows of several flows in one burst: find the flows, and take one flow's rows out, close together.

A burst holds one flow by rule. What comes mixed (a fragment among whole packets, two flows that share a
sender's tunnel) costs one decision a flow and one copy of the rows that go on, not one of each a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.wire.burst import Burst
from dtls_emu.wire.inspect import KEY_WORDS
from dtls_emu.wire.memory import copy_bytes, kernel


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = ["gather", "group_rows"]


@kernel
def group_rows(
    keys: NDArray[np.uint64],
    classes: NDArray[np.uint8],
    count: int,
    groups: NDArray[np.uint8],
    heads: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> int:
    """Number the flows of a burst in the order in which they appear.

    Args:
        keys, classes: of each row, from the inspection.
        count: rows.
        groups: at least ``count``, filled with the number of each row's flow.
        heads, sizes: at least ``count``, filled with the first row and the number of rows of each flow.

    Returns:
        How many flows there are.
    """
    found = 0
    for row in range(count):
        group = 0
        while group < found:
            head = heads[group]
            same = classes[head] == classes[row]
            for word in range(KEY_WORDS):
                same &= keys[head, word] == keys[row, word]
            if same:
                break
            group += 1
        if group == found:
            heads[found] = row
            sizes[found] = 0
            found += 1
        groups[row] = group
        sizes[group] += 1
    return found


def gather(
    burst: Burst, groups: NDArray[np.uint8], group: int, count: int, memory: NDArray[np.uint8]
) -> Burst:
    """Copy the rows of one flow next to each other.

    Args:
        burst: rows of several flows.
        groups: of :func:`group_rows`.
        group: whose rows are wanted.
        count: how many there are.
        memory: where to, at least ``count * burst.size`` bytes, not the burst's own.
    """
    last = _gather_rows(
        burst.buffer, burst.stride, burst.offset, burst.size, burst.count, burst.last, groups, group, memory
    )
    return Burst(
        memory,
        stride=burst.size,
        offset=0,
        size=burst.size if count > 1 else last,
        count=count,
        last=last,
        mark=burst.mark,
        tos=burst.tos,
    )


@kernel
def _gather_rows(
    buffer: NDArray[np.uint8],
    stride: int,
    offset: int,
    size: int,
    count: int,
    last: int,
    groups: NDArray[np.uint8],
    group: int,
    memory: NDArray[np.uint8],
) -> int:
    """Returns the length of the last row copied: only the burst's own last can be shorter."""
    position = 0
    length = size
    for row in range(count):
        if groups[row] == group:
            length = last if row == count - 1 else size
            copy_bytes(memory, position, buffer, row * stride + offset, length)
            position += length
    return length
