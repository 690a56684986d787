"""Runs a plan: warm-up, then round after round of neighbouring trials, until done, overdue or interrupted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from dtls_emu.simulation.accounts import AccountingError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dtls_emu.measure.plan import BenchPath, Cell, Plan
    from dtls_emu.measure.sample import Sample
    from dtls_emu.progress import Progress


__all__ = ["Stopped", "Testbed", "Trial", "TrialRun", "run_trials"]

FIRST_PACKETS: Final = 512
"""Packets of the very first, discarded trial of a cell; it pays for compilation and first flows."""

CALIBRATION_GROWTH: Final = 4
CALIBRATION_SHARE: Final = 4
"""A discarded trial this many times shorter than a real one is long enough to tell the rate from."""


class Testbed(Protocol):
    """Both cards of every arm, on one path."""

    def measure(self, arm: str, size: int, packets: int) -> Sample:
        """One trial: offer at least ``packets`` packets (whole bursts) and account for each of them.

        Raises:
            AccountingError: a packet is unaccounted for, or arrived altered.
        """


class Stopped(StrEnum):
    """Why a run ended."""

    COMPLETE = "complete"
    BUDGET = "budget"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Trial:
    """One measured trial.

    Fields:
        cell: what was measured.
        round: from 0; the trials of one round, path and size form the pairs.
        sample: the measurement.
    """

    cell: Cell
    round: int
    sample: Sample


@dataclass(frozen=True, slots=True)
class TrialRun:
    """Everything a plan's run yields.

    Fields:
        trials: in the order they were measured.
        stopped: why the run ended.
    """

    trials: list[Trial]
    stopped: Stopped


def run_trials(
    plan: Plan,
    backends: tuple[str, ...],
    testbeds: Mapping[BenchPath, Testbed],
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
) -> TrialRun:
    """Run the plan on the testbeds.

    Ctrl-C ends the run cleanly: the trials measured until then are returned.

    Args:
        plan: the extent.
        backends: the arms beside the two plain ones.
        testbeds: one per path of the plan.
        progress: told of every trial.
        clock: seconds; only for the plan's budget.

    Raises:
        AccountingError: from a testbed; nothing of such a run is worth keeping.
    """
    cells = plan.cells(backends)
    total = len(cells) * (plan.rounds + 1)
    trials: list[Trial] = []
    deadline = clock() + plan.budget_s
    try:
        packets: dict[Cell, int] = {}
        for done, cell in enumerate(cells):
            progress(done, total, f"warm-up: {cell}")
            packets[cell] = _calibrate(testbeds[cell.path], cell, plan.trial_s)
        for number, order in enumerate(plan.schedule(backends)):
            if trials and clock() >= deadline:
                return TrialRun(trials, Stopped.BUDGET)
            for cell in order:
                progress(len(cells) + len(trials), total, f"round {number + 1} of {plan.rounds}: {cell}")
                trials.append(Trial(cell, number, _measure(testbeds[cell.path], cell, packets[cell])))
        progress(total, total, "done")
    except KeyboardInterrupt:
        return TrialRun(trials, Stopped.INTERRUPTED)
    return TrialRun(trials, Stopped.COMPLETE)


def _calibrate(testbed: Testbed, cell: Cell, trial_s: float) -> int:
    """Warm the cell up, and tell how many packets make a trial of ``trial_s`` seconds."""
    _measure(testbed, cell, FIRST_PACKETS)
    packets = FIRST_PACKETS
    while True:
        sample = _measure(testbed, cell, packets)
        if sample.wall_s >= trial_s / CALIBRATION_SHARE:
            return max(1, round(sample.accounting.offered * trial_s / sample.wall_s))
        packets *= CALIBRATION_GROWTH


def _measure(testbed: Testbed, cell: Cell, packets: int) -> Sample:
    sample = testbed.measure(cell.arm, cell.size, packets)
    sample.accounting.check(str(cell))
    if not sample.accounting.delivered:
        raise AccountingError(f"{cell}: not one packet was delivered, dropped {sample.accounting.dropped}")
    return sample
