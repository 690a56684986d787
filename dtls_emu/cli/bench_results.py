"""``dtls-emu bench compare`` and ``dtls-emu bench replay``: what is done with results that are there."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dtls_emu.cli.bench import hand_over, void_or
from dtls_emu.cli.output import ForceOption, JsonOption, complain, print_json, print_table, print_text
from dtls_emu.cli.progress import progress
from dtls_emu.cli.streams import EXIT_FAILED
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.measure.compare import Compared, FalseAlarms
    from dtls_emu.measure.result import Result


__all__ = ["compare", "replay"]

FEW_STARTS: Final = (
    "These are of one start each, and what varies between starts is in no interval: measure both with --repeat 5 before "
    "a small difference is believed."
)


def compare(
    results: Annotated[
        list[str], typer.Argument(metavar="RESULT...", help="Two result files; with --null one is enough.")
    ],
    baseline: Annotated[
        str,
        typer.Option(
            help="Which of the two others are compared with; by default the first.", metavar="RESULT"
        ),
    ] = "",
    fail_under: Annotated[
        float | None,
        typer.Option(
            help="Exit 1 when a figure is certainly below this part of the baseline, such as 0.95.", min=0.0
        ),
    ] = None,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Compare packets/s and ns as well, not ratios to plain alone.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Compare although the settings of the runs differ.")
    ] = False,
    null: Annotated[
        bool,
        typer.Option(
            "--null", help="Try the gate on halves of each run, which are equal, and print its false alarms."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two results, figure by figure: faster, slower, or not resolvable.

    A gain above 1 is better, whichever way the figure goes. Figures are ratios to plain of the same run. Verdict and exit
    status rest on the bounds of intervals, not on their middles: a figure fails when its whole interval is below what is
    asked for. Runs whose settings differ are refused.
    """
    from dtls_emu.measure.compare import compare as compared
    from dtls_emu.measure.compare import differences, false_alarms
    from dtls_emu.measure.result import read_result

    if null:
        found = {path: false_alarms(read_result(path), fail_under) for path in results}
        _print_null(found, as_json=as_json)
        return
    if len(results) != 2:
        raise DtlsEmuError(f"two results are compared, not {len(results)}; with --null one is enough")
    if baseline and baseline not in results:
        raise DtlsEmuError(f"--baseline {baseline} is neither of {' and '.join(results)}")
    first, second = results if baseline in {"", results[0]} else results[::-1]
    before, after = read_result(first), read_result(second)
    different = differences(before, after)
    if different and not anyway:
        raise DtlsEmuError(
            f"the two runs are not alike ({'; '.join(different)}); --anyway compares them all the same"
        )
    rows = compared(before, after, fail_under=fail_under, absolute=absolute)
    if as_json:
        print_json(
            {
                "baseline": first,
                "other": second,
                "differences": different,
                "fail_under": fail_under,
                "figures": [row.as_dict() for row in rows],
                "failed": sum(row.fails for row in rows),
            }
        )
    else:
        _print(rows, first, second, different, before, after)
    failed = [row for row in rows if row.fails]
    if failed:
        complain(f"{len(failed)} of {len(rows)} figures are certainly below {fail_under:g} of {first}")
        raise typer.Exit(EXIT_FAILED)


def replay(
    result: Annotated[str, typer.Argument(metavar="RESULT", help="A result file, whose run is repeated.")],
    lab: Annotated[
        str, typer.Option(help="The lab, where it is no longer where it was.", metavar="LAB")
    ] = "",
    seed: Annotated[int | None, typer.Option(help="Another order; by default the same.")] = None,
    output: Annotated[
        str, typer.Option(help="Result file; by default one named by the time, in results/.", metavar="FILE")
    ] = "",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Repeat a run with the settings that its result recorded, and write a result of its own.

    What this machine, its libraries and this version are is as it is now; `bench compare` says what differs.
    """
    from dtls_emu.files.results import ResultFile
    from dtls_emu.measure.benchmark import benchmark
    from dtls_emu.measure.repeat import repeated
    from dtls_emu.measure.result import read_result, result_path

    old = read_result(result)
    source = lab or old.start.lab_source
    if not source:
        raise DtlsEmuError(f"{result} was measured from Python, on a lab without a file; name one with --lab")
    plan = old.start.plan if seed is None else replace(old.start.plan, seed=seed)
    file = ResultFile(output or result_path(), force=force, make_folders=not output, avoid_others=not output)
    with progress() as report:
        new = void_or(
            lambda: (
                repeated(source, plan, old.end.starts, report, command=sys.argv[1:])
                if old.end.starts > 1
                else benchmark(source, plan, report, command=sys.argv[1:])
            )
        )
    if not new.sections:
        raise KeyboardInterrupt
    hand_over(new, file, as_json=as_json)


def _print(
    rows: Sequence[Compared],
    first: str,
    second: str,
    different: Sequence[str],
    before: Result,
    after: Result,
) -> None:
    print_table(
        f"{second} against {first}; a gain above 1 is better",
        ("suite", "of", "figure", ">gain", ">95 % interval", ">n", "verdict"),
        [
            (
                row.suite,
                ", ".join(str(value) for value in row.cell.values()),
                f"{row.metric} {row.unit}",
                f"{row.gain.value:.3f}",
                "" if row.gain.low is None else f"{row.gain.low:.3f}-{row.gain.high:.3f}",
                str(row.gain.n),
                _verdict(row),
            )
            for row in rows
        ],
        spare=("n", "suite"),
    )
    for each in different:
        print_text(f"Not alike: {each}.")
    if min(before.end.starts, after.end.starts) < 3:
        print_text(FEW_STARTS)


def _verdict(row: Compared) -> str:
    said = row.verdict
    if said == "not resolvable" and row.floor is not None:
        said += f" (floor {row.floor * 100:.1f} %)"
    return f"{said}, FAILS" if row.fails else said


def _print_null(found: dict[str, FalseAlarms], *, as_json: bool) -> None:
    if as_json:
        print_json({path: _alarms(each) for path, each in found.items()})
        return
    print_table(
        "False alarms: halves of one run, which are equal, judged by the gate",
        ("result", "halves of", ">figures", ">alarms", ">of them", ">runs with one"),
        [
            (
                path,
                "starts" if each.between_starts else "rounds",
                f"{each.figures:,}",
                f"{each.alarms:,}",
                f"{each.alarms / each.figures * 100:.2f} %",
                f"{each.alarmed / each.runs * 100:.1f} %",
            )
            for path, each in found.items()
        ],
    )
    if not all(each.between_starts for each in found.values()):
        print_text(
            "Halves of rounds do not show what differs between starts: --null on a run of --repeat 6 or more does."
        )


def _alarms(each: FalseAlarms) -> dict[str, Any]:
    return {
        "halves_of": "starts" if each.between_starts else "rounds",
        "figures": each.figures,
        "alarms": each.alarms,
        "runs": each.runs,
        "alarmed": each.alarmed,
    }
