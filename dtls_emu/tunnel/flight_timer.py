"""Sends our flight, and sends it again: RFC 6347 4.2.4, with the timers of 4.2.4.1 and the sizes of 4.1.1.1.

OpenSSL writes each flight once; sending it again is ours, because OpenSSL's timer reads the wall clock and a
card lives on the time it is given.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from dtls_emu.tunnel.flight import SMALLEST_MTU, FlightRecord, pack, refragment


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["FlightTimer"]

_BACKOFF_AFTER: Final = 3
"""Retransmissions after which smaller datagrams are tried (RFC 6347 4.1.1.1 says 2 to 3)."""


class FlightTimer:
    """The flight of one attempt that waits for its answer.

    Fields:
        flight: its records, as OpenSSL wrote them.
        mtu: UDP payload bytes that the path carries; may change, and the next sending follows it.
        next_plain_sequence: first unused record number of epoch 0.
        retransmissions: how often this flight was sent again.
        timeout_at: when `expire` wants to be called; infinity once the attempt is over.
    """

    def __init__(self, settings: TunnelSettings, mtu: int, now: float) -> None:
        self.flight: list[FlightRecord] = []
        self.mtu = mtu
        self.next_plain_sequence = 0
        self.retransmissions = 0
        self._first, self._longest = settings.initial_timeout, settings.longest_timeout
        self._timer = self._first
        self._sent_at = now
        self._deadline = now + settings.handshake_deadline
        self.timeout_at = self._deadline
        self._outgoing: list[bytes] = []

    def take_datagrams(self) -> list[bytes]:
        """Datagrams to send now, each at most the MTU; they are handed out once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def send_now(self, record: bytes) -> None:
        """A record that is no flight's goes out once: an alert."""
        self._outgoing.append(record)

    def begin(self, flight: list[FlightRecord], now: float) -> None:
        """The next flight goes out."""
        self.flight = flight
        self.retransmissions = 0
        self._timer = self._first
        self._send(now)

    def repeat(self, now: float, sealed: FlightRecord | None) -> None:
        """It goes out again under new record numbers; `sealed` takes the place of what was protected in it.

        Whether our timer ran out or the peer repeated itself: our flight may have been too large for the path.
        """
        self.retransmissions += 1
        if sealed is not None:
            self.flight = [*(record for record in self.flight if not record.epoch), sealed]
        self._send(now)

    def may_answer_repetition(self, now: float) -> bool:
        """Whether the peer's repetition is to be answered by ours (RFC 6347 4.2.4, "read retransmit").

        Once a half-timer is often enough: a flight is several datagrams, and each of them arrives.
        """
        return now - self._sent_at >= self._timer / 2

    def is_late(self, now: float) -> bool:
        """Whether the deadline of the attempt is over."""
        return now >= self._deadline

    def double(self) -> None:
        """The timer ran out: the next one is longer."""
        self._timer = min(self._timer * 2, self._longest)

    def end(self) -> None:
        """The attempt is over; what was to be sent still is."""
        self.flight = []
        self.timeout_at = inf

    def _send(self, now: float) -> None:
        mtu = max(self.mtu, SMALLEST_MTU) if self.retransmissions < _BACKOFF_AFTER else SMALLEST_MTU
        self._outgoing += pack(self._encode(mtu), mtu)
        self._sent_at = now
        self.timeout_at = min(now + self._timer, self._deadline)

    def _encode(self, mtu: int) -> Iterator[bytes]:
        for record in self.flight:
            if record.epoch:
                yield record.encode(record.sequence)
                continue
            for part in refragment(record, mtu):
                # OpenSSL mirrors the ClientHello's number in its answer (RFC 6347 4.2.1): never below it.
                sequence = max(part.sequence, self.next_plain_sequence)
                self.next_plain_sequence = sequence + 1
                yield part.encode(sequence)
