"""Handshakes beside pyOpenSSL alone: pairs are compared, real cards are measured, memory is bounded."""

import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.arms import encrypted_pair
from dtls_emu.measure.handshakes import BATCH, WARM_UP, CardHandshakeTestbed, run_handshakes
from dtls_emu.measure.idle_tunnels import idle_tunnel_bytes
from dtls_emu.measure.plan import Plan
from dtls_emu.measure.trials import Stopped
from dtls_emu.testing.present import present


def silent(done, total, what):
    """No progress."""


def test_neighbours_are_compared_so_that_drift_cancels(fake_handshake_testbed):
    """The machine gets slower and slower; the ratio is what it is, in every pair."""
    run = run_handshakes(fake_handshake_testbed(), Plan(3, rounds=9), silent)
    assert run.stopped is Stopped.COMPLETE
    summary = present(run.summary)
    assert (summary.backend, summary.handshakes) == ("ipsec-mb", 9 * BATCH)
    assert summary.ratio.value == pytest.approx(1.5)
    assert summary.cpu_ms == pytest.approx(1.5 * 1.7)  # the fifth of nine, behind two of warm-up
    assert summary.bare_cpu_ms == pytest.approx(1.7)
    assert summary.per_second == pytest.approx(1000 / summary.cpu_ms)
    assert summary.idle_tunnel_bytes == 20_000


@pytest.mark.parametrize("rounds", [0, 1, 4])
def test_an_interrupted_run_keeps_its_whole_rounds(fake_handshake_testbed, rounds):
    """And without one there is no summary."""
    run = run_handshakes(fake_handshake_testbed(interrupt_at=WARM_UP + rounds), Plan(3, rounds=9), silent)
    assert run.stopped is Stopped.INTERRUPTED
    assert (0 if run.summary is None else run.summary.handshakes) == rounds * BATCH


def test_memory_that_could_not_be_measured_is_none(fake_handshake_testbed):
    """The rest of the summary is not lost for it."""
    run = run_handshakes(fake_handshake_testbed(memory=None), Plan(3, rounds=3), silent)
    assert present(run.summary).idle_tunnel_bytes is None


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
