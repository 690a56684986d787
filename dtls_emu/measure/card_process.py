"""A card in a process of its own, on a core of its own, that a host hands bursts to through shared memory.

1. The host waits until one of a few slots is free, copies its packets there, and writes one byte: the doorbell.
2. The card reads what bytes there are, takes the packets from as many slots and sends them on, to another card in its
   process, which opens and delivers them. Then it writes as many bytes: the slots are free.

So the host pays for a copy and one or two system calls for each burst, and the card for everything else. What the other card
takes is told apart: it is of another host.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.hub import HUB, Hub, Stream
from dtls_emu.measure.machine import pin
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.wire.burst import Burst


if TYPE_CHECKING:
    from types import TracebackType


__all__ = ["CardProcess", "Handed"]

SLOTS: Final = 8
"""Bursts under way, at most: what a small ring of a virtual device holds."""

WAIT_S: Final = 10.0
"""A card that has answered nothing for so long is dead."""

_GO: Final = b"\1"


class Handed(NamedTuple):
    """What one trial took.

    Fields:
        packets: handed over, and delivered.
        host_s: CPU seconds of the thread that handed them over.
        card_s: of the card's process, without the other card.
    """

    packets: int
    host_s: float
    card_s: float


class CardProcess:
    """The host's side. Use it with ``with``; it ends the process.

    Args:
        backend: of both cards.
        packets, size: of a burst.

    Raises:
        DtlsEmuError: the process does not start, with what it said.
    """

    def __init__(self, backend: str, packets: int, size: int) -> None:
        self._stream = Stream(packets, size)
        self._burst = self._stream.address(HUB, 1)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._file.truncate(SLOTS * packets * size)
        self._memory = mmap.mmap(self._file.fileno(), 0)
        self._slots = np.frombuffer(self._memory, np.uint8).reshape(SLOTS, packets * size)
        self._rows = self._burst.buffer[self._burst.offset :][: packets * self._burst.stride]
        command = [sys.executable, "-m", __spec__.name, backend, str(packets), str(size)]
        command.append(str(self._file.fileno()))
        self._process = subprocess.Popen(  # noqa: S603  # ourselves
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[self._file.fileno()],
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._bell, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        if os.read(self._answers, 1) != _GO:
            failure = self._failed()
            self._end()
            raise failure

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._end()

    def _end(self) -> None:
        """It ends when nobody is there to ring."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._file.close()

    def hand_over(self, bursts: int) -> Handed:
        """Hand so many bursts over, as fast as the card takes them.

        Raises:
            AccountingError: a packet was not delivered.
            DtlsEmuError: the card's process has died.
        """
        try:
            return self._hand_over(bursts)
        except BrokenPipeError:
            raise self._failed() from None

    def _hand_over(self, bursts: int) -> Handed:
        bell, answers, slots, rows = self._bell, self._answers, self._slots, self._rows
        os.write(bell, bursts.to_bytes(8, "little"))
        free, used = SLOTS, 0
        host_s = -time.thread_time()
        for _ in range(bursts):
            if not free:
                free = len(os.read(answers, SLOTS))
                if not free:
                    raise self._failed()
            slots[used] = rows
            used = (used + 1) % SLOTS
            free -= 1
            os.write(bell, _GO)
        host_s += time.thread_time()
        while free < SLOTS:
            came = len(os.read(answers, SLOTS - free))
            if not came:
                raise self._failed()
            free += came
        told = json.loads(self._line())
        packets = bursts * self._burst.count
        if told["delivered"] != packets:
            raise AccountingError(f"{told['delivered']} of {packets} packets arrived")
        return Handed(packets, host_s, told["card_s"])

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            part = os.read(self._answers, 4096)
            if not part:
                raise self._failed()
            line += part
        return line

    def _failed(self) -> DtlsEmuError:
        assert self._process.stderr is not None
        last = self._process.stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
        return DtlsEmuError(f"the card's process has ended: {last or 'it said nothing'}")


def _serve(backend: str, packets: int, size: int, descriptor: int) -> None:
    """The card's side."""
    pin(1)
    hub = Hub(1, backend=backend)
    hub.connect(1)
    slots = np.frombuffer(mmap.mmap(descriptor, 0), np.uint8).reshape(SLOTS, packets * size)
    os.write(1, _GO)
    while order := os.read(0, 8):
        cpu_s, others_ns, delivered = -time.process_time(), 0, 0
        left, slot = int.from_bytes(order, "little"), 0
        while left:
            rung = len(os.read(0, min(left, SLOTS)))
            if not rung:
                return
            left -= rung
            for _ in range(rung):
                burst = Burst(slots[slot], stride=size, offset=0, size=size, count=packets, last=size)
                leg = hub.pass_on(HUB, 1, burst, time.monotonic())
                others_ns += leg.receiver_ns
                delivered += leg.delivered
                slot = (slot + 1) % SLOTS
            os.write(1, _GO * rung)
        cpu_s += time.process_time()
        told = {"delivered": delivered, "card_s": cpu_s - others_ns / 1e9}
        os.write(1, json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    _serve(sys.argv[1], *map(int, sys.argv[2:]))
