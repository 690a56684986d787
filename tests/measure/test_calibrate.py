"""Plain against plain: the runs are counted, and what missed 1 is."""

from __future__ import annotations

from dtls_emu.measure.calibrate import _misses, calibrate
from dtls_emu.measure.plan import BenchPath, Plan


def test_runs_of_plain_against_plain_are_counted():
    """Rate and CPU of each path, on real cards with a tiny plan; whatever is missed is a share with its interval."""
    plan = Plan(1, paths=(BenchPath.MEMORY,), sizes=(256,), rounds=6, trial_s=0.001)
    found = calibrate("two-vms", plan, lambda *_: None, runs=2)
    assert [(each.path, each.metric, each.runs) for each in found] == [
        (BenchPath.MEMORY, "rate", 2),
        (BenchPath.MEMORY, "cpu", 2),
    ]
    assert all(0 <= each.low <= each.missed / each.runs <= each.high <= 1 for each in found)


def test_a_share_of_misses_has_an_interval():
    """One of forty is consistent with 5 %."""
    misses = _misses(BenchPath.UDP, "rate", [(number == 0, 0.01 * number) for number in range(40)])
    assert (misses.runs, misses.missed, misses.width) == (40, 1, 0.2)
    assert misses.low < 0.05 < misses.high
