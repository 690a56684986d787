"""``dtls-emu bench``: encrypted against plain, suite by suite."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from dtls_emu.cli.output import ForceOption, JsonOption, complain, print_json, print_table, print_text, say
from dtls_emu.cli.progress import progress
from dtls_emu.cli.streams import EXIT_FAILED, EXIT_INTERRUPTED
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.files.results import ResultFile
    from dtls_emu.measure.plan import Plan
    from dtls_emu.measure.records.base import Record
    from dtls_emu.measure.rendering.folder import ReportFolder
    from dtls_emu.measure.result import Result


__all__ = ["bench", "hand_over", "report_folder", "void_or"]

EXIT_NOT_ACCOUNTED: Final = 1
DEFAULT_LAB: Final = "two-vms"
CONFIDENCE_TOLD: Final = "5 %"
TRIED: Final = "throughput-cells.csv"


class _Group(TyperGroup):
    """Its own arguments are suites and a lab; only a first word that is a command of it begins one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take a command and leave it the rest, or take all as arguments."""
        if not args or args[0] not in self.commands:
            ctx.allow_interspersed_args = True  # options may stand behind suites, as behind any argument
            return super().parse_args(ctx, args)
        super().parse_args(ctx, [])
        ctx._protected_args, ctx.args = args[:1], args[1:]  # noqa: SLF001  # as the library itself hands them on
        return args[1:]


bench = typer.Typer(cls=_Group, invoke_without_command=True)


@bench.callback()
def measure(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE|LAB",
            help="Suites, by default the usual ones; and a lab file or the name of a shipped lab.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer sizes and rounds: a minute and a half.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Every suite, not the usual ones alone.")] = False,
    list_suites: Annotated[
        bool, typer.Option("--list", help="Print the suites, and measure nothing.")
    ] = False,
    sizes: Annotated[
        str | None, typer.Option(help="Inner packet sizes in bytes, separated by commas.", metavar="N,N,...")
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(help="Backends to compare with plain; by default all available.", metavar="NAME,..."),
    ] = None,
    paths: Annotated[
        str | None,
        typer.Option(
            help="Of memory, udp (with GSO/GRO) and udp-single; by default as the suite has it.",
            metavar="PATH,...",
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="How often each arm is measured.", min=1)] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of every trial; 0.1 or more for results.", min=0.001)
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Seconds for everything: no round begins after that.", min=1)
    ] = None,
    burst: Annotated[
        int, typer.Option(help="Packets that a VM hands over at once; 0: as many as one send carries.", min=0)
    ] = 0,
    flows: Annotated[int, typer.Option(help="Flows, by source port.", min=1)] = 1,
    ip: Annotated[int, typer.Option(help="IP version of the VMs' packets: 4 or 6.", min=4, max=6)] = 4,
    perfect_link: Annotated[
        bool, typer.Option("--perfect-link", help="Measure although the lab impairs the link, without that.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the random order.")] = 1,
    repeat: Annotated[
        int,
        typer.Option(
            help="Fresh processes that measure one after the other; 5 or more show how starts differ.", min=1
        ),
    ] = 1,
    until: Annotated[
        str,
        typer.Option(
            help="Repeat until every throughput ratio is known to within this, such as 2%.", metavar="PERCENT"
        ),
    ] = "",
    calibrate: Annotated[
        int,
        typer.Option(
            help="Measure plain against plain so many times, and print how often intervals miss 1.", min=0
        ),
    ] = 0,
    json_stream: Annotated[
        bool,
        typer.Option("--json-stream", help="Print every trial as it is measured, one JSON document a line."),
    ] = False,
    csv: Annotated[
        str, typer.Option(help="Folder for tidy tables, for pandas and R; made if need be.", metavar="DIR")
    ] = "",
    prometheus: Annotated[
        str, typer.Option(help="File for the textfile collector of node_exporter.", metavar="FILE")
    ] = "",
    output: Annotated[
        str, typer.Option(help="Result file; by default one named by the time, in results/.", metavar="FILE")
    ] = "",
    out: Annotated[
        str,
        typer.Option(
            help="Folder for a report as well: report.html, report.md, tables as CSV, and the result.",
            metavar="DIR",
        ),
    ] = "",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what encryption costs: plain, and every backend, by packet size and path.

    Arms are interleaved in random order and compared pair by pair; every packet is accounted for.

    Ctrl-C ends the run and keeps what was measured. Exits 1 when the result cannot be written where it was to go.
    """
    if context.invoked_subcommand is not None:
        return
    if list_suites:
        _list(as_json=as_json)
        return
    lab, suites = _lab_and_suites(words or [], full=full)
    plan = _plan(
        quick=quick,
        full=full,
        suites=suites,
        sizes=sizes,
        backends=backends,
        paths=paths,
        rounds=rounds,
        seconds=seconds,
        budget=budget,
        burst=burst,
        flows=flows,
        ip=ip,
        perfect_link=perfect_link,
        seed=seed,
    )
    if calibrate:
        _calibrate(lab, plan, calibrate, as_json=as_json)
        return
    from dtls_emu.files.results import ResultFile
    from dtls_emu.measure.benchmark import benchmark
    from dtls_emu.measure.repeat import MOST_STARTS, repeated
    from dtls_emu.measure.result import result_path
    from dtls_emu.measure.suites.registry import chosen_suites

    chosen_suites(suites)
    width = _share("--until", until) if until else None
    starts = MOST_STARTS if until and repeat == 1 else repeat
    if starts > 1 and json_stream:
        raise DtlsEmuError(
            "--json-stream shows one start as it is measured; it does not go with --repeat and --until"
        )
    exports = Exports(csv, prometheus, force=force)
    folder = report_folder(out, force=force) if out else None
    chosen = output or (f"{out}/result.json" if out else "")
    file = ResultFile(chosen or result_path(), force=force, make_folders=not output, avoid_others=not chosen)
    command = sys.argv[1:]
    with progress() as report:
        result = void_or(
            lambda: (
                repeated(lab, plan, starts, report, until=width, command=command)
                if starts > 1
                else benchmark(lab, plan, report, told=_stream if json_stream else None, command=command)
            )
        )
    if not result.sections:
        raise KeyboardInterrupt
    exports.write(result)
    if json_stream:
        _stream("end", result.end)
    hand_over(result, file, folder, as_json=as_json, is_silent=json_stream)


