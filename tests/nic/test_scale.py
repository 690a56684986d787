"""One card with a thousand tunnels: all are set up, all carry traffic, all are let go of."""

from collections import Counter

from dtls_emu.testing.star import HUB, Star
from dtls_emu.tunnel.states import TunnelState


TUNNELS = 1000


def test_a_thousand_tunnels_on_one_card_carry_traffic(wire_watch):
    """Half of them begun by either end; each packet goes to its own host, and both rekeys and goodbyes work."""
    star = Star(TUNNELS)
    for number, name in enumerate(star.spokes):
        star.talk(*((HUB, name) if number % 2 else (name, HUB)))
    hub = star.cards[HUB]
    assert Counter(tunnel.state for tunnel in hub.tunnels.values()) == {TunnelState.UP: TUNNELS}
    assert {tunnel.handshakes for tunnel in hub.tunnels.values()} == {1}

    for name in star.spokes:
        star.talk(HUB, name, packets=3)
        star.talk(name, HUB, packets=2)
    assert star.delivered[HUB] == TUNNELS * 2 + TUNNELS // 2
    assert Counter(star.delivered[name] for name in star.spokes) == {3: TUNNELS // 2, 4: TUNNELS // 2}

    for name in star.spokes[:50]:
        star.carry_out(HUB, hub.rekey(name, star.now))
    star.wait(30.0)
    assert sum(tunnel.handshakes for tunnel in hub.tunnels.values()) == TUNNELS + 50
    for name in star.spokes:
        star.talk(name, HUB)
    assert star.delivered[HUB] == TUNNELS * 3 + TUNNELS // 2

    star.carry_out(HUB, hub.close(star.now))
    star.wait(35.0)
    assert Counter(tunnel.state for tunnel in hub.tunnels.values()) == {TunnelState.CLOSED: TUNNELS}
    assert all(card.balanced for card in star.cards.values())
    wire_watch.check()
    assert wire_watch.records > TUNNELS * 8
