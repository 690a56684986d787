"""Throughput of a sender that never waits for a schedule: plain, plain again and every backend, by path and size."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dtls_emu.measure.plan import PLAIN, PLAIN_AGAIN, QUICK_SIZES, SIZES, BenchPath, Cell
from dtls_emu.measure.records.base import Better, Figure
from dtls_emu.measure.records.throughput import ThroughputCell, ThroughputSection
from dtls_emu.measure.statistics import (
    Verdict,
    coefficient_of_variation,
    median_estimate,
    median_ratio,
    noise_floor,
    verdicts,
)
from dtls_emu.measure.suites.suite import PREFERRED_BACKENDS, Suite
from dtls_emu.measure.tables import Table, as_arm, as_interval, as_percent, as_ratio, in_words
from dtls_emu.measure.trials import run_trials, trial_record


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dtls_emu.measure.plan import Extent, Plan
    from dtls_emu.measure.result import OffloadState, Start
    from dtls_emu.measure.sample import Sample
    from dtls_emu.measure.statistics import Estimate
    from dtls_emu.measure.suites.suite import Bench
    from dtls_emu.measure.trials import Trial, TrialRun


__all__ = ["IN_WORDS", "Throughput", "conclude", "working_offloads"]

PREFERRED_PATHS: Final = (BenchPath.UDP, BenchPath.UDP_SINGLE, BenchPath.MEMORY)
PREFERRED_SIZE: Final = 1400

IN_WORDS: Final = {
    BenchPath.MEMORY: "in memory, without sockets",
    BenchPath.UDP: "over UDP",
    BenchPath.UDP_SINGLE: "over UDP with one datagram a system call",
}

ENDS: Final = {
    BenchPath.MEMORY: "one core does the work of both ends, one after the other",
    BenchPath.UDP: "a core for each end",
    BenchPath.UDP_SINGLE: "a core for each end",
}

OFFLOADS: Final = {"udp_gso": "GSO", "udp_gro": "GRO"}
"""What makes a path fast, in the field's short words; the result file has the others too."""

Rounds = dict[int, "Trial"]
Place = tuple[BenchPath, int]


class Throughput(Suite[ThroughputSection]):
    """See the module."""

    name = "throughput"
    document = "own: closed loop, paired and interleaved; sizes of RFC 2544 9.1 and RFC 8219 5.1"
    question = "What part of the plain path's rate is left, and what CPU does a packet cost?"
    section = ThroughputSection
    weight: ClassVar[float] = 7.0
    needs_backend: ClassVar[bool] = False

    def extent(self, plan: Plan) -> Extent:
        """Every path; the quick one has fewer sizes and rounds."""
        if plan.quick:
            return plan.extent(tuple(BenchPath), QUICK_SIZES, 7, 0.1)
        return plan.extent(tuple(BenchPath), SIZES, 25, 0.15)

    def run(self, bench: Bench) -> ThroughputSection | None:
        """See :class:`~dtls_emu.measure.suites.suite.Suite`."""
        extent = self.extent(bench.plan)
        testbeds = {path: bench.testbed(path) for path in extent.paths}
        run = run_trials(
            bench.plan,
            extent,
            bench.backends,
            testbeds,
            bench.progress,
            seconds=bench.seconds,
            told=bench.told,
        )
        return conclude(run, extent, bench.backends) if run.trials else None

    def tables(self, section: ThroughputSection, start: Start) -> list[Table]:
        """One for each path."""
        return [
            _table(path, [cell for cell in section.cells if cell.path is path], start.offloads.get(path, {}))
            for path in section.extent.paths
        ]

    def reading(self, section: ThroughputSection, start: Start) -> str:
        """Of one cell: by path, then size, then backend."""
        cell = _headline(section.cells)
        if cell is None or cell.ratio is None or cell.cpu_ratio is None:
            return (
                "No encrypted arm was measured beside the plain one, so this run says nothing of the cost of "
                "encryption."
            )
        working = working_offloads(start.offloads.get(cell.path, {}))
        path = IN_WORDS[cell.path] + (f" with {working}" if working else "")
        rate = in_words(cell.ratio, cell.verdict, "of the plain path's packets")
        cost = in_words(cell.cpu_ratio, cell.cpu_verdict, "times the CPU").removesuffix(",")
        return (
            f"At {cell.size} bytes {path} the {cell.arm} tunnel carries {rate} and a packet costs {cost}. "
            f"{_noise(cell)}"
        )


