"""``dtls-emu whatif``: what encryption would do to a network that somebody has."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.output import ForceOption, JsonOption, complain, print_json, print_table, print_text, say
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from dtls_emu.files.results import ResultFile
    from dtls_emu.whatif.answer.answer import Answer
    from dtls_emu.whatif.answer.question import Question
    from dtls_emu.whatif.documents import Document
    from dtls_emu.whatif.model.estate import Estate
    from dtls_emu.whatif.report.gate import Condition


__all__ = ["whatif"]

EXIT_GATE: Final = 1
MOST_ROWS: Final = 40
"""Rows of a table on a terminal; --json has all."""


def whatif(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="ARM templates with parameter files, exported resource groups, files of `bicep snapshot`, output of "
            "`az network vnet list` and its like, or labs. All of them together are one network. `hub-and-spoke` is a "
            "template that is shipped.",
        ),
    ],
    enforcement: Annotated[
        str | None,
        typer.Option(
            metavar="MODE", help="AllowUnencrypted or DropUnencrypted, for every network that is encrypted."
        ),
    ] = None,
    profile: Annotated[str, typer.Option(metavar="NAME", help="Behaviour profile.")] = "current",
    enable: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Which networks are encrypted: `all`, `written` (those of which the files say so), or names with "
            "commas, besides those. Default all; with --compare written.",
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="The same network as it will be; repeatable. Shows what changes."),
    ] = None,
    fail_on: Annotated[
        str,
        typer.Option(
            metavar="WORDS",
            help="Exit 1 on any of: dropped, broken, clear, unknown; with a tag only for endpoints that have it, such "
            "as clear:sensitive.",
        ),
    ] = "",
    html: Annotated[
        Path | None, typer.Option(metavar="file", help="Write a page with a diagram, one file.")
    ] = None,
    sarif: Annotated[
        Path | None, typer.Option(metavar="file", help="Write annotations for code review.")
    ] = None,
    lab: Annotated[
        Path | None,
        typer.Option(metavar="file", help="Write the network as a lab that `run` and `serve` take."),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what encryption would do to a network, before anybody turns it on.

    Which pairs are encrypted, which stay in clear or are dropped and why, what breaks, what has to be restarted. Nothing
    is fetched or executed, and Azure is not asked; what cannot be known from the files is listed, never guessed.
    """
    from dtls_emu.files.results import ResultFile
    from dtls_emu.whatif.answer.answer import answer
    from dtls_emu.whatif.documents import read_documents
    from dtls_emu.whatif.model.build import build
    from dtls_emu.whatif.report.as_json import as_json as document_of
    from dtls_emu.whatif.report.gate import parse_conditions, tags_of

    conditions = parse_conditions(fail_on)
    question = _question(enforcement, profile, enable, tags_of(conditions), compares=bool(compare))
    _ = question.behaviour  # a profile that is none is said before any file is read
    places = {
        name: ResultFile(path, force=force)
        for name, path in (("html", html), ("sarif", sarif), ("lab", lab))
        if path is not None
    }
    documents = read_documents(files)
    before = answer(build(documents), question)
    if compare:
        after_documents = read_documents(compare)
        after = answer(build(after_documents), question)
        _compare(before, after, as_json=as_json)
        documents, before = after_documents, after
    elif as_json:
        print_json(document_of(before))
    else:
        _print(before)
    _write(places, before, documents, ", ".join(compare or files), quiet=as_json)
    _gate(before, conditions)


def _question(
    enforcement: str | None, profile: str, enable: str | None, tags: tuple[str, ...], *, compares: bool
) -> Question:
    from dtls_emu.lab.problems import suggest
    from dtls_emu.vocabulary import Enforcement
    from dtls_emu.whatif.answer.question import ALL, WRITTEN, Question

    said = next((each for each in Enforcement if enforcement and each.lower() == enforcement.lower()), None)
    if enforcement is not None and said is None:
        raise DtlsEmuError(f"--enforcement {enforcement}: {suggest(enforcement, list(Enforcement))}")
    which: str | tuple[str, ...] = WRITTEN if compares else ALL
    if enable is not None:
        names = tuple(filter(None, (each.strip() for each in enable.split(","))))
        which = names[0] if len(names) == 1 and names[0] in {ALL, WRITTEN} else names
    return Question(which, said, profile, tags)


def _write(
    places: dict[str, ResultFile], found: Answer, documents: tuple[Document, ...], title: str, *, quiet: bool
) -> None:
    from dtls_emu.whatif.report.lab_file import as_lab
    from dtls_emu.whatif.report.page import page
    from dtls_emu.whatif.report.sarif import as_sarif

    for name, place in places.items():
        notes: tuple[str, ...] = ()
        if name == "html":
            content = page(found, title)
        elif name == "sarif":
            content = json.dumps(as_sarif(found, documents), indent=2) + "\n"
        else:
            content, notes = as_lab(found)
        path = place.write(content.encode("utf-8", "replace"))
        say(f"{_WORDS[name]}: {path}", err=quiet)
        for note in notes:
            say(f"note: {note}", err=True)


