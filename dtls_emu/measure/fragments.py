"""Fragmentation rejection: is every fragment rejected, no whole packet, and what does one cost?

The same whole packets are offered again and again, mixed with 0, 1, 10 and 50 % of fragments of every shape,
the mixes in random order within a round. Time per whole packet over fragments per whole packet is a line; its
slope is the cost of one rejection, and the rate of whole packets against the neighbouring run without
fragments is the goodput.

Where the fragments stand matters more than how many they are, so it is measured both ways: see :class:`Layout`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from dtls_emu.measure.result import FragmentInterval, FragmentSummary, Layout, MixSummary
from dtls_emu.measure.statistics import median_estimate, median_ratio, slopes
from dtls_emu.measure.trials import Stopped
from dtls_emu.simulation.accounts import AccountingError


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.measure.plan import Plan
    from dtls_emu.progress import Progress


__all__ = [
    "MIXES",
    "FragmentRun",
    "FragmentTestbed",
    "Mix",
    "MixSample",
    "run_fragments",
    "summarise_fragments",
]


@dataclass(frozen=True, slots=True)
class Mix:
    """Fragments among whole packets.

    Fields:
        layout: where the fragments stand.
        share: of fragments among the offered packets.
    """

    layout: Layout
    share: float

    def __str__(self) -> str:
        """``10 % fragments, scattered``"""
        return f"{self.share * 100:.0f} % fragments, {self.layout}"


WITHOUT: Final = Mix(Layout.NONE, 0.0)
SHARES: Final = (0.01, 0.1, 0.5)
LAYOUTS: Final = (Layout.BUNCHED, Layout.SCATTERED)
MIXES: Final = (WITHOUT, *(Mix(layout, share) for layout in LAYOUTS for share in SHARES))

FIRST_PACKETS: Final = 2_048
"""Whole packets of the discarded trials; one pays for compilation and first flows, one tells the rate."""


@dataclass(frozen=True, slots=True)
class MixSample:
    """One trial of one mix, in packets.

    Fields:
        whole_offered, whole_delivered: packets that are no fragments.
        fragments_offered: fragments of every shape.
        fragments_rejected: packets that the sending card dropped as ``fragment``.
        wall_s: seconds.
    """

    whole_offered: int
    whole_delivered: int
    fragments_offered: int
    fragments_rejected: int
    wall_s: float

    def check(self, mix: Mix) -> None:
        """Fail loudly unless every fragment was rejected and every whole packet delivered.

        Raises:
            AccountingError: naming the mix and the figures.
        """
        if self.fragments_rejected != self.fragments_offered or self.whole_delivered != self.whole_offered:
            raise AccountingError(
                f"{mix}: {self.fragments_rejected} packets were rejected as fragments, {self.fragments_offered} are "
                f"fragments; {self.whole_delivered} of {self.whole_offered} whole packets were delivered"
            )


class FragmentTestbed(Protocol):
    """Two cards with an encrypted flow between them."""

    def measure_mix(self, mix: Mix, whole: int) -> MixSample:
        """One trial: offer at least ``whole`` whole packets, and fragments among them."""

    def reject_shapes(self) -> dict[str, int]:
        """Offer fragments of each shape by itself. How many were rejected, by shape.

        Raises:
            AccountingError: one was not, or something was delivered.
        """


@dataclass(frozen=True, slots=True)
class FragmentRun:
    """What the mixes yield. ``summary`` is None when not one round was finished."""

    intervals: list[FragmentInterval]
    summary: FragmentSummary | None
    stopped: Stopped


def run_fragments(
    testbed: FragmentTestbed, plan: Plan, backend: str, size: int, progress: Progress
) -> FragmentRun:
    """Measure every mix, ``plan.rounds`` times.

    Ctrl-C ends the run cleanly: the rounds finished until then are summarised.

    Args:
        testbed: what is measured.
        plan: its rounds, trial length and seed count here.
        backend: of the testbed, for the summary.
        size: of a whole packet, in bytes.
        progress: told of every trial.

    Raises:
        AccountingError: a fragment passed, or a whole packet did not.
    """
    rng = random.Random(plan.seed)
    total = len(MIXES) * (plan.rounds + 1)
    intervals: list[FragmentInterval] = []
    stopped = Stopped.COMPLETE
    shapes: dict[str, int] = {}
    try:
        progress(0, total, "fragments of each shape by itself")
        shapes = testbed.reject_shapes()
        whole = {mix: _calibrate(testbed, mix, plan.trial_s) for mix in MIXES}
        for number in range(plan.rounds):
            for mix in rng.sample(MIXES, len(MIXES)):
                progress(len(MIXES) + len(intervals), total, f"round {number + 1} of {plan.rounds}: {mix}")
                intervals.append(_interval(mix, number, _measure(testbed, mix, whole[mix])))
        progress(total, total, "done")
    except KeyboardInterrupt:
        stopped = Stopped.INTERRUPTED
    finished = len(intervals) // len(MIXES) * len(MIXES)
    summary = (
        summarise_fragments(intervals[:finished], shapes, backend=backend, size=size, seed=plan.seed)
        if finished
        else None
    )
    return FragmentRun(intervals, summary, stopped)


def summarise_fragments(
    intervals: Sequence[FragmentInterval], shapes: dict[str, int], *, backend: str, size: int, seed: int
) -> FragmentSummary:
    """Reduce whole rounds of the mixes; each of ``MIXES`` occurs once in every round."""
    rounds: dict[int, dict[Mix, FragmentInterval]] = defaultdict(dict)
    for interval in intervals:
        rounds[interval.round][Mix(interval.layout, interval.share)] = interval
    costs = {
        layout: [
            _rejection_ns([trials[mix] for mix in MIXES if mix.layout in {layout, Layout.NONE}])
            for trials in rounds.values()
        ]
        for layout in LAYOUTS
    }
    return FragmentSummary(
        backend=backend,
        size=size,
        shapes=shapes,
        mixes=[_summarise_mix(mix, list(rounds.values()), seed) for mix in MIXES],
        rejection_ns={layout: median_estimate(values, seed=seed) for layout, values in costs.items()},
    )


def _rejection_ns(trials: list[FragmentInterval]) -> float:
    """The slope of one round and layout."""
    fragments = [trial.fragments_offered / trial.whole_offered for trial in trials]
    time_ns = [trial.wall_s / trial.whole_offered * 1e9 for trial in trials]
    return float(slopes(fragments, [time_ns])[0])


def _summarise_mix(mix: Mix, rounds: list[dict[Mix, FragmentInterval]], seed: int) -> MixSummary:
    trials = [trials[mix] for trials in rounds]
    without = [trials[WITHOUT] for trials in rounds]
    goodput = median_ratio(
        [trial.whole_delivered / trial.wall_s for trial in trials],
        [trial.whole_delivered / trial.wall_s for trial in without],
        seed=seed,
    )
    return MixSummary(
        layout=mix.layout,
        share=mix.share,
        whole_offered=sum(trial.whole_offered for trial in trials),
        whole_delivered=sum(trial.whole_delivered for trial in trials),
        fragments_offered=sum(trial.fragments_offered for trial in trials),
        fragments_rejected=sum(trial.fragments_rejected for trial in trials),
        goodput=None if mix == WITHOUT else goodput,
    )


def _calibrate(testbed: FragmentTestbed, mix: Mix, trial_s: float) -> int:
    """Warm a mix up, and tell how many whole packets make a trial of ``trial_s`` seconds."""
    _measure(testbed, mix, FIRST_PACKETS)
    sample = _measure(testbed, mix, FIRST_PACKETS)
    return max(1, round(sample.whole_offered * trial_s / sample.wall_s))


def _measure(testbed: FragmentTestbed, mix: Mix, whole: int) -> MixSample:
    sample = testbed.measure_mix(mix, whole)
    sample.check(mix)
    return sample


def _interval(mix: Mix, number: int, sample: MixSample) -> FragmentInterval:
    return FragmentInterval(
        layout=mix.layout,
        share=mix.share,
        round=number,
        whole_offered=sample.whole_offered,
        whole_delivered=sample.whole_delivered,
        fragments_offered=sample.fragments_offered,
        fragments_rejected=sample.fragments_rejected,
        wall_s=sample.wall_s,
    )
