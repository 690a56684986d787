"""The suite that counts tunnels and flows, with a few of each: what it concludes, and that it says what is measured."""

from __future__ import annotations

import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.arms import encrypted_pair
from dtls_emu.measure.plan import Plan, quick_plan
from dtls_emu.measure.records.base import Stopped
from dtls_emu.measure.scaling import use_flows
from dtls_emu.measure.suites import scale
from dtls_emu.measure.suites.scale import Reach, Scale, run_scale
from dtls_emu.measure.suites.suite import Bench
from dtls_emu.testing.present import present


REACH = Reach(tunnels=(1, 2, 4), flows=(1, 8, 64), bursts=4, hosts=40)


def run(topology, reach=REACH, **plan):
    bench = Bench(
        topology,
        encrypted_pair(topology),
        Plan(7, rounds=6, **plan),
        ("cryptography",),
        lambda *_: None,
        seconds=3600,
    )
    return run_scale(bench, Scale().extent(bench.plan), "cryptography", reach)


@pytest.fixture
def measured(topology, monkeypatch):
    monkeypatch.setattr(scale, "idle_tunnel_bytes", lambda _backend: 20_000)
    return present(run(topology))


def test_every_number_of_either_arm_is_measured_and_no_flow_is_decided_twice(measured):
    """Six rounds of each, enough for an interval; one tunnel is all of itself."""
    assert [(point.arm, point.tunnels) for point in measured.tunnels] == [
        (arm, count) for arm in ("plain", "cryptography") for count in REACH.tunnels
    ]
    assert [point.flows for point in measured.flows] == [1, 8, 64]
    points = [*measured.tunnels, *measured.flows]
    assert {point.hub_ns.n for point in points} == {6}
    assert {point.misses for point in points} == {0}
    of_one = [
        point.kept.value
        for point in points
        if 1 in {getattr(point, "tunnels", 0), getattr(point, "flows", 0)}
    ]
    assert of_one == [1.0, 1.0, 1.0]
    assert measured.stopped is Stopped.COMPLETE


def test_what_was_measured_is_told_from_what_was_not(measured, result):
    """40 hosts need 39 tunnels of a card, and four were measured; the topology was compiled as it is."""
    needs = {need.what: need for need in measured.needs}
    assert needs["tunnels of the cloud"].value == 40 * 39 / 2
    kept = needs["throughput that a card keeps, all tunnels used in turn"]
    assert kept.extrapolated
    assert present(kept.low) <= kept.value <= present(kept.high)
    assert needs["memory of a card's tunnels"].value == 39 * 20_000 / 1e6
    assert not needs["CPU to compile the topology, 160 VMs"].extrapolated
    table = Scale().tables(measured, result.start)[-1]
    assert {row[3] for row in table.rows} == {"counted", "measured", "extrapolated"}


def test_nothing_beyond_is_called_measured(topology, monkeypatch, result):
    """With as many tunnels as peers the throughput is no extrapolation; memory that is not known has no row."""

    def fail(_backend):
        raise DtlsEmuError("no")

    monkeypatch.setattr(scale, "idle_tunnel_bytes", fail)
    measured = present(run(topology, REACH._replace(hosts=5)))
    needs = {need.what: need for need in measured.needs}
    assert not needs["throughput that a card keeps, all tunnels used in turn"].extrapolated
    assert "memory of a card's tunnels" not in needs
    assert "KB at each" not in Scale().reading(measured, result.start)


def test_words_and_tables_say_the_same(measured, result):
    """The largest numbers."""
    reading = Scale().reading(measured, result.start)
    assert reading.startswith(
        f"With 4 tunnels used in turn a card keeps {measured.tunnels[-1].kept} of the throughput"
    )
    tunnels, flows, _ = Scale().tables(measured, result.start)
    assert [len(row) for row in tunnels.rows] == [len(tunnels.columns)] * 6
    assert [len(row) for row in flows.rows] == [len(flows.columns)] * 3
    assert {figure.cell["arm"] for figure in measured.figures} == {"plain", "cryptography"}


def test_ctrl_c_keeps_finished_rounds(topology, monkeypatch):
    """And the end of its time ends it after a round."""
    monkeypatch.setattr(scale, "idle_tunnel_bytes", lambda _backend: 20_000)
    seen = []
    real = use_flows

    def interrupt(*args, **options):
        seen.append(args)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(scale, "use_flows", interrupt)
    measured = present(run(topology))
    assert measured.stopped is Stopped.INTERRUPTED
    assert {point.hub_ns.n for point in measured.flows} == {1}


def test_a_quick_run_goes_less_far():
    """So that it fits into a minute and a half."""
    assert Scale().extent(quick_plan(1)).rounds < Scale().extent(Plan(1)).rounds
    assert scale.QUICK.tunnels[-1] == 64
    assert (scale.FULL.tunnels[-1], scale.FULL.flows[-1]) == (4096, 1_000_000)