def void_or(run: Callable[[], Result]) -> Result:
    """The result of a run, unless packets are unaccounted for."""
    from dtls_emu.simulation.accounts import AccountingError

    try:
        return run()
    except AccountingError as error:
        complain(f"the run is void: {error}")
        raise typer.Exit(EXIT_NOT_ACCOUNTED) from error


def report_folder(out: str, *, force: bool) -> ReportFolder:
    """Try the place of a report, and what it is drawn with."""
    from dtls_emu.measure.rendering.folder import ReportFolder

    return ReportFolder(out, force=force)


def hand_over(
    result: Result,
    file: ResultFile,
    folder: ReportFolder | None = None,
    *,
    as_json: bool,
    is_silent: bool = False,
) -> None:
    """Write a result and its report, and print it; the exit status says what became of the run."""
    from dtls_emu.measure.records.base import Stopped

    # A file is safe before anything is printed; what may wait for a reader must not hold that up.
    saved = file.save(result.encode()) if file.is_regular else None
    page = folder.write([result]) if folder is not None else None
    if as_json:
        print_json(result.model_dump(mode="json"))
    elif not is_silent:
        _print(result)
    saved = saved or file.save(result.encode())
    if saved.trouble:
        complain(saved.trouble)
    elif not as_json and not is_silent:
        say(f"Result file: {saved.path}")
        if page is not None:
            say(f"Report: {page}")
    if saved.trouble:
        raise typer.Exit(EXIT_FAILED)
    if result.end.stopped is Stopped.INTERRUPTED:
        complain("interrupted: the figures are of what was measured until then")
        raise typer.Exit(EXIT_INTERRUPTED)


class Exports:
    """Tables and figures for other programs, whose places are tried before the work.

    Args:
        csv: folder; empty: none.
        prometheus: file; empty: none.
        force: files that are there are written over.

    Raises:
        DtlsEmuError: a place takes no file, or what an export needs is not installed.
    """

    def __init__(self, csv: str, prometheus: str, *, force: bool) -> None:
        from importlib.util import find_spec

        from dtls_emu.files.results import ResultFile

        self._folder, self._force = csv, force
        if csv:
            ResultFile(Path(csv, TRIED), force=True, make_folders=True)  # to try the folder
            if not force and any(Path(csv).glob("*.csv")):
                raise DtlsEmuError(f"{csv} has tables already; --force writes over them")
        self._prometheus = ResultFile(prometheus, force=True) if prometheus else None
        if prometheus and find_spec("prometheus_client") is None:
            raise DtlsEmuError("--prometheus needs prometheus-client: pip install 'dtls-emu[metrics]'")

    def write(self, result: Result) -> None:
        """Write them."""
        from dtls_emu.files.results import ResultFile
        from dtls_emu.measure.exports import as_csv, as_prometheus

        if self._folder:
            for name, text in as_csv(result).items():
                ResultFile(Path(self._folder, name), force=self._force).write(text.encode())
        if self._prometheus is not None:
            self._prometheus.write(as_prometheus(result).encode())


def _stream(suite: str, record: Record) -> None:
    say(json.dumps({"suite": suite, **record.model_dump(mode="json")}))


