"""Frame loss rate over offered rate: from plain's highest rate down, until nothing is lost at two steps in a row."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, ClassVar, Final

from dtls_emu.measure.plan import PLAIN, BenchPath, Cell
from dtls_emu.measure.records.base import Better, Figure, Stopped
from dtls_emu.measure.records.rfc2544 import LossSection, LossStep
from dtls_emu.measure.source import Load
from dtls_emu.measure.statistics import median_estimate
from dtls_emu.measure.suites.open_loop import OVER, arms_of, closed_loop_rate, timed_extent, warm_up
from dtls_emu.measure.suites.suite import Suite
from dtls_emu.measure.tables import Table, as_arm, as_percent
from dtls_emu.measure.trials import Trial, observe, trial_record


if TYPE_CHECKING:
    from dtls_emu.measure.plan import Extent, Plan
    from dtls_emu.measure.result import Start
    from dtls_emu.measure.suites.suite import Bench


__all__ = ["Loss"]

SHARES: Final = (OVER, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Of plain's closed-loop rate, the same packets a second for every arm: steps of 10 % or less (RFC 2544 26.3)."""

Place = tuple[Cell, float]


class Loss(Suite[LossSection]):
    """See the module."""

    name = "loss"
    document = "RFC 2544 26.3"
    question = "How much is lost of each offered rate?"
    section = LossSection
    is_usual: ClassVar[bool] = False
    weight: ClassVar[float] = 2.0

    def extent(self, plan: Plan) -> Extent:
        """Over UDP."""
        return timed_extent(
            plan.extent((BenchPath.UDP,), (1_400,), 6 if plan.quick else 9, 0.1 if plan.quick else 0.5)
        )

    def run(self, bench: Bench) -> LossSection | None:
        """See :class:`~dtls_emu.measure.suites.suite.Suite`."""
        extent, plan = self.extent(bench.plan), bench.plan
        cells = [
            Cell(path, size, arm) for path in extent.paths for size in extent.sizes for arm in arms_of(bench)
        ]
        testbeds = {path: bench.testbed(path) for path in extent.paths}
        places = [(cell, share) for cell in cells for share in SHARES]
        rng = random.Random(plan.seed)
        deadline = bench.deadline()
        total = len(places) * extent.rounds
        rounds: list[dict[Place, Trial]] = []
        full: dict[tuple[BenchPath, int], float] = {}
        stopped = Stopped.COMPLETE
        try:
            for cell in cells:
                warm_up(testbeds[cell.path], plan, cell)
                if cell.arm == PLAIN:
                    full[cell.path, cell.size] = closed_loop_rate(
                        testbeds[cell.path], plan, cell, extent.trial_s
                    )
            for number in range(extent.rounds):
                if rounds and time.monotonic() >= deadline:
                    stopped = Stopped.BUDGET
                    break
                found: dict[Place, Trial] = {}
                for cell, share in rng.sample(places, len(places)):
                    what = f"round {number + 1} of {extent.rounds}: loss at {share * 100:.0f} %, {cell}"
                    bench.progress(len(places) * number + len(found), total, what)
                    rate = full[cell.path, cell.size] * share
                    load = Load(
                        cell.arm, cell.size, extent.trial_s, plan.burst, plan.flows, plan.ip_version, rate
                    )
                    trial = Trial(cell, number, observe(testbeds[cell.path], load, what), rate)
                    found[cell, share] = trial
                    bench.told(trial_record(trial))
                rounds.append(found)
            else:
                bench.progress(total, total, "done")
        except KeyboardInterrupt:
            stopped = Stopped.INTERRUPTED
        return _conclude(rounds, places, extent, stopped) if rounds else None

    def tables(self, section: LossSection, start: Start) -> list[Table]:
        """A row for each rate, a column for each arm."""
        found = []
        for path, size in dict.fromkeys((step.path, step.size) for step in section.steps):
            steps = [step for step in section.steps if (step.path, step.size) == (path, size)]
            arms = list(dict.fromkeys(step.arm for step in steps))
            lost = {(step.share, step.arm): as_percent(step.lost.value) for step in steps}
            rates = {step.share: step.rate for step in steps}
            rows = [
                (f"{share * 100:.0f} %", f"{rate:,.0f}", *(lost[share, arm] for arm in arms))
                for share, rate in rates.items()
            ]
            columns = (">of plain's rate", ">packets/s", *(f">{as_arm(arm)}" for arm in arms))
            found.append(Table(f"Lost of what was due, {size} bytes, {path}", columns, rows))
        return found

    def reading(self, section: LossSection, start: Start) -> str:
        """The highest step without loss, two in a row, of each arm."""
        said = []
        for path, size, arm in dict.fromkeys((step.path, step.size, step.arm) for step in section.steps):
            steps = [step for step in section.steps if (step.path, step.size, step.arm) == (path, size, arm)]
            whole = [
                step
                for step, below in zip(steps, [*steps[1:], steps[-1]], strict=True)
                if not step.lost.value and not below.lost.value
            ]
            most = f"up to {whole[0].share * 100:.0f} %" if whole else "at no rate that was tried"
            said.append(f"{arm} at {size} bytes on {path} {most}")
        return f"Nothing is lost of plain's highest rate: {'; '.join(said)}."


def _conclude(
    rounds: list[dict[Place, Trial]], places: list[Place], extent: Extent, stopped: Stopped
) -> LossSection:
    steps, figures = [], []
    for cell, share in places:
        trials = [found[cell, share] for found in rounds]
        accounts = [trial.sample.accounting for trial in trials]
        lost = [account.lost / account.offered for account in accounts]
        step = LossStep(
            path=cell.path,
            size=cell.size,
            arm=cell.arm,
            share=share,
            rate=trials[0].rate or 0.0,
            lost=median_estimate(lost),
        )
        steps.append(step)
        figures.append(
            Figure(
                cell={"path": str(cell.path), "size": cell.size, "arm": cell.arm, "share": share},
                metric="loss",
                unit="share",
                better=Better.LOWER,
                relative=False,
                samples=lost,
                estimate=step.lost,
            )
        )
    return LossSection(
        document=Loss.document,
        extent=extent,
        stopped=stopped,
        figures=figures,
        trials=[trial_record(found[place]) for found in rounds for place in places],
        steps=steps,
    )
