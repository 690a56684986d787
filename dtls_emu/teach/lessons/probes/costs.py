"""What encryption costs: packets on the slow path, and the figures of a benchmark that the student has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.events import Classified, Direction, Missed
from dtls_emu.teach.lessons.benchmark import read_benchmark
from dtls_emu.teach.lessons.expected import Expected
from dtls_emu.teach.lessons.lab_run import CannotAskError, LabRun


if TYPE_CHECKING:
    from dtls_emu.teach.lessons.benchmark import Benchmark


__all__ = [
    "cipher_time",
    "dearer_part",
    "fast_path_packets",
    "has_measured",
    "is_beyond_noise",
    "relative_rate",
    "slow_path_lookups",
]


def slow_path_lookups(run: LabRun, *, item: str) -> Expected:
    """How often the slow path was asked about packets of an item, at their sender."""
    exceptions = _count(run, item, Missed)
    offered = run.item(item).offered
    slips = [(offered, "Most of them found an entry in the flow table.")] if exceptions != offered else []
    return Expected(exceptions, tuple(slips))


def fast_path_packets(run: LabRun, *, item: str) -> int:
    """How many packets of an item found their flow's entry, at their sender."""
    return _count(run, item, Classified) - _count(run, item, Missed)


def has_measured(run: LabRun, *, file: str, sizes: str) -> bool:
    """Whether the student's result file has these sizes, each with a cipher, without one, and without a tunnel."""
    found = _benchmark(run, file)
    return all(found.has(int(size)) for size in sizes.split())


def relative_rate(run: LabRun, *, file: str, size: int) -> Expected:
    """Packets a second, encrypted by the fastest backend, over those of the plain path."""
    cell = _benchmark(run, file).encrypted(size)
    return Expected(
        round(cell.rate, 2),
        ((round(1 / cell.rate, 2), "The other way round: the encrypted rate over the plain one."),),
    )


def is_beyond_noise(run: LabRun, *, file: str, size: int) -> str:
    """Whether that differs from 1 by more than plain differs from plain."""
    cell = _benchmark(run, file).encrypted(size)
    return "yes" if abs(1 - cell.rate) > cell.noise else "no"


def cipher_time(run: LabRun, *, file: str, size: int) -> Expected:
    """Microseconds that the cipher itself takes of a packet: with it, less the same record without one."""
    found = _benchmark(run, file)
    with_cipher, without, plain = found.encrypted(size), found.no_cipher(size), found.plain(size)
    return Expected(
        round(with_cipher.microseconds - without.microseconds, 2),
        (
            (round(with_cipher.microseconds - plain.microseconds, 2), "That is cipher and record together."),
            (round(without.microseconds - plain.microseconds, 2), "That is the record without its cipher."),
            (round(with_cipher.microseconds, 2), "That is the packet's whole way."),
        ),
    )


def dearer_part(run: LabRun, *, file: str, size: int) -> str:
    """What takes more of a packet's time than the plain path does: the cipher, or the rest of the record's work."""
    found = _benchmark(run, file)
    with_cipher, without, plain = found.encrypted(size), found.no_cipher(size), found.plain(size)
    cipher = with_cipher.microseconds - without.microseconds
    rest = without.microseconds - plain.microseconds
    if abs(cipher - rest) <= with_cipher.noise * with_cipher.microseconds:
        return "cannot_tell"
    return "cipher" if cipher > rest else "rest"


def _count(run: LabRun, item: str, kind: type[Classified | Missed]) -> int:
    mark = run.mark(item)
    return sum(
        event.count
        for event in run.events
        if isinstance(event, kind) and event.mark == mark and event.direction is Direction.EGRESS
    )


def _benchmark(run: LabRun, file: str) -> Benchmark:
    if run.folder is None:
        raise CannotAskError(f"there is no {file} beside your lab; run the benchmark")
    return read_benchmark(run.folder / file)
