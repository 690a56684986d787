"""The end that opens a connection and sends.

1. Handshake with options: MSS and window scale.
2. What window and congestion window allow is cut into bursts of full segments.
3. Three repeated acknowledgements: fast retransmit and recovery (RFC 5681, RFC 6582).
4. Nothing comes back: retransmission timer, doubled each time (RFC 6298), until the sender gives up.
5. A segment was too big for the path: a smaller segment size from there on (RFC 1191 6.4).
"""

from __future__ import annotations

from enum import StrEnum
from math import inf
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.simulation.guests.tcp.segments import (
    WINDOW,
    WINDOW_SCALE,
    Numbers,
    encode_options,
    parse_options,
)
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.headers import TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN
from dtls_emu.wire.packet import tcp_packet
from dtls_emu.wire.segment import segment


if TYPE_CHECKING:
    from dtls_emu.simulation.guests.tcp.payload import Payload
    from dtls_emu.simulation.guests.tcp.segments import TcpFlow
    from dtls_emu.wire.parse import TcpSegment


__all__ = ["TcpSender", "TcpState"]

INITIAL_SEGMENTS: Final = 10  # RFC 6928 2
DUPLICATES: Final = 3  # RFC 5681 3.2
INITIAL_TIMEOUT: Final = 1.0  # RFC 6298 2.1, and the least timeout of 2.4
LONGEST_TIMEOUT: Final = 60.0  # RFC 6298 2.5

MAX_RETRANSMISSIONS: Final = 8
"""Then the sender gives up, after 183 s: RFC 9293 3.8.3 asks for at least 100 s."""

SUPER_PACKET: Final = 65_000
"""Most payload that is cut into one burst: what fits an IP packet's length field with all headers."""

SMALLEST_PATH: Final = 68
"""Bytes. An ICMP error that claims less is wrong (RFC 791 3.2)."""


