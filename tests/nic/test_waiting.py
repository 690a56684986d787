"""Packets that wait for their tunnel: none waits for what will not come, whatever happens to the tunnel."""

from __future__ import annotations

import random
import secrets
from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest

from dtls_emu.assembly.broker_keys import issue_session_keys
from dtls_emu.assembly.cards import choose_engine, issue_credentials, make_card
from dtls_emu.nic.effects import RequestKeys
from dtls_emu.testing.offloaded import OffloadedCard
from dtls_emu.testing.packets import A, B, udp
from dtls_emu.testing.waiting import rounds
from dtls_emu.testing.wire import Wire, make_topology
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason, Enforcement, FirstPacket, Keying


HOSTS = {"h1": "h2", "h2": "h1"}
LONGEST_WAIT = 15 + 30 + 1
"""Seconds: an attempt's deadline, the longest pause before it, and the rounding of timers."""


class LossyWire(Wire):
    """Two hosts of a lab, joined by a wire that loses datagrams at random; they may be restarted.

    Fields:
        loss: probability.
        watch: over what is on the wire.
        card, tunnel: those of h1 that the fixed cases are about.
    """

    cards: dict[str, Any]
    card: Any
    tunnel: Any

    def __init__(self, topology, rng, watch, *, offloaded=False, backend="cryptography"):
        self.rng, self.watch, self.loss, self.offloaded = rng, watch, 0.0, offloaded
        self.engine = choose_engine(backend)
        self.credentials = issue_credentials(topology, datetime.now(UTC))
        super().__init__(topology)

    def __post_init__(self):
        self._address = {host.name: host.underlay for host in self.topology.hosts.values()}
        self.cards = {}
        for host in self.topology.hosts:
            self.start(host)

    def start(self, host):
        """A card without a past, for the first time or in the stead of one that was killed."""
        card = make_card(
            self.topology,
            host,
            self.credentials[host],
            {"test": self.credentials[host].ca_certificate},
            engine=self.engine,
            wall_start=datetime.now(UTC),
            on_drop=lambda *drop: self.drops.append((host, *drop)),
            first_port=self.rng.choice((49_152, self.rng.randrange(49_152, 65_536))),
        )
        self.cards[host] = OffloadedCard(card) if self.offloaded else card
        self.watch.follow([card])

    def carry_out(self, host, effects):
        requests = [each for each in effects if isinstance(each, RequestKeys)]
        super().carry_out(host, effects)
        for request in requests:
            if self.rng.random() >= self.loss:
                responder, initiator = issue_session_keys(host, request.port)
                for name, keys in ((request.peer, responder), (host, initiator)):
                    tunnel = self.cards[name].tunnels[HOSTS[name]]
                    if not tunnel.is_ending:
                        self.carry_out(name, self.cards[name].install(HOSTS[name], keys, self.now))

    def pass_on(self, host, effect, datagrams):
        kept = [each for each in datagrams if self.rng.random() >= self.loss]
        if kept:
            super().pass_on(host, effect, kept)

    def check(self):
        """What must be so at every moment."""
        for host, peer in HOSTS.items():
            card, tunnel = self.cards[host], self.cards[host].tunnels[peer]
            assert card.balanced, card.egress.counters
            waiting = card.status()["tunnels"][peer]["waiting"]
            assert waiting == card.egress.counters.waiting
            assert card.next_timeout() <= tunnel.timeout()
            state = f"{host}: {waiting} packets wait, {tunnel.state}, {tunnel.failure!r}"
            assert not waiting or tunnel.timeout() < inf, state
            assert not waiting or tunnel.room() == 0, state
            assert not waiting or not tunnel.is_ending, state


TRAFFIC = (("a", udp(A, B)), ("b", udp(B, A)), ("a", udp(A, B, bytes(1400))))

PROFILES = {
    "worn by records": {"rekey_records": 24},
    "worn by age": {"rekey_seconds": 7.0},
    "both, fallback to clear": {
        "rekey_records": 40,
        "rekey_seconds": 20.0,
        "enforcement": Enforcement.ALLOW_UNENCRYPTED,
    },
    "broker": {"rekey_records": 24, "keying": Keying.BROKER},
    "first packets dropped": {"rekey_records": 24, "first_packet": FirstPacket.DROP},
    "first packets in clear": {
        "rekey_records": 24,
        "first_packet": FirstPacket.CLEAR,
        "enforcement": Enforcement.ALLOW_UNENCRYPTED,
    },
    "little room": {"rekey_records": 24, "waiting_packets": 50},
}


def play(wire, rng, steps):
    """A random schedule: traffic, loss, time, rekeys, restarts, goodbyes."""
    for _ in range(steps):
        kind = rng.choices(range(6), (10, 3, 8, 2, 1, 0.3))[0]
        host = rng.choice(list(HOSTS))
        if kind == 0:
            vm, packet = rng.choice(TRAFFIC)
            wire.send(vm, *[packet] * rng.choice((1, 1, 7, 64)))
        elif kind == 1:
            wire.loss = rng.choice((0.0, 0.0, 0.3, 0.6, 0.9, 1.0))
        elif kind == 2:
            for _ in range(rng.choice((1, 10))):
                wire.wait(wire.now + rng.choice((0.1, 1.0, 5.0)))
                wire.check()
        elif kind == 3:
            wire.carry_out(host, wire.cards[host].rekey(HOSTS[host], wire.now))
        elif kind == 4:
            wire.start(host)
        else:
            wire.carry_out(host, wire.cards[host].close(wire.now))
            wire.check()
            if rng.random() < 0.5:
                wire.send(*rng.choice(TRAFFIC))
                wire.check()
            wire.start(host)
        wire.check()


