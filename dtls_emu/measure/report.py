"""A result as people read it: tables and a reading of every suite, and what should be known before they are believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.measure.records.throughput import ThroughputSection
from dtls_emu.measure.suites.registry import suite_named
from dtls_emu.measure.tables import Table, as_percent


if TYPE_CHECKING:
    from dtls_emu.measure.result import Load, Result


__all__ = ["Table", "remarks", "tables"]

BUSY_SHARE: Final = 0.15
"""Of the time, in which something waits for a processor: the two processes of a UDP path then hinder each other."""

BUSY_LOAD: Final = 0.5
"""Runnable tasks for each core, where the kernel does not tell the pressure."""

STOLEN_SHARE: Final = 0.01

SPOILT_SHARE: Final = 0.1


def tables(result: Result) -> list[Table]:
    """Every table of a result."""
    found = [
        table
        for section in result.sections
        for table in suite_named(section.suite).tables(section, result.start)
    ]
    missing = [(backend.name, backend.detail) for backend in result.start.backends if not backend.available]
    missing += list(result.end.skipped.items())
    if missing:
        found.append(Table("Not measured", ("what", "why"), missing))
    return [table for table in found if table.rows]


def remarks(result: Result) -> list[str]:
    """What a reader should know before believing the figures; nothing on a quiet machine."""
    start, end = result.start, result.end
    cores = start.environment.get("cpu", {}).get("usable_cores") or 1
    found = []
    for when, load in (("before", start.load), ("after", end.load)):
        if _is_busy(load, cores, look_at_average=when == "before"):
            found.append(f"Busy machine: {_busy(load, cores)} {when} the run. Its intervals are wide.")
            break
    if end.stolen_share and end.stolen_share > STOLEN_SHARE:
        found.append(
            f"Busy hypervisor: {as_percent(end.stolen_share)} of CPU time was given to other machines."
        )
    if start.cores and None in start.cores.values():
        found.append("Both processes share one core: their times add up instead of overlapping.")
    throughput = result.section(ThroughputSection)
    if throughput and throughput.trials:
        spoilt = sum(trial.conditions.spoilt for trial in throughput.trials) / len(throughput.trials)
        if spoilt > SPOILT_SHARE:
            found.append(
                f"Disturbed: something else had the processor in {as_percent(spoilt)} of the trials."
            )
    found += [f"Not of the lab: {each}." for each in start.not_of_the_lab]
    return found


def _is_busy(load: Load, cores: int, *, look_at_average: bool) -> bool:
    """The load average is of the last minute, so afterwards it is the run's own."""
    if load.pressure_share is not None:
        return load.pressure_share > BUSY_SHARE
    return look_at_average and load.load_average > cores * BUSY_LOAD


def _busy(load: Load, cores: int) -> str:
    if load.pressure_share is not None:
        return f"something waited for a processor in {as_percent(load.pressure_share)} of the time"
    return f"load average {load.load_average:.1f} on {cores} cores"
