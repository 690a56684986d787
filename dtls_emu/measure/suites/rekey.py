"""What a new key costs packets that are on their way: the dip of the rate, and the longest gap between two bursts.

Two cards in memory on one core, so the handshake takes its time from the packets, as on a host with one core for its card.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, ClassVar, Final

from dtls_emu.measure.cards import clock, issue_both
from dtls_emu.measure.machine import one_core, undisturbed
from dtls_emu.measure.memory import CardPair
from dtls_emu.measure.packets import udp_bursts
from dtls_emu.measure.plan import BenchPath, Extent
from dtls_emu.measure.records.base import Better, Figure, Stopped
from dtls_emu.measure.records.rekey import RekeySection, RekeyTrial
from dtls_emu.measure.source import ForTime
from dtls_emu.measure.statistics import median_estimate, median_ratio, verdict_of
from dtls_emu.measure.suites.suite import Suite, preferred
from dtls_emu.measure.tables import Table, as_duration, as_interval, as_ratio, in_words
from dtls_emu.simulation.accounts import AccountingError


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dtls_emu.measure.plan import Plan
    from dtls_emu.measure.result import Start
    from dtls_emu.measure.suites.suite import Bench
    from dtls_emu.wire.burst import Burst


__all__ = ["Rekey"]

SIZE: Final = 1_400


class Rekey(Suite[RekeySection]):
    """See the module."""

    name = "rekey"
    document = "own: the same run with and without a renewal in its middle, paired"
    question = "What does a new key cost the packets that are on their way?"
    section = RekeySection
    is_usual: ClassVar[bool] = False

    def extent(self, plan: Plan) -> Extent:
        """In memory, whatever paths are chosen, at the first of the chosen sizes."""
        sizes = ((plan.sizes or (SIZE,))[0],)
        return Extent(
            (BenchPath.MEMORY,), sizes, plan.rounds or (7 if plan.quick else 25), plan.trial_s or 0.1
        )

    def run(self, bench: Bench) -> RekeySection | None:
        """See :class:`~dtls_emu.measure.suites.suite.Suite`."""
        backend = preferred(bench.backends)
        assert backend is not None  # or the suite is skipped
        extent = self.extent(bench.plan)
        cards = CardPair(bench.topology, bench.pair, backend, issue_both(bench.pair))
        bursts = udp_bursts(bench.pair.ends[0], extent.sizes[0], bench.plan.burst, bench.plan.flows)
        rng = random.Random(bench.plan.seed)
        deadline = bench.deadline()
        trials: list[RekeyTrial] = []
        stopped = Stopped.COMPLETE
        try:
            _carry(cards, bursts, extent.trial_s / 4, renew=True)
            for number in range(extent.rounds):
                if trials and time.monotonic() >= deadline:
                    stopped = Stopped.BUDGET
                    break
                bench.progress(number, extent.rounds, f"round {number + 1} of {extent.rounds}: rekey")
                trials.append(_round(cards, bursts, extent.trial_s, number, rng))
                bench.told(trials[-1])
            else:
                bench.progress(extent.rounds, extent.rounds, "done")
        except KeyboardInterrupt:
            stopped = Stopped.INTERRUPTED
        return _conclude(trials, extent, backend, stopped) if trials else None

    def tables(self, section: RekeySection, start: Start) -> list[Table]:
        """One row."""
        row = (
            as_ratio(section.dip),
            as_interval(section.dip),
            as_interval(section.noise),
            as_duration(section.gap_us.value * 1e3),
            as_duration(section.renewed_gap_us.value * 1e3),
            f"{section.lost:,}",
        )
        columns = (
            ">rate of that without",
            ">95 % interval",
            ">without over itself",
            ">longest gap",
            ">with a new key",
            ">lost",
        )
        seconds = section.extent.trial_s
        title = (
            f"A new key in the middle of {seconds:g} s, {section.backend}, {section.size} bytes, in memory"
        )
        return [Table(title, columns, [row])]

    def reading(self, section: RekeySection, start: Start) -> str:
        """The dip, and the gap."""
        dip = in_words(section.dip, verdict_of(section.dip), "of the rate without").removesuffix(",")
        return (
            f"A new key in {section.extent.trial_s:g} s leaves {dip}; the longest gap between two bursts is "
            f"{as_duration(section.renewed_gap_us.value * 1e3)} instead of "
            f"{as_duration(section.gap_us.value * 1e3)}, and {section.lost:,} packets are lost."
        )


class _Renewing:
    """A source that has something done in the middle of its time, and looks at the gaps between its bursts."""

    refused = 0

    def __init__(self, source: ForTime, seconds: float, middle: Callable[[], object] | None) -> None:
        self._source = source
        self._middle = middle
        self._at = time.monotonic_ns() + round(seconds * 5e8)
        self._last = 0
        self.longest_ns = 0
        self.offered = 0

    def next(self) -> Burst | None:
        if self._middle is not None and time.monotonic_ns() >= self._at:
            self._middle()
            self._middle = None
        now = time.monotonic_ns()
        if self._last:
            self.longest_ns = max(self.longest_ns, now - self._last)
        self._last = now
        burst = self._source.next()
        self.offered = self._source.offered
        return burst


def _carry(
    cards: CardPair, bursts: Sequence[Burst], seconds: float, *, renew: bool
) -> tuple[float, float, int]:
    """Packets a second, the longest gap in µs, and how many associations came up."""
    cards.let_time_pass(clock())
    dropped, before = cards.dropped(), cards.handshakes
    middle = (lambda: cards.renew(clock())) if renew else None
    with one_core(), undisturbed():
        started = time.monotonic()
        source = _Renewing(ForTime(bursts, seconds), seconds, middle)
        passage = cards.send(source, bursts)
        elapsed = time.monotonic() - started
    if passage.delivered != source.offered or cards.dropped() != dropped:
        raise AccountingError(
            f"rekey: offered {source.offered}, delivered {passage.delivered}, dropped "
            f"{dict(cards.dropped() - dropped)}; nothing may be lost over a new key"
        )
    return passage.delivered / elapsed, source.longest_ns / 1e3, cards.handshakes - before


def _round(
    cards: CardPair, bursts: Sequence[Burst], seconds: float, number: int, rng: random.Random
) -> RekeyTrial:
    found = {
        arm: _carry(cards, bursts, seconds, renew=arm == "renewed")
        for arm in rng.sample(("plain", "renewed", "again"), 3)
    }
    return RekeyTrial(
        round=number,
        packets_per_s=found["plain"][0],
        renewed_packets_per_s=found["renewed"][0],
        again_packets_per_s=found["again"][0],
        longest_gap_us=found["plain"][1],
        renewed_longest_gap_us=found["renewed"][1],
        handshakes=found["renewed"][2],
    )


def _conclude(trials: list[RekeyTrial], extent: Extent, backend: str, stopped: Stopped) -> RekeySection:
    without = [trial.packets_per_s for trial in trials]
    dip = median_ratio([trial.renewed_packets_per_s for trial in trials], without)
    figure = Figure(
        cell={"arm": backend, "size": extent.sizes[0]},
        metric="rekey",
        unit="of the rate without",
        better=Better.HIGHER,
        relative=True,
        samples=[trial.renewed_packets_per_s / trial.packets_per_s for trial in trials],
        estimate=dip,
    )
    return RekeySection(
        document=Rekey.document,
        extent=extent,
        stopped=stopped,
        figures=[figure],
        backend=backend,
        size=extent.sizes[0],
        trials=trials,
        dip=dip,
        noise=median_ratio([trial.again_packets_per_s for trial in trials], without),
        gap_us=median_estimate([trial.longest_gap_us for trial in trials]),
        renewed_gap_us=median_estimate([trial.renewed_longest_gap_us for trial in trials]),
        lost=0,
    )
