"""The mixes of fragments and whole packets, on fake testbeds whose costs are known."""

from __future__ import annotations

import pytest

from dtls_emu.measure.fragments import FLOOD, LAYOUTS, MIXES, Mix
from dtls_emu.measure.plan import BenchPath, Extent, Plan
from dtls_emu.measure.records.base import Stopped
from dtls_emu.measure.records.fragments import Layout
from dtls_emu.measure.statistics import Estimate
from dtls_emu.measure.suites.fragments import SIZE, Fragments, run_fragments
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.testing.present import present


EXTENT = Extent((BenchPath.MEMORY,), (1400,), rounds=6, trial_s=0.1)
PLACES = 2 * len(MIXES)


def run(encrypted, plain, extent=EXTENT):
    """Every mix of both arms, six rounds."""
    return run_fragments(
        {"plain": plain, "ipsec-mb": encrypted}, extent, "ipsec-mb", lambda *_: None, seed=9, seconds=60
    )


@pytest.fixture
def plain(fake_fragment_testbed):
    """An arm that carries fragments."""
    return fake_fragment_testbed(encrypts=False)


def test_every_share_is_measured_in_both_layouts():
    """0 %, and 1, 10 and 50 % each way; and a flood of nothing else."""
    assert {mix.share for mix in MIXES if mix.layout is Layout.NONE} == {0.0}
    assert [mix.share for mix in MIXES if mix.layout is Layout.BUNCHED] == [0.01, 0.1, 0.5, 1.0]
    assert [mix.share for mix in MIXES if mix.layout is Layout.SCATTERED] == [0.01, 0.1, 0.5]


def test_cost_of_a_rejection_is_the_slope(fake_fragment_testbed, plain):
    """25 ns and 500 ns a fragment are found from the mixes, whatever a whole packet costs; a flood says the same."""
    section = present(run(fake_fragment_testbed(), plain))
    assert section.stopped is Stopped.COMPLETE
    assert section.rejection_ns[Layout.BUNCHED].value == pytest.approx(25, rel=1e-3)
    assert section.rejection_ns[Layout.SCATTERED].value == pytest.approx(500, rel=1e-3)
    assert present(section.flood_ns).value == pytest.approx(25, rel=1e-3)


def test_goodput_is_of_whole_packets_against_the_run_without(fake_fragment_testbed, plain):
    """At 50 % each whole packet pays for one rejection: 1000 / 1025 and 1000 / 1500."""
    section = present(run(fake_fragment_testbed(), plain))
    goodput = {(mix.arm, mix.layout, mix.share): mix.goodput for mix in section.mixes}
    assert goodput["ipsec-mb", Layout.NONE, 0.0] is None
    assert present(goodput["ipsec-mb", Layout.BUNCHED, 0.5]).value == pytest.approx(1000 / 1025, rel=1e-3)
    assert present(goodput["ipsec-mb", Layout.SCATTERED, 0.5]).value == pytest.approx(1000 / 1500, rel=1e-3)
    assert goodput["ipsec-mb", FLOOD.layout, 1.0] is None


def test_an_encrypted_flow_rejects_all_and_a_plain_one_none(fake_fragment_testbed, plain):
    """Two columns of zeros, to the packet."""
    section = present(run(fake_fragment_testbed(), plain))
    for mix in section.mixes:
        assert (mix.wrongly_rejected, mix.wrongly_passed) == (0, 0)
        assert mix.fragments_rejected == (mix.fragments_offered if mix.arm == "ipsec-mb" else 0)


def test_trials_last_equally_long(fake_fragment_testbed, plain):
    """Every mix of either arm."""
    testbed = fake_fragment_testbed()
    run(testbed, plain)
    assert {seconds for _, seconds in testbed.calls[len(MIXES) :]} == {0.1}
    assert testbed.calls[0] == (Mix(Layout.NONE, 0.0), 0.025)


@pytest.mark.parametrize("fault", [{"leak": 1}, {"refuse": 1}])
def test_one_fragment_passed_or_one_whole_packet_rejected_fails(fake_fragment_testbed, plain, fault):
    """100 % and 0, to the packet."""
    with pytest.raises(AccountingError, match="fragments"):
        run(fake_fragment_testbed(**fault), plain)


def test_interrupt_keeps_whole_rounds(fake_fragment_testbed, plain):
    """Conclusions are of the rounds in which every mix was measured; the raw data keep the rest."""
    section = present(run(fake_fragment_testbed(interrupt_at=3 * len(MIXES) + 2), plain))
    assert section.stopped is Stopped.INTERRUPTED
    assert len(section.trials) > 2 * PLACES
    assert section.rejection_ns[Layout.BUNCHED].n == 2
    assert section.rejection_ns[Layout.BUNCHED].method == "none"  # two rounds have no interval


def test_interrupt_in_the_first_round_leaves_nothing(fake_fragment_testbed, plain):
    """Nothing to conclude from half a round."""
    assert run(fake_fragment_testbed(interrupt_at=len(MIXES) + 2), plain) is None


def test_a_cost_that_cannot_be_told_is_no_negative_number(result):
    """Its interval holds zero: that is what the reading says."""
    (section,) = [each for each in result.sections if each.suite == "fragments"]
    unclear = Estimate(-30.0, -80.0, 20.0, 9, "order statistics")
    reading = Fragments().reading(
        section.model_copy(update={"rejection_ns": dict.fromkeys(LAYOUTS, unclear)}), result.start
    )
    assert "rejecting one costs less than this run can tell in a burst of its own kind" in reading
    assert "-30" not in reading


@pytest.mark.parametrize(
    ("sizes", "size"), [(None, SIZE), ((64, 1400), 1400), ((64,), SIZE), ((512, 1400), 512)]
)
def test_the_size_is_one_that_every_shape_fits(sizes, size):
    """The first of the chosen ones."""
    assert Fragments().extent(Plan(1, sizes=sizes)).sizes == (size,)
