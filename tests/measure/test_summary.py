"""What the trials of a cell say, on fake trials whose figures are known."""

from __future__ import annotations

import pytest

from dtls_emu.measure.plan import BenchPath, Plan
from dtls_emu.measure.summary import summarise
from dtls_emu.measure.trials import run_trials


BACKENDS = ("null", "ipsec-mb")
PLAN = Plan(5, paths=(BenchPath.MEMORY,), sizes=(1400,), rounds=6)


def summaries(testbed, plan=PLAN):
    """By arm."""
    outcome = run_trials(plan, BACKENDS, {BenchPath.MEMORY: testbed}, lambda *_: None)
    return {cell.arm: cell for cell in summarise(outcome.trials, plan, BACKENDS)}


def test_figures_of_a_cell(fake_testbed):
    """1.6 µs a packet of 1400 bytes is 7 Gbit/s, and half and a quarter of it are the ends' CPU."""
    cell = summaries(fake_testbed())["ipsec-mb"]
    assert cell.trials == 6
    assert cell.us_per_packet == pytest.approx(1.6)
    assert cell.packets_per_s == pytest.approx(625_000)
    assert cell.gbit_per_s == pytest.approx(7.0)
    assert cell.sender_cpu_s_per_gb == pytest.approx(0.8 / 1.4)
    assert cell.receiver_cpu_s_per_gb == pytest.approx(0.4 / 1.4)
    assert (cell.lost_share, cell.noise_floor) == (0, 0)
    assert cell.variation == pytest.approx(0, abs=1e-9)


def test_ratio_is_of_packet_rates(fake_testbed):
    """1 µs against 1.6 µs and 1.25 µs; plain has no ratio to itself, its twin has."""
    cells = summaries(fake_testbed())
    assert cells["ipsec-mb"].ratio.value == pytest.approx(1 / 1.6)
    assert cells["null"].ratio.value == pytest.approx(0.8)
    assert cells["plain"].ratio is None
    assert cells["plain-again"].ratio.value == pytest.approx(1)


def test_drift_shows_as_noise_and_hardly_in_the_ratio(fake_testbed):
    """A machine that slows down by 1 % a trial: the pairs are off by a few percent, and the floor says so."""
    cells = summaries(fake_testbed(drift=0.01))
    assert cells["ipsec-mb"].ratio.value == pytest.approx(1 / 1.6, rel=0.03)
    assert 0 < cells["ipsec-mb"].noise_floor < 0.05


def test_lost_packets_are_told(fake_testbed):
    """Counted drops are no error, but the share stands in the summary."""
    cell = summaries(fake_testbed(lose=5))["plain"]
    assert 0 < cell.lost_share < 0.01


def test_a_round_cut_short_counts_as_far_as_its_pairs_are_complete(fake_testbed):
    """After Ctrl-C an arm may have one trial more than plain: it has no partner and is left out of the ratio."""
    complete = fake_testbed()
    summaries(complete)
    for missing in range(1, 4):
        cells = summaries(fake_testbed(interrupt_at=len(complete.calls) - missing))
        assert sum(cell.trials for cell in cells.values()) == 24 - missing
        assert cells["ipsec-mb"].ratio.value == pytest.approx(1 / 1.6)
