"""Fragmentation rejection: is every fragment rejected, no whole packet, and what does one cost?

Mixes of 0, 1, 10, 50 and 100 % of fragments of every shape are measured in random order within a round, on the encrypted
flow and on a plain one, which carries them. Time per whole packet over fragments per whole packet is a line; its
slope is the cost of one rejection, and the rate of whole packets against the neighbouring run without
fragments is the goodput.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar, Final

from dtls_emu.measure.fragments import FLOOD, LAYOUTS, MIXES, WITHOUT, Mix
from dtls_emu.measure.mixes import CardFragmentTestbed
from dtls_emu.measure.plan import PLAIN, BenchPath, Extent
from dtls_emu.measure.records.base import Better, Figure, Stopped
from dtls_emu.measure.records.fragments import FragmentSection, FragmentTrial, Layout, MixSummary
from dtls_emu.measure.statistics import median_estimate, median_ratio, slopes
from dtls_emu.measure.suites.suite import Suite, preferred
from dtls_emu.measure.tables import Table, as_duration, as_interval, as_ratio


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dtls_emu.measure.fragments import FragmentTestbed, MixSample
    from dtls_emu.measure.plan import Plan
    from dtls_emu.measure.records.base import Record
    from dtls_emu.measure.result import Start
    from dtls_emu.measure.statistics import Estimate
    from dtls_emu.measure.suites.suite import Bench
    from dtls_emu.progress import Progress


__all__ = ["Fragments", "run_fragments"]

SIZE: Final = 1_400
"""Of every packet: what a VM sends that fills its MTU."""

SMALLEST: Final = 96
"""Bytes of the smallest packet that can be a fragment of every shape."""

IN_LAYOUT: Final = {
    Layout.BUNCHED: "in a burst of its own kind",
    Layout.SCATTERED: "amid whole packets",
}

Place = tuple[str, Mix]


class Fragments(Suite[FragmentSection]):
    """See the module."""

    name = "fragments"
    document = "own: mixes of whole packets and fragments, every shape, paired"
    question = "Is every fragment rejected, no whole packet, and what does a rejection cost?"
    section = FragmentSection
    weight: ClassVar[float] = 1.5

    def extent(self, plan: Plan) -> Extent:
        """In memory, whatever paths are chosen, at the first of the chosen sizes that every shape fits."""
        size = next((size for size in plan.sizes or () if size >= SMALLEST), SIZE)
        return Extent(
            (BenchPath.MEMORY,), (size,), plan.rounds or (7 if plan.quick else 25), plan.trial_s or 0.1
        )

    def run(self, bench: Bench) -> FragmentSection | None:
        """See :class:`~dtls_emu.measure.suites.suite.Suite`."""
        backend = preferred(bench.backends)
        assert backend is not None  # or the suite is skipped
        extent = self.extent(bench.plan)
        testbeds = {
            arm: CardFragmentTestbed(bench.topology, bench.pair, arm, extent.sizes[0], bench.plan.seed)
            for arm in (PLAIN, backend)
        }
        return run_fragments(
            testbeds,
            extent,
            backend,
            bench.progress,
            seed=bench.plan.seed,
            seconds=bench.seconds,
            told=bench.told,
        )

    def tables(self, section: FragmentSection, start: Start) -> list[Table]:
        """One, of all mixes."""
        return [_table(section)]

    def reading(self, section: FragmentSection, start: Start) -> str:
        """Counts, then costs; a cost that the run cannot tell from none is called so."""
        mixes = [mix for mix in section.mixes if mix.arm == section.backend]
        rejected = sum(mix.fragments_rejected for mix in mixes)
        whole = sum(mix.whole_delivered for mix in mixes)
        costs = " and ".join(
            f"{_cost(cost)} {IN_LAYOUT[layout]}" for layout, cost in section.rejection_ns.items()
        )
        most = max(mix.share for mix in mixes if mix.share < 1)
        kept = " and ".join(f"{mix.goodput.value:.2f}" for mix in mixes if mix.share == most and mix.goodput)
        return (
            f"All {rejected:,} fragments were rejected and all {whole:,} whole packets beside them were delivered; "
            f"rejecting one costs {costs}, and whole packets keep {kept} of their rate when {most * 100:.0f} % are "
            "fragments."
        )


def run_fragments(
    testbeds: Mapping[str, FragmentTestbed],
    extent: Extent,
    backend: str,
    progress: Progress,
    *,
    seed: int,
    seconds: float,
    told: Callable[[Record], object] = lambda _: None,
) -> FragmentSection | None:
    """Measure every mix of every arm, round after round. Ctrl-C keeps the rounds that were finished.

    Args:
        testbeds: of plain and of the backend, by arm.
        extent: its rounds, size and trial length count here.
        backend: the encrypted arm.
        progress: told of every trial.
        seed: of the order.
        seconds: no new round begins after so many.
        told: of every trial, as soon as it is measured.

    Raises:
        AccountingError: a fragment of the encrypted flow passed, or a whole packet did not.
    """
    rng = random.Random(seed)
    places = [(arm, mix) for arm in testbeds for mix in MIXES]
    total = len(places) * (extent.rounds + 1)
    trials: list[FragmentTrial] = []
    stopped = Stopped.COMPLETE
    shapes: dict[str, int] = {}
    deadline = time.monotonic() + seconds
    try:
        progress(0, total, "fragments of each shape by itself")
        shapes = testbeds[backend].reject_shapes()
        for arm, mix in places:
            _measure(testbeds[arm], mix, extent.trial_s / 4)
        for number in range(extent.rounds):
            if trials and time.monotonic() >= deadline:
                stopped = Stopped.BUDGET
                break
            for arm, mix in rng.sample(places, len(places)):
                progress(
                    len(places) + len(trials), total, f"round {number + 1} of {extent.rounds}: {mix}, {arm}"
                )
                trials.append(_trial(arm, mix, number, _measure(testbeds[arm], mix, extent.trial_s)))
                told(trials[-1])
        else:
            progress(total, total, "done")
    except KeyboardInterrupt:
        stopped = Stopped.INTERRUPTED
    finished = trials[: len(trials) // len(places) * len(places)]
    return _conclude(finished, trials, shapes, extent, backend, stopped) if finished else None


def _conclude(
    finished: Sequence[FragmentTrial],
    trials: list[FragmentTrial],
    shapes: dict[str, int],
    extent: Extent,
    backend: str,
    stopped: Stopped,
) -> FragmentSection:
    rounds: dict[int, dict[Place, FragmentTrial]] = defaultdict(dict)
    for trial in finished:
        rounds[trial.round][trial.arm, Mix(trial.layout, trial.share)] = trial
    every = list(rounds.values())
    arms = list(dict.fromkeys(trial.arm for trial in sorted(finished, key=lambda trial: trial.arm != PLAIN)))
    mixes = [_summarise_mix((arm, mix), every) for arm in arms for mix in MIXES]
    costs = {
        layout: [
            _rejection_ns(
                [found[backend, mix] for mix in MIXES if mix != FLOOD and mix.layout in {layout, Layout.NONE}]
            )
            for found in every
        ]
        for layout in LAYOUTS
    }
    flood = [found[backend, FLOOD].wall_s / found[backend, FLOOD].fragments_offered * 1e9 for found in every]
    rejection = {layout: median_estimate(values) for layout, values in costs.items()}
    figures = [
        Figure(
            cell={"arm": backend, "layout": str(layout)},
            metric="rejection",
            unit="ns",
            better=Better.LOWER,
            relative=False,
            samples=values,
            estimate=rejection[layout],
        )
        for layout, values in costs.items()
    ]
    return FragmentSection(
        document=Fragments.document,
        extent=extent,
        stopped=stopped,
        figures=figures,
        backend=backend,
        size=extent.sizes[0],
        shapes=shapes,
        trials=trials,
        mixes=mixes,
        rejection_ns=rejection,
        flood_ns=median_estimate(flood),
    )


def _rejection_ns(trials: list[FragmentTrial]) -> float:
    """The slope of one round and layout."""
    fragments = [trial.fragments_offered / trial.whole_offered for trial in trials]
    time_ns = [trial.wall_s / trial.whole_offered * 1e9 for trial in trials]
    return float(slopes(fragments, [time_ns])[0])


def _summarise_mix(place: Place, rounds: list[dict[Place, FragmentTrial]]) -> MixSummary:
    arm, mix = place
    trials = [trials[place] for trials in rounds]
    without = [trials[arm, WITHOUT] for trials in rounds]
    goodput = (
        None
        if mix in {WITHOUT, FLOOD}
        else median_ratio(
            [trial.whole_delivered / trial.wall_s for trial in trials],
            [trial.whole_delivered / trial.wall_s for trial in without],
        )
    )
    encrypts = arm != PLAIN
    return MixSummary(
        arm=arm,
        layout=mix.layout,
        share=mix.share,
        whole_offered=sum(trial.whole_offered for trial in trials),
        whole_delivered=sum(trial.whole_delivered for trial in trials),
        fragments_offered=sum(trial.fragments_offered for trial in trials),
        fragments_rejected=sum(trial.fragments_rejected for trial in trials),
        wrongly_rejected=sum(trial.whole_offered - trial.whole_delivered for trial in trials),
        wrongly_passed=sum(trial.fragments_delivered for trial in trials) if encrypts else 0,
        goodput=goodput,
    )


def _measure(testbed: FragmentTestbed, mix: Mix, seconds: float) -> MixSample:
    sample = testbed.measure_mix(mix, seconds)
    sample.check(mix)
    return sample


def _trial(arm: str, mix: Mix, number: int, sample: MixSample) -> FragmentTrial:
    return FragmentTrial(
        arm=arm,
        layout=mix.layout,
        share=mix.share,
        round=number,
        whole_offered=sample.whole_offered,
        whole_delivered=sample.whole_delivered,
        fragments_offered=sample.fragments_offered,
        fragments_rejected=sample.fragments_rejected,
        fragments_delivered=sample.fragments_delivered,
        wall_s=sample.wall_s,
    )


def _table(section: FragmentSection) -> Table:
    rows = [
        (
            f"{mix.share * 100:.0f} %" + ("" if mix.layout is Layout.NONE else f" {mix.layout}"),
            mix.arm,
            f"{mix.fragments_rejected:,}/{mix.fragments_offered:,}",
            f"{mix.wrongly_rejected:,}/{mix.whole_offered:,}",
            "" if mix.share == 1 else as_ratio(mix.goodput),
            as_interval(mix.goodput),
        )
        for mix in section.mixes
    ]
    columns = (
        "fragments",
        "arm",
        ">of them rejected",
        ">whole rejected",
        ">goodput",
        ">95 % interval",
    )
    title = f"Fragments of {len(section.shapes)} shapes among {section.size}-byte packets, in memory"
    return Table(title, columns, rows)


def _cost(cost: Estimate) -> str:
    """Never a negative time: where the interval holds none, that is what is said."""
    if cost.low is None:
        return f"{as_duration(max(cost.value, 0))} (of {cost.n}: too few for an interval)"
    if cost.holds(0) or cost.value <= 0:
        return "less than this run can tell"
    return as_duration(cost.value)
