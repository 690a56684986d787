"""``dtls-emu lesson``: eight lessons, each with a lab, questions, and a check that runs the student's own lab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.output import (
    ForceOption,
    JsonOption,
    complain,
    print_json,
    print_table,
    print_text,
    say,
    width,
)
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from dtls_emu.teach.lessons.checking import Checked
    from dtls_emu.teach.lessons.classroom import HandedIn
    from dtls_emu.teach.lessons.lesson import Lesson


__all__ = ["lesson"]

EXIT_NOT_ALL_RIGHT: Final = 1
EXIT_VOID: Final = 1

lesson = typer.Typer(
    no_args_is_help=True,
    help="Learn by doing: eight lessons of ten to fifteen minutes, each a lab with a story, questions and a check.",
)

Number = Annotated[int, typer.Argument(metavar="n", help="Number of the lesson.")]
Folder = Annotated[
    Path | None,
    typer.Argument(metavar="[folder]", help="By default this one, if it has answers, or lesson-N in it."),
]


@lesson.command("list", epilog="Example: dtls-emu lesson list")
def list_lessons(as_json: JsonOption = False) -> None:
    """List the lessons."""
    from dtls_emu.teach.lessons import lessons

    if as_json:
        print_json(
            [
                {"lesson": each.number, "title": each.title, "minutes": each.minutes, "idea": each.idea}
                for each in lessons()
            ]
        )
        return
    print_table(
        "Lessons",
        [">", "title", ">minutes", "what it is about"],
        [[str(each.number), each.title, str(each.minutes), each.idea] for each in lessons()],
    )
    print_text("dtls-emu lesson start 1 begins the first one.")


@lesson.command(epilog="Example: dtls-emu lesson start 1")
def start(
    number: Number,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[folder]", help="To be made; by default lesson-N.")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Begin a lesson: make a folder with its lab and a file for the answers, and tell the story and the steps."""
    from dtls_emu.teach.lessons import lesson as lesson_of
    from dtls_emu.teach.lessons.handout import SHEET, as_dict, hand_out, text_of

    chosen = lesson_of(number)
    place = folder or Path(f"lesson-{number}")
    hand_out(chosen, place, force=force)
    if as_json:
        print_json({"folder": str(place), **as_dict(chosen)})
        return
    say(text_of(chosen, min(width() or 78, 100)))
    print_text(f"The folder {place} is yours: lab.yaml, answers.yaml to fill in, and this text as {SHEET}.")
    if place != Path():
        say(f"Begin with:  cd {place}")


@lesson.command(
    epilog="Example: dtls-emu lesson check 1; dtls-emu lesson check 1 handed-in --report results.csv"
)
def check(
    number: Number,
    folder: Folder = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="file",
            help="Check every student's folder in the folder, and write a table of results (CSV).",
        ),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check your answers: the lab in the folder is run, and each answer compared with what came of it.

    Exits with 0 only when every task is done and every answer right.
    """
    from dtls_emu.simulation.accounts import AccountingError
    from dtls_emu.teach.lessons import check_folder
    from dtls_emu.teach.lessons import lesson as lesson_of

    chosen = lesson_of(number)
    try:
        if report is not None:
            _check_class(chosen, folder, report, force=force, as_json=as_json)
            return
        checked = check_folder(chosen, _folder(number, folder))
    except AccountingError as error:
        complain(f"the run is void: {error}")
        raise typer.Exit(EXIT_VOID) from error
    if as_json:
        print_json(checked.as_dict())
    else:
        _print_checked(chosen, checked)
    if not checked.ok:
        raise typer.Exit(EXIT_NOT_ALL_RIGHT)


@lesson.command(epilog="Example: dtls-emu lesson hint 1 row")
def hint(
    number: Number,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[question]", help="Name of a question or task; without it all are listed."),
    ] = None,
    which: Annotated[
        int, typer.Argument(metavar="[which]", help="1 for the first hint, 2 for the next.")
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Give a hint, one at a time."""
    from dtls_emu.teach.lessons import lesson as lesson_of
    from dtls_emu.teach.lessons.solving import hint as hint_of

    chosen = lesson_of(number)
    if name is None:
        asked = [(each.name, len(each.hints)) for each in chosen.asked]
        if as_json:
            print_json([{"name": each, "hints": count} for each, count in asked])
        else:
            print_table(
                "Hints", ["task or question", ">hints"], [[each, str(count)] for each, count in asked]
            )
            print_text(f"dtls-emu lesson hint {number} {asked[0][0]} gives the first one.")
        return
    text, count = hint_of(chosen, name, which)
    if as_json:
        print_json({"name": name, "which": which, "of": count, "hint": text})
        return
    print_text(text)
    if which < count:
        print_text(f"(There is another one: dtls-emu lesson hint {number} {name} {which + 1})")


