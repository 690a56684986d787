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
    "cipher_cpu",
    "dearer_part",
    "fast_path_packets",
    "has_measured",
    "is_surely_slower",
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
    """Whether the student's result file has these sizes, each with a cipher and without one."""
    found = _benchmark(run, file)
    return all(found.has(int(size)) for size in sizes.split())


def relative_rate(run: LabRun, *, file: str, size: int) -> Expected:
    """Packets a second, encrypted by the fastest backend, over those of the plain path."""
    found = _benchmark(run, file)
    rate, no_cipher = found.encrypted(size).rate, found.no_cipher(size).rate
    return Expected(
        round(rate, 3),
        (
            (round(1 / rate, 3), "Plain over encrypted; the other way round is asked."),
            (round(no_cipher, 3), "`null` does not encrypt."),
        ),
    )


def is_surely_slower(run: LabRun, *, file: str, size: int) -> str:
    """Whether the interval of that ratio lies below 1."""
    cell = _benchmark(run, file).encrypted(size)
    if cell.high is None:
        raise CannotAskError("your benchmark has too few rounds for an interval; measure with six or more")
    return "yes" if cell.high < 1 else "no"


def cipher_cpu(run: LabRun, *, file: str, size: int) -> Expected:
    """CPU time that the cipher itself takes of a packet, in those of a packet on the plain path."""
    found = _benchmark(run, file)
    with_cipher, without = found.encrypted(size).cpu, found.no_cipher(size).cpu
    return Expected(
        round(with_cipher - without, 3),
        (
            (round(with_cipher, 3), "That is the packet's whole way, cipher and all else."),
            (round(with_cipher - 1, 3), "That is cipher and record together."),
            (round(without - 1, 3), "That is the record without its cipher."),
        ),
    )


def dearer_part(run: LabRun, *, file: str, size: int) -> str:
    """What takes more of the CPU time that encryption adds: the cipher, or the rest of the record's work."""
    found = _benchmark(run, file)
    with_cipher, without = found.encrypted(size), found.no_cipher(size)
    cipher, rest = with_cipher.cpu - without.cpu, without.cpu - 1
    if abs(cipher - rest) <= with_cipher.noise:
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
