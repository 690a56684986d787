"""From raw trials to one line per path, size and arm, and to the result file that holds both."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from dtls_emu.measure.machine import load_average
from dtls_emu.measure.plan import PLAIN, PLAIN_AGAIN
from dtls_emu.measure.report import reading
from dtls_emu.measure.result import CellSummary, End, Interval, Result
from dtls_emu.measure.statistics import coefficient_of_variation, median_ratio, noise_floor
from dtls_emu.measure.trials import Stopped
from dtls_emu.vocabulary import DropReason


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dtls_emu.measure.fragments import FragmentRun
    from dtls_emu.measure.handshakes import HandshakeRun
    from dtls_emu.measure.plan import Cell, Plan
    from dtls_emu.measure.result import Start
    from dtls_emu.measure.sample import Sample
    from dtls_emu.measure.statistics import Estimate
    from dtls_emu.measure.trials import Trial, TrialRun


__all__ = ["conclude", "summarise"]

Rounds = dict[int, "Sample"]


def conclude(
    start: Start,
    run: TrialRun,
    fragment_run: FragmentRun | None,
    backends: tuple[str, ...],
    *,
    handshake_run: HandshakeRun | None = None,
    stolen_share: float | None,
) -> Result:
    """The result file of a run that has just ended.

    Args:
        start: what was said before it began.
        run: the trials.
        fragment_run: the fragment mixes; None when they were not measured.
        backends: the arms beside the two plain ones.
        handshake_run: the handshakes; None when they were not measured.
        stolen_share: CPU time that the hypervisor gave to others meanwhile.
    """
    cells = summarise(run.trials, start.plan, backends)
    fragments = fragment_run.summary if fragment_run else None
    stops = [each.stopped for each in (run, fragment_run, handshake_run) if each is not None]
    return Result(
        start=start,
        intervals=[_interval(trial) for trial in run.trials],
        fragment_intervals=fragment_run.intervals if fragment_run else [],
        end=End(
            finished=datetime.now(UTC),
            stopped=next((stop for stop in stops if stop is not Stopped.COMPLETE), Stopped.COMPLETE),
            load_average=load_average(),
            stolen_share=stolen_share,
            cells=cells,
            fragments=fragments,
            handshakes=handshake_run.summary if handshake_run else None,
            reading=reading(cells, fragments, start.offloads),
        ),
    )


def summarise(trials: Sequence[Trial], plan: Plan, backends: tuple[str, ...]) -> list[CellSummary]:
    """One summary per cell that was measured, in the order of a report.

    Args:
        trials: as measured; a round cut short is used as far as its pairs are complete.
        plan: as it was run.
        backends: the arms beside the two plain ones.
    """
    by_cell: dict[Cell, Rounds] = defaultdict(dict)
    for trial in trials:
        by_cell[trial.cell][trial.round] = trial.sample
    return [_summarise_cell(cell, by_cell, plan.seed) for cell in plan.cells(backends) if cell in by_cell]


def _summarise_cell(cell: Cell, by_cell: Mapping[Cell, Rounds], seed: int) -> CellSummary:
    samples = list(by_cell[cell].values())
    plain = by_cell.get(type(cell)(cell.path, cell.size, PLAIN), {})
    again = _ratio(by_cell.get(type(cell)(cell.path, cell.size, PLAIN_AGAIN), {}), plain, seed)
    rates = [sample.packets_per_s for sample in samples]
    offered = sum(sample.accounting.offered for sample in samples)
    delivered = sum(sample.accounting.delivered for sample in samples)
    return CellSummary(
        path=cell.path,
        size=cell.size,
        arm=cell.arm,
        trials=len(samples),
        us_per_packet=_median([1e6 / rate for rate in rates]),
        gbit_per_s=_median([sample.octets * 8 / sample.wall_s / 1e9 for sample in samples]),
        packets_per_s=_median(rates),
        sender_cpu_s_per_gb=_median([sample.sender_cpu_s / sample.octets * 1e9 for sample in samples]),
        receiver_cpu_s_per_gb=_median([sample.receiver_cpu_s / sample.octets * 1e9 for sample in samples]),
        lost_share=(offered - delivered) / offered,
        variation=coefficient_of_variation(rates),
        ratio=None if cell.arm == PLAIN else _ratio(by_cell[cell], plain, seed),
        noise_floor=None if again is None else noise_floor(again),
    )


def _ratio(arm: Rounds, plain: Rounds, seed: int) -> Estimate | None:
    """Packet rate of an arm over that of its neighbour in the same round; None without a single pair."""
    rounds = sorted(arm.keys() & plain.keys())
    if not rounds:
        return None
    return median_ratio(
        [arm[number].packets_per_s for number in rounds],
        [plain[number].packets_per_s for number in rounds],
        seed=seed,
    )


def _interval(trial: Trial) -> Interval:
    sample = trial.sample
    return Interval(
        path=trial.cell.path,
        size=trial.cell.size,
        arm=trial.cell.arm,
        round=trial.round,
        offered=sample.accounting.offered,
        delivered=sample.accounting.delivered,
        dropped={DropReason(reason): count for reason, count in sample.accounting.dropped.items()},
        octets=sample.octets,
        wall_s=sample.wall_s,
        sender_cpu_s=sample.sender_cpu_s,
        receiver_cpu_s=sample.receiver_cpu_s,
    )


def _median(values: list[float]) -> float:
    return float(np.median(values))