@lesson.command(epilog="Example: dtls-emu lesson solution 1")
def solution(number: Number, folder: Folder = None, as_json: JsonOption = False) -> None:
    """Show the solution: what the tasks change in the lab, every answer, and why it is so.

    With a folder, the answers are those of the lab in it.
    """
    from dtls_emu.lab import load_lab
    from dtls_emu.teach.lessons import lesson as lesson_of
    from dtls_emu.teach.lessons.checking import Laboratory
    from dtls_emu.teach.lessons.lesson import LAB
    from dtls_emu.teach.lessons.solving import lab_changes, solve

    chosen = lesson_of(number)
    laboratory = None if folder is None else Laboratory(chosen, load_lab(folder / LAB), folder)
    solved = solve(chosen, laboratory)
    changes = lab_changes(chosen) if folder is None else []
    if as_json:
        print_json({"lesson": number, "changes": changes, "answers": [each.as_dict() for each in solved]})
        return
    if changes:
        say("What the tasks change in lab.yaml\n")
        say("\n".join(changes) + "\n")
    print_table(
        f"Lesson {number}: {chosen.title}",
        ["question", "answer", "why"],
        [[each.question.name, each.answer or "-", each.why] for each in solved],
    )


def _folder(number: int, folder: Path | None) -> Path:
    """Where a student's answers are.

    Raises:
        DtlsEmuError: none are where they are looked for.
    """
    from dtls_emu.teach.lessons.lesson import ANSWERS

    if folder is not None:
        return folder
    for place in (Path(), Path(f"lesson-{number}")):
        if (place / ANSWERS).exists():
            return place
    raise DtlsEmuError(
        f"no {ANSWERS} here, and no folder lesson-{number}; `dtls-emu lesson start {number}` makes one"
    )


def _check_class(chosen: Lesson, folder: Path | None, report: Path, *, force: bool, as_json: bool) -> None:
    from dtls_emu.cli.progress import progress
    from dtls_emu.files.results import ResultFile
    from dtls_emu.teach.lessons.classroom import check_class, to_csv

    file = ResultFile(report, force=force)
    with progress() as tell:
        results = check_class(chosen, folder or Path(), tell)
    file.write(to_csv(chosen, results).encode())
    if as_json:
        print_json([each.as_dict() for each in results])
    else:
        _print_class(chosen, results)
        say(f"Report: {report}")
    if not all(each.checked is not None and each.checked.ok for each in results):
        raise typer.Exit(EXIT_NOT_ALL_RIGHT)


def _print_class(chosen: Lesson, results: list[HandedIn]) -> None:
    from dtls_emu.teach.lessons import State

    print_table(
        f"Lesson {chosen.number}: {chosen.title}",
        ["folder", "student", ">right", "what is not"],
        [
            [each.folder, "", "-", each.problem]
            if each.checked is None
            else [
                each.folder,
                each.checked.student,
                f"{each.checked.count(State.RIGHT, State.PREDICTED)} of {len(each.checked.marks)}",
                ", ".join(
                    mark.name
                    for mark in each.checked.marks
                    if mark.state not in {State.RIGHT, State.PREDICTED}
                ),
            ]
            for each in results
        ],
    )


def _print_checked(chosen: Lesson, checked: Checked) -> None:
    from dtls_emu.teach.lessons import State

    print_table(
        f"Lesson {chosen.number}: {chosen.title}",
        [">step", "task or question", "is", "remark"],
        [
            [str(mark.step), f"task {mark.name}" if mark.is_task else mark.name, mark.word, mark.remark]
            for mark in checked.marks
        ],
    )
    if checked.ok:
        say("All right.")
        return
    counts = [
        (checked.count(State.RIGHT), "right or done"),
        (checked.count(State.WRONG), "wrong or not done"),
        (checked.count(State.MISSING), "not answered"),
    ]
    say(", ".join(f"{count} {what}" for count, what in counts if count) + ".")
    first = next(mark for mark in checked.marks if mark.state in {State.WRONG, State.MISSING})
    print_text(f"A hint: dtls-emu lesson hint {chosen.number} {first.name}")