_WORDS: Final = {"html": "Page", "sarif": "Annotations", "lab": "Lab"}


def _gate(found: Answer, conditions: tuple[Condition, ...]) -> None:
    from dtls_emu.whatif.report.gate import failures

    failed = failures(found, conditions)
    for each in failed:
        complain(f"--fail-on {each}")
    if failed:
        raise typer.Exit(EXIT_GATE)


# ------------------------------------------------------------------------------------------------- for people


def _print(found: Answer) -> None:
    _print_summary(found)
    if found.breakages:
        print_table(
            "What breaks",
            ["what", "network", "why", "basis", "source"],
            [
                [
                    each.what,
                    each.network,
                    each.why if each.certain else f"may be: {each.why}",
                    each.basis,
                    each.source,
                ]
                for each in found.breakages[:MOST_ROWS]
            ],
            spare=["source", "basis"],
        )
        _print_more(len(found.breakages))
    _print_pairs(found)
    if found.advice:
        say("What to do, what is worth most first")
        for number, each in enumerate(found.advice[:MOST_ROWS], 1):
            print_text(f"{number}. {each.text}{f' ({_pairs(each.pairs)})' if each.pairs else ''}")
        _print_more(len(found.advice))
        say("")
    for remark in found.remarks:
        print_text(f"{_capital(remark.text)}. [{remark.basis}] {remark.source}.")
    _print_doubts(found.estate)


def _print_summary(found: Answer) -> None:
    from dtls_emu.whatif.answer.ruling import Fate

    networks = [each for each in found.estate.networks.values() if each.declared]
    on = sum(found.states[each.id].encrypted is True for each in networks)
    endpoints = sum(
        cohort.count for cohorts in found.census.by_network.values() for cohort in cohorts.values()
    )
    print_text(
        f"{_count(len(networks), 'virtual network')}, {on} of them encrypted; {_count(endpoints, 'endpoint')}; "
        f"profile {found.question.profile}"
    )
    totals = [(fate, found.pairs.total(fate)) for fate in Fate]
    said = ", ".join(f"{count:,} {fate}" for fate, count in totals if count)
    print_text(f"Pairs, once VMs are restarted: {said or 'none'}")
    say("")


def _print_pairs(found: Answer) -> None:
    from dtls_emu.whatif.answer.answer import reason_of, said_of
    from dtls_emu.whatif.report.parties import party_of

    rows = []
    for group in found.pairs.groups[:MOST_ROWS]:
        basis, source = said_of(group)
        row = group.ruling.row
        said = [
            f"{reason_of(group)} ({', '.join(sorted(group.routes))})",
            f"{group.first}: {party_of(group.firsts, found)}",
            f"with {group.second}: {party_of(group.seconds, found)}",
            *([f"[{basis}] {source}"] if basis else []),
        ]
        rows.append(
            [
                str(group.ruling.fate),
                "-" if row is None else str(row.number),
                f"{'>= ' if group.open_ended else ''}{group.pairs:,}",
                "\n".join(said),
            ]
        )
    if not rows:
        print_text("There are no pairs of endpoints in these files.")
        say("")
        return
    print_table(
        "What becomes of the pairs",
        ["outcome", ">row", ">pairs", "why, between whom, and where that is said"],
        rows,
    )
    _print_more(len(found.pairs.groups))


def _print_doubts(estate: Estate) -> None:
    mattering = [each for each in estate.doubts if each.matters]
    if mattering:
        say("")
        print_table(
            "What cannot be known from these files, and matters",
            ["what", "why", "where"],
            [[each.what, each.why, str(each.place)] for each in mattering[:MOST_ROWS]],
        )
        _print_more(len(mattering))
    rest = len(estate.doubts) - len(mattering)
    if rest:
        print_text(f"{rest} more could not be resolved, and nothing here depends on them; --json lists them.")


def _compare(before: Answer, after: Answer, *, as_json: bool) -> None:
    from dtls_emu.whatif.answer.comparison import compare_answers

    found = compare_answers(before, after)
    if as_json:
        print_json(found.as_dict())
        return
    print_table(
        "Pairs",
        ["outcome", ">before", ">after", ">change"],
        [[str(fate), f"{one:,}", f"{other:,}", f"{other - one:+,}"] for fate, one, other in found.totals],
    )
    for title, rows in (("What changes for whom", found.changes), ("Networks and things", found.things)):
        if rows:
            print_table(title, ["who", "before", "after"], [list(row) for row in rows[:MOST_ROWS]])
            _print_more(len(rows))
    if not found.changes and not found.things:
        print_text("Nothing changes for anybody.")


def _print_more(count: int) -> None:
    if count > MOST_ROWS:
        print_text(f"(and {count - MOST_ROWS} more; --json has all)")
        say("")


def _pairs(count: int) -> str:
    return f"{count:,} pair{'' if count == 1 else 's'}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
