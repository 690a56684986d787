"""What a result says of the machine's load, from files whose content is known."""

from __future__ import annotations

import gc
import os

import pytest

from dtls_emu.measure.machine import CpuTimes, cpu_times, one_core, undisturbed


def test_stolen_share_is_of_all_ticks(tmp_path):
    """Guest time is part of user time and not counted twice."""
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 50 800 10 0 5 35 60 0\ncpu0 1 2 3\n")
    now = cpu_times(stat)
    assert now == CpuTimes(total=1000, stolen=35)
    assert now.stolen_since(CpuTimes(total=800, stolen=25)) == pytest.approx(0.05)


def test_a_machine_that_does_not_tell_has_no_stolen_share(tmp_path):
    """No file, no figure."""
    now = cpu_times(tmp_path / "nothing")
    assert now.stolen_since(now) is None


def test_one_core_is_given_back():
    """Also when the trial fails."""
    before = os.sched_getaffinity(0)

    def fail():
        with one_core():
            assert len(os.sched_getaffinity(0)) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert os.sched_getaffinity(0) == before


def test_garbage_is_not_collected_during_a_trial():
    """And is afterwards."""
    with undisturbed():
        assert not gc.isenabled()
    assert gc.isenabled()
