"""The file that a student writes answers into: made blank, read with suspicion, and each answer compared."""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import LabFileError
from dtls_emu.files.reading import read_file
from dtls_emu.lab.problems import shown, suggest
from dtls_emu.lab.reading import read_yaml
from dtls_emu.teach.lessons.lesson import LessonError


if TYPE_CHECKING:
    from pathlib import Path

    from dtls_emu.teach.lessons.expected import Answer, Expected
    from dtls_emu.teach.lessons.lesson import Lesson, Question


__all__ = ["Answers", "State", "blank", "form", "judge", "read_answers", "written"]

MAX_ANSWERS: Final = 64 << 10
"""Bytes of the file: a hundred times what the longest lesson takes."""

MAX_LETTERS: Final = 200
"""Of an answer. No right one has a third of it."""

WIDTH: Final = 78

_UNITS: Final = re.compile(r"([-+]?[0-9][0-9,_]*(?:\.[0-9]+)?)\s*[A-Za-z%./ ]*")


class State(StrEnum):
    """What an answer is worth."""

    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "not answered"
    PREDICTED = "predicted"


@dataclass(frozen=True, slots=True)
class Answers:
    """What stands in an answers file.

    Fields:
        student: name, as the student writes it; may be empty.
        given: text by question; what is not answered is not there.
    """

    student: str
    given: dict[str, str]


def read_answers(path: Path, lesson: Lesson) -> Answers:
    """The answers of a file, all as text.

    Raises:
        LessonError: it cannot be read, is no answers file, or is another lesson's.
    """
    try:
        text = read_file(path, MAX_ANSWERS).decode("utf-8")
        document = read_yaml(text, str(path), plain=str)
    except UnicodeDecodeError as error:
        raise LessonError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except FileNotFoundError:
        raise LessonError(
            f"{path}: there is none; `dtls-emu lesson start {lesson.number}` makes one"
        ) from None
    except OSError as error:
        raise LessonError(f"{path}: cannot be read: {error.strerror}") from None
    except LabFileError as error:
        raise LessonError(error.problems[0]) from None
    if document.problems:
        raise LessonError(document.report(document.problems[:1], path)[0])
    data = document.data
    if not isinstance(data, dict) or not isinstance(data.get("answers"), dict | str):
        raise LessonError(
            f"{path}: is no answers file; `dtls-emu lesson start {lesson.number}` makes one with `lesson:` and `answers:`"
        )
    if data.get("lesson") != str(lesson.number):
        raise LessonError(
            f"{path}:{document.line(('lesson',))}: answers of lesson {shown(data.get('lesson'))}, not of lesson {lesson.number}"
        )
    return Answers(_one_line(data.get("student", "")), _given(data["answers"] or {}, lesson, document, path))


def _given(answers: Any, lesson: Lesson, document: Any, path: Path) -> dict[str, str]:
    names = [question.name for question in lesson.questions]
    if isinstance(answers, str):
        raise LessonError(
            f"{path}:{document.line(('answers',))}: answers: no questions below it; write each on a line of its own"
        )
    found = {}
    for name, value in answers.items():
        where = f"{path}:{document.line(('answers', name))}: answers.{shown(name).strip('`')}"
        if name not in names:
            raise LessonError(f"{where}: no question of lesson {lesson.number}; {suggest(name, names)}")
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            value = ", ".join(value)  # noqa: PLW2901 - several choices may be written as a list
        if not isinstance(value, str):
            raise LessonError(f"{where}: {shown(value)} is no answer; write it behind the colon, on one line")
        if len(value) > MAX_LETTERS:
            raise LessonError(
                f"{where}: longer than {MAX_LETTERS} letters; no question asks for so much, so write less"
            )
        if value.strip():
            found[name] = _one_line(value)
    return found


