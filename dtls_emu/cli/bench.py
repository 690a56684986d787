"""``dtls-emu bench``: encrypted against plain, per backend and packet size."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.output import ForceOption, JsonOption, complain, print_json, print_table, print_text, say
from dtls_emu.cli.progress import progress
from dtls_emu.cli.streams import EXIT_FAILED, EXIT_INTERRUPTED
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from dtls_emu.measure.plan import Plan
    from dtls_emu.measure.result import Result


__all__ = ["bench"]

EXIT_NOT_ACCOUNTED: Final = 1


def bench(
    lab: Annotated[str, typer.Argument(help="A lab file, or the name of a shipped lab.")] = "two-vms",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer sizes and rounds: about a minute.")] = False,
    sizes: Annotated[
        str, typer.Option(help="Inner packet sizes in bytes, separated by commas.", metavar="N,N,...")
    ] = "",
    backends: Annotated[
        str,
        typer.Option(help="Backends to compare with plain; by default all available.", metavar="NAME,..."),
    ] = "",
    paths: Annotated[
        str,
        typer.Option(
            help="Of memory, udp (with GSO/GRO) and udp-single; by default all.", metavar="PATH,..."
        ),
    ] = "",
    rounds: Annotated[int | None, typer.Option(help="How often each arm is measured.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the random order, and of resampling.")] = 1,
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
    from dtls_emu.files.results import ResultFile
    from dtls_emu.measure.benchmark import benchmark
    from dtls_emu.measure.result import result_path
    from dtls_emu.measure.trials import Stopped
    from dtls_emu.simulation.accounts import AccountingError

    plan = _plan(quick=quick, sizes=sizes, backends=backends, paths=paths, rounds=rounds, seed=seed)
    file = ResultFile(output or result_path(), force=force, make_folders=not output, avoid_others=not output)
    try:
        with progress() as report:
            result = benchmark(lab, plan, report)
    except AccountingError as error:
        complain(f"the run is void: {error}")
        raise typer.Exit(EXIT_NOT_ACCOUNTED) from error
    if not result.intervals:
        raise KeyboardInterrupt
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


def _plan(*, quick: bool, sizes: str, backends: str, paths: str, rounds: int | None, seed: int) -> Plan:
    from dtls_emu.measure.plan import BenchPath, full_plan, quick_plan

    plan = quick_plan(seed) if quick else full_plan(seed)
    try:
        return replace(
            plan,
            sizes=tuple(int(size) for size in sizes.split(",")) if sizes else plan.sizes,
            backends=tuple(backends.split(",")) if backends else (),
            paths=tuple(BenchPath(path) for path in paths.split(",")) if paths else plan.paths,
            rounds=rounds or plan.rounds,
        )
    except ValueError as error:
        raise DtlsEmuError(
            f"{error}; --sizes takes numbers such as 64,1400 and --paths takes {', '.join(BenchPath)}"
        ) from error


def _print(result: Result) -> None:
    from dtls_emu.measure.report import remarks, tables

    for table in tables(result):
        print_table(table.title, table.columns, table.rows, spare=table.spare)
    for line in (*remarks(result), result.end.reading):
        print_text(line)
