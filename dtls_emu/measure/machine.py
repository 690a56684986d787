"""The machine under a run: how busy it was, a core for each process, no garbage collection in between."""

from __future__ import annotations

import gc
import os
import resource
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = [
    "CpuTimes",
    "Pressure",
    "cpu_times",
    "frequency_governor",
    "involuntary_switches",
    "load_average",
    "one_core",
    "pin",
    "pressure",
    "undisturbed",
]

PROC_STAT: Final = Path("/proc/stat")
PRESSURE: Final = Path("/proc/pressure/cpu")
GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
STEAL_FIELD: Final = 7
"""Index of `steal` among the figures of the `cpu` line (proc_stat(5))."""

GUEST_FIELD: Final = 8
"""From here on the figures are part of earlier ones (proc_stat(5): guest is counted in user)."""


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Ticks of all cores since boot.

    Fields:
        total: all of them, idle ones too.
        stolen: spent in other virtual machines while this one wanted to run.
    """

    total: int
    stolen: int

    def stolen_since(self, earlier: CpuTimes) -> float | None:
        """Share of time stolen since ``earlier``; None when no tick has passed."""
        passed = self.total - earlier.total
        return (self.stolen - earlier.stolen) / passed if passed > 0 else None


def cpu_times(stat: Path = PROC_STAT) -> CpuTimes:
    """Read the ticks; zeros where there is no such file."""
    try:
        fields = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:]]
    except (OSError, ValueError):
        return CpuTimes(0, 0)
    stolen = fields[STEAL_FIELD] if len(fields) > STEAL_FIELD else 0
    return CpuTimes(sum(fields[:GUEST_FIELD]), stolen)


@dataclass(frozen=True, slots=True)
class Pressure:
    """How long something on this machine had to wait for a processor (PSI, Documentation/accounting/psi.rst).

    Fields:
        waited_us: microseconds since boot in which at least one task waited.
        at: when, in seconds of the machine.
    """

    waited_us: int
    at: float

    def share_since(self, earlier: Pressure) -> float:
        """Share of the time since ``earlier`` in which something waited."""
        passed = self.at - earlier.at
        return min(1.0, (self.waited_us - earlier.waited_us) / 1e6 / passed) if passed > 0 else 0.0


def pressure(file: Path = PRESSURE) -> Pressure | None:
    """Read it; None where the kernel does not tell."""
    try:
        text = file.read_text()
        return Pressure(int(text.partition("total=")[2].split()[0]), time.monotonic())
    except (OSError, ValueError, IndexError):
        return None


def frequency_governor(file: Path = GOVERNOR) -> str | None:
    """How the kernel chooses the processor's clock rate; None where it does not, as in most virtual machines."""
    try:
        return file.read_text().strip()
    except OSError:
        return None


def involuntary_switches() -> int:
    """How often this process had to leave a processor that it still wanted (getrusage(2))."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def load_average() -> float:
    """Runnable tasks over the last minute."""
    return os.getloadavg()[0]


def pin(end: int) -> int | None:
    """Keep this process on one core of its own: end 0 and end 1 of a pair get different ones.

    Returns:
        The core, or None when fewer than two are allowed and nothing was changed.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None
    # From the top: interrupts and the rest of the machine favour the low numbers.
    core = cores[-1 - end]
    os.sched_setaffinity(0, {core})
    return core


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread on one core meanwhile."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection meanwhile, as ``timeit`` does it: it would hit one trial of many."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
