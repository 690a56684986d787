"""Warm-up, pairing, budget and interruption of a run, on fake testbeds."""

from __future__ import annotations

import itertools

import pytest

from dtls_emu.measure.plan import BenchPath, Extent, Plan
from dtls_emu.measure.records.base import Stopped, TrialRecord
from dtls_emu.measure.sample import Accounting, Sample
from dtls_emu.measure.trials import MOST_REPEATS, run_trials
from dtls_emu.simulation.accounts import AccountingError


BACKENDS = ("null", "ipsec-mb")
PLAN = Plan(11)
EXTENT = Extent((BenchPath.MEMORY,), (64, 1400), rounds=3, trial_s=0.05)
CELLS = len(EXTENT.cells(BACKENDS))


def run(testbed, extent=EXTENT, progress=lambda *_: None, seconds=60.0, **options):
    """Run an extent of one path."""
    return run_trials(
        PLAN, extent, BACKENDS, {BenchPath.MEMORY: testbed}, progress, seconds=seconds, **options
    )


def test_every_cell_is_measured_in_every_round(fake_testbed):
    """The trials of a complete run are the plan's, in its order."""
    outcome = run(fake_testbed())
    assert outcome.stopped is Stopped.COMPLETE
    planned = [
        (cell, number) for number, order in enumerate(EXTENT.schedule(BACKENDS, PLAN.seed)) for cell in order
    ]
    assert [(trial.cell, trial.round) for trial in outcome.trials] == planned


def test_trials_of_all_arms_last_equally_long(fake_testbed):
    """Whatever an arm's rate; the warm-up leaves no trial."""
    testbed = fake_testbed()
    outcome = run(testbed)
    warm_up, measured = testbed.calls[: -len(outcome.trials)], testbed.calls[-len(outcome.trials) :]
    assert len({(load.arm, load.size) for load in warm_up}) == CELLS
    assert {load.seconds for load in measured} == {0.05}
    assert [trial.sample.wall_s for trial in outcome.trials] == pytest.approx(
        [0.05] * len(outcome.trials), rel=1e-3
    )


def test_a_trial_of_another_length_is_repeated_and_then_flagged(fake_testbed):
    """Half as long again as it was to be: something held it up."""
    outcome = run(fake_testbed(stretch=1.5))
    assert {trial.observed.repeated for trial in outcome.trials} == {MOST_REPEATS}
    assert all(trial.observed.conditions.spoilt for trial in outcome.trials)
    quiet = run(fake_testbed(stretch=1.1))
    assert {trial.observed.repeated for trial in quiet.trials} == {0}


def test_interrupt_keeps_what_was_measured(fake_testbed):
    """Ctrl-C in the middle of a round ends the run cleanly."""
    complete = fake_testbed()
    run(complete)
    outcome = run(fake_testbed(interrupt_at=len(complete.calls) - 5))
    assert outcome.stopped is Stopped.INTERRUPTED
    assert len(outcome.trials) == EXTENT.rounds * CELLS - 5


def test_interrupt_during_warm_up_leaves_no_trial(fake_testbed):
    """Nothing was measured, nothing is returned."""
    outcome = run(fake_testbed(interrupt_at=3))
    assert (outcome.stopped, outcome.trials) == (Stopped.INTERRUPTED, [])


def test_no_round_begins_after_the_budget(fake_testbed):
    """A round in progress is finished, so that every arm was measured equally often."""
    ticks = itertools.count()
    outcome = run(fake_testbed(), seconds=0.5, clock=lambda: next(ticks))
    assert outcome.stopped is Stopped.BUDGET
    assert len(outcome.trials) == CELLS


def test_the_first_round_is_measured_whatever_the_budget(fake_testbed):
    """A machine too slow for the budget still yields a result."""
    outcome = run(fake_testbed(), seconds=0)
    assert len(outcome.trials) == CELLS


def test_a_missing_packet_ends_the_run(fake_testbed):
    """An account that does not add up is an error, already in the warm-up."""

    def leak(_load):
        return Sample(Accounting(100, 99), 100, 1.0, 1.0, 1.0)

    testbed = fake_testbed()
    testbed.measure = leak
    with pytest.raises(AccountingError, match=r"memory, 64 bytes, plain: .* 1 packets are unaccounted for"):
        run(testbed)


def test_a_trial_that_delivers_nothing_ends_the_run(fake_testbed):
    """All dropped adds up, but measures nothing."""

    def block(_load):
        return Sample(Accounting(100, 0, {"too_big": 100}), 0, 1.0, 1.0, 1.0)

    testbed = fake_testbed()
    testbed.measure = block
    with pytest.raises(AccountingError, match=r"not one packet was delivered.*too_big"):
        run(testbed)


def test_progress_counts_up_to_the_total(fake_testbed):
    """Every step is told, and the last one is the total; every trial is told once it is measured."""
    steps = []
    told: list[TrialRecord] = []
    run(
        fake_testbed(), told=told.append, progress=lambda done, total, what: steps.append((done, total, what))
    )
    total = CELLS * (EXTENT.rounds + 1)
    assert [done for done, _, _ in steps] == list(range(total + 1))
    assert {step[1] for step in steps} == {total}
    assert steps[0][2] == "warm-up: memory, 64 bytes, plain"
    assert steps[-1][2] == "done"
    assert len(told) == CELLS * EXTENT.rounds
