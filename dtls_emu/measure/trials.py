"""Runs an extent: warm-up, then round after round of neighbouring trials, until done, overdue or interrupted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from dtls_emu.measure.machine import cpu_times, pressure
from dtls_emu.measure.records.base import Conditions, Stopped, TrialRecord
from dtls_emu.measure.source import Load
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.vocabulary import DropReason


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dtls_emu.measure.plan import BenchPath, Cell, Extent, Plan
    from dtls_emu.measure.sample import Sample
    from dtls_emu.progress import Progress


__all__ = ["Observed", "Testbed", "Trial", "TrialRun", "observe", "run_trials", "trial_record"]

WARM_UP_SHARE: Final = 0.25
"""Length of the discarded second trial of a cell; the first pays for compilation and first flows."""

FIRST_S: Final = 0.002

OFF_LENGTH: Final = 0.2
"""A trial whose length differs from what was asked for by more than this share is repeated."""

MOST_REPEATS: Final = 2

SPOILT_STOLEN: Final = 0.02
SPOILT_PRESSURE: Final = 0.25
"""Shares of a trial beyond which it is flagged: what the hypervisor took, and in which something waited for a core."""


class Testbed(Protocol):
    """Both cards of every arm, on one path."""

    def measure(self, load: Load) -> Sample:
        """One trial: offer what is asked for, wait until all has arrived or is lost, and account for each packet.

        Raises:
            AccountingError: a packet is unaccounted for, or arrived altered.
        """


@dataclass(frozen=True, slots=True)
class Observed:
    """A measurement, and what the machine was like meanwhile."""

    sample: Sample
    conditions: Conditions
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """One measured trial.

    Fields:
        cell: what was measured.
        round: from 0; the trials of one round, path and size form the pairs.
        observed: the measurement.
        rate: packets a second that were due; None: a closed loop.
    """

    cell: Cell
    round: int
    observed: Observed
    rate: float | None = None

    @property
    def sample(self) -> Sample:
        """The measurement alone."""
        return self.observed.sample


@dataclass(frozen=True, slots=True)
class TrialRun:
    """Everything an extent's run yields.

    Fields:
        trials: in the order they were measured.
        stopped: why the run ended.
    """

    trials: list[Trial] = field(default_factory=list)
    stopped: Stopped = Stopped.COMPLETE


def run_trials(
    plan: Plan,
    extent: Extent,
    backends: tuple[str, ...],
    testbeds: Mapping[BenchPath, Testbed],
    progress: Progress,
    *,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    told: Callable[[TrialRecord], object] = lambda _: None,
) -> TrialRun:
    """Run an extent on the testbeds, in closed loops.

    Ctrl-C ends the run cleanly: the trials measured until then are returned.

    Args:
        plan: its seed, burst, flows and IP version count here.
        extent: what is measured.
        backends: the arms beside the two plain ones.
        testbeds: one per path of the extent.
        progress: told of every trial.
        seconds: no new round begins after so many.
        clock: in seconds; for that only.
        told: of every trial, as soon as it is measured.

    Raises:
        AccountingError: from a testbed; nothing of such a run is worth keeping.
    """
    cells = extent.cells(backends)
    total = len(cells) * (extent.rounds + 1)
    trials: list[Trial] = []
    deadline = clock() + seconds

    def load(cell: Cell, length: float) -> Load:
        return Load(cell.arm, cell.size, length, plan.burst, plan.flows, plan.ip_version)

    try:
        for done, cell in enumerate(cells):
            progress(done, total, f"warm-up: {cell}")
            for length in (min(FIRST_S, extent.trial_s), extent.trial_s * WARM_UP_SHARE):
                observe(testbeds[cell.path], load(cell, length), str(cell), repeat=False)
        for number, order in enumerate(extent.schedule(backends, plan.seed)):
            if trials and clock() >= deadline:
                return TrialRun(trials, Stopped.BUDGET)
            for cell in order:
                progress(len(cells) + len(trials), total, f"round {number + 1} of {extent.rounds}: {cell}")
                observed = observe(testbeds[cell.path], load(cell, extent.trial_s), str(cell))
                trials.append(Trial(cell, number, observed))
                told(trial_record(trials[-1]))
        progress(total, total, "done")
    except KeyboardInterrupt:
        return TrialRun(trials, Stopped.INTERRUPTED)
    return TrialRun(trials)


def observe(testbed: Testbed, load: Load, what: str, *, repeat: bool = True) -> Observed:
    """Measure, check the account, and note what the machine was like; a trial of another length is repeated.

    Raises:
        AccountingError: a packet is unaccounted for, or none was delivered at all.
    """
    repeated = 0
    while True:
        times, waited = cpu_times(), pressure()
        sample = testbed.measure(load)
        sample.accounting.check(what)
        if not sample.accounting.delivered:
            raise AccountingError(
                f"{what}: not one packet was delivered, dropped {sample.accounting.dropped}"
            )
        stolen, waited_now = cpu_times().stolen_since(times), pressure()
        share = waited_now.share_since(waited) if waited and waited_now else None
        off = abs(sample.lasted_s / load.seconds - 1) > OFF_LENGTH
        if repeat and load.rate is None and off and repeated < MOST_REPEATS:
            repeated += 1
            continue
        spoilt = (stolen or 0) > SPOILT_STOLEN or (share or 0) > SPOILT_PRESSURE or off
        conditions = Conditions(
            stolen_share=None if stolen is None else min(max(stolen, 0.0), 1.0),
            pressure_share=share,
            involuntary_switches=sample.switches,
            spoilt=spoilt,
        )
        return Observed(sample, conditions, repeated)


def trial_record(trial: Trial) -> TrialRecord:
    """As it stands in a result file."""
    sample = trial.sample
    return TrialRecord(
        path=trial.cell.path,
        size=trial.cell.size,
        arm=trial.cell.arm,
        round=trial.round,
        rate=trial.rate,
        offered=sample.accounting.offered,
        refused=sample.accounting.refused,
        delivered=sample.accounting.delivered,
        dropped={DropReason(reason): count for reason, count in sample.accounting.dropped.items()},
        octets=sample.octets,
        wall_s=sample.wall_s,
        sender_cpu_s=sample.sender_cpu_s,
        receiver_cpu_s=sample.receiver_cpu_s,
        repeated=trial.observed.repeated,
        conditions=trial.observed.conditions,
    )
