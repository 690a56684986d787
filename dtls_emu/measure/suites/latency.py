"""Latency of every packet at loads that a schedule sets, from when it was due: plain, plain again and encrypted."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dtls_emu.measure.delays import Delays
from dtls_emu.measure.plan import PLAIN, PLAIN_AGAIN, BenchPath, Cell
from dtls_emu.measure.records.base import Better, Figure, Stopped
from dtls_emu.measure.records.latency import LatencyCell, LatencySection, LatencyTrial
from dtls_emu.measure.search import PARTIAL_LOSS
from dtls_emu.measure.source import Load
from dtls_emu.measure.statistics import Verdict, median_estimate, median_ratio, verdicts
from dtls_emu.measure.suites.open_loop import arms_of, closed_loop_rate, find_rate, timed_extent, warm_up
from dtls_emu.measure.suites.suite import Suite
from dtls_emu.measure.tables import Table, as_duration, as_interval, as_percent, as_ratio, in_words
from dtls_emu.measure.trials import Trial, observe, trial_record


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dtls_emu.measure.plan import Extent, Plan
    from dtls_emu.measure.result import Start
    from dtls_emu.measure.suites.suite import Bench
    from dtls_emu.measure.trials import Testbed


__all__ = ["LOADS", "Latency", "measure_latency"]

LOADS: Final = (0.0, 0.1, 0.5, 0.9)
"""Shares of the highest rate at which 99.5 % of the arm's packets arrive."""

_SEARCHES: Final = 2
"""One that a neighbour has spoilt would set all loads too low."""

IDLE_RATE: Final = 1_000.0
"""Single packets a second at load 0: a packet has long arrived when the next one is due."""

SPOKEN_OF: Final = (0.0, 0.5)
PREFERRED_SIZE: Final = 1_400

Place = tuple[Cell, float]


class Latency(Suite[LatencySection]):
    """See the module."""

    name = "latency"
    document = (
        "RFC 8219 7.2 and 7.3.1 (percentiles, PDV); delays from the scheduled time, as wrk2 and HdrHistogram"
    )
    question = "How long does a packet take, at 0, 10, 50 and 90 % of the arm's own rate?"
    section = LatencySection
    weight: ClassVar[float] = 1.5

    def extent(self, plan: Plan) -> Extent:
        """Over UDP at one size; of the chosen sizes, those that can carry a time."""
        paths = (BenchPath.UDP,) if plan.quick else (BenchPath.MEMORY, BenchPath.UDP)
        return timed_extent(
            plan.extent(paths, (PREFERRED_SIZE,), 7 if plan.quick else 25, 0.1 if plan.quick else 0.2)
        )

    def run(self, bench: Bench) -> LatencySection | None:
        """See :class:`~dtls_emu.measure.suites.suite.Suite`."""
        return measure_latency(bench, self.extent(bench.plan))

    def tables(self, section: LatencySection, start: Start) -> list[Table]:
        """One for each path and size, of every arm and load."""
        places = dict.fromkeys((cell.path, cell.size) for cell in section.cells)
        return [
            _table(path, size, [cell for cell in section.cells if (cell.path, cell.size) == (path, size)])
            for path, size in places
        ]

    def reading(self, section: LatencySection, start: Start) -> str:
        """Of one path and size: idle, and at half of the rate."""
        arms = [cell for cell in section.cells if cell.arm not in {PLAIN, PLAIN_AGAIN, "null"}]
        if not arms:
            return "No encrypted arm was measured beside the plain one, so this run says nothing of latency."
        first = min(arms, key=lambda cell: (cell.path is not BenchPath.UDP, abs(cell.size - PREFERRED_SIZE)))
        said = []
        for load in SPOKEN_OF:
            for cell in arms:
                if (cell.path, cell.size, cell.arm, cell.load) == (first.path, first.size, first.arm, load):
                    ratio = (
                        ""
                        if cell.ratio is None
                        else f", {in_words(cell.ratio, cell.verdict, 'times that of plain').removesuffix(',')}"
                    )
                    when = "of single packets" if not load else f"at {load * 100:.0f} % of its rate"
                    said.append(f"the median {when} is {as_duration(cell.median.value)}{ratio}")
        return (
            f"At {first.size} bytes on the path {first.path}, through the {first.arm} tunnel, {'; '.join(said)}. "
            "Delays count from when a packet was due."
        )


