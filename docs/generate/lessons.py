"""Pages of the lessons: what a student is told, and what the commands print when they are run, here and now."""

from __future__ import annotations

import io
import os
import re
import shlex
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import dtls_emu
from dtls_emu.cli.app import app
from dtls_emu.cli.streams import complain
from dtls_emu.errors import DtlsEmuError
from dtls_emu.teach.lessons import lesson, lessons
from dtls_emu.teach.lessons.answers import form
from dtls_emu.teach.lessons.lesson import LAB
from generate.tables import code, prose, table


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.teach.lessons.lesson import Lesson, Question, Step


__all__ = ["lesson_page", "lesson_table", "shown"]

COLUMNS: Final = "80"

PACKAGE: Final = Path(dtls_emu.__file__).parent
"""Where it is on the machine that makes the page is nobody's business."""


class CommandError(Exception):
    """A command of a lesson did not end as the lesson says."""


def lesson_table() -> str:
    """Every lesson, with what it is about."""
    return table(
        ["lesson", "minutes", "what it is about"],
        [
            [
                f"[{each.number}. {prose(each.title)}]({each.number}-{each.name}.md)",
                str(each.minutes),
                prose(each.idea),
            ]
            for each in lessons()
        ],
    )


def lesson_page(number: int) -> str:
    """One lesson: story, lab, steps, and what each command prints."""
    chosen = lesson(number)
    # What stands before the first heading would be put behind the last section.
    parts = [
        "## The story\n",
        f"*{chosen.minutes} minutes. {prose(chosen.idea)}*\n",
        _paragraphs(chosen.story),
    ]
    parts.append(
        f"To begin, type the first line; it makes a folder `lesson-{number}` with the lab, with a file for your answers, and "
        f"with this text. Work in that folder.\n\n```text\ndtls-emu lesson start {number}\ncd lesson-{number}\n```\n"
    )
    parts.append(f"## The lab\n\n```yaml\n{chosen.lab_text()}```\n")
    for place, step in enumerate(chosen.steps, 1):
        parts += _step(chosen, place, step)
    parts.append(
        "## Check\n\nThis runs your lab, and compares your answers with what came of it:\n\n"
        f"```text\ndtls-emu lesson check {number}\n```\n\nA hint to a question that you are stuck at, and at last the solution:\n\n"
        f"```text\ndtls-emu lesson hint {number}\ndtls-emu lesson solution {number}\n```\n"
    )
    return "\n".join(parts)


def _step(chosen: Lesson, place: int, step: Step) -> Iterator[str]:
    yield f"## Step {place}\n"
    yield _paragraphs(step.do)
    for task in step.tasks:
        yield f"**Task** {code(task.name)}: {prose(task.ask)}\n"
    if step.run:
        yield "```text\n" + "\n".join(step.run) + "\n```\n"
        yield "<details><summary>What you will see</summary>\n"
        for command, output in zip(step.run, shown(chosen.number)[place - 1], strict=True):
            yield f"```text\n$ {command}\n{output.rstrip()}\n```\n"
        yield "</details>\n"
    yield from (_question(question) for question in step.questions)


def _question(question: Question) -> str:
    label = "Predict" if question.predict else "Question"
    told = [f"* {code(name)}: {prose(text)}" for name, text in question.choices.items() if text]
    line = f"**{label}** {code(question.name)}: {prose(question.ask)} *({prose(form(question))})*\n"
    return "\n".join([line, *told, ""]) if told else line


def _paragraphs(text: str) -> str:
    return "\n\n".join(prose(each) for each in text.split("\n\n")) + "\n"


@cache
def shown(number: int) -> tuple[tuple[str, ...], ...]:
    """What the commands of each step of a lesson print, in a folder with the lab as the student has it there.

    Raises:
        CommandError: one ends with another exit status than the lesson says.
    """
    chosen = lesson(number)
    found = []
    with TemporaryDirectory() as folder, chdir(folder), _settings():
        for place, step in enumerate(chosen.steps, 1):
            Path(LAB).write_text(chosen.lab_text(place), encoding="utf-8")
            outputs = []
            for at, command in enumerate(step.run, 1):
                expected = step.fails if at == len(step.run) else 0
                output, status = _run(command)
                if status != expected:
                    raise CommandError(f"lesson {number}: {command}: exit status {status}\n{output}")
                outputs.append(output)
            found.append(tuple(outputs))
    return tuple(found)


def _run(command: str) -> tuple[str, int]:
    """What a command prints, both streams, and its exit status; in this process, which has compiled every kernel."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(_WithoutProgress(out)):
        try:
            ended = app(shlex.split(command)[1:], standalone_mode=False)
            status = ended if isinstance(ended, int) else 0
        except DtlsEmuError as error:
            complain(str(error))
            status = 2
    return out.getvalue().replace(f"{PACKAGE}/", "dtls_emu/"), status


class _WithoutProgress(io.StringIO):
    """What a command says besides its result, but for how far it is: a slow machine tells more of that."""

    def __init__(self, out: io.StringIO) -> None:
        super().__init__()
        self._out = out

    def write(self, text: str) -> int:
        """Pass a text on."""
        return len(text) if re.match(r" *\d+ %  ", text) else self._out.write(text)


@contextmanager
def _settings() -> Iterator[None]:
    """As a terminal of 80 columns without colours has them."""
    wanted = {"COLUMNS": COLUMNS, "NO_COLOR": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
