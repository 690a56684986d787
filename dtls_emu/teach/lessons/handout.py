"""What a student is given: the lesson as text, and a folder with the lab and a file for the answers."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.files.results import why
from dtls_emu.teach.lessons.answers import blank, form
from dtls_emu.teach.lessons.lesson import ANSWERS, LAB, LessonError


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dtls_emu.teach.lessons.lesson import Lesson, Step


__all__ = ["SHEET", "as_dict", "hand_out", "text_of"]

SHEET: Final = "lesson.txt"
"""The story and the steps, to read them again."""

WIDTH: Final = 78


def hand_out(lesson: Lesson, folder: Path, *, force: bool = False) -> None:
    """Make a folder to work in.

    Args:
        lesson: which.
        folder: where; it is made, with the folders above it.
        force: files of the lesson that are there may be written over, answers included.

    Raises:
        LessonError: files are there already, or it cannot be written.
    """
    files = {
        LAB: lesson.lab_text(),
        ANSWERS: blank(lesson),
        SHEET: text_of(lesson),
    }
    there = [name for name in files if (folder / name).exists() or (folder / name).is_symlink()]
    if there and not force:
        raise LessonError(
            f"{folder} has {' and '.join(there)} already; go on there, name another folder, or begin again with --force"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).unlink(missing_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise LessonError(f"cannot write {folder}: {why(error)}") from error


def text_of(lesson: Lesson, width: int = WIDTH) -> str:
    """Story and steps, with commands and questions; hints and answers are left out."""
    title = f"Lesson {lesson.number}: {lesson.title} ({lesson.minutes} minutes)"
    lines = [title, "=" * min(len(title), width), "", *_wrapped(lesson.story, width)]
    for number, step in enumerate(lesson.steps, 1):
        lines += ["", f"Step {number}", "-" * len(f"Step {number}"), *_step(step, width)]
    lines += [
        "",
        "Check",
        "-----",
        *_wrapped(
            "When answers.yaml is filled in, this runs your lab and compares. You may do so after each step, and as often as "
            "you like; a hint helps where you are stuck.",
            width,
        ),
        "",
        f"    dtls-emu lesson check {lesson.number}",
        f"    dtls-emu lesson hint {lesson.number}",
    ]
    return "\n".join(lines) + "\n"


def _step(step: Step, width: int) -> Iterator[str]:
    yield from _wrapped(step.do, width)
    for task in step.tasks:
        yield ""
        yield from _wrapped(task.ask, width, f"  Task {task.name}: ")
    if step.run:
        yield ""
        yield from (f"    {command}" for command in step.run)
    if step.questions:
        yield ""
    for question in step.questions:
        label = "Predict" if question.predict else "Question"
        yield from _wrapped(f"{question.ask} ({form(question)})", width, f"  {label} {question.name}: ")
        told = {name: text for name, text in question.choices.items() if text}
        for name, text in told.items():
            yield from _wrapped(text, width, f"    {name:<{max(map(len, told))}}  ")


def _wrapped(text: str, width: int, label: str = "") -> Iterator[str]:
    """Paragraphs; a label is before the first, and what follows stands a little further in."""
    further = "    " if label else ""
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ""
        start = label if not number else further
        yield from textwrap.wrap(
            paragraph,
            width,
            initial_indent=start,
            subsequent_indent=further,
            break_long_words=False,
            break_on_hyphens=False,
        )


def as_dict(lesson: Lesson) -> dict[str, Any]:
    """The same for JSON."""
    return {
        "lesson": lesson.number,
        "name": lesson.name,
        "title": lesson.title,
        "idea": lesson.idea,
        "minutes": lesson.minutes,
        "story": lesson.story,
        "steps": [
            {
                "do": step.do,
                "run": list(step.run),
                "tasks": [{"name": task.name, "ask": task.ask} for task in step.tasks],
                "questions": [
                    {
                        "name": question.name,
                        "ask": question.ask,
                        "predict": question.predict,
                        "answer_is": form(question),
                        "choices": question.choices,
                    }
                    for question in step.questions
                ],
            }
            for step in lesson.steps
        ],
    }
