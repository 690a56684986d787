"""What suites that offer packets on a schedule have in common: the rate of an arm, and how it is looked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dtls_emu.measure.packets import SMALLEST_TIMED
from dtls_emu.measure.plan import PLAIN, PLAIN_AGAIN
from dtls_emu.measure.search import NO_LOSS, search
from dtls_emu.measure.source import Load
from dtls_emu.measure.suites.suite import preferred
from dtls_emu.measure.trials import observe


if TYPE_CHECKING:
    from dtls_emu.measure.plan import Cell, Extent, Plan
    from dtls_emu.measure.search import Found
    from dtls_emu.measure.suites.suite import Bench
    from dtls_emu.measure.trials import Testbed


__all__ = ["OVER", "arms_of", "closed_loop_rate", "find_rate", "timed_extent", "warm_up"]

WARM_UP_S: Final = 0.01
OVER: Final = 1.25
"""A search begins this far above what a closed loop carries, which waits for the receiver and a schedule does not."""


def arms_of(bench: Bench) -> tuple[str, ...]:
    """Plain, plain again, and the backends that were asked for, or the fastest where none was."""
    fastest = preferred(bench.backends)
    return (PLAIN, PLAIN_AGAIN, *(bench.plan.backends or ((fastest,) if fastest else ())))


def timed_extent(extent: Extent) -> Extent:
    """The same without sizes that cannot carry a time; nothing, if none can."""
    sizes = tuple(size for size in extent.sizes if size >= SMALLEST_TIMED)
    return replace(extent, sizes=sizes, paths=extent.paths if sizes else ())


def warm_up(testbed: Testbed, plan: Plan, cell: Cell) -> None:
    """First flows, tunnels and compilation."""
    observe(testbed, _load(plan, cell, WARM_UP_S), str(cell), repeat=False)


def closed_loop_rate(testbed: Testbed, plan: Plan, cell: Cell, seconds: float) -> float:
    """Packets a second that are carried when the sender never waits for a schedule."""
    sample = observe(testbed, _load(plan, cell, seconds), str(cell), repeat=False).sample
    return sample.accounting.delivered / sample.lasted_s


def find_rate(
    testbed: Testbed, plan: Plan, cell: Cell, seconds: float, highest: float, goal: float = NO_LOSS
) -> Found:
    """The highest rate, in packets a second, whose loss is no more than the goal; trials of so many seconds."""

    def loss_at(rate: float) -> float:
        load = _load(plan, cell, seconds, rate)
        accounting = observe(testbed, load, str(cell)).sample.accounting
        return accounting.lost / accounting.offered

    return search(loss_at, highest * OVER, goal)


def _load(plan: Plan, cell: Cell, seconds: float, rate: float | None = None) -> Load:
    return Load(cell.arm, cell.size, seconds, plan.burst, plan.flows, plan.ip_version, rate)
