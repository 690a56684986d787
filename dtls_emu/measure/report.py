"""A result as people read it: one table per path, the fragment mixes, and a reading of two sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.measure.plan import PLAIN, PLAIN_AGAIN, BenchPath
from dtls_emu.measure.result import Layout


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.measure.result import (
        CellSummary,
        FragmentSummary,
        HandshakeSummary,
        OffloadState,
        Result,
    )
    from dtls_emu.measure.statistics import Estimate


__all__ = ["Table", "reading", "remarks", "tables"]

PREFERRED_BACKENDS: Final = ("ipsec-mb", "libcrypto", "cryptography", "openssl")
"""Which arm the reading speaks of: the card's engine first, as when a card chooses one."""

PREFERRED_PATHS: Final = (BenchPath.UDP, BenchPath.UDP_SINGLE, BenchPath.MEMORY)
PREFERRED_SIZE: Final = 1400

IN_WORDS: Final = {
    BenchPath.MEMORY: "in memory, without sockets",
    BenchPath.UDP: "over UDP",
    BenchPath.UDP_SINGLE: "over UDP with one datagram a system call",
}

BUSY_SHARE: Final = 0.5
"""Of the cores: with more than that taken by others, the two processes of a UDP path hinder each other."""

STOLEN_SHARE: Final = 0.01

OFFLOADS: Final = {"udp_gso": "GSO", "udp_gro": "GRO"}
"""What makes a path fast, in the field's short words; the result file has the others too."""

IN_LAYOUT: Final = {
    Layout.BUNCHED: "in a burst of its own kind",
    Layout.SCATTERED: "amid whole packets",
}


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


def tables(result: Result) -> list[Table]:
    """Every table of a result."""
    cells, start = result.end.cells, result.start
    found = [
        _path_table(path, [cell for cell in cells if cell.path is path], start.offloads.get(path, {}))
        for path in start.plan.paths
    ]
    if result.end.fragments:
        found.append(_fragment_table(result.end.fragments))
    if result.end.handshakes:
        found.append(_handshake_table(result.end.handshakes))
    missing = [backend for backend in start.backends if not backend.available]
    if missing:
        rows = [(backend.name, backend.detail) for backend in missing]
        found.append(Table("Not measured", ("backend", "why"), rows))
    return [table for table in found if table.rows]


def remarks(result: Result) -> list[str]:
    """What a reader should know before believing the figures; nothing on a quiet machine."""
    start, end = result.start, result.end
    cores = start.environment.get("cpu", {}).get("usable_cores")
    found = []
    if cores and start.load_average > cores * BUSY_SHARE:
        found.append(
            f"Busy machine: load average {start.load_average:.1f} on {cores} cores before the run began. Its "
            "intervals are wide; CPU seconds suffer less than times."
        )
    if end.stolen_share and end.stolen_share > STOLEN_SHARE:
        found.append(
            f"Busy hypervisor: {_percent(end.stolen_share)} of CPU time was given to other machines."
        )
    if start.cores and None in start.cores.values():
        found.append("Both processes share one core: their times add up instead of overlapping.")
    return found


def reading(
    cells: Sequence[CellSummary],
    fragments: FragmentSummary | None,
    offloads: dict[BenchPath, dict[str, OffloadState]],
) -> str:
    """The result in two sentences: what encryption costs here, and what becomes of fragments."""
    return f"{_cost_sentence(cells, offloads)} {_fragment_sentence(fragments)}"


def _path_table(path: BenchPath, cells: Sequence[CellSummary], offloads: dict[str, OffloadState]) -> Table:
    states = ", ".join(
        f"{OFFLOADS[name]} {'on' if state.on else 'off'}" + (f" ({state.reason})" if state.reason else "")
        for name, state in offloads.items()
        if name in OFFLOADS
    )
    columns = (
        ">bytes",
        "arm",
        ">µs/packet",
        ">Gbit/s",
        ">packets/s",
        ">CPU s/GB sender",
        ">receiver",
        ">lost",
        ">ratio to plain",
        ">95 % interval",
        ">noise ±",
    )
    return Table(
        f"{path}: {IN_WORDS[path]}" + (f"; {states}" if states else ""),
        columns,
        [_row(cell) for cell in cells],
        ("receiver", "CPU s/GB sender", "µs/packet", "noise ±", "lost"),
    )


def _row(cell: CellSummary) -> tuple[str, ...]:
    return (
        str(cell.size),
        f"{cell.arm} (no protection)" if cell.arm in {PLAIN, "null"} else cell.arm,
        f"{cell.us_per_packet:.3f}",
        f"{cell.gbit_per_s:.2f}",
        f"{cell.packets_per_s:,.0f}",
        f"{cell.sender_cpu_s_per_gb:.3f}",
        f"{cell.receiver_cpu_s_per_gb:.3f}",
        _percent(cell.lost_share) if cell.lost_share else "0",
        _ratio(cell.ratio),
        _interval(cell.ratio),
        "" if cell.noise_floor is None else _percent(cell.noise_floor),
    )


