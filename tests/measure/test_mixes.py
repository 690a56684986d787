"""Fragments among whole packets, on real cards."""

from __future__ import annotations

import pytest

from dtls_emu.measure.arms import encrypted_pair
from dtls_emu.measure.fragments import MIXES
from dtls_emu.measure.mixes import CardFragmentTestbed
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.vocabulary import DropReason


SEED = 4


@pytest.fixture
def testbed(topology):
    """Two cards, the portable backend."""
    return CardFragmentTestbed(topology, encrypted_pair(topology), "cryptography", 1400, SEED)


def test_every_shape_is_rejected(testbed):
    """Seven shapes of each IP version, a burst of each."""
    assert list(testbed.reject_shapes().values()) == [44] * 14


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_all_fragments_and_no_whole_packets_are_rejected(testbed, mix):
    """To the packet, and the share is what it says."""
    sample = testbed.measure_mix(mix, 0.001)
    sample.check(mix)
    assert sample.encrypts
    offered = sample.whole_offered + sample.fragments_offered
    assert sample.fragments_offered / offered == pytest.approx(mix.share, abs=0.0005)


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_a_plain_flow_carries_them_all(topology, mix):
    """The same packets, beside the encrypted arm."""
    testbed = CardFragmentTestbed(topology, encrypted_pair(topology), "plain", 1400, SEED)
    sample = testbed.measure_mix(mix, 0.001)
    sample.check(mix)
    assert not sample.encrypts
    assert sample.fragments_delivered == sample.fragments_offered


def test_a_drop_for_another_reason_voids_the_run(testbed, monkeypatch):
    """A fragment counted as something else is not a fragment rejected."""
    egress = testbed._cards.sender.egress

    def miscount(_reason, count, _mark, _decision=None):
        egress.counters.dropped[DropReason.MALFORMED] += count

    monkeypatch.setattr(egress, "drop", miscount)
    with pytest.raises(AccountingError, match=r"for another reason: .*malformed"):
        testbed.measure_mix(MIXES[-1], 0.001)


def test_an_uncounted_drop_voids_the_run(testbed, monkeypatch):
    """A card that drops in silence is found out."""
    monkeypatch.setattr(testbed._cards.sender.egress, "drop", lambda *_: None)
    with pytest.raises(AccountingError, match="packets are unaccounted for"):
        testbed.measure_mix(MIXES[-1], 0.001)
