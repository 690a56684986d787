"""The mixes of fragments and whole packets, on a fake testbed whose costs are known."""

from __future__ import annotations

import pytest

from dtls_emu.measure.fragments import MIXES, Mix, run_fragments
from dtls_emu.measure.plan import Plan
from dtls_emu.measure.result import Layout
from dtls_emu.measure.trials import Stopped
from dtls_emu.simulation.accounts import AccountingError


PLAN = Plan(9, rounds=5)
WARM_UP = 2 * len(MIXES)


def run(testbed):
    """Every mix, five rounds."""
    return run_fragments(testbed, PLAN, "ipsec-mb", 1400, lambda *_: None)


def test_every_share_is_measured_in_both_layouts():
    """0 %, and 1, 10 and 50 % each way."""
    assert {mix.share for mix in MIXES if mix.layout is Layout.NONE} == {0.0}
    for layout in (Layout.BUNCHED, Layout.SCATTERED):
        assert [mix.share for mix in MIXES if mix.layout is layout] == [0.01, 0.1, 0.5]


def test_cost_of_a_rejection_is_the_slope(fake_fragment_testbed):
    """25 ns and 500 ns a fragment are found from the mixes, whatever a whole packet costs."""
    outcome = run(fake_fragment_testbed())
    assert outcome.stopped is Stopped.COMPLETE
    costs = outcome.summary.rejection_ns
    assert costs[Layout.BUNCHED].value == pytest.approx(25)
    assert costs[Layout.SCATTERED].value == pytest.approx(500)


def test_goodput_is_of_whole_packets_against_the_run_without(fake_fragment_testbed):
    """At 50 % each whole packet pays for one rejection: 1000 / 1025 and 1000 / 1500."""
    mixes = {Mix(mix.layout, mix.share): mix for mix in run(fake_fragment_testbed()).summary.mixes}
    assert tuple(mixes) == MIXES
    assert mixes[MIXES[0]].goodput is None
    assert mixes[Mix(Layout.BUNCHED, 0.5)].goodput.value == pytest.approx(1000 / 1025)
    scattered = mixes[Mix(Layout.SCATTERED, 0.5)]
    assert scattered.goodput.value == pytest.approx(1000 / 1500)
    assert scattered.fragments_rejected == scattered.fragments_offered == scattered.whole_offered


def test_trials_of_every_mix_last_alike(fake_fragment_testbed):
    """A slow mix gets fewer packets, so that none takes the time of the others."""
    walls = [interval.wall_s for interval in run(fake_fragment_testbed()).intervals]
    assert walls == pytest.approx([PLAN.trial_s] * len(walls), rel=0.02)


@pytest.mark.parametrize("fault", [{"leak": 1}, {"refuse": 1}])
def test_one_fragment_passed_or_one_whole_packet_rejected_fails(fake_fragment_testbed, fault):
    """100 % and 0, to the packet."""
    with pytest.raises(AccountingError, match="fragments"):
        run(fake_fragment_testbed(**fault))


def test_interrupt_keeps_whole_rounds(fake_fragment_testbed):
    """The summary is of the rounds in which every mix was measured; the raw data keep the rest."""
    outcome = run(fake_fragment_testbed(interrupt_at=WARM_UP + 2 * len(MIXES) + 1))
    assert outcome.stopped is Stopped.INTERRUPTED
    assert len(outcome.intervals) == 2 * len(MIXES) + 1
    assert outcome.summary.rejection_ns[Layout.BUNCHED].method == "none"  # two rounds have no interval


def test_interrupt_in_the_first_round_leaves_no_summary(fake_fragment_testbed):
    """Nothing to conclude from half a round."""
    outcome = run(fake_fragment_testbed(interrupt_at=WARM_UP + 2))
    assert (outcome.stopped, outcome.summary) == (Stopped.INTERRUPTED, None)
