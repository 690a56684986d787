"""``dtls-emu audit``: was it encrypted? What flow logs say, pair by pair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.flow_logs import clock_text, warn_of_unreadable
from dtls_emu.cli.output import ForceOption, JsonOption, complain, print_json, print_table, print_text
from dtls_emu.cli.progress import progress
from dtls_emu.cli.streams import EXIT_FAILED
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.audit.finding import Finding
    from dtls_emu.audit.findings import Audit
    from dtls_emu.audit.promise import Promise
    from dtls_emu.audit.statuses import Kind
    from dtls_emu.files.results import ResultFile


__all__ = ["audit"]

TOP: Final = 20
"""Findings of a kind that the table has."""

UNEXPECTED: Final = "unexpected"

LogsArgument = Annotated[
    Path, typer.Argument(metavar="file|folder", help="Flow logs, version 4.", show_default=False)
]


def audit(
    logs: LogsArgument,
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="What was promised: a lab file with the network's addresses, the name of a shipped lab, or what `dtls-emu "
            "whatif` reads (repeatable, for parameter files); of that, interfaces with fixed addresses count.",
            metavar="FILE",
        ),
    ] = None,
    fail_on: Annotated[
        str,
        typer.Option(
            help="Exit with 1 when there is traffic of these kinds, with commas in between: clear, dropped, unknown, "
            "local, public, denied, unexpected (worse than the template promises).",
            metavar="KINDS",
        ),
    ] = "",
    html: Annotated[
        Path | None, typer.Option(help="Write one self-contained page, with plots.", metavar="FILE")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a line for each finding.", metavar="FILE")] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether traffic was encrypted, from virtual network flow logs: which pairs were, which were not, and why.

    The logs are a real network's, as they were downloaded from its storage account, or those of `dtls-emu run
    --flow-log` and `dtls-emu up --flow-log`. Addresses of the internet, and VMs on one host, are never encrypted, by
    design: they are told by themselves.

    Exits 0, or 1 when --fail-on finds something or a line of the logs cannot be read that it could be in; 2 when there
    is nothing to judge.
    """
    from dtls_emu.audit.csv_file import findings_csv
    from dtls_emu.audit.findings import audit_tally
    from dtls_emu.audit.page import audit_page
    from dtls_emu.audit.sources import add_logs
    from dtls_emu.cli.captures import refuse_twice
    from dtls_emu.files.results import ResultFile
    from dtls_emu.flow_logs.tally import Tally

    wanted = _kinds(fail_on, template)
    promise = _promise(template) if template else None
    html_file = None if html is None else ResultFile(html, force=force)
    csv_file = None if csv is None else ResultFile(csv, force=force)
    refuse_twice([("--html", html_file), ("--csv", csv_file)])
    tally = Tally()
    with progress() as report:
        add_logs(logs, tally, report)
    found = audit_tally(tally, promise)
    troubles = []
    if html_file is not None:
        troubles.append(_save(html_file, audit_page(found, logs.name or str(logs))))
    if csv_file is not None:
        troubles.append(_save(csv_file, findings_csv(found.findings)))
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found)
    warn_of_unreadable(tally)
    if any(troubles):
        raise typer.Exit(EXIT_FAILED)
    failures = _failures(found, wanted)
    for failure in failures:
        complain(failure)
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _kinds(text: str, template: Sequence[str] | None) -> list[str]:
    from dtls_emu.audit.statuses import KINDS
    from dtls_emu.lab.problems import suggest

    known = [*map(str, KINDS), UNEXPECTED]
    wanted = [each.strip().lower() for each in text.split(",") if each.strip()]
    for each in wanted:
        if each not in known:
            raise DtlsEmuError(f"--fail-on: no kind `{each}`; {suggest(each, known)}")
    if UNEXPECTED in wanted and not template:
        raise DtlsEmuError("--fail-on unexpected needs what was promised: --template FILE")
    return wanted


