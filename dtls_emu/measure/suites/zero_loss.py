"""The highest rate on a schedule of which nothing is lost (RFC 2544 throughput), and of which hardly anything is."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dtls_emu.measure.plan import PLAIN, BenchPath, Cell
from dtls_emu.measure.records.base import Better, Figure, Stopped
from dtls_emu.measure.records.rfc2544 import RateFound, ZeroLossCell, ZeroLossSection
from dtls_emu.measure.search import NO_LOSS, PARTIAL_LOSS
from dtls_emu.measure.statistics import median_estimate, median_ratio, verdict_of
from dtls_emu.measure.suites.open_loop import arms_of, closed_loop_rate, find_rate, timed_extent, warm_up
from dtls_emu.measure.suites.suite import Suite
from dtls_emu.measure.tables import Table, as_arm, as_interval, as_percent, as_ratio, in_words


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.measure.plan import Extent, Plan
    from dtls_emu.measure.result import Start
    from dtls_emu.measure.statistics import Estimate
    from dtls_emu.measure.suites.suite import Bench


__all__ = ["ZeroLoss"]

GOALS: Final = (NO_LOSS, PARTIAL_LOSS)

Place = tuple[Cell, float]


class ZeroLoss(Suite[ZeroLossSection]):
    """See the module."""

    name = "zero-loss"
    document = "RFC 2544 26.1 by binary search (not MLRsearch); shorter trials than its 60 s"
    question = "Which rate is carried without loss, and which with 0.5 % at most?"
    section = ZeroLossSection
    is_usual: ClassVar[bool] = False
    weight: ClassVar[float] = 3.0

    def extent(self, plan: Plan) -> Extent:
        """Over UDP."""
        return timed_extent(
            plan.extent((BenchPath.UDP,), (1_400,), 6 if plan.quick else 9, 0.1 if plan.quick else 1.0)
        )

    def run(self, bench: Bench) -> ZeroLossSection | None:
        """See :class:`~dtls_emu.measure.suites.suite.Suite`."""
        extent, plan = self.extent(bench.plan), bench.plan
        cells = [
            Cell(path, size, arm) for path in extent.paths for size in extent.sizes for arm in arms_of(bench)
        ]
        places = [(cell, goal) for cell in cells for goal in GOALS]
        testbeds = {path: bench.testbed(path) for path in extent.paths}
        rng = random.Random(plan.seed)
        deadline = bench.deadline()
        total = len(places) * extent.rounds
        rounds: list[dict[Place, RateFound]] = []
        stopped = Stopped.COMPLETE
        try:
            for cell in cells:
                warm_up(testbeds[cell.path], plan, cell)
            for number in range(extent.rounds):
                if rounds and time.monotonic() >= deadline:
                    stopped = Stopped.BUDGET
                    break
                found: dict[Place, RateFound] = {}
                for cell, goal in rng.sample(places, len(places)):
                    what = f"round {number + 1} of {extent.rounds}: rate with {as_percent(goal)} lost, {cell}"
                    bench.progress(len(places) * number + len(found), total, what)
                    highest = closed_loop_rate(testbeds[cell.path], plan, cell, extent.trial_s)
                    each = find_rate(testbeds[cell.path], plan, cell, extent.trial_s, highest, goal)
                    found[cell, goal] = RateFound(
                        round=number, goal=goal, rate=each.rate, failed=each.failed, trials=each.trials
                    )
                rounds.append(found)
            else:
                bench.progress(total, total, "done")
        except KeyboardInterrupt:
            stopped = Stopped.INTERRUPTED
        return _conclude(rounds, places, extent, stopped) if rounds else None

    def tables(self, section: ZeroLossSection, start: Start) -> list[Table]:
        """One, of both goals."""
        columns = (
            ">bytes",
            "path",
            "arm",
            ">lost at most",
            ">packets/s",
            ">Gbit/s",
            ">of plain",
            ">95 % interval",
        )
        rows = [
            (
                str(cell.size),
                str(cell.path),
                as_arm(cell.arm),
                as_percent(cell.goal),
                f"{cell.packets_per_s.value:,.0f}",
                f"{cell.gbit_per_s:.2f}",
                as_ratio(cell.ratio),
                as_interval(cell.ratio),
            )
            for cell in section.cells
        ]
        return [
            Table("Highest rate on a schedule, the median of searches", columns, rows, ("Gbit/s", "path"))
        ]

    def reading(self, section: ZeroLossSection, start: Start) -> str:
        """Of every encrypted arm without loss."""
        said = [
            f"{cell.arm} at {cell.size} bytes on {cell.path}: {cell.packets_per_s.value:,.0f} packets/s, "
            + in_words(cell.ratio, verdict_of(cell.ratio), "of plain").removesuffix(",")
            for cell in section.cells
            if cell.goal == NO_LOSS and cell.ratio is not None and cell.arm in _encrypted(section.cells)
        ]
        return f"Without a lost packet are carried: {'; '.join(said) or 'no encrypted arm was measured'}."


def _encrypted(cells: Sequence[ZeroLossCell]) -> set[str]:
    return {cell.arm for cell in cells if not cell.arm.startswith(PLAIN)}


def _conclude(
    rounds: list[dict[Place, RateFound]], places: list[Place], extent: Extent, stopped: Stopped
) -> ZeroLossSection:
    cells, figures = [], []
    for cell, goal in places:
        searches = [found[cell, goal] for found in rounds]
        plain = [found[Cell(cell.path, cell.size, PLAIN), goal].rate for found in rounds]
        rates = [each.rate for each in searches]
        pairs = [rate / other for rate, other in zip(rates, plain, strict=True) if rate and other]
        ratio: Estimate | None = None
        if cell.arm != PLAIN and pairs:
            ratio = median_ratio(pairs, np.ones(len(pairs)))
            figures.append(
                Figure(
                    cell={"path": str(cell.path), "size": cell.size, "arm": cell.arm, "goal": goal},
                    metric="zero-loss rate",
                    unit="of plain",
                    better=Better.HIGHER,
                    relative=True,
                    samples=pairs,
                    estimate=ratio,
                )
            )
        rate = median_estimate(rates)
        cells.append(
            ZeroLossCell(
                path=cell.path,
                size=cell.size,
                arm=cell.arm,
                goal=goal,
                packets_per_s=rate,
                gbit_per_s=rate.value * cell.size * 8 / 1e9,
                ratio=ratio,
                searches=searches,
            )
        )
    return ZeroLossSection(
        document=ZeroLoss.document, extent=extent, stopped=stopped, figures=figures, cells=cells
    )