def _fragment_table(fragments: FragmentSummary) -> Table:
    rows = [
        (
            f"{mix.share * 100:.0f} %",
            "" if mix.layout is Layout.NONE else str(mix.layout),
            f"{mix.fragments_rejected:,}/{mix.fragments_offered:,}",
            f"{mix.whole_offered - mix.whole_delivered:,}/{mix.whole_offered:,}",
            _ratio(mix.goodput),
            _interval(mix.goodput),
        )
        for mix in fragments.mixes
    ]
    columns = (
        ">fragments",
        "layout",
        ">of them rejected",
        ">whole rejected",
        ">goodput",
        ">95 % interval",
    )
    title = f"Fragments of {len(fragments.shapes)} shapes among {fragments.size}-byte packets, {fragments.backend}"
    return Table(title, columns, rows)


def _handshake_table(handshakes: HandshakeSummary) -> Table:
    """One row. CPU time is that of both ends, memory that of one."""
    memory = handshakes.idle_tunnel_bytes
    row = (
        f"{handshakes.cpu_ms:.2f} ms",
        f"{handshakes.per_second:,.0f}/s",
        f"{handshakes.bare_cpu_ms:.2f} ms",
        _ratio(handshakes.ratio),
        _interval(handshakes.ratio),
        "not measured" if memory is None else f"{memory / 1_000:.0f} KB",
    )
    columns = (
        ">CPU, both ends",
        ">on a core",
        ">pyOpenSSL",
        ">ratio",
        ">95 % interval",
        ">idle tunnel",
    )
    return Table(f"Handshakes, {handshakes.backend}", columns, [row])


def _cost_sentence(cells: Sequence[CellSummary], offloads: dict[BenchPath, dict[str, OffloadState]]) -> str:
    cell = _headline(cells)
    if cell is None or cell.ratio is None:
        return "No encrypted arm was measured beside the plain one, so this run says nothing of the cost of encryption."
    plain = next(
        other for other in cells if (other.path, other.size, other.arm) == (cell.path, cell.size, PLAIN)
    )
    states = offloads.get(cell.path, {})
    working = [short for name, short in OFFLOADS.items() if name in states and states[name].on]
    way = IN_WORDS[cell.path] + (f" with {'/'.join(working)}" if working else "")
    noise = (
        f"differences below {_percent(cell.noise_floor)} are noise on this machine"
        if cell.noise_floor is not None
        else "this run does not tell noise from difference"
    )
    return (
        f"At {cell.size} bytes {way} the {cell.arm} tunnel carries {cell.ratio} of the plain path's packets, "
        f"{cell.gbit_per_s:.2f} against {plain.gbit_per_s:.2f} Gbit/s; {noise}."
    )


def _headline(cells: Sequence[CellSummary]) -> CellSummary | None:
    """The cell that the reading speaks of: by path, then size, then backend."""
    arms = {cell.arm for cell in cells} - {PLAIN, PLAIN_AGAIN, "null"}
    preferred = [*(arm for arm in PREFERRED_BACKENDS if arm in arms), *sorted(arms - set(PREFERRED_BACKENDS))]
    candidates = [cell for cell in cells if cell.arm in arms and cell.ratio is not None]
    return min(
        candidates,
        key=lambda cell: (
            PREFERRED_PATHS.index(cell.path),
            abs(cell.size - PREFERRED_SIZE),
            preferred.index(cell.arm),
        ),
        default=None,
    )


def _fragment_sentence(fragments: FragmentSummary | None) -> str:
    if fragments is None:
        return "Fragments were not measured."
    rejected = sum(mix.fragments_rejected for mix in fragments.mixes)
    whole = sum(mix.whole_delivered for mix in fragments.mixes)
    costs = " and ".join(
        f"{_time(cost.value)} {IN_LAYOUT[layout]}" for layout, cost in fragments.rejection_ns.items()
    )
    most = max(mix.share for mix in fragments.mixes)
    kept = [mix.goodput for mix in fragments.mixes if mix.share == most and mix.goodput]
    rates = " and ".join(f"{goodput.value:.2f}" for goodput in kept)
    return (
        f"All {rejected:,} fragments were rejected and all {whole:,} whole packets beside them were delivered; "
        f"rejecting one costs {costs}, and whole packets keep {rates} of their rate when {most * 100:.0f} % are "
        "fragments."
    )


def _time(ns: float) -> str:
    return f"{ns:.0f} ns" if ns < 1_000 else f"{ns / 1_000:.1f} µs"


def _ratio(ratio: Estimate | None) -> str:
    """The baseline itself has none."""
    return "1" if ratio is None else f"{ratio.value:.3f}"


def _interval(ratio: Estimate | None) -> str:
    return "" if ratio is None or ratio.low is None else f"{ratio.low:.3f}-{ratio.high:.3f}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