def _calibrate(lab: str, plan: Plan, runs: int, *, as_json: bool) -> None:
    from dtls_emu.measure.calibrate import calibrate

    with progress() as report:
        found = calibrate(lab, plan, report, runs)
    if not found:
        raise DtlsEmuError("not one run had an interval: six rounds and more have (--rounds)")
    if as_json:
        print_json([asdict(each) for each in found])
        return
    print_table(
        f"Intervals that missed the truth: plain against plain; of the method, {CONFIDENCE_TOLD} at most may",
        ("path", "figure", ">runs", ">missed", ">share", ">95 % interval", ">half width"),
        [
            (
                str(each.path),
                each.metric,
                str(each.runs),
                str(each.missed),
                f"{each.missed / each.runs * 100:.1f} %",
                f"{each.low * 100:.1f}-{each.high * 100:.1f} %",
                f"{each.width * 100:.1f} %",
            )
            for each in found
        ],
    )


def _share(option: str, text: str) -> float:
    """``2%`` or ``0.02``.

    Raises:
        DtlsEmuError: it is neither.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise DtlsEmuError(f"{option} {text!r}: it takes a share such as 2%")
    return value


def _lab_and_suites(words: list[str], *, full: bool) -> tuple[str, tuple[str, ...]]:
    """Tell the suites among the words from the lab.

    Raises:
        DtlsEmuError: a word is neither, or there are two labs.
    """
    from dtls_emu.lab import shipped_labs
    from dtls_emu.measure.suites.registry import SUITES

    suites = tuple(word for word in words if word in SUITES)
    labs = [word for word in words if word not in SUITES]
    for word in labs:
        is_file = Path(word).suffix in {".yaml", ".yml"} or Path(word).exists()
        if word not in shipped_labs() and not is_file:
            raise DtlsEmuError(
                f"{word!r} is neither a suite ({', '.join(SUITES)}) nor a lab: there is no such file, and the shipped "
                f"labs are {', '.join(shipped_labs())}"
            )
    if len(labs) > 1:
        raise DtlsEmuError(f"a benchmark is of one lab, not of {' and '.join(labs)}")
    return (labs or [DEFAULT_LAB])[0], suites or (tuple(SUITES) if full else ())


def _plan(
    *,
    quick: bool,
    full: bool,
    suites: tuple[str, ...],
    sizes: str | None,
    backends: str | None,
    paths: str | None,
    rounds: int | None,
    seconds: float | None,
    budget: float | None,
    burst: int,
    flows: int,
    ip: int,
    perfect_link: bool,
    seed: int,
) -> Plan:
    from dtls_emu.measure.plan import BenchPath, full_plan, quick_plan

    if quick and full:
        raise DtlsEmuError("--quick and --full are two different runs; choose one")
    if ip not in {4, 6}:
        raise DtlsEmuError("--ip takes 4 or 6")
    plan = quick_plan(seed) if quick else full_plan(seed)
    return replace(
        plan,
        suites=suites,
        sizes=_each("--sizes", sizes, int, "numbers such as 64,1400"),
        backends=_each(
            "--backends", backends, str, "names such as ipsec-mb,null; dtls-emu backends lists them"
        )
        or (),
        paths=_each("--paths", paths, BenchPath, ", ".join(BenchPath)),
        rounds=rounds,
        trial_s=seconds,
        budget_s=budget or plan.budget_s,
        burst=burst,
        flows=flows,
        ip_version=6 if ip == 6 else 4,
        perfect_link=perfect_link,
    )


def _each(option: str, text: str | None, kind: Callable[[str], Any], takes: str) -> tuple[Any, ...] | None:
    """The values of an option that takes several, separated by commas and perhaps spaces; None: it was not given.

    Raises:
        DtlsEmuError: one is missing, or is no such value.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise DtlsEmuError(f"{option} {text!r}: a value is missing; {option} takes {takes}")
    try:
        return tuple(kind(word) for word in words)
    except ValueError as error:
        raise DtlsEmuError(f"{error}; {option} takes {takes}") from error


def _list(*, as_json: bool) -> None:
    from dtls_emu.measure.suites.registry import SUITES

    if as_json:
        print_json(
            [
                {
                    "name": suite.name,
                    "usual": suite.is_usual,
                    "question": suite.question,
                    "document": suite.document,
                }
                for suite in SUITES.values()
            ]
        )
        return
    rows = [
        (suite.name, "yes" if suite.is_usual else "", suite.question, suite.document)
        for suite in SUITES.values()
    ]
    print_table("Suites", ("suite", "usual", "question", "document"), rows)


def _print(result: Result) -> None:
    from dtls_emu.measure.report import remarks, tables

    for table in tables(result):
        print_table(table.title, table.columns, table.rows, spare=table.spare)
    for line in (*remarks(result), *result.end.reading):
        print_text(line)
