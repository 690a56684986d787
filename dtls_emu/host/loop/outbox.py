"""Datagrams of one turn that can leave together: one system call, one seal's worth of rows at the other end.

Many flows, or flows that are held back, make small super-packets and lone acknowledgements. Each costs a send
here and a receive, an opening and a look at every table there; and the kernel takes 64 datagrams of one size and type
of service to one address at once, whatever flows are in them (``UDP_SEGMENT``). So what a turn brings is put behind one another,
a copy of some kilobytes, and goes at the latest when the turn ends: nothing waits for what is not there yet.
A burst that fills a send alone goes alone, uncopied. Nothing overtakes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.fabric.offload import MAX_SEND_BYTES, MAX_SEND_SEGMENTS
from dtls_emu.nic.effects import Transmit
from dtls_emu.wire.burst import Burst


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.nic.effects import UnderlayAddress


__all__ = ["Outbox"]

MAX_COPY: Final = MAX_SEND_BYTES // 2
"""Bytes of a burst that is worth a copy: two fit one send."""


class Outbox:
    """What waits for the end of a turn, all for one address.

    Args:
        send: takes the datagrams; they are valid only during the call.
    """

    def __init__(self, send: Callable[[Transmit], object]) -> None:
        self._send = send
        self._memory = np.empty(MAX_SEND_BYTES, np.uint8)
        self._used = 0
        self._count = 0
        self._size = 0
        self._source_port = 0
        self._tos = 0
        self._destination: UnderlayAddress = ("", 0)

    def put(self, effect: Transmit) -> None:
        """Send datagrams now, or with those that follow in this turn."""
        burst = effect.burst
        count, size = burst.count, burst.size
        length = (count - 1) * size + burst.last
        if length > MAX_COPY:
            if self._count:
                self.flush()
            self._send(effect)
            return
        used = self._used
        if self._count and (
            # The rows have one size; a shorter one can only be the last.
            (size != self._size and (size > self._size or count > 1))
            or self._count + count > MAX_SEND_SEGMENTS
            or used + length > MAX_SEND_BYTES
            or burst.tos != self._tos
            or effect.source_port != self._source_port
            or effect.destination != self._destination
        ):
            self.flush()
            used = 0
        if not self._count:
            self._size = size
            self._tos = burst.tos
            self._source_port = effect.source_port
            self._destination = effect.destination
        self._memory[used : used + length] = burst.wire
        self._used = used + length
        self._count += count
        if burst.last < self._size:
            self.flush()

    def flush(self) -> None:
        """Send what is there."""
        if self._count:
            burst = Burst.from_datagrams(self._memory[: self._used], self._size, tos=self._tos)
            self._used = self._count = 0
            self._send(Transmit(burst, self._source_port, self._destination))
