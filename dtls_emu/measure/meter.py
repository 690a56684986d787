"""A quick look at what encryption costs: plain and encrypted in turn, in memory, at one size. A benchmark it is not."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from dtls_emu.crypto.registry import resolve
from dtls_emu.lab import load_lab
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.lab.schema import Lab
from dtls_emu.measure.arms import encrypted_pair
from dtls_emu.measure.memory import MemoryTestbed
from dtls_emu.measure.plan import PLAIN
from dtls_emu.measure.source import Load


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["Reading", "read_meter"]

SIZE: Final = 1_400
TRIAL_S: Final = 0.05
"""Of a trial: long against the clock and short against what disturbs."""

ROUNDS: Final = 11


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured.

    Fields:
        backend: that encrypted.
        size: bytes of a packet.
        rounds: how often each was measured, in turn.
        plain, encrypted: bit/s of the VM's packets through both cards on one core, the median of the rounds.
        ratio: encrypted of plain, the median of the rounds' ratios.
        least, most: the lowest and the highest of them.
    """

    backend: str
    size: int
    rounds: int
    plain: float
    encrypted: float
    ratio: float
    least: float
    most: float


def read_meter(lab: Lab | str | Path, *, seconds: float = TRIAL_S, rounds: int = ROUNDS) -> Reading:
    """Measure now, in a second or two.

    Args:
        lab: whose first encrypted pair of VMs talks.
        seconds: of a trial.
        rounds: how often.

    Raises:
        LabFileError: the lab is wrong.
        DtlsEmuError: it has no encrypted pair.
    """
    topology = compile_lab(lab if isinstance(lab, Lab) else load_lab(lab))
    backend = resolve().backend.name
    arms = (PLAIN, backend)
    testbed = MemoryTestbed(topology, encrypted_pair(topology), arms)
    for arm in arms:
        testbed.measure(Load(arm, SIZE, seconds / 4))  # warm caches, and kernels compiled
    found: dict[str, list[float]] = {arm: [] for arm in arms}
    for number in range(rounds):
        for arm in arms if number % 2 else arms[::-1]:
            sample = testbed.measure(Load(arm, SIZE, seconds))
            found[arm].append(sample.octets * 8 / sample.wall_s)
    ratios = [sealed / plain for plain, sealed in zip(found[PLAIN], found[backend], strict=True)]
    return Reading(
        backend,
        SIZE,
        rounds,
        median(found[PLAIN]),
        median(found[backend]),
        median(ratios),
        min(ratios),
        max(ratios),
    )
