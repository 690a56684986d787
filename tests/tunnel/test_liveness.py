"""A peer that is presumed dead and is not: it froze, or the network was away."""

import itertools
from math import inf

import pytest

from dtls_emu.testing.pair import Pair
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason


DELAY = 0.001
PAUSE = 0.1
HOLD = TunnelSettings().hold
BOTH, LIVE, FROZEN = ("alpha", "beta"), ("alpha",), ("beta",)


def connected(client="alpha", **options):
    pair = Pair(**options)
    pair.connect(client)
    pair.run(until=1)
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)
    return pair


def want(pair, seconds, senders):
    """Traffic at an even rate: it is sealed, or wants the tunnel."""
    until = pair.now + seconds
    while pair.now < until:
        for name in senders:
            if name in pair._frozen:
                continue
            if pair._tunnels[name].room():
                pair.send(name, b"%s at %.1f" % (name.encode(), pair.now))
            else:
                pair.connect(name)
        pair.run(until=min(pair.now + PAUSE, until))


def attempts(pair, name="alpha"):
    """When a host sent the first hello of an attempt."""
    begun: dict[int, float] = {}
    for moment, who, local, _, datagram in pair.wire:
        if who == name and datagram[0] == 0x16 and datagram[13] == 1:
            begun.setdefault(local, moment)
    return list(begun.values())


@pytest.mark.parametrize("senders", [BOTH, LIVE, FROZEN], ids="-".join)
@pytest.mark.parametrize("client", BOTH)
@pytest.mark.parametrize("seconds", [5, 16, 30.5, 45, 47, 65, 110, 140, 147, 200, 3000])
def test_a_frozen_host_is_back_a_second_after_it_goes_on(seconds, senders, client):
    """SIGSTOP and SIGCONT: whoever talks, whatever its peer was doing at that moment."""
    pair = connected(client)
    association = pair.client.active
    want(pair, 2, senders)
    pair.freeze("beta")
    want(pair, seconds, senders)
    pair.thaw("beta")
    back = pair.now
    want(pair, 1, senders)
    for name, other in (BOTH, BOTH[::-1]):
        late = [each for each in pair.received[other] if each.startswith(name.encode())]
        assert name not in senders or float(late[-1].split()[-1]) > back + 0.5
    if seconds < HOLD and senders == BOTH:
        assert not association.closed
    want(pair, 30, senders)
    for name in senders:
        assert pair._tunnels[name].failure == ""
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)


def given_up(**options):
    """A pair whose alpha presumes beta dead, and is backing off; the wire is cut."""
    cut = {"on": False}
    pair = connected(fate=lambda *args: [] if cut["on"] else [(DELAY, args[2])], **options)
    pair.cut = cut
    pair.old = pair.client.active
    cut["on"] = True
    pair.send("alpha", b"into the void")
    pair.run(until=pair.now + 31)
    assert (pair.client.state, pair.client.active) == (TunnelState.BACKING_OFF, None)
    return pair


def test_keys_of_a_peer_presumed_dead_seal_nothing_and_are_overwritten_in_the_end():
    """Until then one authentic record is enough for the association to go on, in the state it was."""
    pair = given_up()
    assert pair.client.room() == 0
    assert not pair.old.closed
    pair.run(until=pair.now + HOLD - 2)
    assert not pair.old.closed
    pair.run(until=pair.now + 2)
    assert pair.old.closed
    assert [end._cipher for end in (pair.old.sealer, pair.old.opener)] == [None, None]
    assert pair.client.timeout() == inf


@pytest.mark.parametrize("is_data", [True, False])
def test_an_authentic_record_ends_the_presumption(is_data):
    """Data or not: the same association seals again, under the next numbers."""
    pair = given_up()
    number = pair.old.next_sequence
    pair.cut["on"] = False
    if is_data:
        pair.send("beta", b"here")
    else:
        pair.inject("alpha", *pair.old.ends, pair.server.active.empty_record())
    pair.run(until=pair.now + 2 * DELAY)
    assert pair.client.active is pair.old
    assert (pair.client.state, pair.client.failure) == (TunnelState.UP, "")
    pair.send("alpha", b"again")
    assert pair.old.next_sequence >= number + 1
    pair.run(until=pair.now + HOLD * 2)
    assert not pair.old.closed
    assert pair.received["beta"] == [b"again"]


