"""A lab put together: cards, guests and the simulated fabric on one virtual clock.

The way of a packet, and the order of the functions below:

1. A guest's burst is entered in its item's account and handed to the card of the guest's host. When the run is observed,
   its packets are numbered, and their number goes with them (:func:`~dtls_emu.events.tagged`) until a guest gets them.
2. The card's effects are carried out in order: to the fabric, to a guest, or to the internet.
3. What guests answer goes to their cards in turn, once all effects of a call are done: a card uses the memory
   of an effect again at its next call.
4. Timers of cards and guests are kept on the clock.

The internet behind the gateway is one node with every public address: it answers like any guest.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from dtls_emu.assembly.broker_keys import issue_session_keys
from dtls_emu.assembly.cards import build_cards, issue_credentials
from dtls_emu.events import mark_of, tagged
from dtls_emu.fabric.clock import VirtualClock, nanoseconds
from dtls_emu.fabric.simulated import SimulatedFabric
from dtls_emu.lab.topology import DEFAULT_LINK_MTU
from dtls_emu.nic.effects import Driver, Transmit, carry_out
from dtls_emu.simulation.accounts import NOBODY, AccountingError, Accounts
from dtls_emu.simulation.guests.guest import Guest
from dtls_emu.simulation.modelled import ModelledCard
from dtls_emu.tunnel.ports import DYNAMIC_PORTS
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.protocol import is_handshake


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.events import Observer
    from dtls_emu.fabric.clock import Timer
    from dtls_emu.lab.topology import Host, Topology
    from dtls_emu.nic.card import Card, Engine
    from dtls_emu.nic.effects import (
        Deliver,
        Effect,
        LeaveFabric,
        RequestKeys,
        UnderlayAddress,
    )
    from dtls_emu.simulation.accounts import Account


__all__ = ["INTERNET_DELAY", "Cloud"]

CONTROL_DELAY: Final = 0.001
"""Seconds from a host's request for session keys until both hosts have them."""

INTERNET_DELAY: Final = 0.01
"""Seconds from a gateway to any public address, one way: about 1,000 km of fibre and back in a ping."""

INTERNET_MTU: Final = 1500

_PORTS_APART: Final = 4099
"""Between the first ports of a card and of the next one in its place, so that old associations and new ones do not meet
on one pair of ports; coprime to their number, so that it takes long to come back to one."""

_BUSY: Final = frozenset({TunnelState.HANDSHAKING, TunnelState.REKEYING})
"""States of a tunnel in which an attempt may hold records that overtook its Finished."""


