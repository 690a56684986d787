"""The path in memory, on real cards."""

from __future__ import annotations

import numpy as np
import pytest

from dtls_emu.measure import memory
from dtls_emu.measure.arms import encrypted_pair
from dtls_emu.measure.cards import clock, issue_both
from dtls_emu.measure.memory import CardPair, MemoryTestbed
from dtls_emu.measure.packets import rows_per_burst, udp_burst
from dtls_emu.measure.plan import Plan
from dtls_emu.measure.source import Load, Turns
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.testing.present import present


LARGEST = Plan(1).largest_size


@pytest.mark.parametrize("arm", ["plain", "null", "cryptography", "openssl"])
@pytest.mark.parametrize("size", [48, 64, 1400, LARGEST])
def test_every_packet_arrives_and_is_accounted_for(topology, arm, size):
    """Whole bursts, none lost in memory."""
    sample = MemoryTestbed(topology, encrypted_pair(topology), (arm,)).measure(Load(arm, size, 0.005))
    sample.accounting.check(arm)
    assert sample.accounting.dropped == {}
    assert sample.accounting.offered >= rows_per_burst(size)
    assert sample.octets == sample.accounting.delivered * size
    assert min(sample.wall_s, sample.sender_cpu_s, sample.receiver_cpu_s) > 0
    assert sample.delays is None


def test_on_a_schedule_every_packet_has_a_delay(topology):
    """So many as are due, of several flows and IPv6; the delay is from when it was due."""
    testbed = MemoryTestbed(topology, encrypted_pair(topology), ("cryptography",))
    load = Load("cryptography", 128, 0.05, burst=4, flows=3, ip_version=6, rate=4_000)
    sample = testbed.measure(load)
    sample.accounting.check("trial")
    assert sample.accounting.offered == 200
    delays = present(sample.delays)
    assert delays.count == sample.accounting.delivered == 200 - sample.accounting.refused
    assert delays.early == 0
    assert 0 < delays.percentile(0.5) <= delays.percentile(0.999)


@pytest.mark.parametrize(("arm", "encrypted"), [("plain", False), ("null", True), ("cryptography", True)])
def test_an_arm_is_what_it_says(topology, arm, encrypted):
    """Plain packets go in clear and the others through the tunnel: by the card's own counters."""
    pair = encrypted_pair(topology)
    cards = CardPair(topology, pair, arm, issue_both(pair))
    cards.send(Turns([udp_burst(pair.ends[0], 512)], 3), [])
    counters = cards.sender.egress.counters
    assert (counters.encrypted > 0, counters.clear > 0) == (encrypted, not encrypted)
    assert cards.sender.balanced
    assert cards.receiver.balanced


def test_an_altered_packet_voids_the_run(topology):
    """What is delivered is compared with what was sent."""
    pair = encrypted_pair(topology)
    cards = CardPair(topology, pair, "null", issue_both(pair))
    burst = udp_burst(pair.ends[0], 512)
    expected = udp_burst(pair.ends[0], 512)
    expected.row(7)[100] ^= np.uint8(1)
    with pytest.raises(AccountingError, match="alters packets"):
        cards.send(Turns([burst], 1), [expected])


def test_a_key_renewed_in_the_middle_of_a_trial_loses_nothing(topology, monkeypatch):
    """The handshake goes back and forth beside the packets, and the books balance."""
    pair = encrypted_pair(topology)
    cards = CardPair(topology, pair, "cryptography", issue_both(pair))
    from_guest = cards.sender.from_guest
    calls = iter(range(20))

    def renew_at_the_sixth(vm, burst, now):
        renewal = cards.sender.rekey(pair.receiver.host, now) if next(calls) == 5 else []
        return renewal + from_guest(vm, burst, now)

    monkeypatch.setattr(cards.sender, "from_guest", renew_at_the_sixth)
    burst = udp_burst(pair.ends[0], 512)
    passage = cards.send(Turns([burst], 20), [burst])
    assert cards.sender.tunnels[pair.receiver.host].handshakes == 2
    assert (passage.delivered, cards.dropped().total()) == (20 * burst.count, 0)


def test_an_arm_that_has_slept_still_has_its_tunnel(topology, monkeypatch):
    """A minute passes while other arms are measured: signs of life are owed and given, nobody is presumed dead."""
    pair = encrypted_pair(topology)
    cards = CardPair(topology, pair, "cryptography", issue_both(pair))
    burst = udp_burst(pair.ends[0], 512)
    now = clock()
    for _ in range(4):
        now += 60
        monkeypatch.setattr(memory, "clock", lambda now=now: now)
        assert cards.send(Turns([burst], 2), [burst]).delivered == 2 * burst.count
    assert cards.sender.tunnels[pair.receiver.host].handshakes == 1