def _promise(names: Sequence[str]) -> Promise:
    from dtls_emu.audit.promise import Promise
    from dtls_emu.cli.flow_logs import is_json
    from dtls_emu.lab import compile_lab, load_lab
    from dtls_emu.lab.loader import parse_lab
    from dtls_emu.whatif.answer.answer import answer
    from dtls_emu.whatif.answer.question import WRITTEN, Question
    from dtls_emu.whatif.documents import read_documents
    from dtls_emu.whatif.model.build import build
    from dtls_emu.whatif.report.lab_file import as_lab

    if len(names) == 1 and not is_json(names[0]):
        return Promise(compile_lab(load_lab(names[0])), names[0])
    title = ", ".join(names)
    found = answer(build(read_documents(list(names))), Question(WRITTEN))
    known = {each.address for each in found.estate.endpoints.values() if each.address}
    if not known:
        raise DtlsEmuError(
            f"--template {title}: no interface in it has a fixed private address, so that nobody can say whose the "
            "addresses of the logs are; write it as a lab with `dtls-emu whatif ... --lab`, and put them in"
        )
    text, notes = as_lab(found)
    for note in notes:
        complain(f"--template: {note}")
    return Promise(compile_lab(parse_lab(text, f"{names[0]}, as a lab")), title, known)


def _save(file: ResultFile, text: str) -> str:
    trouble = file.save(text.encode()).trouble
    complain(trouble or f"written: {file.path}")
    return trouble


def _failures(found: Audit, wanted: Sequence[str]) -> list[str]:
    """Why the gate is shut."""
    failures = []
    for kind, each in found.sums.items():
        if kind in wanted:
            failures.append(
                f"--fail-on {kind}: {_pairs(each.pairs)}, {each.nbytes:,} bytes, {each.denied:,} denied"
            )
    if UNEXPECTED in wanted and found.unexpected:
        failures.append(f"--fail-on unexpected: {_pairs(len(found.unexpected))} worse than promised")
    if wanted and found.unreadable:
        failures.append(
            f"--fail-on: {found.unreadable:,} lines cannot be read, so nobody can say what they were"
        )
    return failures


def _print(found: Audit) -> None:
    from dtls_emu.audit.statuses import KINDS

    print_text(found.answer)
    print_table(
        "",
        ("what became of it", ">pairs", ">flows", ">denied", ">packets", ">bytes"),
        [
            (
                KINDS[kind],
                *(
                    f"{number:,}"
                    for number in (each.pairs, each.flows, each.denied, each.packets, each.nbytes)
                ),
            )
            for kind, each in found.sums.items()
        ],
        spare=["flows"],
    )
    for kind in found.sums:
        _print_kind(KINDS[kind], kind, [each for each in found.findings if each.kind is kind])
    if found.template:
        print_text(f"Measured against {found.template}: {_pairs(len(found.unexpected))} worse than promised.")
    if not found.is_complete:
        print_text("There are more pairs than are told apart: the rest is counted as `others`.")


def _print_kind(title: str, kind: Kind, findings: Sequence[Finding]) -> None:
    from dtls_emu.audit.statuses import BY_CODE, rows_of

    is_promised = any(each.promised for each in findings)
    print_table(
        title,
        (
            "source",
            "destination",
            "port",
            "status",
            ">packets",
            ">bytes",
            "first seen",
            "last seen",
            "promised",
        ),
        [
            (
                each.source,
                each.destination,
                "\n".join(each.services),
                each.code,
                f"{each.denied:,} denied" if each.denied and not each.packets else f"{each.packets:,}",
                f"{each.nbytes:,}",
                clock_text(each.first),
                clock_text(each.last),
                _promised(each) if is_promised else "",
            )
            for each in findings[:TOP]
        ],
        spare=["first seen", "last seen", "packets"],
    )
    if len(findings) > TOP:
        print_text(f"{len(findings) - TOP:,} smaller ones are left out; --json, --csv and --html have more.")
    for code in sorted({each.code for each in findings}):
        status = BY_CODE.get(code)
        if status is None:
            print_text(f"{code}: not known to this version.")
        elif kind not in {"encrypted", "local", "public", "denied"}:
            rows = "; ".join(rows_of(code, kind))
            print_text(f"{code}: {status.meaning} {status.remedy} (Rows of the decision table: {rows}.)")
            print_text("")


def _promised(finding: Finding) -> str:
    return f"{finding.promised}: NOT KEPT" if finding.is_unexpected else finding.promised


def _pairs(number: int) -> str:
    return f"{number:,} pair{'' if number == 1 else 's'}"
