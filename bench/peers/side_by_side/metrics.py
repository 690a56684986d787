"""Measures one metric of one tunnel; each gives a few figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from side_by_side.iperf import Iperf
from side_by_side.ping import ping
from side_by_side.plan import TCP_FLOWS, UDP_SIZES
from side_by_side.search import low_loss_trial


if TYPE_CHECKING:
    from pathlib import Path

    from side_by_side.peer import Tunnel
    from side_by_side.plan import Plan


__all__ = ["FIGURES", "Figure", "Probe", "expected_seconds"]


class Figure(NamedTuple):
    """One number of a metric, as tables show it.

    Fields:
        metric, key: where it comes from.
        heading: with its unit.
        digits: decimals shown.
        more_is_better: which way is up.
    """

    metric: str
    key: str
    heading: str
    digits: int
    more_is_better: bool


FIGURES: Final = (
    Figure("tcp-1", "gbit_per_s", "TCP 1 Gbit/s", 2, more_is_better=True),
    Figure("tcp-8", "gbit_per_s", "TCP 8 Gbit/s", 2, more_is_better=True),
    Figure("tcp-64", "gbit_per_s", "TCP 64 Gbit/s", 2, more_is_better=True),
    Figure("tcp-1", "cpu_s_per_gb", "CPU s/GB (1)", 2, more_is_better=False),
    Figure("tcp-64", "cpu_s_per_gb", "CPU s/GB (64)", 2, more_is_better=False),
    Figure("udp-64", "kpps", "UDP 64 B kpps", 1, more_is_better=True),
    Figure("udp-64", "flood_kpps", "flooded", 1, more_is_better=True),
    Figure("udp-1400", "kpps", "UDP 1400 B kpps", 1, more_is_better=True),
    Figure("udp-1400", "flood_kpps", "flooded", 1, more_is_better=True),
    Figure("ping", "p50_us", "ping p50 µs", 0, more_is_better=False),
    Figure("ping", "p99_us", "p99 µs", 0, more_is_better=False),
)
"""The columns of the tables, in order. A result file has more: retransmits, CPU time per packet, lost pings."""

SEARCH_S: Final = 1.0
SEARCH_TRIALS: Final = 6
"""Enough to come within some 5 % of the limit, unless overload leaves less than a quarter of it."""

STARTING_S: Final = 0.4
PINGING_S: Final = 1.3
"""What starting iperf3 twice takes, and a series of pings; only for the estimate of a run's length."""


class Probe:
    """Measures one tunnel."""

    def __init__(self, tunnel: Tunnel, work: Path, plan: Plan) -> None:
        self._tunnel, self._seconds = tunnel, plan.seconds
        self._iperf = Iperf(tunnel, work, plan.congestion)

    def warm_up(self) -> None:
        """A second of TCP, not counted: caches fill, and what compiles has compiled.

        Raises:
            PeerError: nothing passed.
        """
        self._iperf.tcp(1, 1)

    def measure(self, metric: str) -> dict[str, float]:
        """The figures of one metric; a rate with low loss is left out when none was found.

        Raises:
            PeerError: the trial failed.
        """
        if metric in TCP_FLOWS:
            return self._tcp(TCP_FLOWS[metric])
        if metric in UDP_SIZES:
            return self._udp(UDP_SIZES[metric])
        times = ping(self._tunnel)
        return {"p50_us": times.p50_us, "p99_us": times.p99_us, "lost": times.lost}

    def _tcp(self, flows: int) -> dict[str, float]:
        stream = self._iperf.tcp(flows, self._seconds)
        figures = {
            "gbit_per_s": stream.octets * 8 / stream.seconds / 1e9,
            "retransmits": float(stream.retransmits),
        }
        if self._tunnel.processes:
            figures["cpu_s_per_gb"] = stream.cpu_s / stream.octets * 1e9
        return figures

    def _udp(self, size: int) -> dict[str, float]:
        flood = self._iperf.udp(size, self._seconds)
        figures = {
            "flood_kpps": flood.received_per_s / 1e3,
            "flood_offered_kpps": flood.sent_per_s / 1e3,
        }
        trial = low_loss_trial(
            lambda rate: self._iperf.udp(size, SEARCH_S, rate), flood, trials=SEARCH_TRIALS
        )
        if trial is not None:
            figures["kpps"] = trial.received_per_s / 1e3
            if self._tunnel.processes:
                figures["cpu_us_per_packet"] = trial.cpu_s / trial.received * 1e6
        return figures


def expected_seconds(plan: Plan) -> float:
    """About how long one arm takes, all rounds together."""
    trial = plan.seconds + STARTING_S
    search = SEARCH_TRIALS * (SEARCH_S + STARTING_S)
    lengths = {
        **dict.fromkeys(TCP_FLOWS, trial),
        **dict.fromkeys(UDP_SIZES, trial + search),
        "ping": PINGING_S,
    }
    return plan.rounds * sum(lengths[metric] for metric in plan.metrics)
