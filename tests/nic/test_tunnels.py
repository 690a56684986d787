"""The tunnels of a card: made when they are wanted, timed without looking at all of them, and told of truly."""

from math import inf

import pytest

from dtls_emu.nic.offload.verdicts import Out
from dtls_emu.testing.packets import HOSTS, A, B, C, udp
from dtls_emu.testing.star import HUB, Star
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.tunnel.tunnel import Tunnel
from dtls_emu.wire.vxlan import VXLAN_PORT


def test_a_tunnel_is_made_by_the_first_packet_or_datagram_that_wants_it(make_wire):
    """At its sender by a packet, at its receiver by a datagram; not by looking."""
    wire = make_wire()
    sender, receiver, other = (wire.cards[name] for name in ("h1", "h2", "h3"))
    assert [dict(card.tunnels) for card in wire.cards.values()] == [{}, {}, {}]
    assert sender.peers == ["h2", "h3"]
    assert "h2" not in sender.tunnels
    wire.send("a", udp())
    assert list(sender.tunnels) == ["h2"]
    assert list(receiver.tunnels) == ["h1"]
    assert len(other.tunnels) == 0
    assert sender.tunnels["h2"].state is TunnelState.UP


def test_a_tunnel_to_this_host_or_to_nobody_is_not_made(make_wire):
    """Nor for a datagram that says it is from there."""
    wire = make_wire()
    card = wire.cards["h1"]
    for name in ("h1", "h9"):
        with pytest.raises(KeyError):
            card.tunnels[name]
    for source in (HOSTS["h1"], "192.0.2.1"):
        wire.inject("h1", (source, 5), 4433, b"\x16")
    assert len(card.tunnels) == 0


def test_packets_in_clear_want_no_tunnel(make_wire):
    """In either direction."""
    wire = make_wire(encrypted=False)
    wire.send("a", udp())
    wire.send("b", udp(B, A))
    assert wire.delivered == {"b": [udp()], "a": [udp(B, A)]}
    assert not any(len(card.tunnels) for card in wire.cards.values())
    assert all(port == VXLAN_PORT for _, port, *_ in wire.datagrams)


def test_the_status_tells_of_tunnels_that_nobody_has_wanted(make_wire):
    """As idle, which is what they are; to tell of them makes none."""
    wire = make_wire()
    wire.send("a", udp())
    status = wire.cards["h1"].status()["tunnels"]
    assert {peer: each["state"] for peer, each in status.items()} == {"h2": "up", "h3": "idle"}
    assert list(wire.cards["h1"].tunnels) == ["h2"]
    made = wire.cards["h2"].tunnels["h3"]
    assert made.state is TunnelState.IDLE
    assert wire.cards["h2"].status()["tunnels"]["h3"] == status["h3"]
    assert status["h2"].keys() == status["h3"].keys()


def test_a_tunnel_that_is_wanted_after_the_goodbye_is_closed(make_wire):
    """Neither a packet nor a peer's hello opens one again."""
    wire = make_wire()
    wire.send("a", udp())
    wire.carry_out("h1", wire.cards["h1"].close(wire.now))
    wire.send("a", udp(A, C))
    wire.send("c", udp(C, A))
    assert wire.cards["h1"].tunnels["h3"].state is TunnelState.CLOSED
    assert wire.cards["h3"].tunnels["h1"].state is TunnelState.HANDSHAKING
    assert "c" not in wire.delivered


def test_only_tunnels_whose_time_has_come_are_looked_at(monkeypatch):
    """A hundred are up, and one of them owes its peer a sign of life."""
    star = Star(100)
    for name in star.spokes:
        star.talk(HUB, name)
        star.talk(name, HUB)
    star.wait(60.0)
    hub, asked = star.cards[HUB], []
    assert hub.next_timeout() == inf

    def note(tunnel, now):
        asked.append(tunnel.peer.name)
        return handle_timeout(tunnel, now)

    handle_timeout = Tunnel.handle_timeout
    monkeypatch.setattr(Tunnel, "handle_timeout", note)
    star.talk(star.spokes[7], HUB)
    due = hub.next_timeout()
    assert due < inf
    star.carry_out(HUB, hub.handle_timeout(due))
    assert asked == [star.spokes[7]]


def test_kernels_do_not_open_what_a_tunnel_must_hear_first(make_offloaded_wire):
    """A client learns from the first record of its server that this one has the keys; from then on kernels open."""
    wire = make_offloaded_wire("null")
    wire.send("a", udp())
    client = wire.cards["h1"]
    association = client.tunnels["h2"].active
    assert association.is_client
    assert not association.confirmed
    assert client.plan(udp()).verdict == Out.SEND
    arrival = association.local_port, (HOSTS["h2"], association.remote_port)
    assert client.data.paths.arrival(*arrival) == -1
    wire.send("b", udp(B, A))
    assert association.confirmed
    assert client.data.paths.arrival(*arrival) >= 0
    into = client.carried_in
    wire.send("b", udp(B, A))
    assert client.carried_in == into + 1
