"""``dtls-emu bench``: encrypted against plain, suite by suite."""

from __future__ import annotations

import sys
from dataclasses import replace
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

    from dtls_emu.measure.plan import Plan
    from dtls_emu.measure.result import Result


__all__ = ["bench"]

EXIT_NOT_ACCOUNTED: Final = 1
DEFAULT_LAB: Final = "two-vms"


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
    output: Annotated[
        str, typer.Option(help="Result file; by default one named by the time, in results/.", metavar="FILE")
    ] = "",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what encryption costs: plain, and every backend, by packet size and path.

    Arms are interleaved in random order and compared pair by pair; every packet is accounted for. Ctrl-C ends
    the run and keeps what was measured. Exits 1 when the result cannot be written where it was to go.
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
    from dtls_emu.files.results import ResultFile
    from dtls_emu.measure.benchmark import benchmark
    from dtls_emu.measure.result import result_path
    from dtls_emu.measure.suites.registry import chosen_suites

    chosen_suites(suites)
    file = ResultFile(output or result_path(), force=force, make_folders=not output, avoid_others=not output)
    with progress() as report:
        result = _void_or(lambda: benchmark(lab, plan, report, command=sys.argv[1:]))
    if not result.sections:
        raise KeyboardInterrupt
    _hand_over(result, file, as_json=as_json)


def _void_or(run: Callable[[], Result]) -> Result:
    """The result of a run, unless packets are unaccounted for."""
    from dtls_emu.simulation.accounts import AccountingError

    try:
        return run()
    except AccountingError as error:
        complain(f"the run is void: {error}")
        raise typer.Exit(EXIT_NOT_ACCOUNTED) from error


def _hand_over(result: Result, file: Any, *, as_json: bool) -> None:
    from dtls_emu.measure.records.base import Stopped

    # A file is safe before anything is printed; what may wait for a reader must not hold that up.
    saved = file.save(result.encode()) if file.is_regular else None
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        _print(result)
    saved = saved or file.save(result.encode())
    if saved.trouble:
        complain(saved.trouble)
    elif not as_json:
        say(f"Result file: {saved.path}")
    if saved.trouble:
        raise typer.Exit(EXIT_FAILED)
    if result.end.stopped is Stopped.INTERRUPTED:
        complain("interrupted: the figures are of what was measured until then")
        raise typer.Exit(EXIT_INTERRUPTED)


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
        if word not in shipped_labs() and not Path(word).exists():
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
