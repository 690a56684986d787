"""Handshakes beside pyOpenSSL alone: pairs are compared, in random order."""

from __future__ import annotations

import pytest

from dtls_emu.measure.plan import BenchPath, Extent
from dtls_emu.measure.records.base import Stopped
from dtls_emu.measure.suites.handshake import WARM_UP, run_handshakes
from dtls_emu.testing.present import present


EXTENT = Extent((BenchPath.MEMORY,), (), rounds=9, trial_s=0.02)
BATCH = 20


def run(testbed):
    """Nine rounds."""
    return run_handshakes(testbed, EXTENT, lambda *_: None, seed=3, seconds=60)


def test_neighbours_are_compared_so_that_drift_cancels(fake_handshake_testbed):
    """The machine gets slower and slower; the ratio is what it is, in every pair but for a tenth of one's drift."""
    section = present(run(fake_handshake_testbed()))
    assert section.stopped is Stopped.COMPLETE
    assert (section.backend, section.handshakes) == ("ipsec-mb", 9 * BATCH)
    assert section.ratio.value == pytest.approx(1.5, rel=0.1)
    assert section.per_second == pytest.approx(1000 / section.cpu_ms)
    assert section.idle_tunnel_bytes == 20_000
    assert section.noise.value == pytest.approx(1, abs=0.1)


def test_neither_is_always_first(fake_handshake_testbed):
    """Whoever is first finds colder caches."""
    section = present(run(fake_handshake_testbed()))
    assert {trial.ours_first for trial in section.trials} == {True, False}


@pytest.mark.parametrize("rounds", [1, 4])
def test_an_interrupted_run_keeps_its_whole_rounds(fake_handshake_testbed, rounds):
    """Three trials each, behind those of the warm-up."""
    section = present(run(fake_handshake_testbed(interrupt_at=2 * WARM_UP + 3 * rounds + 1)))
    assert section.stopped is Stopped.INTERRUPTED
    assert section.handshakes == rounds * BATCH


def test_without_a_whole_round_there_is_nothing(fake_handshake_testbed):
    """Ctrl-C in the first one."""
    assert run(fake_handshake_testbed(interrupt_at=2 * WARM_UP + 1)) is None


def test_memory_that_could_not_be_measured_is_none(fake_handshake_testbed):
    """The rest is not lost for it."""
    assert present(run(fake_handshake_testbed(memory=None))).idle_tunnel_bytes is None
