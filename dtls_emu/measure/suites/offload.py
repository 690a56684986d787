"""The vendor's claim, "the same CPU and network performance as without encryption", as a table.

Who does the work of the sending host: the host itself, in clear or encrypting on its own thread; or a card that is a
process on a core of its own; or a card that is modelled from published figures. CPU is that of a core of this machine.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING, ClassVar, Final

from dtls_emu.lab.card_models import CARD_MODELS
from dtls_emu.measure.card_process import CardProcess
from dtls_emu.measure.hub import Hub
from dtls_emu.measure.machine import pin
from dtls_emu.measure.plan import PLAIN, BenchPath, Extent
from dtls_emu.measure.records.base import Better, Figure, Stopped
from dtls_emu.measure.records.offload import OffloadRow, OffloadSection
from dtls_emu.measure.scaling import PACKETS, use_flows
from dtls_emu.measure.statistics import median_estimate, median_ratio, verdict_of
from dtls_emu.measure.suites.suite import Suite, preferred
from dtls_emu.measure.tables import Table, as_arm, in_words


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.measure.plan import Plan
    from dtls_emu.measure.result import Start
    from dtls_emu.measure.statistics import Estimate
    from dtls_emu.measure.suites.suite import Bench


__all__ = ["Offload", "run_offload"]

SIZE: Final = 1_400
RATES: Final = (10, 40, 100)
"""Gbit/s of which the table says how many cores they take."""

BURST_S: Final = 30e-6
"""About what a burst takes: a trial has as many as fit into its length."""

ON_CARD: Final = "on a card (own core)"
OWN_THREAD: Final = "on the host's own thread"


class Offload(Suite[OffloadSection]):
    """See the module."""

    name = "offload"
    document = "own: CPU of host and card for each packet, paired; presets by Firestone et al., NSDI 2018"
    question = "Does encryption on a card leave the host the CPU that it had without encryption?"
    section = OffloadSection
    is_usual: ClassVar[bool] = False

    def extent(self, plan: Plan) -> Extent:
        """At one size; the card is handed packets through shared memory."""
        return Extent(
            (BenchPath.MEMORY,), (SIZE,), plan.rounds or (7 if plan.quick else 25), plan.trial_s or 0.1
        )

    def run(self, bench: Bench) -> OffloadSection | None:
        """See :class:`~dtls_emu.measure.suites.suite.Suite`."""
        backend = preferred(bench.backends)
        assert backend is not None  # or the suite is skipped
        return run_offload(bench, self.extent(bench.plan), backend)

    def tables(self, section: OffloadSection, start: Start) -> list[Table]:
        """The claim."""
        return [_cost_table(section), _core_table(section)]

    def reading(self, section: OffloadSection, start: Start) -> str:
        """The claim, measured; modelled cards are called so."""
        plain = "times the CPU that it costs without encryption"
        on_card = in_words(section.host_ratio, verdict_of(section.host_ratio), plain)
        own = in_words(section.own_ratio, verdict_of(section.own_ratio), plain)
        models = "; ".join(
            f"{row.arm} would carry {row.gbit_per_s:.0f} Gbit/s, and a ping would take {row.ping_us[0]:.0f} µs in the mean"
            for row in section.rows
            if row.modelled and row.ping_us
        )
        return (
            f"When the host encrypts on its own thread, a packet of {section.size} bytes costs it {own}; when a card on a core "
            f"of its own does, {on_card}. Modelled, not measured: {models}."
        )


def run_offload(bench: Bench, extent: Extent, backend: str) -> OffloadSection | None:
    """Measure who does the work, round after round. Ctrl-C keeps finished rounds; None: there are none.

    Args:
        bench: for its progress, plan and time.
        extent: its rounds and trial length count here.
        backend: of the encrypted arms.

    Raises:
        AccountingError: a packet did not arrive.
        DtlsEmuError: the card's process cannot be started.
    """
    rng = random.Random(bench.plan.seed)
    deadline = bench.deadline()
    bursts = max(64, round(extent.trial_s / BURST_S))
    rounds: list[dict[str, tuple[float, float]]] = []
    stopped = Stopped.COMPLETE
    allowed = os.sched_getaffinity(0)
    try:
        bench.progress(0, 1, "starting a card in a process of its own")
        hubs = {PLAIN: Hub(1, encrypted=False), OWN_THREAD: Hub(1, backend=backend)}
        for hub in hubs.values():
            hub.connect(1)
        with CardProcess(backend, PACKETS, SIZE) as card:
            pin(0)

            def measure(arm: str, count: int) -> tuple[float, float]:
                """CPU nanoseconds of host and card for a packet."""
                if arm == ON_CARD:
                    handed = card.hand_over(count)
                    return handed.host_s / handed.packets * 1e9, handed.card_s / handed.packets * 1e9
                load = use_flows(hubs[arm], 1, size=SIZE, bursts=count, singles=0)
                return load.hub_s / load.packets * 1e9, 0.0

            arms = [*hubs, ON_CARD]
            for arm in arms:
                measure(arm, bursts // 4)
            for number in range(extent.rounds):
                if rounds and time.monotonic() >= deadline:
                    stopped = Stopped.BUDGET
                    break
                found: dict[str, tuple[float, float]] = {}
                for arm in rng.sample(arms, len(arms)):
                    done = number * len(arms) + len(found)
                    what = f"round {number + 1} of {extent.rounds}: {arm}"
                    bench.progress(done, extent.rounds * len(arms), what)
                    found[arm] = measure(arm, bursts)
                rounds.append(found)
    except KeyboardInterrupt:
        stopped = Stopped.INTERRUPTED
    finally:
        os.sched_setaffinity(0, allowed)
    return _conclude(rounds, extent, backend, stopped) if rounds else None


def _conclude(
    rounds: Sequence[dict[str, tuple[float, float]]], extent: Extent, backend: str, stopped: Stopped
) -> OffloadSection:
    hosts = {arm: [each[arm][0] for each in rounds] for arm in rounds[0]}
    cards = {arm: [each[arm][1] for each in rounds] for arm in rounds[0]}
    order = [(PLAIN, PLAIN), (OWN_THREAD, f"{backend} {OWN_THREAD}"), (ON_CARD, f"{backend} {ON_CARD}")]
    rows = [
        OffloadRow(
            arm=name,
            modelled=False,
            host_ns=median_estimate(hosts[arm]),
            card_ns=median_estimate(cards[arm]) if arm == ON_CARD else None,
            gbit_per_s=SIZE * 8 / median_estimate(cards[arm] if arm == ON_CARD else hosts[arm]).value,
            ping_us=None,
            source="measured here",
        )
        for arm, name in order
    ]
    rows += [
        OffloadRow(
            arm=f"{model.name} (modelled)",
            modelled=True,
            host_ns=median_estimate(hosts[ON_CARD]) if model.host_share == 0 else None,
            card_ns=None,
            gbit_per_s=model.rate / 1e9,
            ping_us=(model.mean * 1e6, model.p99 * 1e6, model.p999 * 1e6),
            source=model.source,
        )
        for model in CARD_MODELS.values()
    ]
    figures = [
        Figure(
            cell={"arm": name},
            metric=f"{who} CPU",
            unit="ns/packet",
            better=Better.LOWER,
            relative=False,
            samples=values[arm],
            estimate=median_estimate(values[arm]),
        )
        for who, values in (("host", hosts), ("card", cards))
        for arm, name in order
        if who == "host" or arm == ON_CARD
    ]
    return OffloadSection(
        document=Offload.document,
        extent=extent,
        stopped=stopped,
        figures=figures,
        backend=backend,
        size=SIZE,
        burst=PACKETS,
        rows=rows,
        host_ratio=median_ratio(hosts[ON_CARD], hosts[PLAIN]),
        own_ratio=median_ratio(hosts[OWN_THREAD], hosts[PLAIN]),
    )


def _cost_table(section: OffloadSection) -> Table:
    rows = [
        (
            as_arm(row.arm),
            _ns(row.host_ns),
            _ns(row.card_ns),
            _per_gb(row.host_ns, section.size),
            _per_gb(row.card_ns, section.size),
            "" if row.gbit_per_s is None else f"{row.gbit_per_s:.1f}",
            "" if row.ping_us is None else " / ".join(f"{each:.0f}" for each in row.ping_us),
        )
        for row in section.rows
    ]
    columns = (
        "who encrypts",
        ">host ns/packet",
        ">card ns/packet",
        ">host CPU s/GB",
        ">card CPU s/GB",
        ">Gbit/s on a core",
        ">ping, µs: mean / 99 % / 99.9 %",
    )
    title = (
        f"Sending {section.size}-byte packets, {section.burst} at once; modelled rows are published figures"
    )
    return Table(title, columns, rows, ("ping, µs: mean / 99 % / 99.9 %", "card CPU s/GB", "host CPU s/GB"))


def _core_table(section: OffloadSection) -> Table:
    rows = [
        (
            as_arm(row.arm),
            *(_cores(row.host_ns, section.size, rate) for rate in RATES),
            *(_cores(row.card_ns, section.size, rate) for rate in RATES),
        )
        for row in section.rows
    ]
    columns = ("who encrypts", *(f">{who} {rate} Gbit/s" for who in ("host", "card") for rate in RATES))
    return Table(
        f"Cores of this machine that a rate takes, {section.size}-byte packets, one way", columns, rows
    )


def _ns(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.0f}"
    return f"{estimate.value:.0f} ({estimate.low:.0f}-{estimate.high:.0f})"


def _per_gb(estimate: Estimate | None, size: int) -> str:
    return "" if estimate is None else f"{estimate.value / size:.3f}"


def _cores(estimate: Estimate | None, size: int, gbit: int) -> str:
    """Packets a second times CPU seconds of each."""
    return "" if estimate is None else f"{gbit / (size * 8) * estimate.value:.2f}"
