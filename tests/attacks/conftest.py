"""Targets for attacks, and the books that every attack must leave clean.

Each packet is unique, so whatever comes out of a tunnel can be told: it was sent by the peer and comes for the
first time, or it is a duplicate, or it is a forgery. Each holds the same marker, which nobody may read on the
wire. The sums over all tests are printed at the end of the run.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dtls_emu.testing.pair import Pair
from dtls_emu.testing.wire import Wire, make_topology
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.packet import udp_packet


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dtls_emu.vocabulary import DropReason


MARKER = b"nobody on the wire may read this "
OTHER = {"alpha": "beta", "beta": "alpha"}


@dataclass
class Books:
    """What became of packets: the three that must be 0, and two that show that something happened at all."""

    plaintext_bytes: int = 0
    duplicates: int = 0
    forged: int = 0
    delivered: int = 0
    refused: int = 0

    def audit(self, sent: Iterable[bytes], received: Sequence[bytes], wire: Iterable[bytes]) -> None:
        """Enter one receiver's packets and what was on the wire to it."""
        original = set(sent)
        counts = Counter(received)
        self.delivered += len(received)
        self.duplicates += sum(count - 1 for count in counts.values())
        self.forged += sum(count for packet, count in counts.items() if packet not in original)
        self.plaintext_bytes += sum(len(MARKER) * datagram.count(MARKER) for datagram in wire)

    def assert_clean(self) -> None:
        """Nothing was read, nothing came twice, nothing was believed that was not sent."""
        assert (self.plaintext_bytes, self.duplicates, self.forged) == (0, 0, 0)

    def add(self, other: Books) -> None:
        """Add another's figures."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class Target(Pair):
    """Two tunnels under attack.

    Fields:
        sent: packets that were given to a tunnel to seal, by sender.
    """

    _serial = itertools.count()

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.sent: dict[str, list[bytes]] = {"alpha": [], "beta": []}
        self._numbers = itertools.count()
        self._name = next(self._serial)

    def up(self, until: float = 1.0) -> Target:
        """Shake hands."""
        self.connect()
        self.run(until=self.now + until)
        assert (self.client.state, self.server.state) == (TunnelState.UP, TunnelState.UP)
        return self

    def packet(self) -> bytes:
        """One that has never been."""
        return b"%s%d of %d" % (MARKER, next(self._numbers), self._name)

    def send(self, sender: str, *packets: bytes) -> None:
        """As a pair does; remembered."""
        self.sent[sender] += packets
        super().send(sender, *packets)

    def chat(self, packets: int = 1) -> None:
        """Send packets both ways; all of them arrive."""
        fresh = {name: [self.packet() for _ in range(packets)] for name in self.sent}
        for name, each in fresh.items():
            for packet in each:
                self.send(name, packet)
        self.run(until=self.now + 0.1)
        for name, each in fresh.items():
            assert self.received[OTHER[name]][-packets:] == each

    def recorded(self, sender: str) -> list[tuple[int, int, bytes]]:
        """Everything that a host has sent: ports as its receiver sees them, and bytes."""
        return [(remote, local, data) for _, who, local, remote, data in self.wire if who == sender]

    def restart(self, name: str) -> None:
        """A host loses its memory: a new tunnel in the place of the old one, its ports from the beginning."""
        fresh = Pair()._tunnels[name]
        self._tunnels[name] = fresh
        setattr(self, "client" if name == "alpha" else "server", fresh)

    def audit(self) -> Books:
        """The books of both directions."""
        books = Books(refused=sum(dropped.total() for dropped in self.dropped.values()))
        for name, sent in self.sent.items():
            wire = [data for _, _, data in self.recorded(name)]
            books.audit(sent, self.received[OTHER[name]], wire)
        return books


class CardTarget(Wire):
    """Cards under attack. VM `a` on host h1 talks to VM `b` on h2; h3 is a third host of the lab."""

    def __init__(self, **options) -> None:
        super().__init__(make_topology(**options))
        self.sent: list[bytes] = []
        self._numbers = itertools.count()

    def up(self) -> CardTarget:
        """Shake hands, with the first packet."""
        self.talk()
        return self

    def talk(self, packets: int = 1) -> list[bytes]:
        """Send a burst from `a` to `b`; returns the packets. They arrive unless the wire is cut."""
        size = len(MARKER) + 8
        fresh = [
            udp_packet("10.0.0.4", "10.0.0.6", 40_000, 9, (MARKER + b"%08d" % number)[:size])
            for number in itertools.islice(self._numbers, packets)
        ]
        before = len(self.delivered.get("b", []))
        self.sent += fresh
        self.send("a", *fresh)
        if not self.cut:
            assert self.delivered["b"][before:] == fresh
        return fresh

    def records(self, packets: int) -> tuple[tuple[str, int], int, list[bytes]]:
        """Sealed packets that never arrived: source, local port at h2, datagrams."""
        self.cut = True
        before = len(self.datagrams)
        self.talk(packets)
        self.cut = False
        captured = self.datagrams[before:]
        ((_, port, (_, local), _), *_) = captured
        return ("10.255.0.1", port), local, [datagram for *_, datagram in captured]

    def merged(
        self, source: tuple[str, int], local: int, data: bytes, segment: int, host: str = "h2"
    ) -> None:
        """One receive with UDP_GRO at a host: datagrams of `segment` bytes back to back, as the kernel says."""
        burst = Burst.from_datagrams(np.frombuffer(bytearray(data), np.uint8), segment)
        self.carry_out(host, self.cards[host].from_fabric(burst, source, local, self.now))

    def drops_at(self, host: str) -> Counter[DropReason]:
        """Why a card dropped."""
        return self.cards[host].ingress.counters.dropped

    def audit(self) -> Books:
        """The books of all cards."""
        self.assert_balanced()
        books = Books(refused=sum(count for _, _, count, _ in self.drops))
        received = [packet for packets in self.delivered.values() for packet in packets]
        books.audit(self.sent, received, (data for *_, data in self.datagrams))
        return books


_ALL = Books()


@pytest.fixture
def make_target():
    """Make pairs of tunnels to attack; their books are audited at the end of the test."""
    yield from _audited(Target)


@pytest.fixture
def make_cards():
    """Make cards to attack, on a wire; likewise audited."""
    yield from _audited(CardTarget)


def _audited(kind):
    targets = []

    def make(**options):
        targets.append(kind(**options))
        return targets[-1]

    yield make
    for target in targets:
        books = target.audit()
        _ALL.add(books)
        books.assert_clean()


def pytest_terminal_summary(terminalreporter):
    """Say what all attacks together came to."""
    if _ALL.delivered:
        terminalreporter.write_line(
            f"attacks: {_ALL.delivered} packets delivered, {_ALL.refused} records refused; "
            f"{_ALL.plaintext_bytes} bytes of plaintext on the wire, {_ALL.duplicates} duplicates, "
            f"{_ALL.forged} forgeries delivered"
        )
