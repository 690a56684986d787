"""Which association seals when a network loses what a rekey needs, and when a peer is presumed dead and is not.

That no nonce is used twice under one key is seen by the watch over every test (`wire_watch`).
"""

import itertools
import random
from math import inf

import pytest

from dtls_emu.testing.pair import Pair
from dtls_emu.testing.waiting import rounds
from dtls_emu.tunnel.association import Association
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.wire.overhead import RECORD_OVERHEAD
from dtls_emu.wire.protocol import APPLICATION_DATA, CHANGE_CIPHER_SPEC


DELAY = 0.001
PAUSE = 0.05
FOREVER = 10**9


class Loss:
    """What a network loses, once it is told to: the fate of a pair's datagrams.

    Fields:
        flights: how many of the server's last flights.
        confirmations, answers: how many records without data, of alpha and of beta.
    """

    def __init__(self):
        self.flights = self.confirmations = self.answers = 0
        self.lost = []

    def __call__(self, sender, _number, datagram):
        if sender == "beta" and datagram[0] == CHANGE_CIPHER_SPEC:
            kind = "flights"
        elif is_empty(datagram):
            kind = "confirmations" if sender == "alpha" else "answers"
        else:
            return [(DELAY, datagram)]
        left = getattr(self, kind)
        setattr(self, kind, left - 1)
        if left <= 0:
            return [(DELAY, datagram)]
        self.lost.append((kind, datagram))
        return []


def is_empty(datagram):
    return datagram[0] == APPLICATION_DATA and len(datagram) == RECORD_OVERHEAD


def empties(pair, since=0.0):
    """Records without data that were sent: time and sender."""
    return [(moment, who) for moment, who, *_, data in pair.wire if moment >= since and is_empty(data)]


class AgeingPair(Pair):
    """A pair that keeps the associations which it had first."""

    client_old: Association | None
    server_old: Association | None


def connected(**options):
    pair = AgeingPair(fate=Loss(), **options)
    pair.connect()
    pair.run(until=1)
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)
    pair.client_old, pair.server_old = pair.client.active, pair.server.active
    return pair


def rekey(pair, name="alpha"):
    assert pair.rekey(name)


def talk(pair, seconds, senders=("alpha", "beta")):
    """Packets at an even rate; all of them arrive, once and in order."""
    other = {"alpha": "beta", "beta": "alpha"}
    sent: dict[str, list[bytes]] = {name: [] for name in senders}
    before = {name: len(pair.received[other[name]]) for name in senders}
    until = pair.now + seconds
    for number in itertools.count():
        if pair.now >= until:
            break
        for name in senders:
            sent[name].append(b"%s %d" % (name.encode(), number))
            pair.send(name, sent[name][-1])
        pair.run(until=pair.now + PAUSE)
    pair.run(until=pair.now + DELAY)
    for name in senders:
        arrived = pair.received[other[name]][before[name] :]
        assert len(arrived) == len(sent[name]), name
        assert arrived == sent[name]


@pytest.mark.parametrize("senders", [("alpha", "beta"), ("beta",), ("alpha",)], ids="-".join)
@pytest.mark.parametrize("flights", [1, 2, 3, FOREVER])
def test_a_rekey_whose_last_flight_is_lost_loses_no_packet(senders, flights):
    """The server's own seal goes on under the old keys, however long its client's repetitions take."""
    pair = connected()
    pair._fate.flights = flights
    rekey(pair)
    talk(pair, 20, senders)
    pair._fate.flights = 0
    assert len(pair._fate.lost) >= min(flights, 3)
    if flights == FOREVER:
        assert (pair.client.active, pair.server.active) == (pair.client_old, pair.server_old)
        rekey(pair)
    talk(pair, 20, senders)
    assert pair.client_old.closed
    assert pair.server_old.closed


@pytest.mark.parametrize("senders", [("alpha", "beta"), ("beta",), ("alpha",)], ids="-".join)
@pytest.mark.parametrize("kind", ["confirmations", "answers"])
@pytest.mark.parametrize("number", [1, 3, FOREVER])
def test_a_rekey_whose_confirmations_are_lost_loses_no_packet(senders, kind, number):
    """Neither end lets go of the old keys before it has heard the other on the new ones."""
    pair = connected()
    setattr(pair._fate, kind, number)
    rekey(pair)
    talk(pair, 80, senders)
    setattr(pair._fate, kind, 0)
    talk(pair, 20, senders)
    assert pair.client_old.closed
    assert pair.server_old.closed
    if number < FOREVER:
        assert pair.client.handshakes == pair.server.handshakes == 2


