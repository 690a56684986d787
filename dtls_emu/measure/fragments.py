"""Fragmentation rejection: is every fragment rejected, no whole packet, and what does one cost?

The same whole packets are offered again and again, mixed with 0, 1, 10 and 50 % of fragments of every shape,
the mixes in random order within a round. Time per whole packet over fragments per whole packet is a line; its
slope is the cost of one rejection, and the rate of whole packets against the neighbouring run without
fragments is the goodput.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from dtls_emu.measure.result import FragmentInterval, FragmentSummary, MixSummary
from dtls_emu.measure.sample import AccountingError
from dtls_emu.measure.statistics import median_estimate, median_ratio, slopes
from dtls_emu.measure.trials import Stopped


if TYPE_CHECKING:
    from dtls_emu.measure.plan import Plan
    from dtls_emu.measure.trials import Progress


__all__ = ["SHARES", "FragmentRun", "FragmentTestbed", "MixSample", "run_fragments", "summarise_fragments"]

SHARES: Final = (0.0, 0.01, 0.1, 0.5)
"""Fragments among the offered packets. 0 is the run without."""

FIRST_PACKETS: Final = 2_048


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

    def check(self, mix: str) -> None:
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

    def measure_mix(self, share: float, whole: int) -> MixSample:
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
    total = len(SHARES) * plan.rounds
    intervals: list[FragmentInterval] = []
    stopped = Stopped.COMPLETE
    shapes: dict[str, int] = {}
    try:
        progress(0, total, "fragments of each shape by itself")
        shapes = testbed.reject_shapes()
        whole = _calibrate(testbed, plan.trial_s)
        for number in range(plan.rounds):
            for share in rng.sample(SHARES, len(SHARES)):
                progress(len(intervals), total, f"round {number + 1} of {plan.rounds}: {share:.0%} fragments")
                intervals.append(_interval(share, number, _measure(testbed, share, whole)))
        progress(total, total, "done")
    except KeyboardInterrupt:
        stopped = Stopped.INTERRUPTED
    finished = len(intervals) // len(SHARES) * len(SHARES)
    summary = (
        summarise_fragments(intervals[:finished], shapes, backend=backend, size=size, seed=plan.seed)
        if finished
        else None
    )
    return FragmentRun(intervals, summary, stopped)


def summarise_fragments(
    intervals: list[FragmentInterval], shapes: dict[str, int], *, backend: str, size: int, seed: int
) -> FragmentSummary:
    """Reduce whole rounds of the mixes; each of ``SHARES`` occurs once in every round."""
    rounds: dict[int, dict[float, FragmentInterval]] = defaultdict(dict)
    for interval in intervals:
        rounds[interval.round][interval.share] = interval
    costs = [
        slopes(
            [interval.fragments_offered / interval.whole_offered for interval in mixes.values()],
            [[interval.wall_s / interval.whole_offered * 1e9 for interval in mixes.values()]],
        )[0]
        for mixes in rounds.values()
    ]
    return FragmentSummary(
        backend=backend,
        size=size,
        shapes=shapes,
        mixes=[_summarise_mix(share, rounds, seed) for share in SHARES],
        rejection_ns=median_estimate(costs, seed=seed),
    )


def _summarise_mix(share: float, rounds: dict[int, dict[float, FragmentInterval]], seed: int) -> MixSummary:
    mixes = [mix[share] for mix in rounds.values()]
    without = [mix[SHARES[0]] for mix in rounds.values()]
    return MixSummary(
        share=share,
        whole_offered=sum(mix.whole_offered for mix in mixes),
        whole_delivered=sum(mix.whole_delivered for mix in mixes),
        fragments_offered=sum(mix.fragments_offered for mix in mixes),
        fragments_rejected=sum(mix.fragments_rejected for mix in mixes),
        goodput=median_ratio(
            [mix.whole_delivered / mix.wall_s for mix in mixes],
            [mix.whole_delivered / mix.wall_s for mix in without],
            seed=seed,
        )
        if share != SHARES[0]
        else None,
    )


def _calibrate(testbed: FragmentTestbed, trial_s: float) -> int:
    """Warm every mix up, and tell how many whole packets make a trial of ``trial_s`` without fragments."""
    for share in reversed(SHARES):
        _measure(testbed, share, FIRST_PACKETS)
    sample = _measure(testbed, SHARES[0], FIRST_PACKETS)
    return max(1, round(sample.whole_offered * trial_s / sample.wall_s))


def _measure(testbed: FragmentTestbed, share: float, whole: int) -> MixSample:
    sample = testbed.measure_mix(share, whole)
    sample.check(f"{share:.0%} fragments")
    return sample


def _interval(share: float, number: int, sample: MixSample) -> FragmentInterval:
    return FragmentInterval(
        share=share,
        round=number,
        whole_offered=sample.whole_offered,
        whole_delivered=sample.whole_delivered,
        fragments_offered=sample.fragments_offered,
        fragments_rejected=sample.fragments_rejected,
        wall_s=sample.wall_s,
    )
