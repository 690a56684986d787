"""A local port that cannot be opened, because another program has it, costs no time: the next one is taken."""

from __future__ import annotations

import pytest

from dtls_emu.nic.effects import ClosePort, RequestKeys, Transmit
from dtls_emu.testing.packets import udp
from dtls_emu.tunnel.ports import DYNAMIC_PORTS, PORT_TRIES
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import Keying
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.protocol import HANDSHAKE


FIRST = DYNAMIC_PORTS.start
TAKEN = 5


def take(wire, first, count=TAKEN, host="h1"):
    wire.taken |= {(host, port) for port in range(first, first + count)}


def test_a_first_handshake_goes_on_from_the_next_port_at_once(make_wire):
    """On a wire without delay the packet is there at the very moment it was sent."""
    wire = make_wire()
    take(wire, FIRST)
    wire.send("a", udp())
    assert wire.delivered == {"b": [udp()]}
    tunnel = wire.cards["h1"].tunnels["h2"]
    assert tunnel.active.local_port == FIRST + TAKEN
    assert (tunnel.handshakes, tunnel.failure, wire.now) == (1, "", 0.0)


def test_a_rekey_does_too_and_the_old_keys_stay_in_use_meanwhile(make_wire):
    """Nothing is lost, and nothing waits."""
    wire = make_wire()
    wire.send("a", udp())
    tunnel = wire.cards["h1"].tunnels["h2"]
    take(wire, FIRST + 1)
    wire.carry_out("h1", wire.cards["h1"].rekey("h2", wire.now))
    wire.send("a", udp())
    assert tunnel.state is TunnelState.UP
    assert (tunnel.handshakes, tunnel.active.local_port) == (2, FIRST + 1 + TAKEN)
    assert wire.delivered == {"b": [udp()] * 2}


def test_a_port_that_was_refused_is_asked_for_again_after_all_others(make_wire):
    """Its program may have ended by then; until then nobody stumbles over it again."""
    wire = make_wire()
    take(wire, FIRST)
    wire.send("a", udp())
    wire.taken.clear()
    for number in range(1, 4):
        wire.carry_out("h1", wire.cards["h1"].rekey("h2", wire.now))
        assert wire.cards["h1"].tunnels["h2"].active.local_port == FIRST + TAKEN + number
        wire.wait(wire.now + 1)


def test_when_no_port_can_be_opened_the_attempt_fails_and_is_repeated_after_a_pause(make_wire):
    """A bounded number of tries, a reason that is said, packets that are not lost, and other ports the next time."""
    wire = make_wire()
    take(wire, FIRST, PORT_TRIES)
    card = wire.cards["h1"]
    tunnel = card.tunnels["h2"]
    tries = []
    port_unavailable = card.port_unavailable

    def note(port, now):
        tries.append(port)
        return port_unavailable(port, now)

    card.port_unavailable = note
    wire.send("a", udp())
    assert tries == list(range(FIRST, FIRST + PORT_TRIES))
    failure = f"none of {PORT_TRIES} UDP ports can be opened"
    assert (tunnel.state, tunnel.failure) == (TunnelState.BACKING_OFF, failure)
    assert [datagram for *_, datagram in wire.datagrams if datagram[0] == HANDSHAKE] == []
    wire.wait(tunnel.retry_at)
    wire.send("a", udp(payload=b"again"))
    assert tunnel.state is TunnelState.UP
    assert tunnel.active.local_port == FIRST + PORT_TRIES
    assert len(tries) == PORT_TRIES


def test_a_rekey_that_finds_no_port_leaves_the_tunnel_as_it_is(make_wire):
    """Up, with the keys that it has."""
    wire = make_wire()
    wire.send("a", udp())
    take(wire, FIRST + 1, PORT_TRIES)
    wire.carry_out("h1", wire.cards["h1"].rekey("h2", wire.now))
    tunnel = wire.cards["h1"].tunnels["h2"]
    assert (tunnel.state, tunnel.active.local_port) == (TunnelState.UP, FIRST)
    wire.send("a", udp())
    assert wire.delivered == {"b": [udp()] * 2}


def test_an_association_whose_port_is_lost_is_replaced(make_wire):
    """Something has closed it, and it cannot be opened again: the other end hears of it by the new handshake."""
    wire = make_wire()
    wire.send("a", udp())
    wire.taken.add(("h1", FIRST))
    wire.send("a", udp(payload=b"lost with the port"))
    wire.send("a", udp(payload=b"after"))
    assert wire.delivered["b"] == [udp(), udp(payload=b"after")]
    tunnel = wire.cards["h1"].tunnels["h2"]
    assert (tunnel.handshakes, tunnel.active.local_port) == (2, FIRST + 1)
    assert list(tunnel.associations) == [tunnel.active]


def test_the_port_of_an_association_that_is_drained_may_be_lost(make_wire):
    """Nothing is sent with its keys any more, so nothing has to be begun."""
    wire = make_wire()
    wire.send("a", udp())
    card = wire.cards["h1"]
    wire.carry_out("h1", card.rekey("h2", wire.now))
    tunnel = card.tunnels["h2"]
    assert {each.local_port for each in tunnel.associations} == {FIRST, FIRST + 1}
    assert card.port_unavailable(FIRST, wire.now) == [ClosePort(FIRST)]
    assert (tunnel.state, tunnel.handshakes, list(tunnel.associations)) == (
        TunnelState.UP,
        2,
        [tunnel.active],
    )


def test_keys_are_asked_for_a_port_that_is_there(make_wire):
    """With a broker the port is told before anything is sent from it."""
    wire = make_wire(keying=Keying.BROKER)
    card = wire.cards["h1"]
    (asked,) = card.from_guest("a", Burst.from_packets([udp()]), 0.0)
    assert asked == RequestKeys("h2", FIRST)
    effects = card.port_unavailable(FIRST, 0.0)
    assert effects == [ClosePort(FIRST), RequestKeys("h2", FIRST + 1)]
    assert card.port_unavailable(FIRST, 0.0) == []


@pytest.mark.parametrize("port", [4433, 4789, FIRST - 1, FIRST + 7])
def test_a_port_that_is_no_tunnels_own_changes_nothing(make_wire, port):
    """The two that are listened on have no substitute; others are nobody's."""
    wire = make_wire()
    wire.send("a", udp())
    card = wire.cards["h1"]
    assert card.port_unavailable(port, wire.now) == []
    assert card.tunnels["h2"].state is TunnelState.UP


def test_a_closing_card_does_not_begin_anew(make_wire):
    """Its goodbye cannot be said, and that is all."""
    wire = make_wire()
    wire.send("a", udp())
    card = wire.cards["h1"]
    (goodbye,) = [each for each in card.close(wire.now) if isinstance(each, Transmit)]
    assert card.port_unavailable(goodbye.source_port, wire.now) == []
    assert card.tunnels["h2"].state is TunnelState.CLOSING