def test_a_repeated_flight_is_no_confirmation():
    """A client repeats its Finished because it does not have the server's: it cannot open anything yet."""
    pair = connected()
    pair._fate.flights = 3
    rekey(pair)
    pair.run(until=pair.now + 4)
    assert [kind for kind, _ in pair._fate.lost] == ["flights"] * 3
    assert pair.client.active is pair.client_old
    assert pair.server.active is pair.server_old
    pair.run(until=pair.now + 5)
    assert pair.server.active.ends == pair.client.active.ends[::-1]


def test_a_repeated_last_flight_is_no_answer():
    """A late copy of it says nothing of what the server seals with."""
    pair = connected()
    pair._fate.flights, pair._fate.confirmations = 1, FOREVER
    rekey(pair)
    pair.run(until=pair.now + 2)
    new = pair.client.active
    assert new is not pair.client_old
    pair.inject("alpha", *new.ends, pair._tunnels["beta"].associations.get(new.ends[::-1]).final_flight())
    assert not new.confirmed
    pair.run(until=pair.now + 60)
    assert not pair.client_old.closed
    talk(pair, 1, ("beta",))


def test_a_rekey_in_silence_takes_one_confirmation_and_one_answer():
    """Then there is no timer, and at both ends one association."""
    pair = connected()
    start = pair.now
    rekey(pair)
    pair.run(until=pair.now + 1000)
    assert [who for _, who in empties(pair, start)] == ["alpha", "beta"]
    for tunnel in (pair.client, pair.server):
        assert list(tunnel.associations) == [tunnel.active]
        assert tunnel.timeout() == inf
    for old in (pair.client_old, pair.server_old):
        assert [end._cipher for end in (old.sealer, old.opener)] == [None, None]


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_a_lost_answer_is_given_again_for_the_repeated_confirmation(lost):
    """The client asks with RFC 6347's timers; each confirmation has one answer at most."""
    pair = connected()
    pair._fate.answers = lost
    start = pair.now
    rekey(pair)
    pair.run(until=pair.now + 1000)
    senders = [who for _, who in empties(pair, start)]
    assert senders == ["alpha", "beta"] * (lost + 1)
    sent = [moment for moment, who in empties(pair, start) if who == "alpha"]
    pauses = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert pauses == pytest.approx([2.0**n for n in range(lost)], abs=2 * DELAY)
    assert pair.client_old.closed


def test_a_server_that_talks_does_not_answer_confirmations():
    """What it says is an answer."""
    pair = connected()
    start = pair.now
    pair.rekey("alpha")
    for number in range(100):
        pair.send("alpha", b"%d" % number)
        pair.send("beta", b"%d" % number)
        pair.run(until=pair.now + PAUSE)
    assert [who for _, who in empties(pair, start)].count("beta") <= 1


def test_a_server_that_never_answers_is_asked_for_a_minute():
    """It may be somebody else's. The old keys stay, because it may use them, and with the first packet it does."""
    pair = connected()
    pair._fate.confirmations = FOREVER
    start = pair.now
    rekey(pair)
    pair.run(until=pair.now + 10_000)
    sent = [moment for moment, who in empties(pair, start) if who == "alpha"]
    assert len(sent) == 7
    assert sent[-1] - sent[0] < 64
    assert pair.client.timeout() == inf
    assert not pair.client_old.closed
    talk(pair, 1, ("beta",))


def test_a_server_that_restarted_is_no_reason_to_repeat_a_confirmation():
    """It seals with the new keys because it has no others, and what it says shows that."""
    pair, other = connected(), Pair()
    pair._tunnels["beta"] = pair.server = other.server
    rekey(pair)
    pair.run(until=pair.now + 1)
    talk(pair, 30)
    assert pair.client_old.closed


