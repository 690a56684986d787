"""Cards on a wire that a fuzzer holds, with the books of what may come out of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np

from dtls_emu.assembly.cards import choose_engine, issue_credentials
from dtls_emu.crypto.registry import AUTO
from dtls_emu.nic.card import Card
from dtls_emu.nic.effects import Deliver
from dtls_emu.testing.offloaded import OffloadedCard
from dtls_emu.testing.wire import Wire, make_topology
from dtls_emu.tunnel.context import build_contexts
from dtls_emu.tunnel.cookie import CookieJar
from dtls_emu.tunnel.peers import Identity
from dtls_emu.vocabulary import Enforcement
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.ecn import ECN
from dtls_emu.wire.overhead import ENCAPSULATION
from dtls_emu.wire.packet import udp_packet
from dtls_emu.wire.parse import parse_packet_untrusted
from dtls_emu.wire.segment import segment
from dtls_emu.wire.vxlan import VXLAN_PORT


ADDRESSES = {"a": "10.0.0.4", "a2": "10.0.0.5", "b": "10.0.0.6", "c": "10.0.0.7"}
HOSTS = {"h1": "10.255.0.1", "h2": "10.255.0.2", "h3": "10.255.0.3"}
TEXT = b"a few words that nobody on the fabric may read "
MODES = (
    {"enforcement": Enforcement.DROP_UNENCRYPTED},
    {"enforcement": Enforcement.ALLOW_UNENCRYPTED},
    {"encrypted": False},
)


@dataclass
class Testbed(Wire):
    """A wire whose datagrams to one host may be held back.

    Fields:
        may_arrive: packets that somebody has sent and that have not been delivered yet.
        clear_is_believed: the lab accepts packets in clear, so whoever can send from a host's address is.
        is_offloaded: kernels carry packets of known flows, as in a host's loop.
        holds: the host whose datagrams are held, or "".
        held: sender's address, local port, and bytes of each.
    """

    may_arrive: Counter[bytes] = field(default_factory=Counter)
    clear_is_believed: bool = False
    is_offloaded: bool = False
    holds: str = ""
    held: list[tuple[tuple[str, int], int, bytes]] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        """Make cards with credentials that are made once."""
        identities, authorities = _identities()
        self.cards: dict[str, Any] = {
            name: Card(
                self.topology,
                identities[name],
                authorities,
                _engine(),
                on_drop=lambda *drop, host=name: self.drops.append((host, *drop)),
            )
            for name in self.topology.hosts
        }
        if self.is_offloaded:
            self.cards = {name: OffloadedCard(card) for name, card in self.cards.items()}
        self._address = HOSTS

    def carry_out(self, host, effects):
        """As the wire does; whatever a VM is handed must have been sent, and have come only once."""
        for effect in effects:
            if isinstance(effect, Deliver):
                self._check_delivery(effect.burst)
        super().carry_out(host, effects)

    def hand_over(self, vm, burst):
        """Let a VM send a burst, and remember its packets, cut if it is a super-packet."""
        self.may_arrive.update(_told(packet) for packet in _packets(burst))
        super().hand_over(vm, burst)
        self.assert_balanced()

    def receive(self, host, source, port, burst):
        """Datagrams arrive at a host, marked or not: that depends on nothing but their size."""
        burst.tos = burst.size & ECN
        if port == VXLAN_PORT and self.clear_is_believed:
            rows = [row.tobytes() for row in burst.rows()]
            self.may_arrive.update(_told(row[ENCAPSULATION:]) for row in rows)
        self.carry_out(host, self.cards[host].from_fabric(burst, source, port, self.now))
        self.assert_balanced()

    def talk(self, source, destination):
        """A packet that has never been, from one VM to another."""
        self.number += 1
        text = TEXT + b"%06d" % self.number
        packet = udp_packet(ADDRESSES[source], ADDRESSES[destination], 40_000, 9, text)
        self.send(source, packet)
        return packet

    def seal(self, content_type, payload):
        """A record by host h1's association with h2, whatever it holds: h1 is a peer that went bad."""
        association = self.cards["h1"].tunnels["h2"].active
        if association is None:
            return b""
        if content_type == 23:
            self.may_arrive[_told(payload[ENCAPSULATION:])] += 1
        return association._seal_control(content_type, payload)

    def require_recovery(self):
        """Traffic of both directions flows again, at the latest when a dead peer has been noticed."""
        for source, destination in (("a", "b"), ("b", "a"), ("c", "b")):
            for _ in range(40):
                if not self.may_arrive[_told(self.talk(source, destination))]:
                    break
                self.wait(self.now + 5)
            else:
                raise AssertionError(f"nothing from {source} reaches {destination} any more")

    def let_go(self):
        """Hold nothing any more."""
        self.holds = ""
        held, self.held = self.held, []
        for source, port, datagram in held:
            self.receive("h2", source, port, Burst.from_packets([datagram]))

    def pass_on(self, host, effect, datagrams):
        peer = self.topology.host_by_underlay(effect.destination[0])
        if peer is None or peer.name != self.holds:
            super().pass_on(host, effect, datagrams)
            return
        _, port = effect.destination
        self.datagrams += [(host, effect.source_port, effect.destination, each) for each in datagrams]
        self.held += [((HOSTS[host], effect.source_port), port, each) for each in datagrams]

    def _check_delivery(self, burst):
        for row in _packets(burst):
            if row[0] >> 4 == 4 and row[9] == 1 and row[20:22] == b"\x03\x04":
                continue  # the card's own answer to a packet that does not fit
            if row[0] >> 4 == 6 and row[6] == 58 and row[40:41] == b"\x02":
                continue
            told = _told(row)
            assert self.may_arrive[told] > 0, "a packet is delivered that nobody sent, or a second time"
            self.may_arrive[told] -= 1