class Cloud:
    """Everything that a lab describes but its traffic.

    Fields:
        topology: the lab.
        clock: of everything.
        fabric: between the hosts.
        cards: by host.
        guests: by VM.
        internet: behind the gateway.
        modelled: what stands in front of cards that are modelled, by host.
        accounts: of every mark.
        onlookers: marks of packets that guests are handed but do not react to, because both ends of their
            conversation are played from a capture.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        engines: Mapping[str, Engine] | None = None,
        credentials: Mapping[str, HostCredentials] | None = None,
        key_log: Callable[[bytes], None] | None = None,
        observer: Observer | None = None,
    ) -> None:
        """
        Args:
            topology: the lab.
            engines: cipher engine of each host, instead of what the lab says.
            credentials: certificate, key and CA of each host, instead of fresh ones.
            key_log: as in :func:`~dtls_emu.tunnel.context.build_contexts`.
            observer: told of everything that happens.
        """
        self.topology = topology
        self.clock = VirtualClock()
        self.accounts = Accounts()
        self.fabric = SimulatedFabric(topology, self.clock, topology.seed)
        self.fabric.on_drop = self.accounts.drop
        self.fabric.on_duplicate = self.accounts.duplicate
        if observer is not None:
            self.fabric.tap(observer)
        self._make_cards = partial(
            build_cards,
            credentials=credentials or issue_credentials(topology, datetime.now(UTC)),
            key_log=key_log,
            on_drop=lambda _host, reason, count, mark: self.accounts.drop(reason, count, mark),
            on_packets=self.accounts.handle,
            observer=observer,
        )
        self._restarts = 0
        self.cards = self._make_cards(topology, engines=engines)
        self.modelled = {
            host.name: ModelledCard(host.model, _line_rate(host), f"{topology.seed} {host.name}", self.clock)
            for host in topology.hosts.values()
            if host.model is not None or host.line_rate
        }
        for name in self.modelled:
            self._say_modelled(name)
        self.guests = {
            vm.name: Guest(None if vm.prefixes else vm.addresses, vm.mtu) for vm in topology.vms.values()
        }
        self.internet = Guest(None, INTERNET_MTU)
        self.onlookers: set[int] = set()
        self._is_observed = observer is not None
        self._numbered = 0  # packets so far
        self._beyond_gateway = 0
        self._back_at = 0.0
        self._outbox: deque[tuple[str, Burst]] = deque()
        self._timers: dict[str, Timer] = {}
        for host in topology.hosts.values():
            self._attach(host)

    # --------------------------------------------------------------------------------------- the way of a packet

    def send(self, vm: str, bursts: list[Burst]) -> None:
        """Have a guest hand bursts to its card; everything that follows at this instant happens now."""
        self._outbox.extend((vm, burst) for burst in bursts)
        self._empty_outbox()
        self._watch_guest(vm)

    def _empty_outbox(self) -> None:
        while self._outbox:
            vm, burst = self._outbox.popleft()
            mark = burst.mark
            self.accounts.offer(mark, burst.count, burst.nbytes)
            if self._is_observed:
                burst.mark = self._tag(mark, burst.packets)
            card = self._card_of(vm)
            self._carry_out(card, card.from_guest(vm, burst, self.clock.now), about=mark)

    def _tag(self, mark: int, packets: int) -> int:
        """What goes with so many packets that are offered now: their mark, and the first one's number."""
        number = self._numbered + 1
        self._numbered += packets
        return tagged(mark, number)

    def _come_in(self, card: Card, burst: Burst, source: UnderlayAddress, port: int, now: float) -> None:
        """Datagrams reach a host; they are in its card at once, or when a modelled one has dealt with them."""
        modelled = self.modelled.get(card.host)
        if modelled is None:
            self._arrive(card, burst, source, port, now)
            return
        kept = _copied(burst)
        arrive = partial(self._arrive_later, card, kept, source, port)
        self._pass(modelled, kept, arrive, leaving=False)

    def _go_out(self, card: Card, effect: Transmit) -> None:
        """Datagrams leave a card, likewise."""
        modelled, underlay = self.modelled.get(card.host), self.topology.hosts[card.host].underlay
        if modelled is None:
            self.fabric.transmit(underlay, effect)
            return
        kept = _copied(effect.burst)
        later = Transmit(kept, effect.source_port, effect.destination)
        self._pass(modelled, kept, partial(self.fabric.transmit, underlay, later), leaving=True)

    def _pass(
        self, modelled: ModelledCard, burst: Burst, complete: Callable[[], object], *, leaving: bool
    ) -> None:
        # A signature's length is random: handshakes are charged alike, as links with a rate charge them.
        is_whole = is_handshake(burst.buffer[burst.offset])
        nbytes = burst.count * DEFAULT_LINK_MTU if is_whole else burst.nbytes
        if not modelled.submit(burst.count, nbytes, complete, leaving=leaving):
            self.accounts.drop(DropReason.LINK_QUEUE, burst.count, burst.mark)

    def _arrive_later(self, card: Card, burst: Burst, source: UnderlayAddress, port: int) -> None:
        self._arrive(card, burst, source, port, self.clock.now)

    def _arrive(self, card: Card, burst: Burst, source: UnderlayAddress, port: int, now: float) -> None:
        self._carry_out(card, card.from_fabric(burst, source, port, now))
        self._empty_outbox()

    def _carry_out(self, card: Card, effects: list[Effect], about: int = NOBODY) -> None:
        """Carry out effects; ``about`` is the mark of the packets that led to them, if a guest sent them."""
        carry_out(effects, _HostDriver(self, card, about))
        self._watch_card(card)

    def _deliver(self, vm: str, burst: Burst, about: int) -> None:
        if self._is_observed:
            burst.mark = mark_of(burst.mark)
        self.accounts.deliver(burst.mark, burst.count, burst.nbytes)
        if burst.mark not in self.onlookers:
            answers = self.guests[vm].receive(burst, self.clock.now, about=about)
            self._outbox.extend((vm, answer) for answer in answers)
            self._watch_guest(vm)

    def _hand_out_keys(self, card: Card, request: RequestKeys) -> None:
        """The broker's part; its channel to the hosts is not the fabric."""
        if self.cards[card.host] is not card:
            return  # started anew since: nobody waits for these
        responder, initiator = issue_session_keys(card.host, request.port)
        for host, peer, keys in (
            (self.cards[request.peer], card.host, responder),
            (card, request.peer, initiator),
        ):
            self._carry_out(host, host.install(peer, keys, self.clock.now))
        self._empty_outbox()

    def _leave(self, vm: str, burst: Burst) -> None:
        """Hand packets to the internet, and its answers back to the VM."""
        packets = [row.tobytes() for row in burst.rows()]
        mark = mark_of(burst.mark)
        self._beyond_gateway += len(packets)
        self._back_at = self.clock.now + 2 * INTERNET_DELAY

        def arrive() -> None:
            self._beyond_gateway -= len(packets)
            self.accounts.deliver(mark, len(packets), sum(map(len, packets)))
            if mark in self.onlookers:
                return
            answers = self.internet.receive(Burst.from_packets(packets, mark=mark), self.clock.now)
            replies = [(row.tobytes(), answer.mark) for answer in answers for row in answer.rows()]
            self._beyond_gateway += len(replies)
            self.clock.call_later(INTERNET_DELAY, lambda: self._come_back(vm, replies))

        self.clock.call_later(INTERNET_DELAY, arrive)

    def _come_back(self, vm: str, replies: list[tuple[bytes, int]]) -> None:
        card = self._card_of(vm)
        network = self.topology.vms[vm].network
        self._beyond_gateway -= len(replies)
        for packet, mark in replies:
            self.accounts.offer(mark, 1, len(packet))
            tag = self._tag(mark, 1) if self._is_observed else mark
            self._carry_out(card, card.from_gateway(network, packet, self.clock.now, tag))
        self._empty_outbox()

    def update(self, topology: Topology) -> None:
        """Go on under a changed lab: policy, links. What is under way stays as it is.

        Raises:
            LocalProtocolError: the lab has other hosts or VMs.
        """
        for card in self.cards.values():
            card.update(topology)
            self._watch_card(card)
        self.fabric.update(topology)
        self.topology = topology

    # ---------------------------------------------------------------------------------------------------- timers

    def _watch_card(self, card: Card) -> None:
        self._watch(f"card {card.host}", card.next_timeout(), lambda: self._wake_card(card))

    def _watch_guest(self, vm: str) -> None:
        self._watch(f"guest {vm}", self.guests[vm].next_timeout(), lambda: self._wake_guest(vm))

    def _wake_card(self, card: Card) -> None:
        self._carry_out(card, card.handle_timeout(self.clock.now))
        self._empty_outbox()

    def _wake_guest(self, vm: str) -> None:
        self.send(vm, self.guests[vm].handle_timeout(self.clock.now))
        self._watch_guest(vm)

    def _watch(self, name: str, moment: float, action: Callable[[], object]) -> None:
        """Keep one timer on the clock for each card and guest."""
        timer = self._timers.get(name)
        if timer is not None and timer.pending:
            if moment < inf and timer.when_ns == nanoseconds(moment):
                return
            timer.cancel()
        if moment < inf:
            self._timers[name] = self.clock.call_at(moment, action)

    # ------------------------------------------------------------------------------------------------- questions

    def account(self, mark: int) -> Account:
        """The account of a mark, with what guests found damaged."""
        account = self.accounts[mark]
        account.damaged = sum(guest.damaged[mark] for guest in (*self.guests.values(), self.internet))
        return account

    @property
    def has_arrived(self) -> bool:
        """Whether every packet of the lab's traffic has come to its end."""
        return not self._beyond_gateway and self.accounts.are_balanced

    @property
    def waiting(self) -> int:
        """Packets that wait on cards until their tunnel is up."""
        return sum(card.egress.counters.waiting for card in self.cards.values())

    def settled_at(self) -> float:
        """When every packet that is on a link or in the internet now has arrived, in seconds."""
        complete = (each.settled_at for each in self.modelled.values())
        return max(self.clock.now, self._back_at, self.fabric.settled_at(), *complete)

    @property
    def is_idle(self) -> bool:
        """Whether nothing at all is under way: no packet, and no handshake."""
        return (
            not self._beyond_gateway
            and not self.fabric.statistics().in_flight
            and not any(each.under_way for each in self.modelled.values())
            and not self.waiting
            and not any(
                tunnel.state in _BUSY for card in self.cards.values() for tunnel in card.tunnels.values()
            )
        )

    def check(self) -> None:
        """Fail loudly unless cards and fabric account for every packet, record and datagram, and none waits.

        Raises:
            AccountingError: naming whose books do not balance, or where packets wait, and the figures.
        """
        for card in self.cards.values():
            _check_card(card)
        books = self.fabric.statistics()
        if not books.balanced:
            raise AccountingError(f"the books of the fabric do not balance: {books}")

    def shut_down(self, host: str) -> None:
        """Have a card close its tunnels."""
        card = self.cards[host]
        self._carry_out(card, card.close(self.clock.now))
        self._watch_card(card)

    def rekey(self, host: str, peer: str) -> None:
        """Have a card begin a fresh association with another host, where its tunnel is up."""
        card = self.cards[host]
        self._carry_out(card, card.rekey(peer, self.clock.now))

    def restart(self, host: str, engine: Engine) -> None:
        """Start the card of a host anew: the one before it says goodbye, and takes all that it had with it.

        Raises:
            AccountingError: the books of the one before do not balance.
        """
        self.shut_down(host)
        old = self.cards[host]
        old.abort(self.clock.now)
        _check_card(old)
        timer = self._timers.pop(f"card {host}", None)
        if timer is not None:
            timer.cancel()
        self._restarts += 1
        port = DYNAMIC_PORTS[self._restarts * _PORTS_APART % len(DYNAMIC_PORTS)]
        self.cards |= self._make_cards(self.topology, engines={host: engine}, hosts=[host], first_port=port)
        if host in self.modelled:
            self._say_modelled(host)
        self._attach(self.topology.hosts[host])

    def close(self) -> None:
        """Overwrite all keys; nobody says goodbye."""
        for card in self.cards.values():
            card.abort(self.clock.now)

    def _attach(self, host: Host) -> None:
        card = self.cards[host.name]
        self.fabric.attach(host.underlay, partial(self._come_in, card))

    def _say_modelled(self, host: str) -> None:
        """Wherever it is said who seals, it is said that its time is modelled."""
        card, about = self.cards[host], self.topology.hosts[host]
        figures = [] if about.model is None else [f"{about.model.name} ({about.model.source})"]
        figures += [f"a line of {_line_rate(about) / 1e9:g} Gbit/s"] if _line_rate(about) else []
        card.engine = replace(card.engine, reason=f"{card.engine.reason}; modelled: {', '.join(figures)}")

    def _card_of(self, vm: str) -> Card:
        return self.cards[self.topology.vms[vm].host]


