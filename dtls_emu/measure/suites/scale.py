"""Many tunnels and many flows on one card: throughput, delay, memory, misses; and what a cloud of 5,000 hosts would need.

Numbers of one arm are measured in random order within a round, all on the same cards, so that ratios to one tunnel or one
flow are of neighbours in time. The model is a power of the number of tunnels, fitted round by round.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np

from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.measure.clouds import VMS_OF_A_HOST, cloud
from dtls_emu.measure.hub import Hub
from dtls_emu.measure.idle_tunnels import idle_tunnel_bytes
from dtls_emu.measure.plan import PLAIN, BenchPath, Extent
from dtls_emu.measure.records.base import Better, Figure, Stopped
from dtls_emu.measure.records.scale import FlowPoint, Need, ScaleSection, TunnelPoint
from dtls_emu.measure.scaling import open_flows, open_tunnels, use_flows, use_tunnels
from dtls_emu.measure.statistics import median_estimate, median_ratio
from dtls_emu.measure.suites.suite import Suite, preferred
from dtls_emu.measure.tables import Table, as_arm


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dtls_emu.measure.plan import Plan
    from dtls_emu.measure.result import Start
    from dtls_emu.measure.scaling import Load, Opened
    from dtls_emu.measure.statistics import Estimate
    from dtls_emu.measure.suites.suite import Bench


__all__ = ["Reach", "Scale", "run_scale"]

SIZE: Final = 1_400
HOSTS: Final = 5_000
"""Of the cloud whose needs are told."""

SINGLES: Final = 256
"""Packets of a trial whose delay is taken one by one."""

CHUNKS: Final = 16
"""Parts in which tunnels are set up and flows opened; each is one value."""

COMPILES: Final = 6

MOST_IN_CLEAR: Final = 256
"""Peers of the plain arm: each is a card of 0.4 MB here, and what they cost in clear is seen by then."""

MEGABYTE: Final = 1e6


class Reach(NamedTuple):
    """How far it goes.

    Fields:
        tunnels, flows: numbers that are measured, rising, from 1 on.
        bursts: of a trial, in each direction; at least as many as tunnels.
        hosts: of the cloud.
    """

    tunnels: tuple[int, ...]
    flows: tuple[int, ...]
    bursts: int
    hosts: int = HOSTS


QUICK: Final = Reach((1, 4, 16, 64), (1, 100, 10_000), 128)
FULL: Final = Reach((1, 4, 16, 64, 256, 1024, 4096), (1, 100, 10_000, 1_000_000), 4096)


class Scale(Suite[ScaleSection]):
    """See the module."""

    name = "scale"
    document = "own: one card, many peers, in memory; as RFC 8219 10.2 asks for n flows"
    question = "How many tunnels and flows does a card bear, and what would 5,000 hosts need?"
    section = ScaleSection
    is_usual: ClassVar[bool] = False
    weight: ClassVar[float] = 2.0

    def extent(self, plan: Plan) -> Extent:
        """In memory, at one size; how many tunnels and flows depends on whether the run is a quick one."""
        return Extent(
            (BenchPath.MEMORY,), (SIZE,), plan.rounds or (6 if plan.quick else 11), plan.trial_s or 0.1
        )

    def run(self, bench: Bench) -> ScaleSection | None:
        """See :class:`~dtls_emu.measure.suites.suite.Suite`."""
        backend = preferred(bench.backends)
        assert backend is not None  # or the suite is skipped
        return run_scale(bench, self.extent(bench.plan), backend, QUICK if bench.plan.quick else FULL)

    def tables(self, section: ScaleSection, start: Start) -> list[Table]:
        """Tunnels, flows, and what the cloud would need."""
        return [_tunnel_table(section), _flow_table(section), _need_table(section)]

    def reading(self, section: ScaleSection, start: Start) -> str:
        """The largest numbers that were measured, then the cloud."""
        tunnels = [point for point in section.tunnels if point.arm == section.backend][-1]
        flows = section.flows[-1]
        kept = section.tunnel_bytes
        memory = "" if kept is None else f" and {kept / 1e3:.0f} KB at each"
        return (
            f"With {tunnels.tunnels:,} tunnels used in turn a card keeps {tunnels.kept} of the throughput that it has with "
            f"one, and with {flows.flows:,} flows used in turn {flows.kept} of that with one. A new flow costs the sending "
            f"card {section.new_flow_us} µs and {section.flow_bytes:.0f} bytes, a tunnel {section.set_up_ms} ms of CPU at "
            f"both ends together{memory}."
        )


def run_scale(bench: Bench, extent: Extent, backend: str, reach: Reach) -> ScaleSection | None:
    """Set up cards, measure round after round, conclude. Ctrl-C keeps finished rounds; None: there are none.

    Args:
        bench: for its progress, plan and time.
        extent: its rounds count here.
        backend: of the encrypted arm.
        reach: how far it goes.

    Raises:
        AccountingError: a packet did not arrive.
    """
    rng = random.Random(bench.plan.seed)
    deadline = bench.deadline()
    most = reach.tunnels[-1]
    tunnels: list[dict[tuple[str, int], Load]] = []
    flows: list[dict[int, Load]] = []
    stopped = Stopped.COMPLETE
    try:
        bench.progress(0, 1, f"setting up {most} tunnels")
        hubs = {PLAIN: Hub(min(most, MOST_IN_CLEAR), encrypted=False), backend: Hub(most, backend=backend)}
        opened = {arm: _open_tunnels(hub, len(hub.peers)) for arm, hub in hubs.items()}
        pair = Hub(1, backend=backend)
        pair.connect(1)
        bench.progress(0, 1, f"opening {reach.flows[-1]:,} flows")
        open_flows(pair, 0, 256)
        opened_flows = _open_flows(pair, 256, reach.flows[-1])
        compiles = _compile(reach.hosts)
        tunnel_bytes = _idle_tunnel_bytes(backend)
        for arm, hub in hubs.items():  # every flow is in its tables, and every cache has been used
            bench.progress(0, 1, f"warming {arm} up")
            use_tunnels(hub, len(hub.peers), size=SIZE, bursts=2 * len(hub.peers), singles=0)
        places = _places(backend, reach)
        for number in range(extent.rounds):
            if flows and time.monotonic() >= deadline:
                stopped = Stopped.BUDGET
                break
            found: dict[tuple[str, int], Load] = {}
            for arm, count in rng.sample(places, len(places)):
                what = f"round {number + 1} of {extent.rounds}: {count:,} tunnels, {arm}"
                bench.progress(number * len(places) + len(found), extent.rounds * len(places), what)
                found[arm, count] = use_tunnels(
                    hubs[arm], count, size=SIZE, bursts=reach.bursts, singles=SINGLES
                )
            of_flows = {
                count: use_flows(pair, count, size=SIZE, bursts=reach.bursts, singles=SINGLES)
                for count in rng.sample(reach.flows, len(reach.flows))
            }
            tunnels.append(found)
            flows.append(of_flows)
    except KeyboardInterrupt:
        stopped = Stopped.INTERRUPTED
    if not flows:
        return None
    return _conclude(
        _Found(tunnels, flows, opened[backend], opened_flows, compiles, tunnel_bytes),
        extent,
        backend,
        reach,
        stopped,
    )


class _Found(NamedTuple):
    """What was measured, round by round or chunk by chunk."""

    tunnels: list[dict[tuple[str, int], Load]]
    flows: list[dict[int, Load]]
    opened: list[Opened]
    opened_flows: list[Opened]
    compiles: list[float]
    tunnel_bytes: int | None


def _conclude(found: _Found, extent: Extent, backend: str, reach: Reach, stopped: Stopped) -> ScaleSection:
    tunnels = [
        TunnelPoint(
            arm=arm,
            tunnels=count,
            **_point([each[arm, count] for each in found.tunnels], [each[arm, 1] for each in found.tunnels]),
        )
        for arm, count in _places(backend, reach)
    ]
    flows = [
        FlowPoint(
            flows=count, **_point([each[count] for each in found.flows], [each[1] for each in found.flows])
        )
        for count in reach.flows
    ]
    set_up = median_estimate([each.hub_s / each.count * 1e3 for each in found.opened])
    # Both ends are in this process.
    flow_bytes = _each(found.opened_flows) / 2
    compiled = median_estimate(found.compiles)
    predicted = _predict(found.tunnels, backend, reach.tunnels, reach.hosts - 1)
    return ScaleSection(
        document=Scale.document,
        extent=extent,
        stopped=stopped,
        figures=_figures(found, backend, reach),
        backend=backend,
        tunnels=tunnels,
        flows=flows,
        table_flows=reach.flows[-1],
        set_up_ms=set_up,
        tunnel_bytes=found.tunnel_bytes,
        new_flow_us=median_estimate([each.hub_s / each.count * 1e6 for each in found.opened_flows]),
        flow_bytes=flow_bytes,
        compile_s=compiled,
        hosts=reach.hosts,
        needs=_needs(reach, set_up, found.tunnel_bytes, flow_bytes, compiled, predicted),
    )


def _point(loads: Sequence[Load], of_one: Sequence[Load]) -> dict[str, Any]:
    return {
        "hub_ns": median_estimate([_hub_ns(load) for load in loads]),
        "kept": median_ratio([_hub_ns(load) for load in of_one], [_hub_ns(load) for load in loads]),
        "delay_us": median_estimate([float(np.median(load.delays)) * 1e6 for load in loads]),
        "delay_99_us": median_estimate([float(np.quantile(load.delays, 0.99)) * 1e6 for load in loads]),
        "misses": sum(load.decided for load in loads),
    }


def _hub_ns(load: Load) -> float:
    return load.hub_s / load.packets * 1e9


def _each(opened: Sequence[Opened]) -> float:
    return max(0.0, sum(each.resident for each in opened) / sum(each.count for each in opened))


def _predict(
    rounds: Sequence[Mapping[tuple[str, int], Load]], arm: str, counts: Sequence[int], wanted: int
) -> Estimate:
    """What is kept of one tunnel's throughput with so many: a power of their number, fitted round by round."""
    logarithms = np.log2(np.array(counts, np.float64))
    of_one, of_many = [], []
    for loads in rounds:
        costs = np.array([_hub_ns(loads[arm, count]) for count in counts])
        slope, start = np.polyfit(logarithms, np.log2(costs), 1)
        of_one.append(float(costs[0]))
        of_many.append(float(np.exp2(start + slope * np.log2(wanted))))
    return median_ratio(of_one, of_many)


