"""The path over UDP: two processes, one for each host, real sockets on loopback.

::

    coordinator (this process; asleep during a trial)
        │ pipe: order, report                       pipe: order, report │
    sender process, core n ────── datagrams on loopback ─────▶ receiver process, core n - 1
        ▲                                                               │
        └────────── shared memory: datagrams dealt with so far ─────────┘

The sender keeps no more datagrams under way than fit the receiver's socket buffer, so nothing need be lost and
no arm is flattered by dropping what it cannot carry. Plain and encrypted arms run the same code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Pipe
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.arms import arm_topology
from dtls_emu.measure.cards import write_both
from dtls_emu.measure.packets import rows_per_burst
from dtls_emu.measure.sample import Accounting, Sample
from dtls_emu.measure.udp_main import MEMORY_BYTES
from dtls_emu.measure.udp_worker import (
    EndConfig,
    EndReport,
    Failure,
    Order,
    Ready,
    Role,
    window,
)
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import MAX_ROWS


if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from dtls_emu.fabric.offload import Offload
    from dtls_emu.lab.topology import Topology
    from dtls_emu.measure.arms import Pair
    from dtls_emu.measure.source import Load


__all__ = ["UdpTestbed", "reconcile"]

ANSWER_S: Final = 120.0
"""Longest wait for an answer: a trial takes a second, compiling every kernel the first time half a minute."""

STOP_S: Final = 2.0

PROGRAM: Final = "dtls_emu.measure.udp_main"

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Answer = TypeVar("Answer")


class UdpTestbed:
    """Both processes, with cards for every arm. Use it with ``with``, or close it.

    Fields:
        offloads: what the sockets use, and why not.
        cores: core of each process; None when it is not pinned.

    Args:
        topology: of the lab.
        pair: the VMs that talk.
        arms: names of all arms.
        offload: UDP_SEGMENT and UDP_GRO where the kernel has them; or one datagram a system call.

    Raises:
        DtlsEmuError: a process could not set up its cards or sockets.
    """

    def __init__(self, topology: Topology, pair: Pair, arms: Sequence[str], *, offload: bool) -> None:
        topologies = {
            arm: arm_topology(topology, pair, arm, _underlays(2 * index + offload))
            for index, arm in enumerate(arms)
        }
        memory = os.memfd_create("dtls-emu-bench")
        os.ftruncate(memory, MEMORY_BYTES)
        self._processes: list[_Process] = []
        with TemporaryDirectory(prefix="dtls-emu-bench-") as folder:  # until both have read their keys
            places = write_both(pair, Path(folder))
            try:
                for role, vm, place in zip(Role, (pair.sender, pair.receiver), places, strict=True):
                    config = EndConfig(role, topologies, vm.host, vm.name, pair.ends, place, offload)
                    self._processes.append(_Process(config, memory))
                self._sender, self._receiver = self._processes
                states = [process.answer(Ready) for process in self._processes]
            except BaseException:
                self.close()
                raise
            finally:
                os.close(memory)
        self._buffer_bytes = states[1].buffer_bytes
        self.offloads: dict[str, Offload] = states[1].offloads
        self.cores = {str(role): state.core for role, state in zip(Role, states, strict=True)}

    def measure(self, load: Load) -> Sample:
        """One trial: see :class:`dtls_emu.measure.trials.Testbed`."""
        rows = rows_per_burst(load.size, load.burst)
        order = Order(load, window(self._buffer_bytes, load.size, rows))
        self._receiver.order(order)
        self._receiver.answer(Order)
        self._sender.order(order)
        sent, received = self._sender.answer(EndReport), self._receiver.answer(EndReport)
        return Sample(
            reconcile(sent, received),
            octets=received.octets,
            wall_s=received.last - sent.first,
            sender_cpu_s=sent.cpu_s,
            receiver_cpu_s=received.cpu_s,
            delays=received.delays,
            lasted_s=received.last - sent.first,
            switches=sent.switches + received.switches,
        )

    def close(self) -> None:
        """End both processes. Idempotent."""
        while self._processes:
            self._processes.pop().close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def reconcile(sent: EndReport, received: EndReport) -> Accounting:
    """Account for every packet by the counters of both ends.

    A packet that left the sender and did not arrive is the socket buffer's only as far as the kernel says that
    it dropped that much there; a merged receive, which it counts once, is up to 64 packets. What is missing
    beyond that stays unaccounted for.
    """
    dropped = dict(sent.dropped)
    for reason, count in received.dropped.items():
        dropped[reason] = dropped.get(reason, 0) + count
    missing = sent.offered - sent.refused - received.delivered - sum(dropped.values())
    if received.kernel_drops <= missing <= received.kernel_drops * MAX_ROWS and missing:
        dropped[DropReason.SOCKET_BUFFER] = dropped.get(DropReason.SOCKET_BUFFER, 0) + missing
    return Accounting(sent.offered, received.delivered, dropped, sent.refused)


class _Process:
    """One end, as the coordinator sees it."""

    def __init__(self, config: EndConfig, memory: int) -> None:
        self._role = config.role
        self._pipe, theirs = Pipe()
        # Ctrl-C reaches every process of the terminal, and a request to end often a whole group. The children
        # inherit that these are blocked: this process ends them.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            descriptors = theirs.fileno(), memory
            command = [sys.executable, "-m", PROGRAM, *map(str, descriptors)]
            self._process = subprocess.Popen(command, pass_fds=descriptors, stdin=subprocess.DEVNULL)  # noqa: S603  # ourselves
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
            theirs.close()
        self._pipe.send(config)

    def order(self, order: Order) -> None:
        """Start a trial."""
        self._pipe.send(order)

    def answer(self, kind: type[Answer]) -> Answer:
        """Wait for the next message, which is of that kind.

        Raises:
            AccountingError: it found a packet altered.
            DtlsEmuError: it failed, ended, or keeps silent.
        """
        try:
            silence = Failure(f"silent for {ANSWER_S:.0f} s", is_void=False)
            message: Any = self._pipe.recv() if self._pipe.poll(ANSWER_S) else silence
        except (EOFError, ConnectionError) as error:
            raise DtlsEmuError(f"the {self._role} process ended") from error
        if isinstance(message, kind):
            return message
        assert isinstance(message, Failure)
        raise (AccountingError if message.is_void else DtlsEmuError)(f"{self._role}: {message.reason}")

    def close(self) -> None:
        """Ask it to end, and end it when it does not."""
        with suppress(OSError):  # it may have ended by itself
            self._pipe.send(None)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe.close()


def _underlays(index: int) -> tuple[str, str]:
    """Two addresses of 127/8 that no other arm has, and hardly another run on this machine."""
    own = os.getpid() % 0x3FFF
    return (
        f"127.{64 + (own >> 8)}.{own & 0xFF}.{2 * index + 1}",
        f"127.{64 + (own >> 8)}.{own & 0xFF}.{2 * index + 2}",
    )
