"""Medians, ratios round by round, and the tables made of them."""

from datetime import UTC, datetime

import pytest

from side_by_side.plan import AGAIN, Plan
from side_by_side.report import tables
from side_by_side.result import End, Interval, PeerState, Result, Start, summarise


REFERENCE = "dtls-emu-ipsec-mb"


def _interval(number, arm, error="", metric="tcp-1", **figures):
    return Interval(round=number, metric=metric, arm=arm, figures=figures, error=error)


def _find(summaries, arm, key="gbit_per_s"):
    return next(summary for summary in summaries if (summary.arm, summary.key) == (arm, key))


def test_a_ratio_is_taken_within_a_round():
    """The machine was twice as fast in the second round, for both: the ratio does not move."""
    intervals = [
        _interval(number, arm, gbit_per_s=speed * rate)
        for number, speed in enumerate((1.0, 2.0, 1.5, 1.0, 3.0, 1.0))
        for arm, rate in ((REFERENCE, 6.0), ("openvpn", 1.0))
    ]
    ratio = _find(summarise(intervals, REFERENCE), "openvpn").ratio
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((6.0, 6.0, 6.0))


def test_a_round_in_which_one_failed_gives_no_pair():
    """Values of different rounds are never divided."""
    intervals = [
        _interval(0, REFERENCE, gbit_per_s=5.0),
        _interval(0, "openvpn", error="iperf3: no byte arrived"),
        _interval(1, REFERENCE, error="iperf3: no byte arrived"),
        _interval(1, "openvpn", gbit_per_s=1.0),
    ]
    summary = _find(summarise(intervals, REFERENCE), "openvpn")
    assert (summary.rounds, summary.median.value, summary.ratio) == (1, 1.0, None)


def test_the_reference_has_no_ratio_to_itself_but_to_its_second_turn():
    """Which says how much of a difference is noise."""
    intervals = [
        _interval(0, REFERENCE, gbit_per_s=5.0),
        _interval(0, REFERENCE + AGAIN, gbit_per_s=4.0),
    ]
    summaries = summarise(intervals, REFERENCE)
    assert _find(summaries, REFERENCE).ratio is None
    assert _find(summaries, REFERENCE + AGAIN).ratio.value == pytest.approx(1.25)


def test_a_value_of_zero_has_no_ratio():
    """CPU time comes in ticks of 10 ms, and a short trial may have none."""
    intervals = [
        _interval(0, REFERENCE, gbit_per_s=5.0, cpu_s_per_gb=0.0),
        _interval(0, "openvpn", gbit_per_s=1.0, cpu_s_per_gb=9.0),
    ]
    assert _find(summarise(intervals, REFERENCE), "openvpn", "cpu_s_per_gb").ratio is None


@pytest.fixture
def result():
    intervals = [
        _interval(number, arm, gbit_per_s=rate, cpu_s_per_gb=1 / rate, retransmits=3.0)
        for number in range(6)
        for arm, rate in ((REFERENCE, 5.0), ("openvpn", 0.5), (REFERENCE + AGAIN, 5.0))
    ]
    intervals.append(_interval(2, "openvpn", metric="ping", error="ping: no answer"))
    now = datetime(2026, 11, 20, tzinfo=UTC)
    start = Start(
        started=now,
        plan=Plan(3, 1.0, ("tcp-1", "ping"), "cubic", 1),
        reference=REFERENCE,
        inside_mtu=1400,
        tun_queue=1000,
        iperf3="iperf 3.12",
        load_average=0.2,
        environment={"cpu": {"usable_cores": 2}},
    )
    states = [
        ("openvpn", "AES-256-GCM", "", ""),
        (REFERENCE, "AES-256-GCM", "", "after the run: 1 packet in clear"),
        ("ocserv", None, "ocserv is not installed", ""),
    ]
    peers = [
        PeerState(name=name, version="1", cipher=cipher, missing=missing, degraded=degraded, gave_up="")
        for name, cipher, missing, degraded in states
    ]
    summary = summarise(intervals, REFERENCE)
    end = End(finished=now, stopped="complete", load_average=2.0, peers=peers, summary=summary)
    return Result(start=start, intervals=intervals, end=end)


def test_tables_show_every_arm_that_was_measured(result):
    """The second turn of the reference only where it says something."""
    _, (_, columns, figures), (_, _, ratios), _ = tables(result)
    assert columns == ["peer", ">TCP 1 Gbit/s", ">CPU s/GB (1)", ">ping p50 µs", ">p99 µs"]
    assert figures == [["openvpn", "0.50", "2.00", "-", "-"], [REFERENCE, "5.00", "0.20", "-", "-"]]
    assert ratios == [
        ["openvpn", "10.00 (10.00-10.00)", "0.10 (0.10-0.10)", "-", "-"],
        [REFERENCE + AGAIN, "1.00 (1.00-1.00)", "1.00 (1.00-1.00)", "-", "-"],
    ]


def test_tables_say_what_went_wrong(result):
    """What is missing, degraded or failed is not passed over in silence."""
    title, _, rows = tables(result)[-1]
    assert title == "Notes"
    assert rows == [
        [REFERENCE, "degraded", "after the run: 1 packet in clear"],
        ["ocserv", "not measured", "ocserv is not installed"],
        ["openvpn", "failed", "round 3, ping: ping: no answer"],
    ]


def test_a_result_file_can_be_read_back(result):
    """Whole."""
    assert Result.model_validate_json(result.encode()) == result
