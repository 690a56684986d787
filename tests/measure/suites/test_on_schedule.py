"""Suites that offer packets on a schedule, with plans of milliseconds on real cards: accounts and structure."""

from __future__ import annotations

from typing import Any

import pytest

from dtls_emu.measure.arms import encrypted_pair
from dtls_emu.measure.plan import BenchPath, Plan
from dtls_emu.measure.records.base import Record, Stopped
from dtls_emu.measure.suites.latency import LOADS, Latency
from dtls_emu.measure.suites.loss import SHARES, Loss
from dtls_emu.measure.suites.registry import SUITES
from dtls_emu.measure.suites.rekey import Rekey
from dtls_emu.measure.suites.suite import Bench, Suite
from dtls_emu.measure.suites.zero_loss import GOALS, ZeroLoss
from dtls_emu.testing.present import present


PLAN = Plan(
    5, backends=("cryptography",), paths=(BenchPath.MEMORY,), sizes=(256,), rounds=1, trial_s=0.004, burst=4
)
ARMS = ("plain", "plain-again", "cryptography")


@pytest.fixture
def bench(topology):
    """Cards of all arms in memory."""
    with Bench(topology, encrypted_pair(topology), PLAN, ("cryptography",), lambda *_: None) as found:
        yield found


def test_latency_is_of_every_packet_at_every_load(bench):
    """From when it was due; the accounts balance."""
    told: list[Record] = []
    bench.told = told.append
    section = present(Latency().run(bench))
    assert section.stopped is Stopped.COMPLETE
    assert {(cell.arm, cell.load) for cell in section.cells} == {
        (arm, load) for arm in ARMS for load in LOADS
    }
    assert len(section.trials) == len(told) == len(section.cells)
    for each in section.trials:
        trial = each.trial
        assert trial.offered == trial.refused + trial.delivered + sum(trial.dropped.values())
        assert each.packets == trial.delivered
        assert each.least <= each.median <= each.p99 <= each.p999 <= each.most
    for cell in section.cells:
        assert sum(cell.histogram.values()) == cell.packets
        assert (cell.ratio is None) == (cell.arm == "plain")


def test_zero_loss_searches_for_both_goals(bench):
    """Every search is kept, with the loss of each of its trials."""
    section = present(ZeroLoss().run(bench))
    assert {(cell.arm, cell.goal) for cell in section.cells} == {
        (arm, goal) for arm in ARMS for goal in GOALS
    }
    for cell in section.cells:
        (found,) = cell.searches
        assert all(loss <= cell.goal for rate, loss in found.trials if rate == found.rate)
        assert cell.packets_per_s.value == found.rate


def test_loss_is_told_of_every_step(bench):
    """The same rates for every arm."""
    section = present(Loss().run(bench))
    assert len(section.steps) == len(ARMS) * len(SHARES)
    rates = {(step.share, step.rate) for step in section.steps}
    assert len(rates) == len(SHARES)
    assert all(0 <= step.lost.value <= 1 for step in section.steps)


def test_a_new_key_loses_nothing_and_is_there(bench):
    """One handshake in the middle of the run, none in the others."""
    section = present(Rekey().run(bench))
    (trial,) = section.trials
    assert trial.handshakes == 1
    assert section.lost == 0


@pytest.mark.parametrize("name", ["latency", "zero-loss", "loss", "back-to-back"])
def test_a_size_that_cannot_carry_a_time_is_left_out(name):
    """Without another there is nothing to measure, and the run says so."""
    extent = SUITES[name].extent
    assert extent(Plan(1, sizes=(48, 1400))).sizes == (1400,)
    assert extent(Plan(1, sizes=(48,))).paths == ()


def test_in_memory_there_is_no_row_without_a_gap():
    """There is no buffer."""
    assert SUITES["back-to-back"].extent(Plan(1, paths=(BenchPath.MEMORY,))).paths == ()


def test_tables_and_readings_of_all_sections(bench, result):
    """They have as many cells as columns, and words."""
    suites: tuple[Suite[Any], ...] = (Latency(), ZeroLoss(), Loss(), Rekey())
    for suite in suites:
        section = present(suite.run(bench))
        assert suite.reading(section, result.start)
        for table in suite.tables(section, result.start):
            assert table.rows
            assert {len(row) for row in table.rows} == {len(table.columns)}
