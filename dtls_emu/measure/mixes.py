"""Fragments among whole packets, through two real cards in memory."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from dtls_emu.measure.cards import issue_both
from dtls_emu.measure.fragments import Mix, MixSample
from dtls_emu.measure.machine import one_core, undisturbed
from dtls_emu.measure.memory import CardPair
from dtls_emu.measure.packets import fragments, rows_per_burst, udp_burst
from dtls_emu.measure.plan import PLAIN, PLAIN_AGAIN
from dtls_emu.measure.records.fragments import Layout
from dtls_emu.measure.sample import Accounting
from dtls_emu.measure.source import Turns, WholeTurns
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import Burst


if TYPE_CHECKING:
    from dtls_emu.lab.topology import Topology
    from dtls_emu.measure.arms import Pair
    from dtls_emu.measure.source import Source


__all__ = ["CardFragmentTestbed"]

BURSTS: Final = 32
"""Bursts of whole packets in a cycle: enough rows for every shape to be among 1 % of fragments."""


class CardFragmentTestbed:
    """Two cards with a flow between them: see :class:`dtls_emu.measure.fragments.FragmentTestbed`.

    Args:
        topology: of the lab.
        pair: the VMs that talk.
        arm: plain, or what seals and opens.
        size: of every packet, whole or fragment, in bytes.
        seed: of the fragments' places.

    Raises:
        DtlsEmuError: the tunnel did not come up.
    """

    def __init__(self, topology: Topology, pair: Pair, arm: str, size: int, seed: int) -> None:
        self._cards = CardPair(topology, pair, arm, issue_both(pair))
        self._encrypts = arm not in {PLAIN, PLAIN_AGAIN}
        self._ends = pair.ends[0]
        self._whole = udp_burst(self._ends, size)
        self._size = size
        self._seed = seed
        self._shapes = {name: packet for ends in pair.ends for name, packet in fragments(ends, size).items()}
        self._mixes: dict[Mix, tuple[list[Burst], int]] = {}

    def reject_shapes(self) -> dict[str, int]:
        """Offer a burst of each shape by itself; how many were rejected, by shape."""
        rejected: dict[str, int] = {}
        for name, packet in self._shapes.items():
            burst = Burst.from_packets([packet] * rows_per_burst(self._size))
            delivered, rejected[name], _ = self._offer(Turns([burst], 1), name)
            if delivered or rejected[name] != burst.count:
                raise AccountingError(f"{name}: {rejected[name]} of {burst.count} fragments were rejected")
        return rejected

    def measure_mix(self, mix: Mix, seconds: float) -> MixSample:
        """One trial: the mix's bursts in turn, for so long."""
        if mix not in self._mixes:
            self._mixes[mix] = (
                self._bunched(mix.share) if mix.layout is Layout.BUNCHED else self._scattered(mix.share)
            )
        bursts, among = self._mixes[mix]
        source = WholeTurns(bursts, seconds)
        with one_core(), undisturbed():
            delivered, rejected, wall_s = self._offer(source, str(mix))
        fragments = among * source.turns
        whole = source.offered - fragments
        passed = max(0, delivered - whole) if fragments else 0
        return MixSample(whole, delivered - passed, fragments, rejected, passed, wall_s, self._encrypts)

    def _offer(self, source: Source, what: str) -> tuple[int, int, float]:
        """Offer bursts: packets delivered, packets rejected as fragments, seconds.

        Raises:
            AccountingError: a packet is unaccounted for, altered, or was dropped for another reason.
        """
        before = self._cards.dropped()
        passage = self._cards.send(source, [self._whole] if self._encrypts else [])
        dropped = self._cards.dropped() - before
        Accounting(
            source.offered, passage.delivered, {str(reason): dropped[reason] for reason in dropped}
        ).check(what)
        if dropped.keys() - {DropReason.FRAGMENT}:
            raise AccountingError(f"{what}: packets were dropped for another reason: {dict(dropped)}")
        return passage.delivered, dropped[DropReason.FRAGMENT], passage.wall_s

    def _bunched(self, share: float) -> tuple[list[Burst], int]:
        """The bursts of a mix, in random order, and how many fragments they hold: one shape after the other."""
        per_burst = self._whole.count
        among = round(BURSTS * per_burst * (share / (1 - share) if share < 1 else 1))
        shapes = list(self._shapes.values())
        packets = [shapes[index * len(shapes) // among] for index in range(among)]
        bursts = [
            Burst.from_packets(packets[start : start + per_burst]) for start in range(0, among, per_burst)
        ]
        if share < 1:
            bursts += self._scattered(0)[0]
        random.Random(self._seed).shuffle(bursts)
        return bursts, among

    def _scattered(self, share: float) -> tuple[list[Burst], int]:
        """The same, with fragments at random rows of every burst, and a shape in turn at each."""
        per_burst = self._whole.count
        rows = BURSTS * per_burst
        places = random.Random(self._seed).sample(range(rows), round(rows * share))
        shapes = list(self._shapes.values())
        packets = [bytes(self._whole.row(row % per_burst)) for row in range(rows)]
        for index, place in enumerate(places):
            packets[place] = shapes[index % len(shapes)]
        bursts = [
            Burst.from_packets(packets[start : start + per_burst]) for start in range(0, rows, per_burst)
        ]
        return bursts, len(places)
