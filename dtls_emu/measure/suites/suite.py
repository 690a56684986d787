"""What a suite is, and what a run gives it to measure with."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Generic, Self, TypeVar

from dtls_emu.measure.memory import MemoryTestbed
from dtls_emu.measure.plan import PLAIN, PLAIN_AGAIN, BenchPath
from dtls_emu.measure.records.base import Section
from dtls_emu.measure.result import OffloadState
from dtls_emu.measure.udp import UdpTestbed


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.lab.topology import Topology
    from dtls_emu.measure.arms import Pair
    from dtls_emu.measure.plan import Extent, Plan
    from dtls_emu.measure.records.base import Record
    from dtls_emu.measure.result import Start
    from dtls_emu.measure.tables import Table
    from dtls_emu.measure.trials import Testbed
    from dtls_emu.progress import Progress


__all__ = ["PREFERRED_BACKENDS", "Bench", "Suite", "preferred"]

PREFERRED_BACKENDS: Final = ("ipsec-mb", "libcrypto", "cryptography", "openssl")
"""Which arm the reading speaks of: the card's engine first, as when a card chooses one."""

Kept = TypeVar("Kept", bound=Section)


@dataclass(slots=True)
class Bench:
    """What a run gives a suite: the lab, the plan, and testbeds that suites share. Use it with ``with``.

    Fields:
        topology: of the lab.
        pair: the VMs that talk.
        plan: what is wanted.
        backends: that were found and are to be measured.
        progress: told of every step.
        told: of every trial, as soon as it is measured.
        seconds: that the suite has.
        offloads, cores: what was found while testbeds were set up.
    """

    topology: Topology
    pair: Pair
    plan: Plan
    backends: tuple[str, ...]
    progress: Progress
    told: Callable[[Record], object] = lambda _: None
    seconds: float = 60.0
    offloads: dict[BenchPath, dict[str, OffloadState]] = field(default_factory=dict)
    cores: dict[str, int | None] = field(default_factory=dict)
    _testbeds: dict[BenchPath, Testbed] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take down what was set up."""
        self._testbeds.clear()
        self._stack.close()

    @property
    def arms(self) -> tuple[str, ...]:
        """The two plain ones, and the backends."""
        return (PLAIN, PLAIN_AGAIN, *self.backends)

    def deadline(self) -> float:
        """When the suite's time is over, if it begins now, as :func:`time.monotonic` has it."""
        return time.monotonic() + self.seconds

    def testbed(self, path: BenchPath) -> Testbed:
        """The cards of every arm on a path, set up when they are first wanted.

        Raises:
            DtlsEmuError: they cannot be.
        """
        if path not in self._testbeds:
            self.progress(0, 1, f"setting up {path}")
            if path is BenchPath.MEMORY:
                self._testbeds[path] = MemoryTestbed(self.topology, self.pair, self.arms)
            else:
                bed = UdpTestbed(self.topology, self.pair, self.arms, offload=path is BenchPath.UDP)
                self._testbeds[path] = self._stack.enter_context(bed)
                self.cores.update(bed.cores)
                self.offloads[path] = {
                    name: OffloadState(on=offload["state"] == "on", reason=offload["reason"])
                    for name, offload in bed.offloads.items()
                }
        return self._testbeds[path]


class Suite(ABC, Generic[Kept]):
    """One kind of measurement. A subclass without state, which :mod:`.registry` has a line for.

    Fields:
        name: as the command line and the result file have it.
        document: whose method it follows, and where it says so.
        question: that it answers, for `--list`.
        is_usual: a run that names no suite measures it.
        weight: its part of a run's time, beside those of others.
        needs_backend: there is nothing to measure without an available backend.
    """

    name: ClassVar[str]
    document: ClassVar[str]
    question: ClassVar[str]
    section: ClassVar[type[Section]]
    is_usual: ClassVar[bool] = True
    weight: ClassVar[float] = 1.0
    needs_backend: ClassVar[bool] = True

    @abstractmethod
    def extent(self, plan: Plan) -> Extent:
        """How much it measures of what somebody wants; no paths or sizes: nothing."""

    @abstractmethod
    def run(self, bench: Bench) -> Kept | None:
        """Measure and conclude. Ctrl-C, or the end of its time, leaves what was measured until then; None: nothing.

        Raises:
            AccountingError: packets are unaccounted for; the run is void.
            DtlsEmuError: it cannot be measured here.
        """

    @abstractmethod
    def tables(self, section: Kept, start: Start) -> list[Table]:
        """What it measured, for people."""

    @abstractmethod
    def reading(self, section: Kept, start: Start) -> str:
        """What it found, in words that agree with the tables."""


def preferred(backends: tuple[str, ...]) -> str | None:
    """The fastest backend that is there, for what is measured with one; None when there is none."""
    order = [*(name for name in PREFERRED_BACKENDS if name in backends), *backends]
    return order[0] if order else None
