"""Hints, and the solution: the lab with every task done, and every right answer as a run of it has it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtls_emu.lab.problems import suggest
from dtls_emu.teach.lessons.checking import Laboratory
from dtls_emu.teach.lessons.expected import shown_answer
from dtls_emu.teach.lessons.lab_run import CannotAskError
from dtls_emu.teach.lessons.lesson import LAB, LessonError


if TYPE_CHECKING:
    from dtls_emu.teach.lessons.lesson import Lesson, Question


__all__ = ["Solved", "hint", "lab_changes", "solve"]


@dataclass(frozen=True, slots=True)
class Solved:
    """A question and its answer.

    Fields:
        question: that was asked.
        answer: the right one, as a student would write it; "" where there is none in this folder.
        why: why it is so; or why there is none.
    """

    question: Question
    answer: str
    why: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.question.name, "answer": self.answer, "why": self.why}


def solve(lesson: Lesson, laboratory: Laboratory | None = None) -> list[Solved]:
    """Every right answer.

    Args:
        lesson: whose.
        laboratory: to ask; with the lesson's own lab and every task done where it is None.
    """
    laboratory = laboratory or Laboratory(lesson, lesson.solved)
    found = []
    for question in lesson.questions:
        try:
            found.append(Solved(question, shown_answer(laboratory.ask(question.answer).value), question.why))
        except CannotAskError as error:
            found.append(Solved(question, "", str(error)))
    return found


def lab_changes(lesson: Lesson) -> list[str]:
    """What the tasks change in the lab, as a unified diff; nothing where there are none."""
    before, after = (lesson.lab_text(steps).splitlines() for steps in (0, len(lesson.steps)))
    return list(difflib.unified_diff(before, after, LAB, f"{LAB}, with every task done", lineterm="", n=1))


def hint(lesson: Lesson, name: str, which: int = 1) -> tuple[str, int]:
    """A hint to a task or question, and how many there are.

    Raises:
        LessonError: the lesson has nothing of that name, or fewer hints.
    """
    asked = {each.name: each for each in lesson.asked}
    if name not in asked:
        raise LessonError(f"lesson {lesson.number} asks nothing called {name}; {suggest(name, asked)}")
    hints = asked[name].hints
    if not 1 <= which <= len(hints):
        there = f"{len(hints)} hint{'s' if len(hints) > 1 else ''}"
        raise LessonError(f"there are {there} to {name}, and no hint {which}")
    return hints[which - 1], len(hints)
