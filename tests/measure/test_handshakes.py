"""Handshakes of real cards, and the memory of idle tunnels."""

import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.arms import encrypted_pair
from dtls_emu.measure.handshakes import CardHandshakeTestbed
from dtls_emu.measure.idle_tunnels import idle_tunnel_bytes


def test_real_cards_make_as_many_associations_as_they_are_asked_for(topology):
    """Each by a handshake; what was kept for the ones before is let go of."""
    testbed = CardHandshakeTestbed(topology, encrypted_pair(topology), "cryptography")
    for calls in range(1, 4):
        assert testbed.shake_hands(5) > 0
        assert testbed.shake_bare_hands(5) > 0
        # The first was made to bring the tunnel up; one in 65,536 is repeated by design.
        assert testbed._cards.handshakes in {calls * 5 + 1, calls * 5}
        for card in (testbed._cards.sender, testbed._cards.receiver):
            (tunnel,) = card.tunnels.values()
            assert len(tunnel._succession.associations) <= 6
            assert card.balanced


def test_a_handshake_that_is_not_done_at_once_is_an_error(topology, monkeypatch):
    """Nothing gets lost between these cards, so something is broken."""
    testbed = CardHandshakeTestbed(topology, encrypted_pair(topology), "cryptography")
    monkeypatch.setattr(testbed._cards, "renew", lambda _now: None)
    with pytest.raises(DtlsEmuError, match="0 of 5 handshakes were done"):
        testbed.shake_hands(5)


@pytest.mark.parametrize(
    "backend", ["cryptography", "null", pytest.param("ipsec-mb", marks=pytest.mark.ipsec_mb)]
)
def test_an_idle_tunnel_holds_less_than_64_kb(backend):
    """In each of its ends. A thousand tunnels on one card are then 64 MB."""
    assert 4_000 < idle_tunnel_bytes(backend) < 64_000


def test_a_process_that_fails_says_why():
    """Such as for a backend that is not there."""
    with pytest.raises(DtlsEmuError, match="no backend is called 'nope'"):
        idle_tunnel_bytes("nope")
