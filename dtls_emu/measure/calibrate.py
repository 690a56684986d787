"""How often the intervals of this machine miss the truth: plain beside plain, many times, where the ratio is 1."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from scipy import stats

from dtls_emu.lab.compiling import compile_lab
from dtls_emu.lab.loader import load_lab
from dtls_emu.measure.arms import encrypted_pair
from dtls_emu.measure.plan import PLAIN_AGAIN, BenchPath
from dtls_emu.measure.statistics import CONFIDENCE
from dtls_emu.measure.suites.suite import Bench
from dtls_emu.measure.suites.throughput import Throughput


if TYPE_CHECKING:
    from dtls_emu.measure.plan import Plan
    from dtls_emu.progress import Progress


__all__ = ["RUNS", "Misses", "calibrate"]

RUNS: Final = 40
SIZE: Final = 1_400
ROUNDS: Final = 9


@dataclass(frozen=True, slots=True)
class Misses:
    """Of one path and figure.

    Fields:
        path: that was measured.
        metric: `rate` or `cpu`.
        runs: how many had an interval.
        missed: of them, how many did not hold 1.
        low, high: 95 % interval of that share (Clopper & Pearson 1934).
        width: half of an interval, the median over the runs, as a share.
    """

    path: BenchPath
    metric: str
    runs: int
    missed: int
    low: float
    high: float
    width: float


def calibrate(lab: str, plan: Plan, progress: Progress, runs: int = RUNS) -> list[Misses]:
    """Measure plain against plain so many times. Ctrl-C keeps the runs that were finished.

    Args:
        lab: a path, or the name of a shipped lab.
        plan: its paths, sizes, rounds and trial length, where they are chosen.
        progress: told of every run.
        runs: how many.

    Raises:
        LabFileError: the lab is wrong.
        DtlsEmuError: it has no encrypted pair.
    """
    topology = compile_lab(load_lab(lab))
    found: dict[tuple[BenchPath, str], list[tuple[bool, float]]] = {}
    suite = Throughput()
    plan = replace(plan, sizes=plan.sizes or (SIZE,), rounds=plan.rounds or ROUNDS)
    with Bench(topology, encrypted_pair(topology), plan, (), _nobody) as bench:
        try:
            for number in range(runs):
                progress(number, runs, f"plain against plain, run {number + 1} of {runs}")
                bench.plan = replace(plan, seed=plan.seed + number)
                bench.seconds = plan.budget_s
                section = suite.run(bench)
                if section is None or section.stopped == "interrupted":
                    break
                for figure in section.figures:
                    width = figure.estimate.half_width
                    if figure.relative and figure.cell["arm"] == PLAIN_AGAIN and width is not None:
                        key = BenchPath(str(figure.cell["path"])), figure.metric
                        found.setdefault(key, []).append((not figure.estimate.holds(1), width))
        except KeyboardInterrupt:
            pass
    return [_misses(path, metric, seen) for (path, metric), seen in found.items()]


def _misses(path: BenchPath, metric: str, seen: list[tuple[bool, float]]) -> Misses:
    missed = sum(miss for miss, _ in seen)
    share = stats.binomtest(missed, len(seen)).proportion_ci(CONFIDENCE)
    widths = sorted(width for _, width in seen)
    return Misses(
        path, metric, len(seen), missed, float(share.low), float(share.high), widths[len(widths) // 2]
    )


def _nobody(done: int, total: int, what: str) -> None:
    pass