def conclude(run: TrialRun, extent: Extent, backends: tuple[str, ...]) -> ThroughputSection:
    """The section of a run.

    Args:
        run: a round cut short is used as far as its pairs are complete.
        extent: as it was run.
        backends: the arms beside the two plain ones.
    """
    by_cell: dict[Cell, Rounds] = defaultdict(dict)
    for trial in run.trials:
        by_cell[trial.cell][trial.round] = trial
    order = [cell for cell in extent.cells(backends) if cell in by_cell]
    rates = {cell: _ratios(cell, by_cell, _rate) for cell in order}
    costs = {cell: _ratios(cell, by_cell, _cpu_ns) for cell in order}
    verdict, cpu_verdict = _verdicts(rates), _verdicts(costs)
    cells = [
        _summarise(cell, by_cell, rates, costs, verdict.get(str(cell)), cpu_verdict.get(str(cell)))
        for cell in order
    ]
    return ThroughputSection(
        document=Throughput.document,
        extent=extent,
        stopped=run.stopped,
        figures=[
            figure for cell in order for figure in _figures(cell, by_cell[cell], rates[cell], costs[cell])
        ],
        trials=[trial_record(trial) for trial in run.trials],
        cells=cells,
    )


def working_offloads(states: Mapping[str, OffloadState]) -> str:
    """``GSO/GRO``, as far as they are on."""
    return "/".join(short for name, short in OFFLOADS.items() if name in states and states[name].on)


def _rate(sample: Sample) -> float:
    return sample.packets_per_s


def _cpu_ns(sample: Sample) -> float:
    return sample.cpu_s / sample.accounting.delivered * 1e9


def _ratios(cell: Cell, by_cell: Mapping[Cell, Rounds], value: Callable[[Sample], float]) -> list[float]:
    """Of a cell over its plain neighbour of the same round; none for plain itself."""
    if cell.arm == PLAIN:
        return []
    own, plain = by_cell[cell], by_cell.get(Cell(cell.path, cell.size, PLAIN), {})
    return [
        value(own[number].sample) / value(plain[number].sample)
        for number in sorted(own.keys() & plain.keys())
    ]


def _verdicts(ratios: Mapping[Cell, list[float]]) -> dict[str, Verdict]:
    """Of every cell, corrected for their number; whether plain differs from plain is no question."""
    asked = {
        str(cell): values
        for cell, values in ratios.items()
        if values and cell.arm not in {PLAIN, PLAIN_AGAIN}
    }
    return verdicts(asked)


def _estimate(ratios: Sequence[float]) -> Estimate | None:
    return median_ratio(ratios, np.ones(len(ratios))) if ratios else None


def _floor(cell: Cell, ratios: Mapping[Cell, list[float]]) -> float | None:
    again = _estimate(ratios.get(Cell(cell.path, cell.size, PLAIN_AGAIN), []))
    return None if again is None else noise_floor(again)


def _summarise(
    cell: Cell,
    by_cell: Mapping[Cell, Rounds],
    rates: Mapping[Cell, list[float]],
    costs: Mapping[Cell, list[float]],
    verdict: Verdict | None,
    cpu_verdict: Verdict | None,
) -> ThroughputCell:
    trials = list(by_cell[cell].values())
    samples = [trial.sample for trial in trials]
    each_rate = [sample.packets_per_s for sample in samples]
    offered = sum(sample.accounting.offered for sample in samples)
    lost = sum(sample.accounting.lost for sample in samples)
    return ThroughputCell(
        path=cell.path,
        size=cell.size,
        arm=cell.arm,
        trials=len(samples),
        us_per_packet=_median([1e6 / rate for rate in each_rate]),
        gbit_per_s=_median([sample.octets * 8 / sample.wall_s / 1e9 for sample in samples]),
        packets_per_s=_median(each_rate),
        cpu_ns_per_packet=_median([_cpu_ns(sample) for sample in samples]),
        sender_cpu_s_per_gb=_median([sample.sender_cpu_s / sample.octets * 1e9 for sample in samples]),
        receiver_cpu_s_per_gb=_median([sample.receiver_cpu_s / sample.octets * 1e9 for sample in samples]),
        lost_share=lost / offered,
        variation=coefficient_of_variation(each_rate),
        ratio=_estimate(rates[cell]),
        verdict=verdict,
        cpu_ratio=_estimate(costs[cell]),
        cpu_verdict=cpu_verdict,
        noise_floor=_floor(cell, rates),
        cpu_noise_floor=_floor(cell, costs),
        spoilt=sum(trial.observed.conditions.spoilt for trial in trials),
    )


