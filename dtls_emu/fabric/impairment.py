"""What one direction of a link does to a datagram: the model of MTU, queue, loss, jitter and the rest.

A datagram meets a link in this order:

1. MTU. The outer IP packet (20 or 40 + 8 + payload) is larger: dropped, for outer DF is set.
2. Queue and rate. With a ``rate`` datagrams leave one after the other. At most the profile's ``link_queue``
   wait, the next one is dropped. What the link loses later has still used its time.
3. Loss.
4. Delay, plus a uniform draw between ``-jitter`` and ``+jitter``. A link is a pipe: whatever the jitter (or a
   delay lowered at run time), nothing arrives before what was sent before it. So jitter alone never reorders;
   it makes datagrams bunch up behind a slow one.
5. Reorder. The datagram steps aside until the next one of its direction has passed it, or for
   :data:`REORDER_HOLD` when none comes; one steps aside at a time. It needs no delay to work, unlike tc-netem's.
6. Duplicate. A copy arrives right behind its original.
7. Mark. A datagram that is ECN-capable outside is marked Congestion Experienced (RFC 3168 5); any other is not.
8. Corrupt. One bit of the payload is flipped. It arrives: a real UDP checksum would hide most of these from
   the card, here the record's tag has to find them.

Randomness: each direction has a generator of its own, seeded by the run's seed and the names of its ends, so
a new link does not change what the others do. Six numbers are drawn for each datagram, needed or not, so
that raising one probability leaves the other decisions as they were. Marks have a generator of their own.

A handshake's datagrams differ by some bytes from run to run (an ECDSA signature is DER, RFC 3279 2.2.3), so the
clock charges them as full-MTU packets, and the bit that is flipped is one of a header field that does not depend on
keys. The same seed then gives the same times and the same failures, whatever the keys.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from dtls_emu.fabric.clock import NANOSECONDS, nanoseconds
from dtls_emu.fabric.underlay import Ledger
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.ecn import ECN, ECT_0, ECT_1
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER, UDP_HEADER


if TYPE_CHECKING:
    from dtls_emu.lab.topology import Link


__all__ = ["REORDER_HOLD", "Direction", "Fate"]

REORDER_HOLD: Final = 10_000_000
"""Nanoseconds that a datagram waits to be overtaken: 10 ms, far below DTLS's first retransmission (1 s)."""

_SAME_IN_EVERY_RUN: Final[tuple[int, ...]] = (*range(11), 17, 18)
"""Bytes of a handshake's datagram. Of its first record type, version, epoch and number (RFC 6347 4.1); behind the
record's length, which varies, the number of the message (4.2.2), or what stands there of another record. Not the
message's type: a ServerHello that is read as a HelloVerifyRequest is one or none by its random bytes."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one datagram.

    Fields:
        dropped: why, or None when it is carried; the other fields then say how.
        arrival_ns: when it reaches the other end.
        reordered: it waits there until the next one has passed it.
        duplicated: a copy comes right behind it.
        flipped_bit: number of the payload bit that is flipped, or -1.
        marked: it is marked CE outside.
    """

    dropped: DropReason | None = None
    arrival_ns: int = 0
    reordered: bool = False
    duplicated: bool = False
    flipped_bit: int = -1
    marked: bool = False


class Direction:
    """A link in one direction: its settings, its generator, its queue and its books.

    Args:
        link: the settings; its ends' names are part of the seed.
        seed: of the run.
        underlay_version: IP version of the outer packets, 4 or 6.
        queue_limit: datagrams that may wait when a ``rate`` is set.
    """

    def __init__(self, link: Link, seed: int, *, underlay_version: int, queue_limit: int) -> None:
        self.ledger = Ledger()
        self._outer = (IPV4_HEADER if underlay_version == 4 else IPV6_HEADER) + UDP_HEADER
        self._random = Random(f"{seed}|{link.source}|{link.destination}")
        self._marking = Random(f"{seed}|{link.source}|{link.destination}|ecn")
        self._queue_limit = queue_limit
        self._departures: deque[int] = deque()
        self._last_arrival_ns = 0
        self.reconfigure(link)

    def reconfigure(self, link: Link) -> None:
        """Take other settings from now on. What is under way stays as it is."""
        self.link = link
        self._delay_ns = nanoseconds(link.delay)
        self._jitter_ns = nanoseconds(link.jitter)
        self._rate = math.ceil(link.rate)
        self._draws = any((link.loss, link.reorder, link.duplicate, link.corrupt, link.jitter))
        self._marks = bool(link.ecn_mark)

    @property
    def settled_at_ns(self) -> int:
        """When everything that it has carried so far has arrived, but for what is held to be overtaken."""
        return self._last_arrival_ns

    @property
    def transparent(self) -> bool:
        """Whether all that it does is to delay, every datagram alike."""
        return not self._draws and not self._rate and not self._marks

    def fits(self, length: int) -> bool:
        """Whether a UDP payload of ``length`` bytes is within the MTU."""
        return self._outer + length <= self.link.mtu

    def judge(self, length: int, now_ns: int, *, handshake: bool, tos: int = 0) -> Fate:
        """Decide about one datagram of ``length`` payload bytes and with this type of service that is sent now."""
        link = self.link
        marked = self._marks and self._marking.random() < link.ecn_mark and tos & ECN in {ECT_0, ECT_1}
        loss, duplicate, corrupt, reorder, jitter, bit = self._draw()
        if not self.fits(length):
            return Fate(DropReason.LINK_MTU)
        departure_ns = now_ns
        if self._rate:
            queue = self._departures
            while queue and queue[0] <= now_ns:
                queue.popleft()
            if len(queue) >= self._queue_limit:
                return Fate(DropReason.LINK_QUEUE)
            charged = link.mtu if handshake else self._outer + length
            departure_ns = (queue[-1] if queue else now_ns) + -(-charged * 8 * NANOSECONDS // self._rate)
            queue.append(departure_ns)
        if loss < link.loss:
            return Fate(DropReason.LOST)
        return Fate(
            arrival_ns=self.arrival(departure_ns, round((2 * jitter - 1) * self._jitter_ns)),
            reordered=reorder < link.reorder,
            duplicated=duplicate < link.duplicate,
            flipped_bit=_flipped(bit, length, handshake=handshake) if corrupt < link.corrupt else -1,
            marked=marked,
        )

    def arrival(self, departure_ns: int, jitter_ns: int = 0) -> int:
        """When a datagram that leaves then arrives: after the delay, and not before the one in front of it."""
        arrival_ns = departure_ns + max(0, self._delay_ns + jitter_ns)
        self._last_arrival_ns = max(self._last_arrival_ns, arrival_ns)
        return self._last_arrival_ns

    def _draw(self) -> tuple[float, float, float, float, float, float]:
        if not self._draws:
            return _NO_DRAWS
        draw = self._random.random
        return draw(), draw(), draw(), draw(), draw(), draw()


def _flipped(draw: float, length: int, *, handshake: bool) -> int:
    """The number of the bit that a draw from [0, 1) flips in a datagram of ``length`` bytes."""
    if not handshake:
        return int(draw * length * 8)
    places = [place for place in _SAME_IN_EVERY_RUN if place < length]
    place, bit = divmod(int(draw * len(places) * 8), 8)
    return places[place] * 8 + bit


_NO_DRAWS: Final = (1.0, 1.0, 1.0, 1.0, 0.5, 0.0)
"""Stands for six draws on a link without chance: nothing happens, jitter in the middle."""