def test_an_authentic_record_amid_an_attempt_ends_the_presumption_and_not_the_attempt():
    """Which goes on as a rekey, and brings new keys or not."""
    pair = given_up()
    pair.run(until=pair.client.retry_at)
    pair.connect()
    assert (pair.client.state, pair.client.active) == (TunnelState.HANDSHAKING, None)
    pair.inject("alpha", *pair.old.ends, pair.server.active.empty_record())
    assert (pair.client.state, pair.client.active) == (TunnelState.REKEYING, pair.old)
    pair.run(until=pair.now + 16)
    assert (pair.client.state, pair.client.active) == (TunnelState.UP, pair.old)


def test_replayed_and_forged_records_do_not_end_the_presumption():
    """Nor does what is authentic and no sign of life: a goodbye."""
    pair = connected()
    pair.send("beta", b"captured")
    pair.run(until=pair.now + 1)
    captured = pair.wire[-1][4]
    genuine = pair.server.active.empty_record()
    pair.freeze("beta")
    pair.send("alpha", b"into the void")
    pair.run(until=pair.now + 35)
    old = pair.client._succession.associations.get((49152, 4433))
    assert pair.client.active is None
    for datagram in (captured, genuine[:-1] + bytes((genuine[-1] ^ 1,)), genuine[:20]):
        pair.inject("alpha", *old.ends, datagram)
        assert pair.client.active is None
    pair.inject("alpha", *old.ends, pair.server.active.close_notify())
    assert pair.client.active is None
    assert old.closed


def test_who_can_forge_a_record_gets_one_attempt_in_half_a_minute_and_no_more():
    """Records that nobody can verify bring the next attempt forward, once in the longest pause."""
    pair = given_up()
    pair.run(until=pair.now + HOLD + 60)
    assert pair.client.state is TunnelState.BACKING_OFF
    before = len(attempts(pair))
    forged = bytes.fromhex("17fefd0001000000000009") + (64).to_bytes(2, "big") + bytes(64)
    start = pair.now
    while pair.now < start + 600:
        pair.inject("alpha", 49152, 4433, forged)
        pair.run(until=pair.now + 0.05)
    assert pair.dropped["alpha"][DropReason.NO_ASSOCIATION] > 10_000
    begun = attempts(pair)[before:]
    assert 2 < len(begun) <= 2 * 600 / 30 + 2
    pauses = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert min(pauses) >= 15
    assert pair.client.timeout() < inf or pair.client.state is TunnelState.BACKING_OFF


def test_forged_hellos_get_one_record_at_a_time_from_a_live_association():
    """A peer that asks again and again may presume us dead; who forges its hellos gets little for many."""
    pair = connected()
    hello = pair.wire[0][4]
    before = pair.server.active.next_sequence
    start = pair.now
    while pair.now < start + 10:
        pair.inject("beta", 4433, 60_000, hello)
        pair.run(until=pair.now + 0.01)
    assert 0 < pair.server.active.next_sequence - before <= 10 / 0.25 + 1
    assert pair.server.state is TunnelState.UP


def test_a_peer_that_falls_silent_while_a_rekey_runs_is_presumed_dead_when_that_fails():
    """Not only when nothing was going on: the timer is not wasted."""
    cut = {"on": False}
    pair = connected(fate=lambda *args: [] if cut["on"] else [(DELAY, args[2])])
    cut["on"] = True
    pair.send("alpha", b"into the void")
    pair.run(until=pair.now + 10)
    pair.rekey("alpha")
    pair.run(until=pair.now + 14)
    assert pair.client.state is TunnelState.REKEYING
    assert pair.client.active is not None
    pair.run(until=pair.now + 2)
    assert (pair.client.state, pair.client.active) == (TunnelState.BACKING_OFF, None)


def test_closing_while_the_peer_is_presumed_dead_overwrites_its_keys_at_once():
    """Nobody answers."""
    pair = given_up()
    pair.client.close(pair.now)
    assert pair.client.state is TunnelState.CLOSED
    assert pair.old.closed
    assert list(pair.client.associations) == []
    assert pair.client.timeout() == inf
