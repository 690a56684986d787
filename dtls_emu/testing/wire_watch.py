"""A watch over everything that cards put on a fabric, for whole test suites::

    with watching() as watch:
        ...  # simulate labs, drive a Wire, shake hands in a Pair
    watch.check()

What it proves of every datagram that a card or tunnel of this process put on a simulated fabric meanwhile:

1. *Nothing in clear that is to be encrypted.* A packet is on the VXLAN port in clear only if the policy, asked
   again here, sends its flow in clear; or if its tunnel was down and the lab lets it fall back. Between two
   networks of which one has DropUnencrypted it never is. Every other datagram shares no 16 consecutive bytes
   with any packet that a VM gave to a card, headers included (and 8 are mostly noticed).
2. *No nonce twice.* Every protected record verifies under a key that this process made, and none uses a nonce
   or a record number that another one of the same key has used: handshake, data, alerts, repeated flights,
   rekeys and restarts alike. A datagram counts when it is sent: the copies that a link makes are no new ones.

Cards whose backend does not protect are left out: `null` seals nothing.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from dtls_emu.events import Sent, observer_of
from dtls_emu.nic.effects import Transmit
from dtls_emu.policy import decide, drops_unencrypted, flow_to
from dtls_emu.simulation.cloud import Cloud
from dtls_emu.testing.nonce_ledger import NonceLedger
from dtls_emu.testing.packet_windows import WINDOW, PacketWindows
from dtls_emu.testing.pair import Pair
from dtls_emu.testing.star import Star
from dtls_emu.testing.wire import Wire
from dtls_emu.tunnel import openssl_driver
from dtls_emu.tunnel.session_keys import SessionKeys
from dtls_emu.vocabulary import FirstPacket, Verdict
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.inspect import PacketClass, key_of, unpack_key
from dtls_emu.wire.overhead import RECORD_HEADER, RECORD_PREFIX
from dtls_emu.wire.record import HANDSHAKE_HEADER, pull_records_untrusted
from dtls_emu.wire.vxlan import VXLAN_PORT, pull_encapsulation_untrusted


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dtls_emu.crypto.backend import TrafficKeys
    from dtls_emu.events import Event
    from dtls_emu.lab.topology import Topology
    from dtls_emu.nic.card import Card
    from dtls_emu.nic.effects import Effect
    from dtls_emu.testing.packet_windows import Route
    from dtls_emu.wire.burst import Burst


__all__ = ["WireWatch", "watching"]

_BATCH: Final = 1 << 22
"""Bytes that may wait to be compared."""


class WireWatch:
    """Is told of packets, effects, keys and datagrams; finds what should not be. :func:`watching` tells it.

    Fields:
        violations: what was found, in words without any payload.
        packets: that were to be protected, super-packets counted once.
        datagrams: seen on fabrics.
        records: protected records among them, each verified.
        clear: datagrams on the VXLAN port of a simulated fabric, by mark.
        nonces: keys, and what was sealed under them.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.packets = 0
        self.datagrams = 0
        self.records = 0
        self.clear: Counter[int] = Counter()
        self.nonces = NonceLedger()
        self._cards: dict[str, Card] = {}
        self._permitted: Counter[bytes] = Counter()  # datagrams in clear that a card had reason to send
        self._decisions: dict[tuple[Topology, str, object, bool], tuple[Verdict, bool]] = {}
        self._windows = PacketWindows()

    def check(self) -> None:
        """Fail if anything was found.

        Raises:
            AssertionError: with everything that was found.
        """
        self._compare()
        assert not self.violations, "\n".join(self.violations)

    def offer(self, packets: Iterable[bytes]) -> None:
        """Packets are given to somebody who protects."""
        for packet in packets:
            self.packets += 1
            self._windows.remember(packet)

    def follow(self, cards: Iterable[Card]) -> None:
        """Look at whatever goes through these cards from now on."""
        for card in cards:
            self._cards[card.topology.hosts[card.host].underlay] = card  # the watch over cards
            for name in (
                "from_guest",
                "from_fabric",
                "handle_timeout",
                "rekey",
                "install",
                "port_unavailable",
                "close",
            ):
                setattr(card, name, self._followed(card, getattr(card, name)))

    def _followed(self, card: Card, method: Callable[..., list[Effect]]) -> Callable[..., list[Effect]]:
        @wraps(method)
        def call(*args: Any, **options: Any) -> list[Effect]:
            if method.__name__ == "from_guest" and card.engine.backend.protects:
                burst: Burst = options["burst"] if "burst" in options else args[1]
                self.offer(row.tobytes() for row in burst.rows())
            effects = method(*args, **options)
            self._judge(card, effects)
            return effects

        return call

    def _judge(self, card: Card, effects: Iterable[Effect]) -> None:
        """A card has been called and asks for this; its tunnels are as the call has left them."""
        for effect in effects:
            if isinstance(effect, Transmit) and effect.source_port == VXLAN_PORT:
                for row in effect.burst.rows():
                    datagram = row.tobytes()
                    objection = self._objection(card, datagram)
                    if objection:
                        self.violations.append(f"host {card.host} sends in clear: {objection}")
                    self._permitted[datagram] += 1

    def learn(self, keys: Iterable[TrafficKeys]) -> None:
        """Keys have been made."""
        self.nonces.learn(keys)

    def see(self, route: Route, datagram: bytes, *, port: int) -> None:
        """A datagram is put on a fabric, from this UDP port of its sender, who protects."""
        self.datagrams += 1
        if port == VXLAN_PORT:
            if not self._permitted[datagram]:
                self.violations.append(f"{route}: a datagram in clear that no card has asked for")
            self._permitted[datagram] -= 1
            return
        records = pull_records_untrusted(datagram)
        rest = datagram
        for record in records:
            clear = RECORD_PREFIX if record.header.epoch else RECORD_HEADER + HANDSHAKE_HEADER
            self._windows.look_at(route, bytes(record.record[clear:]))
            rest = datagram[len(datagram) - record.trailing :] if record.trailing else b""
            if record.header.epoch:
                self.records += 1
                self.violations += self.nonces.see(route, bytes(record.record))
        self._windows.look_at(route, rest)
        if self._windows.waiting > _BATCH:
            self._compare()

    def see_event(self, event: Event) -> None:
        """An observer of a simulated fabric."""
        if not isinstance(event, Sent):
            return
        sender = self._cards.get(event.source[0])
        self.clear[event.mark] += event.source[1] == VXLAN_PORT
        if sender is not None and sender.engine.backend.protects:
            self.see((event.source, event.destination), event.payload, port=event.source[1])

    def _objection(self, card: Card, datagram: bytes) -> str:
        """Why a card may not send this in clear; empty when it may."""
        frame = pull_encapsulation_untrusted(datagram)
        if frame is None:
            return "something that is no VXLAN frame"
        seen, words = key_of(frame.packet, frame.vni)
        if seen is PacketClass.MALFORMED:
            return "a malformed packet"
        key = unpack_key(words)
        topology = card.topology  # see judge
        owners = [vm for vm in topology.vms_on(card.host) if vm.mac == frame.source_mac]
        if not owners or not owners[0].owns(key.source):
            return f"a packet from {key.source}, which is no VM of this host"
        # Without ports no rule for some of them is asked; what rules say is no question of encryption.
        question = topology, owners[0].name, key.destination, key.is_fragment
        if question not in self._decisions:
            flow = flow_to(topology, owners[0], key.destination, fragment=key.is_fragment, answers=True)
            strict = drops_unencrypted(flow, topology.profile)
            self._decisions[question] = decide(flow, topology.profile).verdict, strict
        verdict, strict = self._decisions[question]
        where = f"{owners[0].name} to {key.destination}"
        if verdict is Verdict.CLEAR:
            return ""
        if verdict is Verdict.DROP:
            return f"{where}, a flow that is dropped"
        if strict:
            return f"{where}, an encrypted flow under DropUnencrypted"
        receiver, _ = topology.destination(owners[0], key.destination)
        assert receiver is not None  # or it would not be encrypted
        tunnel = card.tunnels[receiver.host]
        is_down = tunnel.active is None
        if is_down and tunnel.failure:
            return ""
        if topology.profile.first_packet is FirstPacket.CLEAR and (is_down or tunnel.room() < MAX_ROWS):
            return ""
        return f"{where}, an encrypted flow"

    def _compare(self) -> None:
        self.violations += [
            f"{route}: {WINDOW} bytes and more of a packet in clear" for route in self._windows.compare()
        ]


