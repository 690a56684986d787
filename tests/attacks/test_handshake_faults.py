"""Handshakes on a hostile path: each datagram lost, doubled, swapped, cut and flipped; and a really bad network.

Whatever happens, an attempt ends inside its deadline, in an association or with a stated reason, and the next
attempt on a path that has become clean succeeds.
"""

import random
from functools import cache

import pytest

from dtls_emu.testing.pair import Pair
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.wire.overhead import IPV4_HEADER, RECORD_HEADER, UDP_HEADER
from dtls_emu.wire.protocol import HANDSHAKE, HANDSHAKE_HEADER
from dtls_emu.wire.record import pull_records_untrusted


DELAY = 0.001
DEADLINE = TunnelSettings().handshake_deadline
MTUS = [256 + IPV4_HEADER + UDP_HEADER, 1500]
SEEDS = range(200)


@cache
def clean_datagrams(mtu):
    """Who sends which datagrams in a clean handshake, with their bytes."""
    pair = Pair(path_mtu=mtu)
    pair.connect()
    pair.run(until=1)
    numbers = {"alpha": 0, "beta": 0}
    datagrams = []
    for _, who, _, _, datagram in pair.wire:
        datagrams.append((who, numbers[who], datagram))
        numbers[who] += 1
    return datagrams


def each_datagram():
    return [
        pytest.param(mtu, who, number, id=f"MTU {mtu}, {who} {number}")
        for mtu in MTUS
        for who, number, _ in clean_datagrams(mtu)
    ]


def shake_hands(make_target, mtu, fate):
    """One attempt under a fate: it ends in time, and if not in an association then with a reason."""
    target = make_target(path_mtu=mtu, fate=fate)
    target.connect()
    for until in (DEADLINE + 0.1, 2 * DEADLINE + 0.2):  # the server's attempt begins when the hello arrives
        target.run(until=until)
        for tunnel in (target.client, target.server):
            open_since = [target.now - attempt.started_at for attempt in tunnel.key_source.running.values()]
            assert max(open_since, default=0) <= DEADLINE
            assert tunnel.failure or tunnel.state is not TunnelState.BACKING_OFF
    assert (target.client.key_source.running, target.server.key_source.running) == ({}, {})
    return target


def assert_came_up(target):
    """The first attempt did, at both ends, and data goes both ways on a path that is clean from now on."""
    assert (target.client.state, target.server.state) == (TunnelState.UP, TunnelState.UP)
    assert (target.client.handshakes, target.server.handshakes) == (1, 1)
    make_clean(target)
    target.chat(3)


def make_clean(target):
    target._fate = lambda _who, _number, data: [(DELAY, data)]


def recover(target):
    """The path is clean from now on and traffic wants the tunnel: it carries data both ways."""
    make_clean(target)
    up = TunnelState.UP, TunnelState.UP
    until = target.now + 120
    while (target.client.state, target.server.state) != up and target.now < until:
        target.connect("alpha", "beta")
        target.run(until=target.now + 1)
    assert (target.client.state, target.server.state) == up
    target.chat(3)


@pytest.mark.parametrize(("mtu", "who", "number"), each_datagram())
@pytest.mark.parametrize("copies", [0, 2, 5], ids=["lost", "doubled", "five times"])
def test_a_lost_or_repeated_datagram_never_costs_the_handshake(make_target, mtu, who, number, copies):
    """Only time: the first attempt comes up."""

    def fate(sender, index, data):
        return [(DELAY, data)] * (copies if (sender, index) == (who, number) else 1)

    target = shake_hands(make_target, mtu, fate)
    assert (target.client.state, target.server.state) == (TunnelState.UP, TunnelState.UP)
    assert target.client.handshakes == 1
    target.chat(3)


@pytest.mark.parametrize(("mtu", "who", "number"), each_datagram())
@pytest.mark.parametrize("late", [1.5, 3.5, 700.0], ids=["swapped with the next", "3 late", "late by 0.7 s"])
def test_a_late_datagram_never_costs_the_handshake(make_target, mtu, who, number, late):
    """At the small MTU a flight is several datagrams, and neighbours change places."""

    def fate(sender, index, data):
        return [(DELAY * (late if (sender, index) == (who, number) else 1 + index / 1000), data)]

    target = shake_hands(make_target, mtu, fate)
    assert_came_up(target)


