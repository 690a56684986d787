"""A result as people read it: figures of every peer, the reference over each of them, and what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from side_by_side.metrics import FIGURES
from side_by_side.plan import AGAIN


if TYPE_CHECKING:
    from side_by_side.metrics import Figure
    from side_by_side.result import FigureSummary, Result


__all__ = ["Table", "tables"]

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns (``>`` in front: numbers) and rows, as :func:`dtls_emu.cli.output.print_table` takes them."""

NOTHING = "-"


def tables(result: Result) -> list[Table]:
    """Every table that has something to say."""
    found = [_peers(result), _figures(result), _ratios(result), _notes(result)]
    return [table for table in found if table[2]]


def _peers(result: Result) -> Table:
    rows = [
        [peer.name, peer.version or NOTHING, peer.cipher]
        for peer in result.end.peers
        if peer.cipher is not None
    ]
    return "Peers", ["peer", "version", "cipher"], rows


def _figures(result: Result) -> Table:
    shown = _shown(result)
    start, end = result.start, result.end
    rows = []
    for arm in _arms(result):
        if arm.endswith(AGAIN):
            continue
        cells = []
        for figure in shown:
            summary = _find(result, arm, figure)
            cells.append(NOTHING if summary is None else f"{summary.median.value:.{figure.digits}f}")
        rows.append([arm, *cells])
    title = (
        f"Medians ({_rounds(result)} rounds, {start.plan.seconds:g} s a trial); MTU {start.inside_mtu} inside, {start.plan.congestion}; "
        f"{start.environment['cpu']['usable_cores']} cores shared by all, "
        f"load {start.load_average:.1f} before and {end.load_average:.1f} after"
    )
    return title, ["peer", *(f">{figure.heading}" for figure in shown)], rows


def _ratios(result: Result) -> Table:
    shown = [figure for figure in _shown(result) if figure.key != "flood_kpps"]
    reference = result.start.reference
    rows = []
    for arm in _arms(result):
        if arm == reference:
            continue
        cells = []
        for figure in shown:
            summary = _find(result, arm, figure)
            cells.append(str(summary.ratio) if summary is not None and summary.ratio else NOTHING)
        rows.append([arm, *cells])
    headings = [f">{figure.heading} {'↑' if figure.more_is_better else '↓'}" for figure in shown]
    title = f"{reference} over each other, round by round, median (95 %); ↑ more is better for {reference}, ↓ less"
    return title, ["peer", *headings], rows


def _notes(result: Result) -> Table:
    rows = [
        [peer.name, kind, text]
        for peer in result.end.peers
        for kind, text in (
            ("not measured", peer.missing),
            ("degraded", peer.degraded),
            ("left out", peer.gave_up),
        )
        if text
    ]
    rows += [
        [interval.arm, "failed", f"round {interval.round + 1}, {interval.metric}: {interval.error}"]
        for interval in result.intervals
        if interval.error
    ]
    return "Notes", ["peer", "what", "why"], rows


def _arms(result: Result) -> list[str]:
    """In the order in which peers were asked for, the reference's second turn behind it."""
    measured = {summary.arm for summary in result.end.summary}
    ordered = [name for peer in result.end.peers for name in (peer.name, peer.name + AGAIN)]
    return [name for name in ordered if name in measured]


def _shown(result: Result) -> list[Figure]:
    return [figure for figure in FIGURES if figure.metric in result.start.plan.metrics]


def _find(result: Result, arm: str, figure: Figure) -> FigureSummary | None:
    wanted = (arm, figure.metric, figure.key)
    return next(
        (summary for summary in result.end.summary if (summary.arm, summary.metric, summary.key) == wanted),
        None,
    )


def _rounds(result: Result) -> int:
    return max((summary.rounds for summary in result.end.summary), default=0)