@contextmanager
def watching() -> Iterator[WireWatch]:
    """Watch every cloud of a simulated lab, every wire, star and pair of tunnels that is made meanwhile."""
    watch = WireWatch()
    with ExitStack() as stack:

        def around(owner: Any, name: str, make: Callable[[WireWatch, Any], Any]) -> None:
            original = getattr(owner, name)
            stack.enter_context(patch.object(owner, name, wraps(original)(make(watch, original))))

        around(Cloud, "__init__", _around_cloud)
        around(Cloud, "restart", _around_restart)
        around(Wire, "__post_init__", _around_wire)
        around(Wire, "pass_on", _around_transmit)
        around(Star, "__init__", _around_star)
        around(Star, "pass_on", _around_carrying)
        around(Pair, "send", _around_send)
        around(Pair, "pass_on", _around_put)
        around(openssl_driver, "traffic_keys", _around_keys)
        around(SessionKeys, "established", _around_session)
        yield watch


def _around_cloud(watch: WireWatch, original: Callable[..., None]) -> Callable[..., None]:
    def init(cloud: Cloud, *args: Any, **options: Any) -> None:
        original(cloud, *args, **options)
        watch.follow(cloud.cards.values())
        cloud.fabric.tap(observer_of(watch.see_event, wants_bytes=True))

    return init


