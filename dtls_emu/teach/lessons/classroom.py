"""A folder of students' answers: each is checked, and what is wrong with one keeps nobody from being checked."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.teach.lessons.checking import Checked, State, check_folder
from dtls_emu.teach.lessons.lesson import ANSWERS, LessonError


if TYPE_CHECKING:
    from pathlib import Path

    from dtls_emu.progress import Progress
    from dtls_emu.teach.lessons.lesson import Lesson


__all__ = ["HandedIn", "check_class", "to_csv"]

MAX_STUDENTS: Final = 2_000

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


@dataclass(frozen=True, slots=True)
class HandedIn:
    """What one student has handed in.

    Fields:
        folder: its name below the folder of all.
        checked: what it is worth; None where it cannot be checked.
        problem: why not, in one line.
    """

    folder: str
    checked: Checked | None
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "folder": self.folder,
            "problem": self.problem,
            "checked": None if self.checked is None else self.checked.as_dict(),
        }


def check_class(lesson: Lesson, folder: Path, progress: Progress | None = None) -> list[HandedIn]:
    """Check every folder with answers that is in a folder, or in a folder of it.

    Raises:
        LessonError: there is no such folder, or no answers are in it, or too many.
    """
    try:
        found = sorted({path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{ANSWERS}")})
    except OSError as error:
        raise LessonError(f"{folder}: {error.strerror}") from error
    if not found:
        raise LessonError(
            f"{folder}: no folder in it has {ANSWERS}; it should hold a folder for each student"
        )
    if len(found) > MAX_STUDENTS:
        raise LessonError(f"{folder}: {len(found)} answers; at most {MAX_STUDENTS} are checked at once")
    results = []
    for number, each in enumerate(found):
        name = str(each.relative_to(folder))
        if progress is not None:
            progress(number, len(found), name)
        try:
            results.append(HandedIn(name, check_folder(lesson, each)))
        except DtlsEmuError as error:
            results.append(HandedIn(name, None, str(error).partition("\n")[0].replace(f"{each}/", "")))
    return results


def to_csv(lesson: Lesson, results: list[HandedIn]) -> str:
    """A line for each student: how many are right, and the state of each task and question."""
    names = [each.name for each in lesson.asked]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["folder", "student", "lesson", "all_right", "right", "of", *names, "problem"])
    for each in results:
        checked = each.checked
        if checked is None:
            row = [each.folder, "", str(lesson.number), "no", "0", "", *("" for _ in names), each.problem]
        else:
            row = [
                each.folder,
                checked.student,
                str(lesson.number),
                "yes" if checked.ok else "no",
                str(checked.count(State.RIGHT, State.PREDICTED)),
                str(len(checked.marks)),
                *(mark.word for mark in checked.marks),
                "",
            ]
        table.writerow([_harmless(cell) for cell in row])
    return out.getvalue()


def _harmless(cell: str) -> str:
    """What a student writes shall be no formula in the lecturer's spreadsheet."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