def _table(path: BenchPath, size: int, cells: Sequence[LatencyCell]) -> Table:
    columns = (
        "arm",
        ">load",
        ">median",
        ">of plain",
        ">95 % interval",
        ">99 %",
        ">99.9 %",
        ">PDV",
        ">lost",
    )
    rows = [
        (
            cell.arm,
            f"{cell.load * 100:.0f} %",
            as_duration(cell.median.value),
            as_ratio(cell.ratio) + ("?" if cell.verdict is Verdict.UNRESOLVED else ""),
            as_interval(cell.ratio),
            as_duration(cell.p99.value),
            as_duration(cell.p999),
            as_duration(cell.variation),
            as_percent(cell.lost_share) if cell.lost_share else "0",
        )
        for cell in cells
    ]
    title = f"Latency at {size} bytes, {path}: from when a packet was due, at shares of each arm's own rate"
    return Table(title, columns, rows, ("PDV",))


@dataclass(frozen=True, slots=True)
class _Timed:
    trial: Trial
    delays: Delays


def measure_latency(bench: Bench, extent: Extent) -> LatencySection | None:
    """Find each arm's rate, then measure every load, round after round. Ctrl-C keeps the rounds that were finished."""
    arms, plan = arms_of(bench), bench.plan
    cells = [Cell(path, size, arm) for path in extent.paths for size in extent.sizes for arm in arms]
    places = [(cell, load) for cell in cells for load in LOADS]
    testbeds = {path: bench.testbed(path) for path in extent.paths}
    rng = random.Random(plan.seed)
    deadline = bench.deadline()
    total = len(cells) + len(places) * extent.rounds
    done = 0
    highest: dict[Cell, float] = {}
    rounds: list[dict[Place, _Timed]] = []
    stopped = Stopped.COMPLETE
    try:
        for done, cell in enumerate(cells):
            bench.progress(done, total, f"latency: rate of {cell}")
            highest[cell] = _rate_of(testbeds[cell.path], plan, cell, extent.trial_s)
        for number in range(extent.rounds):
            if rounds and time.monotonic() >= deadline:
                stopped = Stopped.BUDGET
                break
            found: dict[Place, _Timed] = {}
            for cell, load in rng.sample(places, len(places)):
                what = f"round {number + 1} of {extent.rounds}: latency at {load * 100:.0f} %, {cell}"
                bench.progress(len(cells) + len(places) * number + len(found), total, what)
                found[cell, load] = _measure(
                    testbeds[cell.path], plan, cell, load, highest[cell], number, extent
                )
                bench.told(trial_record(found[cell, load].trial))
            rounds.append(found)
        else:
            bench.progress(total, total, "done")
    except KeyboardInterrupt:
        stopped = Stopped.INTERRUPTED
    return _conclude(rounds, places, highest, extent, stopped) if rounds else None


def _rate_of(testbed: Testbed, plan: Plan, cell: Cell, seconds: float) -> float:
    """Packets a second that a schedule may offer and 99.5 % arrive: above that, delays are those of a full queue."""
    warm_up(testbed, plan, cell)
    found = 0.0
    for _ in range(_SEARCHES):
        fastest = closed_loop_rate(testbed, plan, cell, seconds)
        found = max(found, find_rate(testbed, plan, cell, seconds, fastest, PARTIAL_LOSS).rate)
    return max(found, IDLE_RATE)