def _needs(
    reach: Reach,
    set_up: Estimate,
    tunnel_bytes: int | None,
    flow_bytes: float,
    compiled: Estimate,
    predicted: Estimate,
) -> list[Need]:
    peers, measured = reach.hosts - 1, reach.tunnels[-1]
    is_beyond = peers > measured
    pairs = reach.hosts * peers // 2
    basis = f"measured with up to {measured:,} tunnels"

    def times(estimate: Estimate, factor: float) -> tuple[float, float | None, float | None]:
        ends = [None if end is None else end * factor for end in (estimate.low, estimate.high)]
        return estimate.value * factor, ends[0], ends[1]

    rows: list[tuple[str, tuple[float, float | None, float | None], str, bool, str]] = [
        ("tunnels of a card, if its host talks to all others", (peers, None, None), "", False, "counted"),
        ("tunnels of the cloud", (pairs, None, None), "", False, "counted: a pair of hosts needs one"),
        (
            "throughput that a card keeps, all tunnels used in turn",
            (predicted.value, predicted.low, predicted.high),
            "of one tunnel's",
            is_beyond,
            f"a power of their number, {basis}",
        ),
        (
            "memory of a card's tunnels",
            ((tunnel_bytes or 0) * peers / MEGABYTE, None, None),
            "MB",
            True,
            "so much for each, measured with 400 tunnels in a process of their own",
        ),
        (
            "CPU of a card to set all of them up once",
            times(set_up, peers / 2 / 1e3),
            "s",
            is_beyond,
            f"half of a tunnel's, for each, {basis}",
        ),
        (
            "memory of a million flows of a card",
            (flow_bytes * 1e6 / MEGABYTE, None, None),
            "MB",
            reach.flows[-1] < 1_000_000,
            f"measured with {reach.flows[-1]:,} flows",
        ),
        (
            f"CPU to compile the topology, {reach.hosts * VMS_OF_A_HOST:,} VMs",
            (compiled.value, compiled.low, compiled.high),
            "s",
            False,
            f"measured with {reach.hosts:,} hosts",
        ),
    ]
    return [
        Need(what=what, value=value, low=low, high=high, unit=unit, extrapolated=beyond, basis=why)
        for what, (value, low, high), unit, beyond, why in rows
        if value
    ]


