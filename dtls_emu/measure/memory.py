"""The path in memory: both cards in one process, what one sends is handed to the other.

Everything a datapath does and nothing else: inspect, look up, encapsulate, seal; replay check, open, inspect,
look up, deliver. No sockets, no copies between processes.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.arms import arm_topology
from dtls_emu.measure.cards import clock, issue_both, make_card
from dtls_emu.measure.delays import Delays
from dtls_emu.measure.machine import involuntary_switches, one_core, undisturbed
from dtls_emu.measure.packets import check_rows, ends_of, read_tags, rows_per_burst, udp_burst, udp_bursts
from dtls_emu.measure.sample import Accounting, Sample
from dtls_emu.measure.source import make_source
from dtls_emu.nic.effects import Driver, Transmit, carry_out
from dtls_emu.wire.burst import Burst


if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.lab.topology import Topology
    from dtls_emu.measure.arms import Pair
    from dtls_emu.measure.source import Load, Source
    from dtls_emu.nic.card import Card
    from dtls_emu.nic.effects import Deliver, Effect
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
        delays: of the packets, if they were timed.
    """

    delivered: int
    octets: int
    sender_s: float
    receiver_s: float
    delays: Delays | None = None

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
        self._ends = pair.ends

    def measure(self, load: Load) -> Sample:
        """One trial: see :class:`dtls_emu.measure.trials.Testbed`.

        CPU seconds of the whole trial are divided between the ends as their elapsed times are. In a closed loop the
        trial's time is that of both cards, one after the other; on a schedule it is that of the clock.
        """
        bursts = udp_bursts(
            ends_of(self._ends, load.ip_version), load.size, rows_per_burst(load.size, load.burst), load.flows
        )
        cards = self._pairs[load.arm]
        before = cards.dropped()
        with one_core(), undisturbed():
            switches, cpu_s = -involuntary_switches(), -time.thread_time()
            source = make_source(load, bursts)
            started = time.monotonic()
            passage = cards.send(source, bursts, timed=load.timed)
            elapsed = time.monotonic() - started
            cpu_s += time.thread_time()
            switches += involuntary_switches()
        dropped = cards.dropped() - before
        return Sample(
            Accounting(
                source.offered,
                passage.delivered,
                {str(reason): dropped[reason] for reason in dropped},
                source.refused,
            ),
            octets=passage.octets,
            wall_s=passage.wall_s if load.rate is None else elapsed,
            sender_cpu_s=cpu_s * passage.sender_s / passage.wall_s,
            receiver_cpu_s=cpu_s * passage.receiver_s / passage.wall_s,
            delays=passage.delays,
            lasted_s=elapsed,
            switches=switches,
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
            self._shuttle(0, self.sender.rekey(peer, now), now)

    def let_time_pass(self, now: float) -> None:
        """An arm has slept while others were measured. The receiver first: it may owe a sign of life."""
        for at, card in ((1, self.receiver), (0, self.sender)):
            if card.next_timeout() <= now:
                self._shuttle(at, card.handle_timeout(now), now)

    def send(self, source: Source, check: Sequence[Burst], *, timed: bool = False) -> Passage:
        """Offer what a source has, and carry out what the cards ask for.

        Args:
            source: of the bursts.
            check: compare a sample of the delivered packets with these, one of each flow; none: do not.
            timed: the packets have the times at which they were due.

        Raises:
            AccountingError: a packet was altered.
        """
        from_guest, vm, read_ns = self.sender.from_guest, self._vm, time.perf_counter_ns
        sender_ns = receiver_ns = 0
        self.let_time_pass(clock())
        sending, arriving = _Passing(self.receiver), _Timing() if timed else _Arriving(check)
        while (burst := source.next()) is not None:
            sending.now = now = clock()
            started = read_ns()
            effects = from_guest(vm, burst, now)
            handed_over = read_ns()
            carry_out(effects, sending)
            receiver_ns += read_ns() - handed_over
            sender_ns += handed_over - started
            arriving.take(1, sending.arrived)
            sending.arrived.clear()
            if arriving.under_way:  # a tunnel's own: a key is renewed in the middle of a trial
                self._carry_on(arriving, now)
        delays = arriving.delays if isinstance(arriving, _Timing) else None
        return Passage(arriving.delivered, arriving.octets, sender_ns / 1e9, receiver_ns / 1e9, delays)

    def _bring_up(self, burst: Burst) -> None:
        """Offer one packet, and let the cards talk until it has arrived."""
        now = clock()
        if not self._shuttle(0, self.sender.from_guest(self._vm, burst, now), now):
            ends = (self.sender, self.receiver)
            failures = [tunnel.failure for card in ends for tunnel in card.tunnels.values() if tunnel.failure]
            raise DtlsEmuError(f"the first packet did not arrive: {failures or dict(self.dropped())}")

    def _shuttle(self, at: int, effects: Iterable[Effect], now: float) -> int:
        """Carry effects of one card (0: the sender) to the other, and what it answers back, until both are silent.

        Returns:
            Packets delivered.
        """
        shuttle = _Shuttle()
        shuttle.take(at, effects)
        self._carry_on(shuttle, now)
        return shuttle.delivered

    def _carry_on(self, shuttle: _Shuttle, now: float) -> None:
        ends = (self.sender, self.receiver)
        while shuttle.under_way:
            at, effect = shuttle.under_way.popleft()
            source, port = (UNDERLAYS[at], effect.source_port), effect.destination[1]
            shuttle.take(1 - at, ends[1 - at].from_fabric(effect.burst, source, port, now))


class _Passing(Driver):
    """Hands what a card sends to the other at once.

    Fields:
        now: seconds.
        arrived: what the other asks for.
    """

    def __init__(self, receiver: Card) -> None:
        self.now = 0.0
        self.arrived: list[Effect] = []
        self._from_fabric = receiver.from_fabric

    def transmit(self, effect: Transmit) -> None:
        source = UNDERLAYS[0], effect.source_port
        self.arrived += self._from_fabric(effect.burst, source, effect.destination[1], self.now)


class _Shuttle(Driver):
    """Keeps what cards send, copied: a burst is only valid until the card's next call. Counts what they deliver.

    Fields:
        under_way: datagrams, each with the card that they come from.
        delivered, octets: packets, and their bytes.
    """

    def __init__(self) -> None:
        self.under_way: deque[tuple[int, Transmit]] = deque()
        self.delivered = self.octets = 0
        self._at = 0

    def take(self, at: int, effects: Iterable[Effect]) -> None:
        self._at = at
        carry_out(effects, self)

    def transmit(self, effect: Transmit) -> None:
        burst = Burst.from_packets([bytes(row) for row in effect.burst.rows()])
        self.under_way.append((self._at, Transmit(burst, effect.source_port, effect.destination)))

    def deliver(self, effect: Deliver) -> None:
        self.delivered += effect.burst.count
        self.octets += effect.burst.nbytes


class _Arriving(_Shuttle):
    """Compares a sample of what is delivered with the rows that were sent, if there are any."""

    def __init__(self, expected: Sequence[Burst]) -> None:
        super().__init__()
        self._expected = expected
        self._until_check = 1

    def deliver(self, effect: Deliver) -> None:
        super().deliver(effect)
        self._until_check -= 1
        if self._until_check <= 0 and self._expected:
            self._until_check = CHECK_EVERY
            check_rows(effect.burst, self._expected)


class _Timing(_Shuttle):
    """Takes the delay of every packet that is delivered.

    Fields:
        delays: all of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.delays = Delays()

    def deliver(self, effect: Deliver) -> None:
        super().deliver(effect)
        self.delays.add(time.monotonic_ns() - read_tags(effect.burst))
