"""What is to be measured, how often, and in which order.

A :class:`Plan` is what somebody wants; each suite makes its own :class:`Extent` of it.

A *round* visits every (path, size) cell once, in random order, and within a cell measures every arm once, in
random order. So the arms of one cell and round are neighbours in time: they are the pairs that
:mod:`dtls_emu.measure.statistics` compares. An interrupted or overdue run leaves whole cells behind, not
some arms measured often and others never.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

from dtls_emu.errors import DtlsEmuError
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.overhead import path_overhead


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = [
    "PATH_MTU",
    "PLAIN",
    "PLAIN_AGAIN",
    "QUICK_SIZES",
    "SIZES",
    "BenchPath",
    "Cell",
    "Extent",
    "Plan",
    "full_plan",
    "quick_plan",
]

PLAIN: Final = "plain"
"""The baseline arm: the same path, VXLAN over UDP, no DTLS."""

PLAIN_AGAIN: Final = "plain-again"
"""A second, independent plain arm: its ratio to plain is the noise floor."""

SIZES: Final = (64, 512, 1400, 8900)
"""Inner IP packet sizes: smallest of RFC 2544 9.1, a middle, the cloud's default MTU less overhead, jumbo."""

QUICK_SIZES: Final = (64, 1400, 8900)
FULL_BUDGET_S: Final = 2_100.0
QUICK_BUDGET_S: Final = 100.0
MAX_FLOWS: Final = 1_024
"""A burst of each is kept in memory."""

SMALLEST_SIZE: Final = 48  # IPv6 and UDP header, no payload
PATH_MTU: Final = 9_000
"""Of the fabric between the two hosts, in bytes of outer IP packet: the common jumbo frame."""


class BenchPath(StrEnum):
    """How packets get from the sending VM to the receiving one."""

    MEMORY = "memory"
    """One process, no sockets: the datapath of both cards and nothing else."""

    UDP = "udp"
    """Two processes, loopback, with UDP_SEGMENT and UDP_GRO where the kernel has them."""

    UDP_SINGLE = "udp-single"
    """Two processes, loopback, one datagram a system call."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing that is measured.

    Fields:
        path: how packets get from VM to VM.
        size: inner IP packet size, in bytes.
        arm: `plain`, `plain-again`, or the name of a backend.
    """

    path: BenchPath
    size: int
    arm: str

    def __str__(self) -> str:
        """``udp, 1400 bytes, ipsec-mb``"""
        return f"{self.path}, {self.size} bytes, {self.arm}"


@dataclass(frozen=True, slots=True)
class Extent:
    """How much one suite measures.

    Fields:
        paths, sizes: as in :class:`Cell`.
        rounds: how often each cell is measured, apart from its discarded warm-up.
        trial_s: seconds that each trial lasts, whatever the arm.
    """

    paths: tuple[BenchPath, ...]
    sizes: tuple[int, ...]
    rounds: int
    trial_s: float

    def cells(self, backends: tuple[str, ...]) -> list[Cell]:
        """Every cell once, in the order of a report."""
        arms = (PLAIN, PLAIN_AGAIN, *backends)
        return [Cell(path, size, arm) for path in self.paths for size in self.sizes for arm in arms]

    def schedule(self, backends: tuple[str, ...], seed: int) -> Iterator[list[Cell]]:
        """The cells of each round, in the order to measure them. The same seed gives the same order."""
        rng = random.Random(seed)
        arms = [PLAIN, PLAIN_AGAIN, *backends]
        places = [(path, size) for path in self.paths for size in self.sizes]
        for _ in range(self.rounds):
            rng.shuffle(places)
            order: list[Cell] = []
            for path, size in places:
                rng.shuffle(arms)
                order += [Cell(path, size, arm) for arm in arms]
            yield order


@dataclass(frozen=True, slots=True)
class Plan:
    """What somebody wants to have measured; what is None or empty is as each suite has it.

    Fields:
        seed: of every random choice: order, fragments' places.
        suites: names; empty means those of an ordinary run.
        backends: to compare with plain; empty means every available one.
        paths, sizes, rounds, trial_s: see :class:`Extent`.
        budget_s: seconds for everything; a suite begins no new round when its part of them is over.
        quick: a smoke run, whose intervals are wide.
        burst: packets that a VM hands over at once; 0: as many as one send carries.
        flows: of them, in a throughput trial.
        ip_version: of the inner packets.
        perfect_link: measure although the lab's link is impaired and the suites do not impair it.
        path_mtu: of the fabric, in bytes of outer IP packet; the benchmark takes it from the lab.

    Raises:
        DtlsEmuError: no path, no size, a size that does not fit, fewer than one round, or something twice.
    """

    seed: int
    suites: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    paths: tuple[BenchPath, ...] | None = None
    sizes: tuple[int, ...] | None = None
    rounds: int | None = None
    trial_s: float | None = None
    budget_s: float = FULL_BUDGET_S
    quick: bool = False
    burst: int = 0
    flows: int = 1
    ip_version: Literal[4, 6] = 4
    perfect_link: bool = False
    path_mtu: int = PATH_MTU

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if self.paths == () or self.sizes == ():
            raise DtlsEmuError("a benchmark needs at least one path and one size")
        for what, named in (
            ("suite", self.suites),
            ("backend", self.backends),
            ("path", self.paths or ()),
            ("size", self.sizes or ()),
        ):
            twice = [str(each) for each in dict.fromkeys(named) if list(named).count(each) > 1]
            if twice:
                raise DtlsEmuError(f"{what} {twice[0]} is named twice")
        for size in self.sizes or ():
            if not SMALLEST_SIZE <= size <= self.largest_size:
                raise DtlsEmuError(
                    f"size {size} is not between {SMALLEST_SIZE} and {self.largest_size} bytes, what a path MTU of "
                    f"{self.path_mtu} carries"
                )
        if self.rounds is not None and self.rounds < 1:
            raise DtlsEmuError("a benchmark needs at least one round")
        if not 1 <= self.flows <= MAX_FLOWS:
            raise DtlsEmuError(
                f"--flows takes 1 to {MAX_FLOWS}; more are measured by the suite that counts flows"
            )
        if not 0 <= self.burst <= MAX_ROWS:
            raise DtlsEmuError(f"--burst takes 1 to {MAX_ROWS} packets")

    @property
    def largest_size(self) -> int:
        """Bytes of the largest inner packet that fits the path, encrypted."""
        return path_overhead(encrypted=True).inner_mtu(self.path_mtu)

    def extent(
        self,
        paths: tuple[BenchPath, ...],
        sizes: tuple[int, ...],
        rounds: int,
        trial_s: float,
        possible: tuple[BenchPath, ...] = tuple(BenchPath),
    ) -> Extent:
        """A suite's own extent, with what was chosen in the place of it.

        Args:
            paths, sizes, rounds, trial_s: the suite's own.
            possible: paths that the suite can measure; of the chosen ones, the others are left out.
        """
        return Extent(
            tuple(path for path in self.paths if path in possible) if self.paths else paths,
            self.sizes or tuple(size for size in sizes if size <= self.largest_size),
            self.rounds or rounds,
            self.trial_s or trial_s,
        )


def full_plan(seed: int) -> Plan:
    """Everything, long enough for narrow intervals: 20 to 30 pairs resolve about 1.5 % on a shared machine."""
    return Plan(seed)


def quick_plan(seed: int) -> Plan:
    """Every arm and path in about a minute and a half, at fewer sizes."""
    return Plan(seed, budget_s=QUICK_BUDGET_S, quick=True)