def _places(backend: str, reach: Reach) -> list[tuple[str, int]]:
    """Arms and numbers of tunnels, or of peers in clear."""
    in_clear = [(PLAIN, count) for count in reach.tunnels if count <= MOST_IN_CLEAR]
    return [*in_clear, *((backend, count) for count in reach.tunnels)]


def _figures(found: _Found, backend: str, reach: Reach) -> list[Figure]:
    samples: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for tunnels, flows in zip(found.tunnels, found.flows, strict=True):
        for arm, count in _places(backend, reach):
            samples[arm, "tunnels", count].append(_hub_ns(tunnels[arm, count]))
        for count in reach.flows:
            samples[backend, "flows", count].append(_hub_ns(flows[count]))
    return [
        Figure(
            cell={"arm": arm, what: count},
            metric=f"card, {what}",
            unit="ns/packet",
            better=Better.LOWER,
            relative=False,
            samples=values,
            estimate=median_estimate(values),
        )
        for (arm, what, count), values in samples.items()
    ]


def _open_tunnels(hub: Hub, count: int) -> list[Opened]:
    return [open_tunnels(hub, first, last) for first, last in _chunks(1, count)]


def _open_flows(hub: Hub, first: int, count: int) -> list[Opened]:
    return [
        open_flows(hub, begin, end + 1 - begin) for begin, end in _chunks(first, max(count - first, CHUNKS))
    ]


