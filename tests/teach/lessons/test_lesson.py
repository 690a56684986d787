"""Lessons as they are shipped: what each must have."""

from __future__ import annotations

import shutil

import pytest

from dtls_emu.cli.app import app
from dtls_emu.teach.lessons import lesson, lessons
from dtls_emu.teach.lessons.lesson import LessonError, read_lesson


each_lesson = pytest.mark.parametrize("found", lessons(), ids=lambda found: found.name)


def test_they_are_numbered_from_one():
    """Without a gap."""
    assert [each.number for each in lessons()] == list(range(1, len(lessons()) + 1))


def test_a_lesson_that_is_not_there_is_one_line():
    """It says which there are."""
    with pytest.raises(LessonError, match=f"there is no lesson 99; they are numbered 1 to {len(lessons())}"):
        lesson(99)


@each_lesson
def test_a_lesson_is_short_and_begins_with_a_prediction(found):
    """Ten to fifteen minutes; the first question is to be answered before anything is run."""
    assert 10 <= found.minutes <= 15
    assert found.steps[0].questions[0].predict
    assert not found.steps[0].run
    assert 5 <= len([each for each in found.questions if not each.predict]) <= 9
    assert len(found.idea) < 90


@each_lesson
def test_every_task_changes_the_lab_into_a_valid_one(found):
    """One after the other."""
    texts = [found.lab_text(steps) for steps in range(len(found.steps) + 1)]
    for step, before, after in zip(found.steps, texts[:-1], texts[1:], strict=True):
        assert (before != after) == any(task.edits for task in step.tasks)
    assert found.solved.traffic


@each_lesson
def test_commands_are_of_this_program(found):
    """And each works on the lab."""
    names = {each.name for each in app.registered_commands} | {each.name for each in app.registered_groups}
    for step in found.steps:
        for command in step.run:
            program, name, *rest = command.split()
            assert program == "dtls-emu"
            assert name in names
            assert "lab.yaml" in rest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: row_of", "name: row_off", "no probe is called row_off"),
        ("kind: number", "kind: figure", "kind"),
        ("title: In clear", "titel: In clear", "titel"),
        ("name: port", "name: code", "more than one task or question is called code"),
        ('kind: choice\n        choices: {"yes": "", "no": ""}', "kind: choice", "choices belong to"),
    ],
)
def test_a_lesson_that_is_written_wrong_says_where(tmp_path, old, new, said):
    """For whoever writes one."""
    folder = shutil.copytree(lesson(1).folder, tmp_path / "1-in-clear")
    text = (folder / "lesson.yaml").read_text()
    assert old in text
    (folder / "lesson.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(LessonError, match=said):
        read_lesson(folder)


def test_an_edit_that_does_not_fit_says_so():
    """The lab has changed, and the edit has not."""
    found = lesson(1)
    step = found.steps[-1]
    task = step.tasks[0].model_copy(
        update={"edits": (step.tasks[0].edits[0].model_copy(update={"old": "gone"}),)}
    )
    broken = found.model_copy(update={"steps": (step.model_copy(update={"tasks": (task,)}),)})
    with pytest.raises(LessonError, match="task larger: 'gone' is not there once"):
        broken.lab_text(1)
