"""The order of trials, and the refusal of plans that cannot be measured."""

from __future__ import annotations

import itertools

import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.plan import PLAIN, PLAIN_AGAIN, SIZES, BenchPath, Cell, Plan, full_plan, quick_plan


BACKENDS = ("null", "ipsec-mb")


def test_every_round_visits_every_cell_once():
    """No arm is measured more often than another."""
    plan = Plan(3, sizes=(64, 1400), rounds=5)
    rounds = list(plan.schedule(BACKENDS))
    assert len(rounds) == 5
    for order in rounds:
        assert sorted(map(str, order)) == sorted(map(str, plan.cells(BACKENDS)))


def test_arms_of_a_path_and_size_are_neighbours():
    """A pair is measured side by side: the cells of one path and size form one run of the order."""
    for order in Plan(3, rounds=5).schedule(BACKENDS):
        places = [(cell.path, cell.size) for cell in order]
        changes = sum(here != there for here, there in itertools.pairwise(places))
        assert changes == len(BenchPath) * len(SIZES) - 1


def test_order_is_random_and_seeded():
    """The same seed repeats the order, another one does not, and rounds differ."""
    first, again, other = (list(Plan(seed, rounds=4).schedule(BACKENDS)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first[0] != first[1]


def test_cells_come_in_the_order_of_a_report():
    """Plain first, its twin second, then the backends."""
    cells = Plan(1, paths=(BenchPath.MEMORY,), sizes=(64,)).cells(("null",))
    assert cells == [Cell(BenchPath.MEMORY, 64, arm) for arm in (PLAIN, PLAIN_AGAIN, "null")]


@pytest.mark.parametrize(
    "extent",
    [
        {"paths": ()},
        {"sizes": ()},
        {"sizes": (64, 64)},
        {"sizes": (47,)},
        {"sizes": (9000,)},
        {"rounds": 0},
        {"paths": (BenchPath.UDP, BenchPath.UDP)},
    ],
)
def test_a_plan_that_cannot_be_measured_is_refused(extent):
    """No path, no size, a size out of range, doubles, no round."""
    with pytest.raises(DtlsEmuError):
        Plan(1, **extent)


def test_quick_plan_is_smaller_but_leaves_no_path_out():
    """`--quick` reduces sizes, rounds and length only."""
    quick, full = quick_plan(5), full_plan(5)
    assert quick.paths == full.paths == tuple(BenchPath)
    assert set(quick.sizes) < set(full.sizes)
    assert quick.rounds < full.rounds
    assert quick.quick
    assert not full.quick