def _chunks(first: int, count: int) -> list[tuple[int, int]]:
    """First and last of each part of ``count`` numbers; the first part warms up, and is of a few."""
    edges = sorted({first + count * part // CHUNKS for part in range(CHUNKS + 1)})
    return [(begin, end - 1) for begin, end in pairwise(edges)]


def _idle_tunnel_bytes(backend: str) -> int | None:
    try:
        return idle_tunnel_bytes(backend)
    except DtlsEmuError:
        return None


def _compile(hosts: int) -> list[float]:
    """CPU seconds, again and again."""
    lab = cloud(hosts)
    found = []
    for _ in range(COMPILES):
        started = time.thread_time()
        compile_lab(lab)
        found.append(time.thread_time() - started)
    return found


def _tunnel_table(section: ScaleSection) -> Table:
    rows = [(f"{each.tunnels:,}", as_arm(each.arm), *_cells(each)) for each in section.tunnels]
    title = f"Tunnels of one card, used in turn, {SIZE} bytes; CPU time"
    return Table(title, (">tunnels", "arm", *_COLUMNS), rows, ("delay 99 %, µs", "delay, µs", "misses"))


def _flow_table(section: ScaleSection) -> Table:
    rows = [(f"{each.flows:,}", *_cells(each)) for each in section.flows]
    title = f"Flows of one tunnel, used in turn, of {section.table_flows:,} in the card's table; {section.backend}"
    return Table(title, (">flows", *_COLUMNS), rows, ("delay 99 %, µs", "delay, µs", "misses"))


_COLUMNS: Final = (
    ">ns/packet",
    ">95 % interval",
    ">kept of one",
    ">95 %",
    ">delay, µs",
    ">delay 99 %, µs",
    ">misses",
)


def _cells(point: TunnelPoint | FlowPoint) -> tuple[str, ...]:
    return (
        f"{point.hub_ns.value:.0f}",
        _interval(point.hub_ns, 0),
        f"{point.kept.value:.3f}",
        _interval(point.kept, 3),
        f"{point.delay_us.value:.1f}",
        f"{point.delay_99_us.value:.1f}",
        f"{point.misses:,}",
    )


def _need_table(section: ScaleSection) -> Table:
    rows = [
        (
            each.what,
            f"{_figure(each.value)} {each.unit}".strip(),
            "" if each.low is None or each.high is None else f"{_figure(each.low)}-{_figure(each.high)}",
            "extrapolated" if each.extrapolated else "measured" if each.basis[:7] != "counted" else "counted",
            each.basis,
        )
        for each in section.needs
    ]
    title = f"What {section.hosts:,} hosts would need"
    return Table(title, ("what", ">value", ">95 % interval", "how", "from"), rows, ("from",))


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _interval(estimate: Estimate, digits: int) -> str:
    if estimate.low is None or estimate.high is None:
        return f"n={estimate.n}"
    return f"{estimate.low:.{digits}f}-{estimate.high:.{digits}f}"