@pytest.mark.parametrize("offloaded", [False, True], ids=["card", "kernels"])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("fixed", [*range(8), None])
def test_no_packet_waits_without_a_timer(wire_watch, profile, offloaded, fixed):
    """After each step of a random schedule; and in the end every packet has gone, and traffic flows both ways.

    One more seed each time; a failure names it.
    """
    seed = secrets.token_hex(4) if fixed is None else str(fixed)
    print(f"seed {seed}")
    rng = random.Random(seed)
    topology = make_topology(**{"enforcement": Enforcement.DROP_UNENCRYPTED} | profile)
    wire = LossyWire(topology, rng, wire_watch, offloaded=offloaded, backend="null")
    play(wire, rng, 60)
    wire.loss = 1.0
    for _ in range(2 * LONGEST_WAIT):  # nobody sends: whatever waits is let go
        wire.wait(wire.now + 1)
        wire.check()
    assert [card.egress.counters.waiting for card in wire.cards.values()] == [0] * 3
    wire.loss = 0.0
    for _ in range(100):
        wire.delivered.clear()
        wire.send("a", udp(A, B))
        wire.send("b", udp(B, A))
        wire.wait(wire.now + 1)
        wire.check()
    assert wire.delivered == {"a": [udp(B, A)], "b": [udp(A, B)]}
    assert {tunnel.state for host in HOSTS for tunnel in [wire.cards[host].tunnels[HOSTS[host]]]} == {
        TunnelState.UP
    }


# ------------------------------------------------------------------------------------------ fixed cases


WAITING = 1 + 50 - (32 - 2)
"""Of 51 packets, behind a key of 32 records: the Finished and the client's confirmation have two."""


@pytest.fixture
def worn_wire(wire_watch):
    """A wire whose key of h1 is worn out, its network gone: packets of VM a wait."""
    topology = make_topology(enforcement=Enforcement.DROP_UNENCRYPTED, rekey_records=32)
    wire = LossyWire(topology, random.Random(1), wire_watch)
    wire.send("a", udp())
    wire.loss = 1.0
    wire.send("a", *[udp()] * 50)
    wire.card, wire.tunnel = wire.cards["h1"], wire.cards["h1"].tunnels["h2"]
    assert wire.card.egress.counters.waiting == WAITING
    assert (wire.tunnel.state, wire.tunnel.room()) == (TunnelState.REKEYING, 0)
    return wire


def test_packets_behind_a_worn_key_are_dropped_with_a_reason_when_the_rekey_fails(worn_wire):
    """They have waited for as long as first packets do."""
    worn_wire.wait(14)
    assert worn_wire.card.egress.counters.waiting == WAITING
    worn_wire.wait(16)
    assert worn_wire.card.egress.counters.waiting == 0
    assert worn_wire.card.egress.counters.dropped == {DropReason.TUNNEL_DOWN: WAITING}


def test_every_failure_lets_packets_go_and_not_only_the_first(worn_wire):
    """What comes behind it waits for the next attempt, which begins by itself when its pause is over."""
    peer = worn_wire.cards["h2"]
    lost = WAITING
    for _ in range(5):
        for _ in rounds(1000, "packets wait no longer"):
            if not worn_wire.card.egress.counters.waiting:
                break
            worn_wire.wait(worn_wire.tunnel.timeout())
            # The peer is alive, so that the tunnel stays up.
            empty = peer.tunnels["h1"].active.empty_record()
            worn_wire.inject("h1", ("10.255.0.2", 4433), worn_wire.tunnel.active.local_port, empty)
        assert worn_wire.card.egress.counters.dropped == {DropReason.TUNNEL_DOWN: lost}
        assert worn_wire.tunnel.state is TunnelState.UP
        worn_wire.send("a", *[udp()] * 10)
        lost += 10
        assert worn_wire.card.egress.counters.waiting == 10
        assert worn_wire.tunnel.timeout() <= worn_wire.tunnel.retry_at
    worn_wire.loss = 0.0
    worn_wire.delivered.clear()
    worn_wire.wait(worn_wire.tunnel.retry_at)
    assert worn_wire.delivered == {"b": [udp()] * 10}


def test_packets_that_wait_when_the_peer_says_goodbye_have_a_tunnel_built_anew(worn_wire):
    """It may be back at once."""
    goodbye = worn_wire.cards["h2"].tunnels["h1"].active
    worn_wire.loss = 0.0
    worn_wire.delivered.clear()
    worn_wire.start("h2")
    attempt = list(worn_wire.tunnel.key_source.running)
    assert len(attempt) == 1
    worn_wire.inject("h1", ("10.255.0.2", 4433), goodbye.remote_port, goodbye.close_notify())
    worn_wire.wait(worn_wire.now + 5)
    assert worn_wire.delivered == {"b": [udp()] * WAITING}


def test_packets_that_come_after_a_goodbye_of_our_own_do_not_wait(worn_wire):
    """There will be no tunnel."""
    worn_wire.carry_out("h1", worn_wire.card.close(worn_wire.now))
    worn_wire.send("a", udp())
    assert worn_wire.card.egress.counters.waiting == 0
    assert worn_wire.card.egress.counters.dropped == {DropReason.TUNNEL_DOWN: WAITING + 1}
