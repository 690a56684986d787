"""What is measured, how often, and in which order.

A *round* visits every (path, size) cell once, in random order, and within a cell measures every arm once, in
random order. So the arms of one cell and round are neighbours in time: they are the pairs that
:mod:`dtls_emu.measure.statistics` compares. An interrupted or overdue run leaves whole cells behind, not
some arms measured often and others never.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.wire.overhead import path_overhead


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = [
    "PATH_MTU",
    "PLAIN",
    "PLAIN_AGAIN",
    "SIZES",
    "BenchPath",
    "Cell",
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
SMALLEST_SIZE: Final = 48  # IPv6 and UDP header, no payload
PATH_MTU: Final = 9_000
"""Of the fabric between the two hosts, in bytes of outer IP packet: the common jumbo frame."""

LARGEST_SIZE: Final = path_overhead(encrypted=True).inner_mtu(PATH_MTU)


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
class Plan:
    """A benchmark's extent.

    Fields:
        seed: of every random choice: order, fragments' places, resampling.
        backends: to compare with plain; empty means every available one.
        paths, sizes: as in :class:`Cell`.
        rounds: how often each cell is measured, apart from its discarded warm-up.
        trial_s: length a trial aims at, in seconds.
        budget_s: no new round begins after that many seconds.
        quick: a smoke run, whose intervals are wide.

    Raises:
        DtlsEmuError: no path, no size, a size that does not fit, or fewer than one round.
    """

    seed: int
    backends: tuple[str, ...] = ()
    paths: tuple[BenchPath, ...] = tuple(BenchPath)
    sizes: tuple[int, ...] = SIZES
    rounds: int = 25
    trial_s: float = 0.15
    budget_s: float = 1_800.0
    quick: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if not self.paths or not self.sizes:
            raise DtlsEmuError("a benchmark needs at least one path and one size")
        if len(set(self.paths)) < len(self.paths) or len(set(self.sizes)) < len(self.sizes):
            raise DtlsEmuError("a path or size is named twice")
        for size in self.sizes:
            if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
                raise DtlsEmuError(f"size {size} is not between {SMALLEST_SIZE} and {LARGEST_SIZE} bytes")
        if self.rounds < 1:
            raise DtlsEmuError("a benchmark needs at least one round")

    def cells(self, backends: tuple[str, ...]) -> list[Cell]:
        """Every cell once, in the order of a report."""
        arms = (PLAIN, PLAIN_AGAIN, *backends)
        return [Cell(path, size, arm) for path in self.paths for size in self.sizes for arm in arms]

    def schedule(self, backends: tuple[str, ...]) -> Iterator[list[Cell]]:
        """The cells of each round, in the order to measure them. The same seed gives the same order."""
        rng = random.Random(self.seed)
        arms = [PLAIN, PLAIN_AGAIN, *backends]
        places = [(path, size) for path in self.paths for size in self.sizes]
        for _ in range(self.rounds):
            rng.shuffle(places)
            order: list[Cell] = []
            for path, size in places:
                rng.shuffle(arms)
                order += [Cell(path, size, arm) for arm in arms]
            yield order


def full_plan(seed: int) -> Plan:
    """Everything, long enough for narrow intervals: 20 to 30 pairs resolve about 1.5 % on a shared machine."""
    return Plan(seed)


def quick_plan(seed: int) -> Plan:
    """Every arm and path in about half a minute, at three sizes."""
    return Plan(seed, sizes=QUICK_SIZES, rounds=9, trial_s=0.04, budget_s=45.0, quick=True)
