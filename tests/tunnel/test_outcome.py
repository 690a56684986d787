"""What the calls of a tunnel return, and what an observer is told."""

import pytest

from dtls_emu.testing.pair import Pair
from dtls_emu.tunnel.happenings import (
    AssociationOpened,
    FlightReceived,
    FlightRetransmitted,
    FlightSent,
    KeysRequested,
    PortClosed,
    PortOpened,
    Rekeyed,
    StateChanged,
)
from dtls_emu.tunnel.outcome import NOTHING, Outcome
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelEvent, TunnelState
from dtls_emu.vocabulary import DropReason, Keying
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_PREFIX, TAG


PORT, CLIENT_PORT = 4433, 49_152


def connected(**options):
    pair = Pair(**options)
    pair.connect()
    pair.run(until=1)
    assert pair.client.state is pair.server.state is TunnelState.UP
    return pair


def seal(pair, *packets):
    burst = Burst.from_packets(packets, headroom=RECORD_PREFIX, tailroom=TAG)
    _, outcome = pair.client.seal(burst, pair.now)
    return burst, outcome


def test_calls_that_cause_nothing_return_nothing():
    """One object, made once; a burst that only carries data is all that there is to its outcome."""
    pair = connected()
    seal(pair, b"the first sets a timer")
    _, outcome = seal(pair, b"the second does not")
    assert outcome is NOTHING
    assert pair.client.connect(pair.now) is NOTHING
    burst, _ = seal(pair, b"a", b"b")
    pair.server.receive(Burst.from_packets([row.tobytes() for row in burst.rows()]), PORT, CLIENT_PORT, 1.0)
    burst, _ = seal(pair, b"c", b"d")
    outcome = pair.server.receive(
        Burst.from_packets([row.tobytes() for row in burst.rows()]), PORT, CLIENT_PORT, 1.0
    )
    ((opened, _),) = outcome.opened
    assert [row.tobytes() for row in opened.rows()] == [b"c", b"d"]
    assert outcome == Outcome(outcome.opened)
    assert outcome.is_quiet
    assert pair.server.port_unavailable(1, 1.0) is NOTHING


def test_an_outcome_is_handed_out_once():
    """What a call has caused is in its own outcome, and in no later one."""
    pair = Pair()
    outcome = pair.client.connect(0.0)
    assert [out.local_port for out in outcome.datagrams] == [CLIENT_PORT]
    assert not outcome.is_quiet
    assert pair.client.handle_timeout(0.0) is NOTHING
    assert pair.client.port_unavailable(CLIENT_PORT, 0.0).closed_ports == (CLIENT_PORT,)


def test_keys_that_come_and_go_are_said_by_the_call_that_did_it(monkeypatch):
    """And a failed attempt is."""
    pair = Pair()
    said = []
    carry_out = pair.carry_out

    def listen(name, outcome):
        said.append((name, outcome))
        carry_out(name, outcome)

    monkeypatch.setattr(pair, "carry_out", listen)
    pair.connect()
    pair.run(until=1)
    assert [name for name, outcome in said if outcome.keys_changed] == ["beta", "alpha"]
    said.clear()
    pair.close()
    pair.run(until=2)
    assert [name for name, outcome in said if outcome.keys_changed] == ["alpha", "beta"]
    lonely = Pair(fate=lambda *_: [])
    lonely.connect()
    outcome = lonely.client.handle_timeout(15.0)
    assert (outcome.attempt_failed, outcome.keys_changed) == (True, False)
    assert outcome.closed_ports == (CLIENT_PORT,)


def test_drops_have_their_reason_and_mark():
    """They are the card's to count."""
    pair = connected()
    burst = Burst.from_packets([b"junk"] * 3, mark=7)
    outcome = pair.server.receive(burst, PORT, 50_000, 1.0)
    assert outcome.dropped == ((DropReason.BAD_DATAGRAM, 1, 7),) * 3


def test_without_an_observer_no_happening_is_made():
    """Not in a whole life."""
    pair = connected()
    pair.rekey()
    pair.run(until=5)
    pair.close()
    pair.run(until=10)
    assert pair.happenings == {"alpha": [], "beta": []}


