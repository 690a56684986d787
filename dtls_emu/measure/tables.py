"""What a suite hands to a printer of tables, and how it writes figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dtls_emu.measure.plan import PLAIN
from dtls_emu.measure.statistics import Verdict


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.measure.statistics import Estimate


__all__ = ["Table", "as_arm", "as_duration", "as_interval", "as_percent", "as_ratio", "in_words"]


class Table(NamedTuple):
    """What a printer of tables takes.

    Fields:
        title: above it.
        columns: headings; one that begins with ``>`` is of numbers.
        rows: as many cells each.
        spare: headings of columns that may be left out where there is no room, the first one first.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    spare: tuple[str, ...] = ()


def as_arm(arm: str) -> str:
    """An arm's name; what protects nothing is marked."""
    return f"{arm} (no protection)" if arm in {PLAIN, "null"} else arm


def as_ratio(ratio: Estimate | None) -> str:
    """The baseline itself has none."""
    return "1" if ratio is None else f"{ratio.value:.3f}"


def as_interval(ratio: Estimate | None) -> str:
    """``0.661-0.684``; ``n=3`` where there are too few values for one."""
    if ratio is None:
        return ""
    return f"n={ratio.n}" if ratio.low is None else f"{ratio.low:.3f}-{ratio.high:.3f}"


def as_percent(share: float | None) -> str:
    """One digit; a question mark where it is not known."""
    return "?" if share is None else f"{share * 100:.1f} %"


def as_duration(ns: float) -> str:
    """In the unit that it is read in."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.1f} {unit}"
    return f"{ns:.0f} ns"


def in_words(ratio: Estimate, verdict: Verdict | None, what: str) -> str:
    """A ratio with its interval, of what it is one, and whether that says anything; the figures are those of the table.

    Such as ``0.67 (0.65-0.68) of the plain path's packets``.
    """
    if ratio.low is None:
        few = "one round is" if ratio.n == 1 else f"{ratio.n} rounds are"
        return f"{ratio.value:.2f} {what} ({few} too few for an interval)"
    if verdict is Verdict.UNRESOLVED:
        return f"{ratio} {what}, which this run cannot tell from 1,"
    return f"{ratio} {what}"
