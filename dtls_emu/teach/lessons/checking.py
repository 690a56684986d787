"""Check what a student hands in: the lab is run, every right answer is found in that run, and the answers are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtls_emu.lab import load_lab
from dtls_emu.teach.attacks.labs import with_enforcement
from dtls_emu.teach.lessons.answers import State, judge, read_answers
from dtls_emu.teach.lessons.expected import Expected
from dtls_emu.teach.lessons.lab_run import CannotAskError, LabRun
from dtls_emu.teach.lessons.lesson import ANSWERS, LAB
from dtls_emu.teach.lessons.probes import PROBES


if TYPE_CHECKING:
    from pathlib import Path

    from dtls_emu.lab.schema import Lab
    from dtls_emu.teach.lessons.lesson import Lesson, Probe


__all__ = ["Checked", "Laboratory", "Mark", "State", "check", "check_folder"]


@dataclass(frozen=True, slots=True)
class Mark:
    """What one task or question is worth.

    Fields:
        step: number of its step, from 1.
        name: of the task or question.
        is_task: something to do, not to answer.
        state: right or wrong, not answered, or a prediction.
        remark: what to know; never the right answer.
    """

    step: int
    name: str
    is_task: bool
    state: State
    remark: str

    @property
    def word(self) -> str:
        """The state, for people."""
        if self.is_task:
            return "done" if self.state is State.RIGHT else "not done"
        return str(self.state)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "step": self.step,
            "name": self.name,
            "kind": "task" if self.is_task else "question",
            "state": self.word,
            "remark": self.remark,
        }


@dataclass(frozen=True, slots=True)
class Checked:
    """What a student has of a lesson.

    Fields:
        lesson: its number.
        student: as the answers file says; may be empty.
        marks: in the order of the lesson.
    """

    lesson: int
    student: str
    marks: tuple[Mark, ...]

    @property
    def ok(self) -> bool:
        """Whether every task is done, every answer right and every prediction made."""
        return all(mark.state in {State.RIGHT, State.PREDICTED} for mark in self.marks)

    def count(self, *states: State) -> int:
        """How many tasks and questions are in one of these states."""
        return sum(mark.state in states for mark in self.marks)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "lesson": self.lesson,
            "student": self.student,
            "ok": self.ok,
            "marks": [mark.as_dict() for mark in self.marks],
        }


class Laboratory:
    """The labs that a lesson's questions are about, each run at most once.

    Args:
        lesson: whose.
        own: the student's lab.
        folder: where the student's other files are; None where there are none.

    Raises:
        TooLargeError: the lab is larger than any of a lesson.
    """

    def __init__(self, lesson: Lesson, own: Lab, folder: Path | None = None) -> None:
        self._lesson = lesson
        self._folder = folder
        self._runs = {("own", ""): LabRun(own, folder)}
        self._found: dict[str, Expected] = {}

    def ask(self, probe: Probe) -> Expected:
        """What a probe finds.

        Raises:
            CannotAskError: what it looks for is not there.
        """
        key = probe.model_dump_json()
        if key not in self._found:
            found = PROBES[probe.name](self._run(probe), **probe.of)
            self._found[key] = found if isinstance(found, Expected) else Expected(found)
        return self._found[key]

    def _run(self, probe: Probe) -> LabRun:
        key = probe.lab, probe.under
        if key not in self._runs:
            lab = self._runs["own", ""].lab if probe.lab == "own" else self._lesson.lab()
            if probe.under:
                lab = with_enforcement(probe.under)(lab)
            self._runs[key] = LabRun(lab, self._folder)
        return self._runs[key]


def check_folder(lesson: Lesson, folder: Path) -> Checked:
    """Check a folder that `dtls-emu lesson start` has made and a student has worked in.

    Raises:
        LessonError: there are no answers, or they cannot be read, or are another lesson's.
        LabFileError: the lab is wrong.
        TooLargeError: it is larger than any of a lesson.
        AccountingError: a packet is unaccounted for: the emulator is broken.
    """
    answers = read_answers(folder / ANSWERS, lesson)
    laboratory = Laboratory(lesson, load_lab(folder / LAB), folder)
    return check(lesson, laboratory, answers.given, answers.student)


def check(lesson: Lesson, laboratory: Laboratory, given: dict[str, str], student: str = "") -> Checked:
    """Check answers.

    Args:
        lesson: whose.
        laboratory: with the student's lab.
        given: answers by question, as they are written.
        student: name.
    """
    marks: list[Mark] = []
    for number, step in enumerate(lesson.steps, 1):
        left = []
        for task in step.tasks:
            try:
                is_done, remark = bool(laboratory.ask(task.holds).value), ""
            except CannotAskError as error:
                is_done, remark = False, str(error)
            state = State.RIGHT if is_done else State.WRONG
            left += [] if is_done else [task.name]
            marks.append(Mark(number, task.name, is_task=True, state=state, remark=remark))
        for question in step.questions:
            try:
                state, remark = judge(question, given.get(question.name), laboratory.ask(question.answer))
            except CannotAskError as error:
                state = State.WRONG if question.name in given else State.MISSING
                remark = str(error)
            if state is State.WRONG and left and not remark:
                remark = f"It is asked of the lab with task {left[0]} done: do that first."
            marks.append(Mark(number, question.name, is_task=False, state=state, remark=remark))
    return Checked(lesson.number, student, tuple(marks))
