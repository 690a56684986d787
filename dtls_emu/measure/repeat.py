"""A benchmark in several fresh processes, one after the other, and one result of all of them.

Memory layout, hash seeds, which core, what else happened to run: a start of the program fixes them, and they move its
figures by more than its own rounds show. So the interval of a repeated run is over starts.

::

    python -m dtls_emu.measure.repeat < request.json > result.json      # what each fresh process is
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import TypeAdapter

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.benchmark import benchmark
from dtls_emu.measure.plan import Plan
from dtls_emu.measure.records.base import Stopped
from dtls_emu.measure.result import Result
from dtls_emu.measure.statistics import FEWEST_STARTS, median_estimate, over_starts


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.measure.records.base import Figure, Section
    from dtls_emu.progress import Progress


__all__ = ["MOST_STARTS", "merge", "repeated"]

MOST_STARTS: Final = 20
"""Where only a width is asked for."""

SPOKEN_OF: Final = ("rate", "of plain")
"""The figure whose interval decides when there have been enough starts, and that is said in words."""


def repeated(
    lab: str,
    plan: Plan,
    starts: int,
    progress: Progress,
    *,
    until: float | None = None,
    command: Sequence[str] = (),
) -> Result:
    """Measure again and again, each time in a process of its own, with the next seed.

    Ctrl-C ends it after the start that is under way has written what it has.

    Args:
        lab: a path, or the name of a shipped lab.
        plan: of each start.
        starts: how many, or with ``until`` at most.
        progress: told of every start.
        until: end as soon as the interval of every throughput ratio is no wider than that, either way, as a share.
        command: the command line, for the result.

    Raises:
        DtlsEmuError: a start failed; with what it said.
    """
    found: list[Result] = []
    for number in range(starts):
        progress(number, starts, f"start {number + 1} of {starts}")
        try:
            result = _start(lab, replace(plan, seed=plan.seed + number))
        except KeyboardInterrupt:
            if not found:
                raise
            return _as_called(merge([*found[:-1], _interrupted(found[-1])]), command)
        found.append(result)
        if result.end.stopped is Stopped.INTERRUPTED:
            break
        if until is not None and len(found) >= FEWEST_STARTS and _width(merge(found)) <= until:
            break
    return _as_called(merge(found), command)


def merge(results: Sequence[Result]) -> Result:
    """One result of several starts: the first one's, with the others' sections and figures of all."""
    first = results[0]
    if len(results) == 1:
        return first
    sections = [
        _with_all_starts(
            section,
            [other for result in results for other in result.sections if other.suite == section.suite],
        )
        for section in first.sections
    ]
    end = results[-1].end.model_copy(
        update={
            "starts": len(results),
            "reading": [*first.end.reading, *_in_words(sections, len(results))],
            "stopped": results[-1].end.stopped,
        }
    )
    return Result.model_validate(
        first.model_dump()
        | {
            "sections": [section.model_dump() for section in sections],
            "other_starts": [[each.model_dump() for each in result.sections] for result in results[1:]],
            "end": end.model_dump(),
        }
    )


def _as_called(result: Result, command: Sequence[str]) -> Result:
    return result.model_copy(update={"start": result.start.model_copy(update={"command": list(command)})})


def _interrupted(result: Result) -> Result:
    return result.model_copy(update={"end": result.end.model_copy(update={"stopped": Stopped.INTERRUPTED})})


def _with_all_starts(section: Section, of_starts: Sequence[Section]) -> Section:
    return section.model_copy(
        update={
            "figures": [
                _over(figure, [own for other in of_starts for own in other.figures if _same(own, figure)])
                for figure in section.figures
            ]
        }
    )


def _same(one: Figure, other: Figure) -> bool:
    return (one.metric, one.unit, one.cell) == (other.metric, other.unit, other.cell)


def _over(figure: Figure, starts: Sequence[Figure]) -> Figure:
    by_start = [each.samples for each in starts]
    middles = [float(np.median(samples)) for samples in by_start]
    estimate = over_starts(middles) if min(middles) > 0 else median_estimate(middles)
    return figure.model_copy(
        update={
            "samples": [value for samples in by_start for value in samples],
            "by_start": by_start,
            "estimate": estimate,
        }
    )


def _spoken_of(sections: Sequence[Section]) -> list[Figure]:
    return [
        figure
        for section in sections
        for figure in section.figures
        if (figure.metric, figure.unit) == SPOKEN_OF and not str(figure.cell.get("arm")).startswith("plain")
    ]


def _width(result: Result) -> float:
    """The widest half interval of the figures that decide."""
    widths = [figure.estimate.half_width for figure in _spoken_of(result.sections)]
    return max((float("inf") if width is None else width for width in widths), default=float("inf"))


def _in_words(sections: Sequence[Section], starts: int) -> list[str]:
    said = [
        f"{figure.cell['arm']} at {figure.cell['size']} bytes on {figure.cell['path']} {figure.estimate}"
        for figure in _spoken_of(sections)
    ]
    if not said:
        return []
    sentence = (
        f"Over {starts} starts of the program, with what varies between them, the share of plain's packets is: "
        f"{'; '.join(said)}. The tables above are of the first start."
    )
    return [sentence]


def _start(lab: str, plan: Plan) -> Result:
    """One fresh process. It is asked to end as Ctrl-C asks, and then writes what it has."""
    request = TypeAdapter(dict[str, Plan]).dump_json({lab: plan})
    with tempfile.TemporaryDirectory(prefix="dtls-emu-start-") as folder:
        place = Path(folder, "result.json")
        process = subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-m", __spec__.name, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches this process, which hands it on once
        )
        interrupted = False
        try:
            _, said = process.communicate(request)
        except KeyboardInterrupt:
            interrupted = True
            process.send_signal(signal.SIGINT)
            _, said = process.communicate()
        if place.exists():
            return Result.model_validate_json(place.read_bytes())
        if interrupted:
            raise KeyboardInterrupt
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise DtlsEmuError(f"a start of the benchmark failed: {last or f'status {process.returncode}'}")


def _main(place: str) -> None:
    ((lab, plan),) = TypeAdapter(dict[str, Plan]).validate_json(sys.stdin.buffer.read()).items()
    result = benchmark(lab, plan)
    if result.sections:
        Path(place).write_bytes(result.encode())


if __name__ == "__main__":
    _main(sys.argv[1])
