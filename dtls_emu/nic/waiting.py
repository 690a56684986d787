"""Packets that wait for their tunnel (`first_packet: queue`): copies, in order, a bounded number."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from dtls_emu.wire.burst import Burst


__all__ = ["WaitingRoom"]


class WaitingRoom:
    """The queue of one tunnel.

    Args:
        limit: most packets it holds.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bursts: deque[tuple[str, Burst]] = deque()
        self._packets = 0

    def __len__(self) -> int:
        """How many packets wait."""
        return self._packets

    def admit(self, vm: str, burst: Burst) -> int:
        """Keep a copy of as many rows as there is room for; returns how many packets that were.

        A super-packet is kept whole or not at all.
        """
        room = self._limit - self._packets
        if burst.gso_size and burst.packets > room:
            return 0
        rows = min(burst.count, room)
        if not rows:
            return 0
        kept = burst.slice(0, rows)
        kept.buffer = kept.buffer.copy()
        kept.gso_size, kept.packets = burst.gso_size, burst.packets if burst.gso_size else rows
        kept.layout = burst.layout
        self._bursts.append((vm, kept))
        self._packets += kept.packets
        return kept.packets

    def leave(self) -> list[tuple[str, Burst]]:
        """Everything that waits, with the VM each burst came from; afterwards the room is empty."""
        bursts = list(self._bursts)
        self._bursts.clear()
        self._packets = 0
        return bursts