def _packets(burst: Burst) -> list[bytes]:
    """The rows; those that a super-packet is cut into. One that cannot be cut goes as it is between VMs of a host."""
    if burst.gso_size:
        rows = [row.tobytes() for part in segment(burst.row(0), burst.gso_size) for row in part.rows()]
        assert len(rows) in {0, burst.packets}, "a super-packet says how many packets it stands for"
        if rows:
            return rows
    return [row.tobytes() for row in burst.rows()]


def _told(packet: bytes) -> bytes:
    """What packets are told apart by: all but padding, which a card cuts off, congestion marks, which it sets, and the
    identification of IPv4, which joining and cutting renew.
    """
    if parse_packet_untrusted(packet) is not None:
        version_6 = packet[0] >> 4 == 6
        packet = packet[: int.from_bytes(packet[4:6]) + 40 if version_6 else int.from_bytes(packet[2:4])]
    if packet[:1] and packet[0] >> 4 == 4 and len(packet) >= 20:
        return packet[:1] + bytes([packet[1] | ECN]) + packet[2:4] + packet[6:10] + packet[12:]
    if len(packet) > 1 and packet[0] >> 4 == 6:
        return packet[:1] + bytes([packet[1] | ECN << 4]) + packet[2:]
    return packet


@cache
def topology(mode: int):
    """The lab of a mode."""
    return make_topology(**MODES[mode])


def make_testbed(mode: int, *, is_offloaded: bool = False) -> Testbed:
    """Cards with one of the modes."""
    return Testbed(topology(mode), clear_is_believed=mode > 0, is_offloaded=is_offloaded)


@cache
def _engine():
    return choose_engine(AUTO)


@cache
def _identities():
    now = datetime.now(UTC)
    credentials = issue_credentials(topology(0), now)
    authorities = {"test": credentials["h1"].ca_certificate}
    identities = {
        name: Identity(
            name,
            HOSTS[name],
            build_contexts(each, authorities.values()),
            CookieJar(b"cookie secret of " + name.encode()),
            now,
        )
        for name, each in credentials.items()
    }
    return identities, authorities


def datagram_burst(data: bytes, segment_size: int = 0) -> Burst:
    """One receive of ``UDP_GRO``."""
    return Burst.from_datagrams(np.frombuffer(bytearray(data), np.uint8), segment_size)