def test_a_client_that_restarted_is_heard_though_its_first_confirmation_is_lost():
    """Its server goes on under keys of which it knows nothing; whatever comes under them has it confirm again."""
    pair, other = connected(), Pair()
    pair._tunnels["alpha"] = pair.client = other.client
    pair._fate.confirmations = 1
    pair.client._renewal._ports.take()  # not the ports of before
    pair.connect()
    pair.run(until=pair.now + 1)
    assert pair.server.active is pair.server_old
    for number in range(3):
        pair.send("beta", b"%d" % number)
        pair.run(until=pair.now + 1)
    assert pair.server.active is not pair.server_old
    talk(pair, 30)
    assert pair.server_old.closed


def test_a_worn_server_that_does_not_hear_its_client_begins_an_attempt_of_its_own():
    """Its old key has reached the limit: packets wait for a second, and not for the client's confirmation."""
    pair = connected(settings=TunnelSettings(), server_settings=TunnelSettings(rekey_records=100))
    pair._fate.confirmations = FOREVER
    rekey(pair)
    pair.run(until=pair.now + 0.1)
    for _ in rounds(1000, "the key is worn out"):
        if not pair.server.room():
            break
        pair.send("beta", b"until the end")
        pair.server._succession.retry.at = inf  # it is not to begin one before
    pair.server._succession.retry.at = pair.now + 1
    pair.run(until=pair.now + 0.1)
    assert pair.server.active is pair.server_old
    pair.server.connect(pair.now, waiting=True)
    assert pair.server.timeout() <= pair.now + 1
    pair.run(until=pair.now + 2)
    assert pair.server.room()
    assert pair.server.active.is_client
    talk(pair, 1)


def test_a_failed_rekey_is_followed_by_a_pause_that_doubles():
    """Whatever has worn the key; no attempt begins at once behind one that was refused."""
    pair = connected(settings=TunnelSettings(rekey_seconds=30.0))
    pair.server.key_source._settings = TunnelSettings(card_half_open_limit=0)  # hellos are not answered
    begun = []
    for _ in range(4000):
        before = pair.client.state
        pair.run(until=pair.now + 0.1)
        pair.send("alpha", b"data")
        pair.send("beta", b"data")
        pair.run(until=pair.now + 2 * DELAY)
        if before is TunnelState.UP and pair.client.state is TunnelState.REKEYING:
            begun.append(pair.now)
    pauses = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert pauses[:6] == pytest.approx([15 + pause for pause in (1, 2, 4, 8, 16, 30)], abs=0.5)
    assert pair.client.active is pair.client_old


def test_associations_that_the_peer_may_use_are_bounded():
    """A network that loses every confirmation, and a client that is told to rekey over and over: nothing is lost."""
    pair = connected(
        settings=TunnelSettings(dead_after=1000.0)
    )  # for a sign of life is lost like a confirmation
    pair._fate.confirmations = FOREVER
    for _ in range(24):
        rekey(pair)
        talk(pair, 1, ("beta",))
        for tunnel in (pair.client, pair.server):
            # A rekey a second: four are held, the others are drained for ten seconds.
            assert len(list(tunnel.associations)) <= 4 + 10
    assert pair.server.active is pair.server_old
    pair._fate.confirmations = 0
    rekey(pair)
    talk(pair, 30)
    assert list(pair.client.associations) == [pair.client.active]
    assert list(pair.server.associations) == [pair.server.active]


@pytest.mark.parametrize("seed", range(20))
def test_rekeys_on_a_bad_network_lose_what_the_network_loses_and_nothing_else(seed):
    """Handshakes, confirmations and answers are lost, delayed and repeated at random; data is not touched."""
    print(f"seed {seed}")
    chance = random.Random(seed)

    def fate(_sender, _number, datagram):
        if datagram[0] == APPLICATION_DATA and not is_empty(datagram):
            return [(DELAY, datagram)]
        copies = chance.choices((0, 1, 2), (3, 6, 1))[0]
        return [(DELAY * chance.choice((1, 1, 30, 700)), datagram) for _ in range(copies)]

    pair = Pair(fate=fate)
    for _ in rounds(1000, "both ends are up"):
        if pair.client.active and pair.server.active:
            break
        pair.connect()
        pair.run(until=pair.now + 1)
    pair.run(until=pair.now + 1)
    for _ in range(8):
        for name in chance.choice((("alpha",), ("beta",), ("alpha", "beta"))):
            pair.rekey(name)
        talk(pair, chance.choice((0.05, 1, 20)), chance.choice((("alpha", "beta"), ("beta",), ("alpha",))))
