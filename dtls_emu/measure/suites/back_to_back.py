"""The longest row of packets without a gap of which none is lost: what the buffers on the way hold (RFC 9004)."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, ClassVar, Final

from dtls_emu.measure.packets import rows_per_burst
from dtls_emu.measure.plan import BenchPath, Cell
from dtls_emu.measure.records.base import Better, Figure, Stopped
from dtls_emu.measure.records.rfc2544 import BackToBackCell, BackToBackSection
from dtls_emu.measure.search import search
from dtls_emu.measure.source import Load
from dtls_emu.measure.statistics import median_estimate
from dtls_emu.measure.suites.open_loop import arms_of, timed_extent, warm_up
from dtls_emu.measure.suites.suite import Suite
from dtls_emu.measure.tables import Table, as_arm
from dtls_emu.measure.trials import observe


if TYPE_CHECKING:
    from dtls_emu.measure.plan import Extent, Plan
    from dtls_emu.measure.result import Start
    from dtls_emu.measure.suites.suite import Bench
    from dtls_emu.measure.trials import Testbed


__all__ = ["BackToBack"]

NO_GAP: Final = 1e8
"""Packets a second that nothing here carries: each is due at once, and sent as fast as it can be."""

LONGEST: Final = 200_000
"""Packets; a row that is carried whole at this length is no matter of buffers."""


class BackToBack(Suite[BackToBackSection]):
    """See the module."""

    name = "back-to-back"
    document = "RFC 9004 (fewer repetitions than its 50)"
    question = "How long a row of packets without a gap is carried whole?"
    section = BackToBackSection
    is_usual: ClassVar[bool] = False

    def extent(self, plan: Plan) -> Extent:
        """Over UDP: in memory there is no buffer. The length of a trial is that of its row."""
        return timed_extent(
            plan.extent(
                (BenchPath.UDP,),
                (64, 1_400),
                6 if plan.quick else 11,
                0.1,
                possible=(BenchPath.UDP, BenchPath.UDP_SINGLE),
            )
        )

    def run(self, bench: Bench) -> BackToBackSection | None:
        """See :class:`~dtls_emu.measure.suites.suite.Suite`."""
        extent, plan = self.extent(bench.plan), bench.plan
        cells = [
            Cell(path, size, arm) for path in extent.paths for size in extent.sizes for arm in arms_of(bench)
        ]
        testbeds = {path: bench.testbed(path) for path in extent.paths}
        rng = random.Random(plan.seed)
        deadline = bench.deadline()
        total = len(cells) * extent.rounds
        rounds: list[dict[Cell, int]] = []
        stopped = Stopped.COMPLETE
        try:
            for cell in cells:
                warm_up(testbeds[cell.path], plan, cell)
            for number in range(extent.rounds):
                if rounds and time.monotonic() >= deadline:
                    stopped = Stopped.BUDGET
                    break
                found: dict[Cell, int] = {}
                for cell in rng.sample(cells, len(cells)):
                    what = f"round {number + 1} of {extent.rounds}: longest row, {cell}"
                    bench.progress(len(cells) * number + len(found), total, what)
                    found[cell] = _longest(testbeds[cell.path], plan, cell)
                rounds.append(found)
            else:
                bench.progress(total, total, "done")
        except KeyboardInterrupt:
            stopped = Stopped.INTERRUPTED
        return _conclude(rounds, cells, extent, stopped) if rounds else None

    def tables(self, section: BackToBackSection, start: Start) -> list[Table]:
        """One."""
        rows = [
            (
                str(cell.size),
                str(cell.path),
                as_arm(cell.arm),
                ("over " if cell.at_most else "") + f"{cell.packets.value:,.0f}",
                f"n={cell.packets.n}"
                if cell.packets.low is None
                else f"{cell.packets.low:,.0f}-{cell.packets.high:,.0f}",
            )
            for cell in section.cells
        ]
        return [
            Table(
                "Longest row without a gap, in packets",
                (">bytes", "path", "arm", ">packets", ">95 % interval"),
                rows,
            )
        ]

    def reading(self, section: BackToBackSection, start: Start) -> str:
        """Each cell."""
        said = [
            f"{cell.arm} at {cell.size} bytes on {cell.path} "
            f"{'more than ' if cell.at_most else ''}{cell.packets.value:,.0f}"
            for cell in section.cells
        ]
        return f"Packets in a row without a gap that are carried whole: {'; '.join(said)}."


def _longest(testbed: Testbed, plan: Plan, cell: Cell) -> int:
    rows = rows_per_burst(cell.size, plan.burst)

    def loss_at(packets: float) -> float:
        seconds = max(rows, packets) / NO_GAP
        load = Load(
            cell.arm,
            cell.size,
            seconds,
            plan.burst,
            plan.flows,
            plan.ip_version,
            NO_GAP,
            queue=2 * LONGEST,
        )
        accounting = observe(testbed, load, str(cell)).sample.accounting
        return accounting.lost / accounting.offered

    return round(search(loss_at, LONGEST, trials=20).rate / rows) * rows


def _conclude(
    rounds: list[dict[Cell, int]], cells: list[Cell], extent: Extent, stopped: Stopped
) -> BackToBackSection:
    summaries, figures = [], []
    for cell in cells:
        lengths = [found[cell] for found in rounds]
        packets = median_estimate(lengths)
        summaries.append(
            BackToBackCell(
                path=cell.path,
                size=cell.size,
                arm=cell.arm,
                packets=packets,
                lengths=lengths,
                at_most=packets.value >= LONGEST - rows_per_burst(cell.size),
            )
        )
        figures.append(
            Figure(
                cell={"path": str(cell.path), "size": cell.size, "arm": cell.arm},
                metric="back-to-back",
                unit="packets",
                better=Better.HIGHER,
                relative=False,
                samples=[float(length) for length in lengths],
                estimate=packets,
            )
        )
    return BackToBackSection(
        document=BackToBack.document, extent=extent, stopped=stopped, figures=figures, cells=summaries
    )
