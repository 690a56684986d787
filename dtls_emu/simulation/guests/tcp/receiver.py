"""The end that waits for a connection and takes what comes: out of order, twice, or not at all at first.

It acknowledges cumulatively: once for a burst in order, at once for each segment out of order.
"""

from __future__ import annotations

import heapq
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING

from dtls_emu.simulation.guests.tcp.segments import WINDOW, WINDOW_SCALE, Numbers, encode_options
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.headers import TCP_ACK, TCP_FIN, TCP_SYN
from dtls_emu.wire.packet import tcp_packet


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.simulation.guests.tcp.segments import TcpFlow
    from dtls_emu.wire.parse import TcpSegment


__all__ = ["TcpReceiver"]


class TcpReceiver:
    """The end that waits for a connection and takes what comes.

    Fields:
        flow: the connection, as this end sees it.
        received: bytes of payload that arrived, without a gap.
        finished: the FIN came, and everything before it.
    """

    def __init__(self, flow: TcpFlow, *, mss: int, mark: int = 0) -> None:
        """
        Args:
            flow: the connection, as this end sees it.
            mss: most payload of a segment that this end can take, in bytes.
            mark: of the packets.
        """
        self.flow = flow
        self.received = 0
        self.finished = False
        self._mss = mss
        self._mark = mark
        self._numbers = Numbers(Random(f"{flow}").getrandbits(32))
        self._peer_numbers: Numbers | None = None
        self._state = sha256()
        self._early: list[tuple[int, bytes]] = []  # a heap, by offset
        self._end: int | None = None
        self._identification = 0

    def digest(self) -> bytes:
        """SHA-256 of what was received."""
        return self._state.digest()

    def receive(self, segments: Iterable[TcpSegment]) -> list[Burst]:
        """Take segments that arrived together; returns the acknowledgements."""
        answers: list[bytes] = []
        in_order = False
        for each in segments:
            if each.flags & TCP_SYN:
                answers.append(self._accept(each))
            elif self._peer_numbers is not None and (each.payload or each.flags & TCP_FIN):
                if self._take(each, self._peer_numbers):
                    in_order = True
                else:
                    answers.append(self._acknowledge())
        if in_order:
            answers.append(self._acknowledge())
        return [Burst.from_packets(list(group), mark=self._mark) for group in _alike(answers)]

    def _accept(self, opening: TcpSegment) -> bytes:
        if self._peer_numbers is None:
            self._peer_numbers = Numbers(opening.sequence)
        return self._packet(-1, TCP_SYN | TCP_ACK, window=0xFFFF, options=encode_options(self._mss))

    def _take(self, each: TcpSegment, numbers: Numbers) -> bool:
        """Whether a segment continues the stream."""
        offset = numbers.offset(each.sequence, self.received)
        payload = bytes(each.payload)
        if each.flags & TCP_FIN:
            self._end = offset + len(payload)
        expected = self.received + self.finished
        if offset > self.received:
            if offset + len(payload) <= self.received + WINDOW:
                heapq.heappush(self._early, (offset, payload))
            return False
        self._append(offset, payload)
        while self._early and self._early[0][0] <= self.received:
            self._append(*heapq.heappop(self._early))
        self.finished = self.received == self._end
        return self.received + self.finished > expected

    def _append(self, offset: int, payload: bytes) -> None:
        fresh = payload[self.received - offset :]
        self._state.update(fresh)
        self.received += len(fresh)

    def _acknowledge(self) -> bytes:
        return self._packet(0, TCP_ACK, window=WINDOW >> WINDOW_SCALE)

    def _packet(self, offset: int, flags: int, *, window: int, options: bytes = b"") -> bytes:
        assert self._peer_numbers is not None  # nothing is answered before the SYN
        self._identification += 1
        return tcp_packet(
            *self.flow,
            sequence=self._numbers.number(offset),
            acknowledgement=self._peer_numbers.number(self.received + self.finished),
            flags=flags,
            window=window,
            options=options,
            identification=self._identification & 0xFFFF,
        )


def _alike(packets: list[bytes]) -> list[list[bytes]]:
    """Packets in groups that have the shape of a burst."""
    groups: list[list[bytes]] = []
    for packet in packets:
        if groups and len(groups[-1]) < MAX_ROWS and len(groups[-1][0]) == len(packet):
            groups[-1].append(packet)
        else:
            groups.append([packet])
    return groups