def _measure(
    testbed: Testbed, plan: Plan, cell: Cell, share: float, highest: float, number: int, extent: Extent
) -> _Timed:
    rate = highest * share or IDLE_RATE
    load = Load(
        cell.arm,
        cell.size,
        extent.trial_s,
        plan.burst if share else 1,
        plan.flows,
        plan.ip_version,
        rate,
    )
    observed = observe(testbed, load, f"{cell} at {share * 100:.0f} %")
    delays = observed.sample.delays
    assert delays is not None  # it was asked for
    return _Timed(Trial(cell, number, observed, rate), delays)


def _conclude(
    rounds: Sequence[Mapping[Place, _Timed]],
    places: Sequence[Place],
    highest: Mapping[Cell, float],
    extent: Extent,
    stopped: Stopped,
) -> LatencySection:
    medians = {place: [found[place].delays.percentile(0.5) for found in rounds] for place in places}
    ratios: dict[Place, list[float]] = defaultdict(list)
    for cell, load in places:
        if cell.arm != PLAIN:
            plain = medians[Cell(cell.path, cell.size, PLAIN), load]
            ratios[cell, load] = [own / other for own, other in zip(medians[cell, load], plain, strict=True)]
    asked = {f"{cell} {load}": values for (cell, load), values in ratios.items() if cell.arm != PLAIN_AGAIN}
    verdict = verdicts(asked)
    return LatencySection(
        document=Latency.document,
        extent=extent,
        stopped=stopped,
        figures=[figure for place in places for figure in _figures(place, medians[place], ratios.get(place))],
        highest={str(cell): rate for cell, rate in highest.items()},
        trials=[_record(load, found[cell, load]) for found in rounds for cell, load in places],
        cells=[
            _cell(
                place,
                [found[place] for found in rounds],
                ratios.get(place),
                verdict.get(f"{place[0]} {place[1]}"),
            )
            for place in places
        ],
    )


def _cell(
    place: Place, timed: Sequence[_Timed], ratios: list[float] | None, verdict: Verdict | None
) -> LatencyCell:
    cell, load = place
    together = Delays.of(each.delays for each in timed)
    accounts = [each.trial.sample.accounting for each in timed]
    p999 = together.percentile(0.999)
    return LatencyCell(
        path=cell.path,
        size=cell.size,
        arm=cell.arm,
        load=load,
        rate=timed[0].trial.rate or 0.0,
        packets=together.count,
        lost_share=sum(each.lost for each in accounts) / sum(each.offered for each in accounts),
        median=median_estimate([each.delays.percentile(0.5) for each in timed]),
        p99=median_estimate([each.delays.percentile(0.99) for each in timed]),
        p999=p999,
        variation=max(0.0, p999 - together.least),
        ratio=None if ratios is None else median_ratio(ratios, np.ones(len(ratios))),
        verdict=verdict,
        histogram=together.sparse(),
    )


def _figures(place: Place, medians: list[float], ratios: list[float] | None) -> list[Figure]:
    cell, load = place
    name: dict[str, str | int | float] = {
        "path": str(cell.path),
        "size": cell.size,
        "arm": cell.arm,
        "load": load,
    }
    found = [
        Figure(
            cell=name,
            metric="latency",
            unit="ns",
            better=Better.LOWER,
            relative=False,
            samples=medians,
            estimate=median_estimate(medians),
        )
    ]
    if ratios is not None:
        found.append(
            Figure(
                cell=name,
                metric="latency",
                unit="of plain",
                better=Better.LOWER,
                relative=True,
                samples=ratios,
                estimate=median_ratio(ratios, np.ones(len(ratios))),
            )
        )
    return found


def _record(load: float, timed: _Timed) -> LatencyTrial:
    delays = timed.delays
    return LatencyTrial(
        load=load,
        trial=trial_record(timed.trial),
        packets=delays.count,
        least=delays.least,
        median=delays.percentile(0.5),
        p99=delays.percentile(0.99),
        p999=delays.percentile(0.999),
        most=delays.most,
    )
