"""The mixes of fragments and whole packets, on a fake testbed whose costs are known."""

from __future__ import annotations

import pytest

from dtls_emu.measure.fragments import SHARES, run_fragments
from dtls_emu.measure.plan import Plan
from dtls_emu.measure.sample import AccountingError
from dtls_emu.measure.trials import Stopped


PLAN = Plan(9, rounds=5)


def run(testbed):
    """Every mix, five rounds."""
    return run_fragments(testbed, PLAN, "ipsec-mb", 1400, lambda *_: None)


def test_cost_of_a_rejection_is_the_slope(fake_fragment_testbed):
    """25 ns a fragment is found from the mixes, whatever a whole packet costs."""
    outcome = run(fake_fragment_testbed())
    assert outcome.stopped is Stopped.COMPLETE
    assert outcome.summary.rejection_ns.value == pytest.approx(25)


def test_goodput_is_of_whole_packets_against_the_run_without(fake_fragment_testbed):
    """At 50 % each whole packet pays for one rejection: 1000 / 1025."""
    mixes = {mix.share: mix for mix in run(fake_fragment_testbed()).summary.mixes}
    assert tuple(mixes) == SHARES
    assert mixes[0.0].goodput is None
    assert mixes[0.5].goodput.value == pytest.approx(1000 / 1025)
    assert mixes[0.5].fragments_rejected == mixes[0.5].fragments_offered == mixes[0.5].whole_offered


@pytest.mark.parametrize("fault", [{"leak": 1}, {"refuse": 1}])
def test_one_fragment_passed_or_one_whole_packet_rejected_fails(fake_fragment_testbed, fault):
    """100 % and 0, to the packet."""
    with pytest.raises(AccountingError, match="fragments"):
        run(fake_fragment_testbed(**fault))


def test_interrupt_keeps_whole_rounds(fake_fragment_testbed):
    """The summary is of the rounds in which every mix was measured; the raw data keep the rest."""
    warm_up = len(SHARES) + 1
    outcome = run(fake_fragment_testbed(interrupt_at=warm_up + 2 * len(SHARES) + 1))
    assert outcome.stopped is Stopped.INTERRUPTED
    assert len(outcome.intervals) == 2 * len(SHARES) + 1
    assert outcome.summary.rejection_ns.method == "none"  # two rounds have no interval


def test_interrupt_in_the_first_round_leaves_no_summary(fake_fragment_testbed):
    """Nothing to conclude from half a round."""
    outcome = run(fake_fragment_testbed(interrupt_at=len(SHARES) + 2))
    assert (outcome.stopped, outcome.summary) == (Stopped.INTERRUPTED, None)