@pytest.mark.parametrize(("mtu", "who", "number"), each_datagram())
def test_a_flight_whose_datagrams_come_in_reverse_never_costs_the_handshake(make_target, mtu, who, number):
    """From this datagram on, each arrives before the one sent before it."""

    def fate(sender, index, data):
        behind = index - number
        return [(DELAY * (1 - behind / 20 if sender == who and 0 <= behind < 10 else 1), data)]

    target = shake_hands(make_target, mtu, fate)
    assert_came_up(target)


def cuts(datagram):
    """Lengths to cut a datagram to: in each header, at each record's start, and around its end."""
    lengths = {1, RECORD_HEADER - 1, RECORD_HEADER, RECORD_HEADER + HANDSHAKE_HEADER, len(datagram) - 1}
    start = 0
    for record in pull_records_untrusted(datagram):
        lengths |= {start + offset for offset in (-1, 0, 1, RECORD_HEADER, RECORD_HEADER + 5)}
        start += len(record.record)
    return sorted(length for length in lengths if 0 < length < len(datagram))


@pytest.mark.parametrize(("mtu", "who", "number"), each_datagram())
def test_a_datagram_that_is_cut_never_costs_the_handshake(make_target, mtu, who, number):
    """The whole records in front of the cut count, the rest is as good as lost."""
    datagram = next(data for sender, index, data in clean_datagrams(mtu) if (sender, index) == (who, number))
    for length in cuts(datagram):

        def fate(sender, index, data, length=length):
            return [(DELAY, data[:length] if (sender, index) == (who, number) else data)]

        target = shake_hands(make_target, mtu, fate)
        print(f"cut to {length} of {len(datagram)} bytes")
        assert_came_up(target)


def flips(datagram, rng):
    """Bits to flip, up to 40: in the bytes of every record's and message's header, a few in every body."""
    bits = []
    start = 0
    for record in pull_records_untrusted(datagram):
        header = RECORD_HEADER
        if record.header.content_type == HANDSHAKE and record.header.epoch == 0:
            header += HANDSHAKE_HEADER
        end = start + len(record.record)
        places = [*range(start, min(start + header, end))]
        places += rng.sample(range(start + header, end), min(10, max(end - start - header, 0)))
        bits += [8 * place + rng.randrange(8) for place in places]
        start = end
    return rng.sample(bits, min(40, len(bits)))


@pytest.mark.parametrize(("mtu", "who", "number"), each_datagram())
def test_a_flipped_bit_never_gets_further_than_a_stated_reason(make_target, mtu, who, number):
    """What is in clear may cost the attempt, as its signature or its Finished does not verify; not the next."""
    datagram = next(data for sender, index, data in clean_datagrams(mtu) if (sender, index) == (who, number))
    rng = random.Random(number)
    for bit in flips(datagram, rng):

        def fate(sender, index, data, bit=bit):
            if (sender, index) != (who, number) or bit // 8 >= len(data):
                return [(DELAY, data)]
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            return [(DELAY, bytes(flipped))]

        target = shake_hands(make_target, mtu, fate)
        print(f"bit {bit}: {target.client.failure or 'up'} / {target.server.failure or 'up'}")
        recover(target)


@pytest.mark.parametrize("mtu", MTUS)
def test_a_bad_network_ends_every_attempt_in_time(make_target, mtu):
    """10 % loss, 10 % duplicates, delays of 1 to 300 ms that reorder: 200 handshakes, and none stays open."""
    up = 0
    for seed in SEEDS:
        rng = random.Random(seed)

        def fate(_who, _number, data, rng=rng):
            copies = rng.choices((0, 1, 2), (10, 80, 10))[0]
            return [(DELAY + rng.random() * 0.3, data) for _ in range(copies)]

        print(f"seed {seed}, MTU {mtu}")
        target = shake_hands(make_target, mtu, fate)
        up += target.client.state is TunnelState.UP
        recover(target)
    print(f"{up} of {len(SEEDS)} came up at the first attempt")
    assert up >= len(SEEDS) * 0.9