def test_an_observer_is_told_of_a_handshake_in_order():
    """Port, state, flights of both ends, keys."""
    pair = connected(is_observed=True)
    sizes = [(who, len(datagram)) for _, who, _, _, datagram in pair.wire]
    ours = [size for who, size in sizes if who == "alpha"]
    theirs = [size for who, size in sizes if who == "beta"]
    ends = CLIENT_PORT, PORT
    up = TunnelState.UP
    assert pair.happenings["alpha"] == [
        StateChanged(TunnelState.IDLE, TunnelState.HANDSHAKING, TunnelEvent.START, ""),
        PortOpened(CLIENT_PORT),
        FlightSent(ends, 1, ours[0]),
        FlightReceived(ends, 1, theirs[0]),
        FlightSent(ends, 1, ours[1]),
        FlightReceived(ends, 1, theirs[1]),
        FlightSent(ends, 1, ours[2]),
        FlightReceived(ends, 1, theirs[2]),
        AssociationOpened(ends, client=True, number=1),
        Rekeyed(ends, None),
        StateChanged(TunnelState.HANDSHAKING, up, TunnelEvent.ESTABLISHED, ""),
    ]
    told = pair.happenings["beta"]
    assert [type(each) for each in told].count(FlightReceived) == 2  # of the first hello nothing is kept
    assert told[-3:] == [
        AssociationOpened(ends[::-1], client=False, number=1),
        Rekeyed(ends[::-1], None),
        StateChanged(TunnelState.HANDSHAKING, up, TunnelEvent.ESTABLISHED, ""),
    ]


def test_an_observer_is_told_of_retransmissions_failures_and_ports():
    """A client that nobody answers."""
    pair = Pair(fate=lambda *_: [], is_observed=True)
    pair.connect()
    pair.run(until=15)
    told = pair.happenings["alpha"]
    hello = told[2]
    assert isinstance(hello, FlightSent)
    again = [each for each in told if isinstance(each, FlightRetransmitted)]
    assert again == [
        FlightRetransmitted((CLIENT_PORT, PORT), 1, hello.nbytes, number) for number in (1, 2, 3)
    ]
    assert told[-2:] == [
        PortClosed(CLIENT_PORT),
        StateChanged(
            TunnelState.HANDSHAKING, TunnelState.BACKING_OFF, TunnelEvent.FAILED, "no answer within 15 s"
        ),
    ]


def test_an_observer_is_told_of_a_rekey_and_of_the_end():
    """The second association has another number and other ports."""
    pair = connected()
    pair.client.is_observed = True
    assert (pair.client.is_observed, pair.server.is_observed) == (True, False)
    pair.rekey()
    pair.run(until=5)
    told = pair.happenings["alpha"]
    assert told[0] == StateChanged(TunnelState.UP, TunnelState.REKEYING, TunnelEvent.START, "")
    assert AssociationOpened((CLIENT_PORT + 1, PORT), client=True, number=2) in told
    told.clear()
    pair.close()
    pair.run(until=10)
    assert told[0] == Rekeyed(None, (CLIENT_PORT + 1, PORT))
    assert told[1] == StateChanged(TunnelState.UP, TunnelState.CLOSING, TunnelEvent.CLOSE, "")
    assert PortClosed(CLIENT_PORT + 1) in told
    assert StateChanged(TunnelState.CLOSING, TunnelState.CLOSED, TunnelEvent.DRAINED, "") in told


def test_an_observer_is_told_that_keys_are_requested():
    """Of a broker, for a port."""
    pair = Pair(settings=TunnelSettings(keying=Keying.BROKER), is_observed=True)
    pair.connect()
    assert KeysRequested(CLIENT_PORT) in pair.happenings["alpha"]


@pytest.mark.parametrize("backend", ["openssl", "cryptography"])
def test_a_record_that_comes_twice_is_replayed_whatever_the_backend(backend):
    """In one burst, too, where both pass the check before either is opened; and one 64 late is still delivered."""
    pair = connected(backend=backend, settings=TunnelSettings(replay_window=1024))
    records = []
    for number in range(70):
        burst, _ = seal(pair, b"packet %02d" % number)
        records.append(burst.row(0).tobytes())
    twice = Burst.from_packets([records[69], records[69], records[0]])
    pair.carry_out("beta", pair.server.receive(twice, PORT, CLIENT_PORT, pair.now))
    assert pair.received["beta"] == [b"packet 69", b"packet 00"]
    assert pair.dropped["beta"] == {DropReason.REPLAYED: 1}
    assert pair.server.forgeries == 0
