"""What a report says, in its order, whatever it is written as: the answer, the run, a part for each suite, the method.

Of several runs the parts stand side by side: one picture has the lines of all, tables follow each other run by run.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.measure.rendering.charts import charts_of
from dtls_emu.measure.report import remarks
from dtls_emu.measure.suites.registry import SUITES
from dtls_emu.measure.tables import Table, as_percent


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dtls_emu.measure.rendering.charts import Chart
    from dtls_emu.measure.result import OffloadState, Result


__all__ = ["Part", "Report", "report_of"]

METHOD: Final = """\
Arms are measured in turn, in an order that is drawn anew for each round; the arms of one round are neighbours in time, and
only they are compared. `plain` is the same path with encryption off: VXLAN over UDP, the same checksum setting and the same
batching. `plain-again` is measured beside it as one more arm: how far its ratio to plain is from 1 is what this machine
cannot resolve.

A figure is the median over rounds. Its interval holds the true median with 95 % confidence at the number of rounds at hand
(order statistics; for ratios, of their logarithms); there is none below six rounds. A verdict is corrected for the number of
cells that it is one of.

Every packet that was offered is accounted for as delivered or as dropped with a reason, or the trial is void. Trials of all
arms last equally long.

What is called modelled was not measured: it is computed from published figures, which are named beside it. What is called
extrapolated lies beyond what was measured."""


@dataclass(frozen=True, slots=True)
class Part:
    """One suite of a report.

    Fields:
        name: of the suite.
        question: that it answers.
        documents: whose method it follows.
        readings: what was found, in words; of several runs, each with its run's name.
        charts, tables: in order.
    """

    name: str
    question: str
    documents: tuple[str, ...]
    readings: tuple[str, ...]
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report says.

    Fields:
        title: of the page.
        answer: paragraphs, the most important one first.
        remarks: what should be known before the figures are believed.
        run: what was measured, where and when; a column for each run.
        parts: one for each suite.
        backends: what was found of each cipher backend.
        environment: versions and machine; a column for each run.
        method: paragraphs.
    """

    title: str
    answer: tuple[str, ...]
    remarks: tuple[str, ...]
    run: Table
    parts: tuple[Part, ...]
    backends: Table
    environment: Table
    method: tuple[str, ...]

    @property
    def tables(self) -> list[tuple[str, Table]]:
        """Every table of measured figures, each with a name for its file."""
        found = [
            (f"{part.name}-{number}" if number > 1 else part.name, table)
            for part in self.parts
            for number, table in enumerate(part.tables, 1)
        ]
        return [("run", self.run), *found, ("backends", self.backends), ("environment", self.environment)]

    @property
    def charts(self) -> list[Chart]:
        """Every chart."""
        return [chart for part in self.parts for chart in part.charts]


def report_of(results: Sequence[Result]) -> Report:
    """The report of a run, or of several side by side, named A, B, C in this order.

    Args:
        results: at least one.
    """
    names = [""] if len(results) == 1 else [_letter(number) for number in range(len(results))]
    runs = list(zip(names, results, strict=True))
    labs = " and ".join(dict.fromkeys(result.start.lab for result in results))
    return Report(
        title=f"What encryption costs: {labs}" + (f", {len(results)} runs" if len(results) > 1 else ""),
        answer=tuple(_of(name, line) for name, result in runs for line in result.end.reading),
        remarks=tuple(_of(name, line) for name, result in runs for line in _remarks(result)),
        run=_columns("The run", names, [_facts(result) for result in results]),
        parts=tuple(_part(suite, runs) for suite in SUITES if _sections(suite, runs)),
        backends=Table(
            "Cipher backends",
            ("run", "backend", "measured", "what it is, or why it was not")[len(names) == 1 :],
            [
                (name, each.name, "yes" if each.available else "no", each.detail)[len(names) == 1 :]
                for name, result in runs
                for each in result.start.backends
            ],
        ),
        environment=_columns(
            "Environment", names, [dict(_flat(result.start.environment)) for result in results]
        ),
        method=tuple(" ".join(each.split()) for each in METHOD.split("\n\n")),
    )


def _part(suite: str, runs: Sequence[tuple[str, Result]]) -> Part:
    known, found = SUITES[suite], _sections(suite, runs)
    tables = [
        table._replace(title=_of(name, table.title))
        for name, result, section in found
        for table in known.tables(section, result.start)
        if table.rows
    ]
    return Part(
        name=suite,
        question=known.question,
        documents=tuple(dict.fromkeys(section.document for _, _, section in found)),
        readings=tuple(_of(name, known.reading(section, result.start)) for name, result, section in found),
        charts=tuple(charts_of((name, section) for name, _, section in found)),
        tables=tuple(tables),
    )


def _sections(suite: str, runs: Sequence[tuple[str, Result]]) -> list[tuple[str, Result, Any]]:
    return [
        (name, result, section)
        for name, result in runs
        for section in result.sections
        if section.suite == suite
    ]


def _remarks(result: Result) -> list[str]:
    said = list(remarks(result))
    said += [f"Not measured: {what}, {why}." for what, why in result.end.skipped.items()]
    if result.end.stopped != "complete":
        said.append(
            f"The run did not come to its end ({result.end.stopped}); the figures are of what was measured."
        )
    return said


def _facts(result: Result) -> dict[str, str]:
    start, end = result.start, result.end
    offloads = [
        f"{path}: {', '.join(names)} {state}"
        for path, states in start.offloads.items()
        for state, names in _by_state(states).items()
    ]
    return {
        "started": f"{start.started:%Y-%m-%d %H:%M:%S} UTC",
        "lasted": f"{(end.finished - start.started).total_seconds():.0f} s, {end.stopped}",
        "dtls-emu": start.version,
        "command": " ".join(start.command) or "called from Python",
        "lab": start.lab,
        "from": start.sender,
        "to": start.receiver,
        "suites": ", ".join(section.suite for section in result.sections),
        "seed": str(start.plan.seed),
        "processes measured in": str(end.starts),
        "batching": "; ".join(offloads) or "none: no sockets",
        "cores": ", ".join(f"{end} {core}" for end, core in start.cores.items()) or "not pinned",
        "load average": f"{start.load.load_average:.2f} before, {end.load.load_average:.2f} after",
        "stolen by the hypervisor": as_percent(end.stolen_share),
    }


def _by_state(states: Mapping[str, OffloadState]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, state in states.items():
        found["on" if state.on else f"off ({state.reason})"].append(name)
    return found


def _columns(title: str, names: Sequence[str], facts: Sequence[dict[str, str]]) -> Table:
    keys = dict.fromkeys(key for each in facts for key in each)
    heads = ("what", *(name or "value" for name in names))
    return Table(title, heads, [(key, *(each.get(key, "") for each in facts)) for key in keys])


def _flat(value: Any, above: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [each for key, inner in value.items() for each in _flat(inner, f"{above} {key}".strip())]
    if isinstance(value, list):
        return [(above, ", ".join(map(str, value)))]
    return [(above.replace("_", " "), "unknown" if value is None else str(value))]


def _of(name: str, text: str) -> str:
    return f"{name}: {text}" if name else text


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else f"run {number + 1}"