def _around_restart(watch: WireWatch, original: Callable[..., None]) -> Callable[..., None]:
    def restart(cloud: Cloud, host: str, *args: Any, **options: Any) -> None:
        original(cloud, host, *args, **options)
        watch.follow([cloud.cards[host]])

    return restart


def _around_wire(watch: WireWatch, original: Callable[..., None]) -> Callable[..., None]:
    def post_init(wire: Wire) -> None:
        original(wire)
        watch.follow(wire.cards.values())

    return post_init


def _around_star(watch: WireWatch, original: Callable[..., None]) -> Callable[..., None]:
    def init(star: Star, *args: Any, **options: Any) -> None:
        original(star, *args, **options)
        watch.follow(star.cards.values())

    return init


def _around_carrying(watch: WireWatch, original: Callable[..., None]) -> Callable[..., None]:
    def carry_out(star: Star, host: str, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Transmit) and star.cards[host].engine.backend.protects:
                for row in effect.burst.rows():
                    route = (host, effect.source_port), effect.destination
                    watch.see(route, row.tobytes(), port=effect.source_port)
        original(star, host, effects)

    return carry_out


def _around_transmit(watch: WireWatch, original: Callable[..., None]) -> Callable[..., None]:
    def transmit(wire: Wire, host: str, effect: Transmit, datagrams: list[bytes]) -> None:
        if wire.cards[host].engine.backend.protects:
            for datagram in datagrams:
                route = (host, effect.source_port), effect.destination
                watch.see(route, datagram, port=effect.source_port)
        original(wire, host, effect, datagrams)

    return transmit


def _around_send(watch: WireWatch, original: Callable[..., None]) -> Callable[..., None]:
    def send(pair: Pair, sender: str, *packets: bytes) -> None:
        if pair.protects:
            watch.offer(packets)
        original(pair, sender, *packets)

    return send


def _around_put(watch: WireWatch, original: Callable[..., None]) -> Callable[..., None]:
    def put(pair: Pair, sender: str, local_port: int, remote_port: int, datagram: bytes) -> None:
        if pair.protects:
            watch.see(((sender, local_port), remote_port), datagram, port=local_port)
        original(pair, sender, local_port, remote_port, datagram)

    return put


def _around_keys(watch: WireWatch, original: Callable[..., Any]) -> Callable[..., Any]:
    def traffic_keys(*args: Any, **options: Any) -> tuple[TrafficKeys, TrafficKeys]:
        keys: tuple[TrafficKeys, TrafficKeys] = original(*args, **options)
        watch.learn(keys)
        return keys

    return traffic_keys


def _around_session(watch: WireWatch, original: Callable[..., Any]) -> Callable[..., Any]:
    def established(keys: SessionKeys, **options: Any) -> Any:
        result = original(keys, **options)
        watch.learn((result.write, result.read))
        return result

    return established
