"""What a lesson is, and the lessons that come with the package: a folder each in ``catalogue``.

A folder has the lab that a student begins with (``lab.yaml``), and ``lesson.yaml``: the story, and steps with commands,
tasks and questions. A task has the edits of the lab that do it. No right answer is written there: a question names a probe
(:mod:`dtls_emu.teach.lessons.probes`), which finds it in a run of a lab.
"""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dtls_emu.errors import DtlsEmuError
from dtls_emu.files.reading import read_file
from dtls_emu.lab.loader import parse_lab
from dtls_emu.lab.reading import read_yaml
from dtls_emu.lab.schema import Lab
from dtls_emu.teach.lessons.probes import PROBES
from dtls_emu.vocabulary import Enforcement


__all__ = [
    "ANSWERS",
    "LAB",
    "Lesson",
    "LessonError",
    "Probe",
    "Question",
    "Step",
    "Task",
    "lesson",
    "lessons",
]

CATALOGUE: Final = Path(__file__).with_name("catalogue")
LAB: Final = "lab.yaml"
ANSWERS: Final = "answers.yaml"

MAX_LESSON: Final = 64 << 10
"""Bytes of a lesson's own file."""


class LessonError(DtlsEmuError):
    """There is no such lesson, or what a student hands in is none of it. Says where and what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Probe(_Part):
    """How something is found in a run.

    Fields:
        name: of a probe.
        of: its arguments.
        lab: the student's own lab, or the one that the lesson has given: for what a later task changes.
        under: this enforcement instead of what that lab says; "" for what it says.
    """

    name: str
    of: dict[str, str | int | float | bool] = {}
    lab: Literal["own", "given"] = "own"
    under: Enforcement | Literal[""] = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name not in PROBES:
            raise ValueError(f"no probe is called {self.name}; there are {', '.join(sorted(PROBES))}")
        return self


def _folded(text: str) -> str:
    """Paragraphs on one line each; a list keeps its lines."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


Prose = Annotated[str, AfterValidator(_folded)]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=24)]


class Edit(_Part):
    """A change of the lab's text.

    Fields:
        old: what is there, once.
        new: what is to be there.
    """

    old: str
    new: str


class Asked(_Part):
    """What a student is asked.

    Fields:
        name: by which it is known: the key of an answer.
        ask: the question, or what to do.
        hints: what helps, one after the other.
    """

    name: Word
    ask: Prose
    hints: tuple[Prose, ...] = Field(min_length=1)


class Task(Asked):
    """Something to do to the lab.

    Fields:
        edits: that do it; none where it is not about the lab.
        holds: a probe that is true once it is done.
    """

    edits: tuple[Edit, ...] = ()
    holds: Probe


class Question(Asked):
    """Something to find out.

    Fields:
        kind: of the answer: a number, bytes in hexadecimal, a word, one of some choices, or several of them.
        choices: what may be chosen, each with what it means, or "".
        unit: of a number.
        within: how far from the right number an answer may be.
        predict: it is to be answered before anything is run; any answer is fine.
        answer: the probe that finds it.
        why: why it is so.
    """

    kind: Literal["number", "bytes", "word", "choice", "choices"]
    choices: dict[str, Prose] = {}
    unit: str = ""
    within: float = 0.0
    predict: bool = False
    answer: Probe
    why: Prose

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind.startswith("choice") != bool(self.choices):
            raise ValueError(f"question {self.name}: choices belong to the kinds choice and choices")
        return self


class Step(_Part):
    """A part of a lesson.

    Fields:
        do: what to do, and what to look at.
        run: commands, in the folder of the lesson.
        fails: exit status of the last command, where it is not 0.
        tasks, questions: that belong here.
    """

    do: Prose
    run: tuple[str, ...] = ()
    fails: int = 0
    tasks: tuple[Task, ...] = ()
    questions: tuple[Question, ...] = ()

    @property
    def asked(self) -> tuple[Asked, ...]:
        """Tasks and questions."""
        return (*self.tasks, *self.questions)


class Lesson(_Part):
    """A lesson.

    Fields:
        number, name: as it is asked for.
        title: of its page.
        idea: the one thing that is learnt, in a sentence.
        minutes: that it takes.
        story: what it is about.
        steps: in their order.
    """

    number: int
    name: str
    title: str
    idea: Prose
    minutes: int
    story: Prose
    steps: tuple[Step, ...]

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return CATALOGUE / f"{self.number}-{self.name}"

    def lab_text(self, steps: int = 0) -> str:
        """The lab, with the tasks of its first ``steps`` steps done.

        Raises:
            LessonError: an edit does not fit.
        """
        text = (self.folder / LAB).read_text(encoding="utf-8")
        for task in (task for step in self.steps[:steps] for task in step.tasks):
            for edit in task.edits:
                if text.count(edit.old) != 1:
                    raise LessonError(f"{self.folder}: task {task.name}: {edit.old!r} is not there once")
                text = text.replace(edit.old, edit.new)
        return text

    def lab(self, steps: int = 0) -> Lab:
        """The same, validated."""
        return parse_lab(self.lab_text(steps), self.folder / LAB)

    @property
    def solved(self) -> Lab:
        """The lab with every task done."""
        return self.lab(len(self.steps))

    @property
    def asked(self) -> tuple[Asked, ...]:
        """Tasks and questions of all steps."""
        return tuple(each for step in self.steps for each in step.asked)

    @property
    def questions(self) -> tuple[Question, ...]:
        """Of all steps."""
        return tuple(question for step in self.steps for question in step.questions)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [each.name for each in self.asked]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"more than one task or question is called {', '.join(twice)}")
        return self


@cache
def lessons() -> tuple[Lesson, ...]:
    """Every lesson that comes with the package, in their order."""
    folders = [each for each in CATALOGUE.iterdir() if re.match(r"\d+-", each.name)]
    return tuple(
        read_lesson(folder) for folder in sorted(folders, key=lambda each: int(each.name.partition("-")[0]))
    )


def lesson(number: int) -> Lesson:
    """One of them.

    Raises:
        LessonError: none has that number.
    """
    found = next((each for each in lessons() if each.number == number), None)
    if found is None:
        last = lessons()[-1].number
        raise LessonError(f"there is no lesson {number}; they are numbered 1 to {last}")
    return found


def read_lesson(folder: Path) -> Lesson:
    """The lesson of a folder.

    Raises:
        LessonError: its file is wrong.
        LabFileError: one of its labs is.
    """
    path = folder / "lesson.yaml"
    number, _, name = folder.name.partition("-")
    data: Any = read_yaml(read_file(path, MAX_LESSON).decode("utf-8"), str(path)).data
    try:
        found = Lesson.model_validate({"number": int(number), "name": name, **data})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise LessonError(f"{path}: {'; '.join(problems)}") from error
    return found
