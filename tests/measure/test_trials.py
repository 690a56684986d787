"""Warm-up, pairing, budget and interruption of a run, on fake testbeds."""

from __future__ import annotations

import itertools

import pytest

from dtls_emu.measure.plan import BenchPath, Plan
from dtls_emu.measure.sample import Accounting, Sample
from dtls_emu.measure.trials import FIRST_PACKETS, Stopped, run_trials
from dtls_emu.simulation.accounts import AccountingError


BACKENDS = ("null", "ipsec-mb")
PLAN = Plan(11, paths=(BenchPath.MEMORY,), sizes=(64, 1400), rounds=3, trial_s=0.05)
CELLS = len(PLAN.cells(BACKENDS))


def run(testbed, plan=PLAN, progress=lambda *_: None, **options):
    """Run a plan of one path."""
    return run_trials(plan, BACKENDS, {BenchPath.MEMORY: testbed}, progress, **options)


def test_every_cell_is_measured_in_every_round(fake_testbed):
    """The trials of a complete run are the plan's, in its order."""
    outcome = run(fake_testbed())
    assert outcome.stopped is Stopped.COMPLETE
    planned = [(cell, number) for number, order in enumerate(PLAN.schedule(BACKENDS)) for cell in order]
    assert [(trial.cell, trial.round) for trial in outcome.trials] == planned


def test_warm_up_is_discarded_and_sets_the_length_of_trials(fake_testbed):
    """The first calls of each cell leave no trial, and each trial lasts what the plan asks for."""
    testbed = fake_testbed()
    outcome = run(testbed)
    warm_up = testbed.calls[: len(testbed.calls) - len(outcome.trials)]
    assert len({(arm, size) for arm, size, _ in warm_up}) == CELLS
    assert all(packets >= FIRST_PACKETS for _, _, packets in warm_up)
    assert [trial.sample.wall_s for trial in outcome.trials] == pytest.approx(
        [0.05] * len(outcome.trials), rel=1e-3
    )


def test_interrupt_keeps_what_was_measured(fake_testbed):
    """Ctrl-C in the middle of a round ends the run cleanly."""
    complete = fake_testbed()
    run(complete)
    outcome = run(fake_testbed(interrupt_at=len(complete.calls) - 5))
    assert outcome.stopped is Stopped.INTERRUPTED
    assert len(outcome.trials) == PLAN.rounds * CELLS - 5


def test_interrupt_during_warm_up_leaves_no_trial(fake_testbed):
    """Nothing was measured, nothing is returned."""
    outcome = run(fake_testbed(interrupt_at=3))
    assert (outcome.stopped, outcome.trials) == (Stopped.INTERRUPTED, [])


def test_no_round_begins_after_the_budget(fake_testbed):
    """A round in progress is finished, so that every arm was measured equally often."""
    ticks = itertools.count()
    outcome = run(
        fake_testbed(),
        Plan(11, paths=PLAN.paths, sizes=PLAN.sizes, rounds=9, budget_s=0.5),
        clock=lambda: next(ticks),
    )
    assert outcome.stopped is Stopped.BUDGET
    assert len(outcome.trials) == CELLS


def test_the_first_round_is_measured_whatever_the_budget(fake_testbed):
    """A machine too slow for the budget still yields a result."""
    outcome = run(fake_testbed(), Plan(11, paths=PLAN.paths, sizes=PLAN.sizes, rounds=9, budget_s=0))
    assert len(outcome.trials) == CELLS


def test_a_missing_packet_ends_the_run(fake_testbed):
    """An account that does not add up is an error, already in the warm-up."""

    def leak(_arm, _size, packets):
        return Sample(Accounting(packets, packets - 1), packets, 1.0, 1.0, 1.0)

    testbed = fake_testbed()
    testbed.measure = leak
    with pytest.raises(AccountingError, match=r"memory, 64 bytes, plain: .* 1 packets are unaccounted for"):
        run(testbed)


def test_a_trial_that_delivers_nothing_ends_the_run(fake_testbed):
    """All dropped adds up, but measures nothing."""

    def block(_arm, _size, packets):
        return Sample(Accounting(packets, 0, {"too_big": packets}), 0, 1.0, 1.0, 1.0)

    testbed = fake_testbed()
    testbed.measure = block
    with pytest.raises(AccountingError, match=r"not one packet was delivered.*too_big"):
        run(testbed)


def test_progress_counts_up_to_the_total(fake_testbed):
    """Every step is told, and the last one is the total."""
    steps = []
    run(fake_testbed(), progress=lambda done, total, what: steps.append((done, total, what)))
    total = CELLS * (PLAN.rounds + 1)
    assert [done for done, _, _ in steps] == list(range(total + 1))
    assert {step[1] for step in steps} == {total}
    assert steps[0][2] == "warm-up: memory, 64 bytes, plain"
    assert steps[-1][2] == "done"