class TcpState(StrEnum):
    """What a sender is doing."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    DONE = "done"  # everything is acknowledged, the FIN included
    FAILED = "failed"


class TcpSender:
    """The end that opens the connection and sends.

    Fields:
        flow: the connection.
        state: see :class:`TcpState`.
        failure: why it failed, else "".
        mss: most payload of a segment at present, in bytes.
        round_trips: measured so far, in seconds; the first is that of the handshake.
        retransmitted: segments sent again.
        timeout_at: when :meth:`handle_timeout` wants to be called; infinity when it does not.
        ended_at: when it was done or failed, in seconds, or None.
    """

    def __init__(self, flow: TcpFlow, payload: Payload, size: int, *, mss: int, mark: int = 0) -> None:
        """
        Args:
            flow: the connection, as this end sees it.
            payload: what is sent.
            size: how much of it, in bytes.
            mss: most payload of a segment, in bytes; the other end's option may make it less.
            mark: of the packets.
        """
        self.flow = flow
        self.state = TcpState.CLOSED
        self.failure = ""
        self.mss = mss
        self.round_trips: list[float] = []
        self.retransmitted = 0
        self.timeout_at = inf
        self.ended_at: float | None = None
        self._payload = payload
        self._size = size
        self._mark = mark
        self._numbers = Numbers(Random(f"{flow}").getrandbits(32))
        self._peer_numbers = Numbers(0)
        self._identification = 0
        # Offsets in the stream; the FIN is one byte behind the payload.
        self._unacknowledged = 0
        self._next = 0
        self._highest = 0
        self._window = 0
        self._scale = 0
        self._congestion_window = 0
        self._threshold = WINDOW
        self._duplicates = 0
        self._recovering = False
        self._recover = -1
        self._timeout = INITIAL_TIMEOUT
        self._smoothed = 0.0
        self._variation = 0.0
        self._timed: tuple[int, float] | None = None
        self._retransmissions = 0

    @property
    def acknowledged(self) -> int:
        """Bytes of payload that the other end has."""
        return min(self._unacknowledged, self._size)

    def open(self, now: float) -> list[Burst]:
        """Ask for the connection."""
        self.state = TcpState.OPENING
        self._timed = (0, now)
        self.timeout_at = now + self._timeout
        return [self._synchronize()]

    def receive(self, segment_: TcpSegment, now: float) -> list[Burst]:
        """Take a segment of the other end."""
        if self.state not in {TcpState.OPENING, TcpState.OPEN}:
            return []
        if segment_.flags & TCP_RST:
            self._fail("the other end refused the connection", now)
            return []
        if not segment_.flags & TCP_ACK:
            return []
        if self.state is TcpState.OPENING:
            return self._receive_synchronize(segment_, now)
        if segment_.flags & TCP_SYN:
            return [self._segment(self._next, b"", TCP_ACK)]  # our acknowledgement of the handshake was lost
        self._window = segment_.window << self._scale
        return self._receive_acknowledgement(segment_.acknowledgement, now)

    def path_mtu_is(self, mtu: int, sequence: int, now: float) -> list[Burst]:
        """Take the news that a segment did not fit the path.

        Args:
            mtu: of the path, in bytes of IP packet.
            sequence: number of the segment that the news quotes; one that is not under way is a forgery
                (RFC 5927 4.1).
            now: seconds.
        """
        mss = mtu - self.flow.headers
        offset = self._numbers.offset(sequence, self._unacknowledged)
        under_way = self._unacknowledged <= offset < self._highest
        if self.state is not TcpState.OPEN or mtu < SMALLEST_PATH or mss >= self.mss or not under_way:
            return []
        self.mss = mss
        self._go_back()
        return self._send(now)

    def handle_timeout(self, now: float) -> list[Burst]:
        """Retransmit, or give up. Does nothing before `timeout_at`."""
        if now < self.timeout_at:
            return []
        if self._retransmissions == MAX_RETRANSMISSIONS:
            self._fail(f"no answer after {MAX_RETRANSMISSIONS} retransmissions", now)
            return []
        self._retransmissions += 1
        self._timeout = min(self._timeout * 2, LONGEST_TIMEOUT)
        self.timeout_at = now + self._timeout
        if self.state is TcpState.OPENING:
            self._timed = None
            self.retransmitted += 1
            return [self._synchronize()]
        self._threshold = max((self._next - self._unacknowledged) // 2, 2 * self.mss)
        self._congestion_window = self.mss
        self._go_back()
        return self._send(now)

    def stop(self, reason: str, now: float) -> None:
        """Send nothing more."""
        if self.state is not TcpState.DONE:
            self._fail(reason, now)

    def _receive_synchronize(self, answer: TcpSegment, now: float) -> list[Burst]:
        if not answer.flags & TCP_SYN or self._numbers.offset(answer.acknowledgement, 0):
            return []
        options = parse_options(bytes(answer.options))
        self.mss = min(self.mss, options.mss)
        self._scale = options.window_scale
        self._window = answer.window  # never scaled in a SYN (RFC 7323 2.2)
        self._peer_numbers = Numbers(answer.sequence)
        self._congestion_window = INITIAL_SEGMENTS * self.mss
        self._retransmissions = 0
        self.state = TcpState.OPEN
        if self._timed is not None:
            self._measure(now - self._timed[1])
            self._timed = None
        self.timeout_at = inf
        return [self._segment(0, b"", TCP_ACK), *self._send(now)]

    def _receive_acknowledgement(self, number: int, now: float) -> list[Burst]:
        acknowledged = self._numbers.offset(number, self._unacknowledged)
        if acknowledged > self._highest:
            return []
        if acknowledged > self._unacknowledged:
            return self._advance(acknowledged, now)
        if acknowledged < self._unacknowledged or self._next == self._unacknowledged:
            return []
        self._duplicates += 1
        if self._recovering:
            self._congestion_window += self.mss
            return self._send(now)
        if self._duplicates != DUPLICATES or acknowledged <= self._recover:
            return []
        self._recovering = True
        self._recover = self._highest
        self._threshold = max((self._next - self._unacknowledged) // 2, 2 * self.mss)
        self._congestion_window = self._threshold + DUPLICATES * self.mss
        return self._send_again(now)

    def _advance(self, acknowledged: int, now: float) -> list[Burst]:
        """Something new was acknowledged."""
        newly = acknowledged - self._unacknowledged
        self._unacknowledged = acknowledged
        self._next = max(self._next, acknowledged)
        self._duplicates = self._retransmissions = 0
        if self._timed is not None and acknowledged >= self._timed[0]:
            self._measure(now - self._timed[1])
            self._timed = None
        if acknowledged > self._size:
            self.state = TcpState.DONE
            self.timeout_at = inf
            self.ended_at = now
            return []
        self.timeout_at = now + self._timeout if self._highest > acknowledged else inf
        again: list[Burst] = []
        if self._recovering and acknowledged < self._recover:
            # A partial acknowledgement: the next hole is lost as well (RFC 6582 3.2).
            self._congestion_window = max(self._congestion_window - newly, 0) + self.mss
            again = self._send_again(now)
        elif self._recovering:
            self._recovering = False
            self._congestion_window = self._threshold
        elif self._congestion_window < self._threshold:
            self._congestion_window += newly
        else:
            self._congestion_window += max(self.mss * newly // self._congestion_window, 1)
        return again + self._send(now)

    def _go_back(self) -> None:
        """Send everything again that is not acknowledged."""
        self._next = self._unacknowledged
        self._recovering = False
        self._recover = self._highest
        self._duplicates = 0
        self._timed = None

    def _send(self, now: float) -> list[Burst]:
        """What the windows allow, in bursts; whole segments but for the stream's last."""
        bursts: list[Burst] = []
        limit = self._unacknowledged + min(self._congestion_window, self._window)
        while self._next <= self._size:
            left = self._size - self._next
            length = min(left, limit - self._next, SUPER_PACKET)
            if length < left:
                length -= length % self.mss
                if length <= 0:
                    break
            if self._next < self._highest:
                self.retransmitted += max(-(-length // self.mss), 1)
            elif self._timed is None:
                self._timed = (self._next + length, now)
            bursts += self._cut(self._next, length)
            self._next += length + (length == left)  # with the last of the payload goes the FIN
            self._highest = max(self._highest, self._next)
        if bursts and self.timeout_at == inf:
            self.timeout_at = now + self._timeout
        return bursts

    def _send_again(self, now: float) -> list[Burst]:
        """The first segment that is not acknowledged."""
        self._timed = None
        self.retransmitted += 1
        self.timeout_at = now + self._timeout
        return self._cut(self._unacknowledged, min(self.mss, self._size - self._unacknowledged))

    def _cut(self, offset: int, length: int) -> list[Burst]:
        flags = TCP_ACK
        if offset + length == self._size:
            flags |= TCP_FIN | TCP_PSH
        packet = self._packet(offset, self._payload.at(offset, length), flags)
        if length <= self.mss:
            return [Burst.from_packets([packet], mark=self._mark)]
        bursts = segment(np.frombuffer(packet, np.uint8), self.mss, mark=self._mark)
        self._identification += length // self.mss
        return bursts

    def _segment(self, offset: int, payload: bytes, flags: int) -> Burst:
        return Burst.from_packets([self._packet(offset, payload, flags)], mark=self._mark)

    def _synchronize(self) -> Burst:
        return self._segment(-1, b"", TCP_SYN)

    def _packet(self, offset: int, payload: bytes, flags: int) -> bytes:
        self._identification += 1
        synchronizes = bool(flags & TCP_SYN)
        return tcp_packet(
            *self.flow,
            payload,
            sequence=self._numbers.number(offset),
            acknowledgement=0 if synchronizes else self._peer_numbers.number(0),
            flags=flags,
            window=0xFFFF if synchronizes else WINDOW >> WINDOW_SCALE,
            options=encode_options(self.mss) if synchronizes else b"",
            identification=self._identification & 0xFFFF,
        )

    def _measure(self, round_trip: float) -> None:
        """RFC 6298 2.2, 2.3."""
        self.round_trips.append(round_trip)
        if len(self.round_trips) == 1:
            self._smoothed, self._variation = round_trip, round_trip / 2
        else:
            self._variation += (abs(self._smoothed - round_trip) - self._variation) / 4
            self._smoothed += (round_trip - self._smoothed) / 8
        timeout = self._smoothed + 4 * self._variation
        self._timeout = min(max(timeout, INITIAL_TIMEOUT), LONGEST_TIMEOUT)

    def _fail(self, reason: str, now: float) -> None:
        self.state = TcpState.FAILED
        self.failure = reason
        self.timeout_at = inf
        self.ended_at = now
