"""The order of trials, and the refusal of plans that cannot be measured."""

from __future__ import annotations

import itertools

import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.plan import PLAIN, PLAIN_AGAIN, BenchPath, Cell, Extent, Plan, full_plan, quick_plan


BACKENDS = ("null", "ipsec-mb")
EXTENT = Extent(tuple(BenchPath), (64, 1400), rounds=5, trial_s=0.1)


def test_every_round_visits_every_cell_once():
    """No arm is measured more often than another."""
    rounds = list(EXTENT.schedule(BACKENDS, 3))
    assert len(rounds) == 5
    for order in rounds:
        assert sorted(map(str, order)) == sorted(map(str, EXTENT.cells(BACKENDS)))


def test_arms_of_a_path_and_size_are_neighbours():
    """A pair is measured side by side: the cells of one path and size form one run of the order."""
    for order in EXTENT.schedule(BACKENDS, 3):
        places = [(cell.path, cell.size) for cell in order]
        changes = sum(here != there for here, there in itertools.pairwise(places))
        assert changes == len(BenchPath) * len(EXTENT.sizes) - 1


def test_order_is_random_and_seeded():
    """The same seed repeats the order, another one does not, and rounds differ."""
    first, again, other = (list(EXTENT.schedule(BACKENDS, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first[0] != first[1]


def test_cells_come_in_the_order_of_a_report():
    """Plain first, its twin second, then the backends."""
    cells = Extent((BenchPath.MEMORY,), (64,), 1, 0.1).cells(("null",))
    assert cells == [Cell(BenchPath.MEMORY, 64, arm) for arm in (PLAIN, PLAIN_AGAIN, "null")]


def test_what_is_chosen_takes_the_place_of_a_suites_own():
    """And the rest stays; what does not fit the lab's path is left out unless it was chosen."""
    own = ((BenchPath.UDP,), (64, 1400, 8900), 25, 0.15)
    assert Plan(1).extent(*own) == Extent(*own)
    chosen = Plan(1, sizes=(512,), rounds=7, trial_s=0.2, paths=(BenchPath.MEMORY, BenchPath.UDP))
    assert chosen.extent(*own) == Extent((BenchPath.MEMORY, BenchPath.UDP), (512,), 7, 0.2)
    assert chosen.extent(*own, possible=(BenchPath.UDP,)).paths == (BenchPath.UDP,)
    assert Plan(1, path_mtu=1650).extent(*own).sizes == (64, 1400)


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
        {"backends": ("null", "null")},
        {"suites": ("throughput", "throughput")},
        {"flows": 0},
        {"burst": 65},
        {"sizes": (1600,), "path_mtu": 1650},
    ],
)
def test_a_plan_that_cannot_be_measured_is_refused(extent):
    """No path, no size, a size out of range, doubles, no round."""
    with pytest.raises(DtlsEmuError):
        Plan(1, **extent)


def test_quick_plan_has_less_time():
    """What each suite leaves out is its own."""
    quick, full = quick_plan(5), full_plan(5)
    assert quick.budget_s < full.budget_s
    assert (quick.quick, full.quick) == (True, False)
