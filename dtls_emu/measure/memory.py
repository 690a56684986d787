"""The path in memory: both cards in one process, what one sends is handed to the other.

Everything a datapath does and nothing else: inspect, look up, encapsulate, seal; replay check, open, inspect,
look up, deliver. No sockets, no copies between processes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.arms import arm_topology
from dtls_emu.measure.cards import clock, issue_both, make_card
from dtls_emu.measure.machine import one_core, undisturbed
from dtls_emu.measure.packets import check_rows, udp_burst
from dtls_emu.measure.sample import Accounting, Sample
from dtls_emu.nic.effects import Deliver, Transmit
from dtls_emu.wire.burst import Burst


if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.lab.topology import Topology
    from dtls_emu.measure.arms import Pair
    from dtls_emu.nic.effects import Effect
    from dtls_emu.vocabulary import DropReason


__all__ = ["CardPair", "MemoryTestbed", "Passage"]

UNDERLAYS: Final = ("192.0.2.1", "192.0.2.2")
"""Documentation addresses (RFC 5737): nothing is ever sent to them."""

CHECK_EVERY: Final = 64
"""One delivered burst in so many is compared byte for byte: 0.2 µs a burst, the same for every arm."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What became of some bursts in both cards.

    Fields:
        delivered, octets: packets and bytes that the receiving VM got.
        sender_s, receiver_s: elapsed seconds in each card.
    """

    delivered: int
    octets: int
    sender_s: float
    receiver_s: float

    @property
    def wall_s(self) -> float:
        """Elapsed seconds in both cards."""
        return self.sender_s + self.receiver_s


class MemoryTestbed:
    """Cards for every arm.

    Args:
        topology: of the lab.
        pair: the VMs that talk.
        arms: names of all arms.

    Raises:
        DtlsEmuError: a tunnel did not come up.
    """

    def __init__(self, topology: Topology, pair: Pair, arms: Sequence[str]) -> None:
        credentials = issue_both(pair)
        self._pairs = {arm: CardPair(topology, pair, arm, credentials) for arm in arms}
        self._ends = pair.ends[0]

    def measure(self, arm: str, size: int, packets: int) -> Sample:
        """One trial: see :class:`dtls_emu.measure.trials.Testbed`.

        CPU seconds of the whole trial are divided between the ends as their elapsed times are.
        """
        burst = udp_burst(self._ends, size)
        total = -(-packets // burst.count)
        cards = self._pairs[arm]
        before = cards.dropped()
        with one_core(), undisturbed():
            cpu_s = -time.thread_time()
            passage = cards.send([burst], total, burst)
            cpu_s += time.thread_time()
        dropped = cards.dropped() - before
        return Sample(
            Accounting(
                total * burst.count, passage.delivered, {str(reason): dropped[reason] for reason in dropped}
            ),
            octets=passage.octets,
            wall_s=passage.wall_s,
            sender_cpu_s=cpu_s * passage.sender_s / passage.wall_s,
            receiver_cpu_s=cpu_s * passage.receiver_s / passage.wall_s,
        )


class CardPair:
    """Two cards back to back, their tunnel up. Usable without a testbed.

    Fields:
        sender, receiver: the cards.

    Raises:
        DtlsEmuError: the tunnel did not come up, with the card's reason.
    """

    def __init__(
        self, topology: Topology, pair: Pair, arm: str, credentials: tuple[HostCredentials, HostCredentials]
    ) -> None:
        arranged = arm_topology(topology, pair, arm, UNDERLAYS)
        self.sender = make_card(arranged, pair.sender.host, credentials[0])
        self.receiver = make_card(arranged, pair.receiver.host, credentials[1])
        self._vm = pair.sender.name
        self._bring_up(udp_burst(pair.ends[0], 64).slice(0, 1))

    def dropped(self) -> Counter[DropReason]:
        """What both cards have dropped so far, by reason."""
        return self.sender.egress.counters.dropped + self.receiver.ingress.counters.dropped

    @property
    def handshakes(self) -> int:
        """Associations of the sender that have come up so far."""
        return sum(tunnel.handshakes for tunnel in self.sender.tunnels.values())

    def renew(self, now: float) -> None:
        """Have the sender begin a fresh association, and carry datagrams until it stands."""
        for peer in self.sender.tunnels:
            self._shuttle([(0, _kept(effect)) for effect in self.sender.rekey(peer, now)], 0, 0, now)

    def let_time_pass(self, now: float) -> None:
        """An arm has slept while others were measured. The receiver first: it may owe a sign of life."""
        for at, card in ((1, self.receiver), (0, self.sender)):
            if card.next_timeout() <= now:
                self._shuttle([(at, _kept(effect)) for effect in card.handle_timeout(now)], 0, 0, now)

    def send(self, bursts: Sequence[Burst], total: int, check: Burst | None) -> Passage:
        """Offer ``total`` bursts, the given ones in turn, and carry out what the cards ask for.

        Args:
            bursts: to offer.
            total: how many.
            check: compare a sample of the delivered packets with these rows; None: do not.

        Raises:
            AccountingError: a packet was altered.
        """
        from_guest, from_fabric, vm = self.sender.from_guest, self.receiver.from_fabric, self._vm
        source, read_ns, different = UNDERLAYS[0], time.perf_counter_ns, len(bursts)
        delivered = octets = sender_ns = receiver_ns = 0
        until_check = 1
        replies: list[tuple[int, Effect]] = []
        self.let_time_pass(clock())
        for index in range(total):
            burst = bursts[index % different]
            now = clock()
            started = read_ns()
            effects = from_guest(vm, burst, now)
            handed_over = read_ns()
            arrived: list[Effect] = []
            for effect in effects:
                if isinstance(effect, Transmit):
                    port = effect.destination[1]
                    arrived += from_fabric(effect.burst, (source, effect.source_port), port, now)
            receiver_ns += read_ns() - handed_over
            sender_ns += handed_over - started
            for effect in arrived:
                if isinstance(effect, Deliver):
                    delivered += effect.burst.count
                    octets += effect.burst.nbytes
                    until_check -= 1
                    if check is not None and until_check <= 0:
                        until_check = CHECK_EVERY
                        check_rows(effect.burst, check)
                else:  # a tunnel's own: a key is renewed in the middle of a trial
                    replies.append((1, _kept(effect)))
            if replies:
                delivered, octets = self._shuttle(replies, delivered, octets, now)
        return Passage(delivered, octets, sender_ns / 1e9, receiver_ns / 1e9)

    def _bring_up(self, burst: Burst) -> None:
        """Offer one packet, and let the cards talk until it has arrived."""
        now = clock()
        effects = [(0, _kept(effect)) for effect in self.sender.from_guest(self._vm, burst, now)]
        delivered, _ = self._shuttle(effects, 0, 0, now)
        if not delivered:
            ends = (self.sender, self.receiver)
            failures = [tunnel.failure for card in ends for tunnel in card.tunnels.values() if tunnel.failure]
            raise DtlsEmuError(f"the first packet did not arrive: {failures or dict(self.dropped())}")

    def _shuttle(
        self, under_way: list[tuple[int, Effect]], delivered: int, octets: int, now: float
    ) -> tuple[int, int]:
        """Carry effects to the other card, and what it answers back, until both are silent.

        Args:
            under_way: each with the card that it comes from, 0 the sender.
            delivered: packets delivered so far.
            octets: bytes delivered so far.
            now: the time.

        Returns:
            Packets and bytes delivered by then.
        """
        ends = (self.sender, self.receiver)
        while under_way:
            at, effect = under_way.pop(0)
            if isinstance(effect, Deliver):
                delivered += effect.burst.count
                octets += effect.burst.nbytes
            elif isinstance(effect, Transmit):
                source, port = (UNDERLAYS[at], effect.source_port), effect.destination[1]
                answer = ends[1 - at].from_fabric(effect.burst, source, port, now)
                under_way += [(1 - at, _kept(each)) for each in answer]
        return delivered, octets


def _kept(effect: Effect) -> Effect:
    """The effect with a burst of its own: a card's is only valid until its next call."""
    if isinstance(effect, Transmit):
        burst = Burst.from_packets([bytes(row) for row in effect.burst.rows()])
        return Transmit(burst, effect.source_port, effect.destination)
    return effect
