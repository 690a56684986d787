"""The suite about the vendor's claim: a card in a process of its own, and cards that are modelled and called so."""

from __future__ import annotations

import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab.card_models import CARD_MODELS
from dtls_emu.measure.arms import encrypted_pair
from dtls_emu.measure.card_process import CardProcess
from dtls_emu.measure.plan import Plan
from dtls_emu.measure.records.base import Stopped
from dtls_emu.measure.suites.offload import Offload, run_offload
from dtls_emu.measure.suites.suite import Bench
from dtls_emu.testing.present import present


@pytest.fixture(scope="module")
def card():
    with CardProcess("cryptography", 5, 300) as card:
        yield card


def test_a_card_in_a_process_of_its_own_delivers_what_it_is_handed(card):
    """More than there are slots, and again; either side has CPU time of its own."""
    for bursts in (1, 40):
        handed = card.hand_over(bursts)
        assert handed.packets == 5 * bursts
        assert handed.host_s > 0
        assert handed.card_s > 0


def test_a_card_that_cannot_start_says_why():
    """In one line."""
    with pytest.raises(DtlsEmuError, match="no backend is called 'none'"):
        CardProcess("none", 5, 300)


def test_a_card_that_has_died_is_noticed():
    """In one line, and nothing is left behind."""
    with CardProcess("cryptography", 5, 300) as card:
        card._process.kill()
        card._process.wait()
        with pytest.raises(DtlsEmuError, match="the card's process has ended"):
            card.hand_over(40)


def test_who_does_the_work_is_a_row_and_models_are_called_so(topology, result):
    """Measured rows first; of a modelled one nothing of the card is measured, and its source is named."""
    bench = Bench(
        topology,
        encrypted_pair(topology),
        Plan(7, rounds=2, trial_s=0.001),
        ("cryptography",),
        lambda *_: None,
        seconds=3600,
    )
    measured = present(run_offload(bench, Offload().extent(bench.plan), "cryptography"))
    assert measured.stopped is Stopped.COMPLETE
    assert [row.arm for row in measured.rows if not row.modelled] == [
        "plain",
        "cryptography on the host's own thread",
        "cryptography on a card (own core)",
    ]
    models = [row for row in measured.rows if row.modelled]
    assert [row.arm for row in models] == [f"{name} (modelled)" for name in CARD_MODELS]
    assert all("NSDI 2018" in row.source for row in models)
    assert {row.card_ns for row in models} == {None}
    assert [row.ping_us for row in models] == [(17.0, 25.0, 80.0), (50.0, 100.0, 300.0)]
    assert not any("modelled" in str(figure.cell) for figure in measured.figures)
    costs, cores = Offload().tables(measured, result.start)
    assert [len(row) for row in costs.rows] == [len(costs.columns)] * 5
    assert [len(row) for row in cores.rows] == [len(cores.columns)] * 5
    assert "Modelled, not measured: accelnet-2018 (modelled) would carry 31 Gbit/s" in Offload().reading(
        measured, result.start
    )


def test_cores_are_packets_a_second_times_their_cost():
    """1,000 ns for each packet of 1,400 bytes at 10 Gbit/s: 892,857 packets a second, 0.89 of a core."""
    from dtls_emu.measure.statistics import median_estimate
    from dtls_emu.measure.suites.offload import _cores, _per_gb

    cost = median_estimate([1_000.0])
    assert _cores(cost, 1_400, 10) == "0.89"
    assert _per_gb(cost, 1_400) == "0.714"
    assert _cores(None, 1_400, 10) == ""