def _figures(cell: Cell, rounds: Rounds, rates: list[float], costs: list[float]) -> list[Figure]:
    samples = [rounds[number].sample for number in sorted(rounds)]
    place: dict[str, str | int | float] = {"path": str(cell.path), "size": cell.size, "arm": cell.arm}
    found = [
        _figure(place, "rate", "packets/s", Better.HIGHER, [_rate(sample) for sample in samples]),
        _figure(place, "cpu", "ns/packet", Better.LOWER, [_cpu_ns(sample) for sample in samples]),
    ]
    if rates:
        found += [
            _figure(place, "rate", "of plain", Better.HIGHER, rates, relative=True),
            _figure(place, "cpu", "of plain", Better.LOWER, costs, relative=True),
        ]
    return found


def _figure(
    cell: dict[str, str | int | float],
    metric: str,
    unit: str,
    better: Better,
    samples: list[float],
    *,
    relative: bool = False,
) -> Figure:
    estimate = median_ratio(samples, np.ones(len(samples))) if relative else median_estimate(samples)
    return Figure(
        cell=cell,
        metric=metric,
        unit=unit,
        better=better,
        relative=relative,
        samples=samples,
        estimate=estimate,
    )


def _table(path: BenchPath, cells: Sequence[ThroughputCell], offloads: dict[str, OffloadState]) -> Table:
    states = ", ".join(
        f"{OFFLOADS[name]} {'on' if state.on else 'off'}" + (f" ({state.reason})" if state.reason else "")
        for name, state in offloads.items()
        if name in OFFLOADS
    )
    columns = (
        ">bytes",
        "arm",
        ">µs/packet",
        ">Gbit/s",
        ">packets/s",
        ">rate of plain",
        ">95 % interval",
        ">CPU ns/packet",
        ">CPU of plain",
        ">its 95 % interval",
        ">lost",
        ">noise ±",
    )
    return Table(
        f"{path}: {IN_WORDS[path]}; {ENDS[path]}" + (f"; {states}" if states else ""),
        columns,
        [_row(cell) for cell in cells],
        ("µs/packet", "packets/s", "lost", "noise ±", "CPU ns/packet"),
    )


def _row(cell: ThroughputCell) -> tuple[str, ...]:
    return (
        str(cell.size),
        as_arm(cell.arm),
        f"{cell.us_per_packet:.3f}",
        f"{cell.gbit_per_s:.2f}",
        f"{cell.packets_per_s:,.0f}",
        _told(cell.ratio, cell.verdict),
        as_interval(cell.ratio),
        f"{cell.cpu_ns_per_packet:,.0f}",
        _told(cell.cpu_ratio, cell.cpu_verdict),
        as_interval(cell.cpu_ratio),
        as_percent(cell.lost_share) if cell.lost_share else "0",
        "" if cell.ratio is None else as_percent(cell.noise_floor),
    )


def _told(ratio: Estimate | None, verdict: Verdict | None) -> str:
    """A question mark beside what this run cannot tell from 1."""
    return as_ratio(ratio) + ("?" if verdict is Verdict.UNRESOLVED else "")


def _noise(cell: ThroughputCell) -> str:
    if cell.noise_floor is None or cell.cpu_noise_floor is None:
        return "With fewer than six rounds this run does not tell noise from difference."
    return (
        f"Plain beside plain differs by up to {as_percent(cell.noise_floor)} in rate and "
        f"{as_percent(cell.cpu_noise_floor)} in CPU here; less than that cannot be told."
    )


def _headline(cells: Sequence[ThroughputCell]) -> ThroughputCell | None:
    """The cell that the reading speaks of: by path, then size, then backend."""
    arms = {cell.arm for cell in cells} - {PLAIN, PLAIN_AGAIN, "null"}
    order = [*(arm for arm in PREFERRED_BACKENDS if arm in arms), *sorted(arms - set(PREFERRED_BACKENDS))]
    return min(
        (cell for cell in cells if cell.arm in arms and cell.ratio is not None),
        key=lambda cell: (
            PREFERRED_PATHS.index(cell.path),
            abs(cell.size - PREFERRED_SIZE),
            order.index(cell.arm),
        ),
        default=None,
    )


def _median(values: list[float]) -> float:
    return float(np.median(values))