def _line_rate(host: Host) -> float:
    """Bit/s; 0: no limit."""
    return host.line_rate or (0.0 if host.model is None else host.model.rate)


def _copied(burst: Burst) -> Burst:
    """Datagrams in memory of their own."""
    copy = Burst.from_datagrams(burst.wire.copy(), burst.size, tos=burst.tos)
    copy.mark = burst.mark
    return copy


def _check_card(card: Card) -> None:
    if not card.balanced:
        raise AccountingError(
            f"the books of card {card.host} do not balance: egress {card.egress.counters.as_dict()}, "
            f"ingress {card.ingress.counters.as_dict()}"
        )
    if card.egress.counters.waiting:
        raise AccountingError(
            f"packets still wait for a tunnel on card {card.host}: {card.egress.counters.waiting}; its tunnels: "
            f"{card.status()['tunnels']}"
        )


class _HostDriver(Driver):
    """Does in a cloud what the card of one host asks for; ``about`` as in :meth:`Cloud._carry_out`."""

    def __init__(self, cloud: Cloud, card: Card, about: int) -> None:
        self._cloud = cloud
        self._card = card
        self._about = about

    def transmit(self, effect: Transmit) -> None:
        self._cloud._go_out(self._card, effect)  # noqa: SLF001  # its own driver

    def deliver(self, effect: Deliver) -> None:
        self._cloud._deliver(effect.vm, effect.burst, self._about)  # noqa: SLF001  # its own driver

    def leave_fabric(self, effect: LeaveFabric) -> None:
        self._cloud._leave(effect.vm, effect.burst)  # noqa: SLF001  # as above

    def request_keys(self, effect: RequestKeys) -> None:
        hand_out = partial(self._cloud._hand_out_keys, self._card, effect)  # noqa: SLF001  # as above
        self._cloud.clock.call_later(CONTROL_DELAY, hand_out)