def _one_line(value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join(letter for letter in text if letter.isprintable())[:MAX_LETTERS]


def blank(lesson: Lesson) -> str:
    """The file to fill in."""
    return _file(lesson, {})


def written(lesson: Lesson, answers: dict[str, str]) -> str:
    """The file, filled in."""
    return _file(lesson, answers)


def _file(lesson: Lesson, answers: dict[str, str]) -> str:
    lines = [
        f"# Lesson {lesson.number}: {lesson.title}. Write each answer behind its colon.",
        f"# Then: dtls-emu lesson check {lesson.number}",
        f"lesson: {lesson.number}",
        'student: ""',
        "answers:",
    ]
    for number, step in enumerate(lesson.steps, 1):
        for question in step.questions:
            label = f"Step {number}{', predict' if question.predict else ''}: "
            lines += ["", *_comment(f"{label}{question.ask}"), *_comment(f"({form(question)})")]
            lines += _choices(question)
            answer = answers.get(question.name, "")
            lines.append(f"  {question.name}:" + (f' "{answer}"' if answer else ""))
    return "\n".join(lines) + "\n"


def _choices(question: Question) -> list[str]:
    told = {name: text for name, text in question.choices.items() if text}
    wide = max(map(len, told), default=0)
    return [
        line
        for name, text in told.items()
        for line in textwrap.wrap(
            f"  # {name:<{wide}}  {text}", WIDTH, subsequent_indent=f"  # {'':<{wide}}  "
        )
    ]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  # ", subsequent_indent="  # ")


def form(question: Question) -> str:
    """What an answer looks like."""
    match question.kind:
        case "number":
            unit = f" of {question.unit}" if question.unit else ""
            return f"a number{unit}" + (f", to within {question.within:g}" if question.within else "")
        case "bytes":
            return "bytes in hexadecimal, such as 0a ff 00"
        case "choice":
            return f"one of: {', '.join(question.choices)}"
        case "choices":
            return f"one or more of: {', '.join(question.choices)}; with commas between them"
    return "a word"


# -------------------------------------------------------------------------------------------------- comparing


def judge(question: Question, text: str | None, expected: Expected) -> tuple[State, str]:
    """What an answer is worth, and a remark that does not give the right one away.

    Args:
        question: that was asked.
        text: the answer; None where there is none.
        expected: the right one.
    """
    if text is None:
        return State.MISSING, ""
    try:
        given = _parse(question, text)
    except ValueError as error:
        return State.WRONG, str(error)
    if question.predict:
        came = "it came so" if _same(question, given, expected.value) else "it came otherwise: find out why"
        return State.PREDICTED, came
    if _same(question, given, expected.value):
        return State.RIGHT, ""
    remark = next((said for slip, said in expected.slips if _same(question, given, slip)), "")
    return State.WRONG, remark


def _parse(question: Question, text: str) -> Answer:
    """An answer's value.

    Raises:
        ValueError: it has none of this kind; says what to write.
    """
    match question.kind:
        case "number":
            return _number(text)
        case "bytes":
            digits = re.sub(r"0x|[\s:,._-]", "", text)
            if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits):
                raise ValueError(f"{shown(text)} is not {form(question)}")
            return bytes.fromhex(digits)
        case "choice":
            return _choice(question, text)
        case "choices":
            chosen = [_choice(question, each) for each in re.split(r"\s*[,;]\s*", text.strip(" ,;[]"))]
            return ", ".join(sorted(set(chosen)))
    return text.strip().lower()


def _number(text: str) -> float:
    found = _UNITS.fullmatch(text.strip().replace("\u00b5", "u"))
    if found is None:
        raise ValueError(f"{shown(text)} is no number; write it in digits")
    number = float(re.sub(r"[,_]", "", found[1]))
    if not math.isfinite(number):
        raise ValueError("too large a number")
    return number


def _choice(question: Question, text: str) -> str:
    named = {name.lower(): name for name in question.choices}
    word = text.strip().strip("\"'").lower()
    if word not in named:
        raise ValueError(f"{shown(text)} is none of: {', '.join(question.choices)}")
    return named[word]


def _same(question: Question, given: Answer, expected: Answer) -> bool:
    match question.kind:
        case "number":
            assert isinstance(given, float | int)
            assert isinstance(expected, float | int)
            return abs(given - expected) <= question.within + 1e-9
        case "word":
            return given == str(expected).lower()
    return given == expected
