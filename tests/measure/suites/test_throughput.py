"""What the trials of a cell say, on fake trials whose figures are known."""

from __future__ import annotations

import pytest

from dtls_emu.measure.plan import BenchPath, Extent, Plan
from dtls_emu.measure.statistics import Verdict
from dtls_emu.measure.suites.throughput import Throughput, conclude
from dtls_emu.measure.trials import run_trials
from dtls_emu.testing.present import present


BACKENDS = ("null", "ipsec-mb")
EXTENT = Extent((BenchPath.MEMORY,), (1400,), rounds=6, trial_s=0.1)


def section_of(testbed, extent=EXTENT):
    """What is concluded from a run."""
    run = run_trials(Plan(5), extent, BACKENDS, {BenchPath.MEMORY: testbed}, lambda *_: None, seconds=60)
    return conclude(run, extent, BACKENDS)


def cells_of(testbed):
    """By arm."""
    return {cell.arm: cell for cell in section_of(testbed).cells}


def test_figures_of_a_cell(fake_testbed):
    """1.6 µs a packet of 1400 bytes is 7 Gbit/s, and half and a quarter of it are the ends' CPU."""
    cell = cells_of(fake_testbed())["ipsec-mb"]
    assert cell.trials == 6
    assert cell.us_per_packet == pytest.approx(1.6)
    assert cell.packets_per_s == pytest.approx(625_000)
    assert cell.gbit_per_s == pytest.approx(7.0)
    assert cell.cpu_ns_per_packet == pytest.approx(1200)
    assert cell.sender_cpu_s_per_gb == pytest.approx(0.8 / 1.4)
    assert cell.receiver_cpu_s_per_gb == pytest.approx(0.4 / 1.4)
    assert (cell.lost_share, cell.spoilt) == (0, 0)
    assert cell.noise_floor == pytest.approx(0, abs=1e-9)
    assert cell.variation == pytest.approx(0, abs=1e-9)


def test_ratios_are_of_rates_and_of_cpu_time(fake_testbed):
    """1 µs against 1.6 µs and 1.25 µs; plain has no ratio to itself, its twin has."""
    cells = cells_of(fake_testbed())
    assert present(cells["ipsec-mb"].ratio).value == pytest.approx(1 / 1.6)
    assert present(cells["ipsec-mb"].cpu_ratio).value == pytest.approx(1.6)
    assert (cells["ipsec-mb"].verdict, cells["ipsec-mb"].cpu_verdict) == (Verdict.LOWER, Verdict.HIGHER)
    assert present(cells["null"].ratio).value == pytest.approx(0.8)
    assert cells["plain"].ratio is None
    assert present(cells["plain-again"].ratio).value == pytest.approx(1)
    assert cells["plain-again"].verdict is None


def test_drift_shows_as_noise_and_hardly_in_the_ratio(fake_testbed):
    """A machine that slows down by 1 % a trial: the pairs are off by a few percent, and the floor says so."""
    cells = cells_of(fake_testbed(drift=0.01))
    assert present(cells["ipsec-mb"].ratio).value == pytest.approx(1 / 1.6, rel=0.03)
    assert 0 < present(cells["ipsec-mb"].noise_floor) < 0.05


def test_lost_packets_are_told(fake_testbed):
    """Counted drops are no error, but the share stands in the summary."""
    assert 0 < cells_of(fake_testbed(lose=5))["plain"].lost_share < 0.01


def test_a_round_cut_short_counts_as_far_as_its_pairs_are_complete(fake_testbed):
    """After Ctrl-C an arm may have one trial more than plain: it has no partner and is left out of the ratio."""
    complete = fake_testbed()
    section_of(complete)
    for missing in range(1, 4):
        section = section_of(fake_testbed(interrupt_at=len(complete.calls) - missing))
        assert len(section.trials) == 24 - missing
        cells = {cell.arm: cell for cell in section.cells}
        assert present(cells["ipsec-mb"].ratio).value == pytest.approx(1 / 1.6)


def test_figures_for_other_programs_are_those_of_the_table(fake_testbed):
    """Rate and CPU of every arm, and of plain for all others; samples are kept beside each estimate."""
    section = section_of(fake_testbed())
    found = {(figure.cell["arm"], figure.metric, figure.unit): figure for figure in section.figures}
    assert len(found) == 4 * 2 + 3 * 2
    ratio = found["ipsec-mb", "rate", "of plain"]
    assert (ratio.relative, len(ratio.samples)) == (True, 6)
    assert [cell.ratio for cell in section.cells if cell.arm == "ipsec-mb"] == [ratio.estimate]


def test_what_cannot_be_told_has_a_question_mark_and_is_said_so(result):
    """In the table and in words."""
    (section,) = [each for each in result.sections if each.suite == "throughput"]
    unclear = [
        cell.model_copy(update={"verdict": Verdict.UNRESOLVED, "cpu_verdict": Verdict.UNRESOLVED})
        for cell in section.cells
    ]
    section = section.model_copy(update={"cells": unclear})
    rows = Throughput().tables(section, result.start)[1].rows
    assert {row[5] for row in rows if row[1] == "ipsec-mb"} == {"0.625?"}
    reading = Throughput().reading(section, result.start)
    assert "of the plain path's packets, which this run cannot tell from 1," in reading
    assert "times the CPU, which this run cannot tell from 1." in reading


def test_reading_without_an_encrypted_arm_says_so(result):
    """`null` protects nothing: it is no tunnel to speak of."""
    (section,) = [each for each in result.sections if each.suite == "throughput"]
    cells = [cell for cell in section.cells if cell.arm != "ipsec-mb"]
    assert Throughput().reading(section.model_copy(update={"cells": cells}), result.start) == (
        "No encrypted arm was measured beside the plain one, so this run says nothing of the cost of encryption."
    )


def test_reading_names_no_offload_that_is_off(result):
    """On the path of single datagrams there is nothing to boast of."""
    (section,) = [each for each in result.sections if each.suite == "throughput"]
    cells = [cell for cell in section.cells if cell.path is BenchPath.UDP_SINGLE]
    assert (
        Throughput()
        .reading(section.model_copy(update={"cells": cells}), result.start)
        .startswith("At 1400 bytes over UDP with one datagram a system call the ipsec-mb tunnel carries")
    )
