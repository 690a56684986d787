"""Checking: every lesson takes the right answers, and no wrong one; and gives nothing away."""

from __future__ import annotations

import pytest

from dtls_emu.teach.lessons import State, check_folder, lesson, lessons
from dtls_emu.teach.lessons.checking import Laboratory, check
from dtls_emu.teach.lessons.expected import shown_answer
from dtls_emu.teach.lessons.lesson import ANSWERS, LessonError


NUMBERS = [each.number for each in lessons()]
each_lesson = pytest.mark.parametrize("number", NUMBERS)


def wrong_answers(question, right, slips):
    """Three and more that are not right, of the question's own kind and of another."""
    found = [shown_answer(each) for each in slips]
    match question.kind:
        case "number":
            number = float(right)
            step = 2 * question.within + 1
            found += [f"{number + step:g}", f"{number - step:g}", f"-{number + 1:g}", "many"]
        case "bytes":
            found += [f"{right} 00", right[3:] or "ff", right.replace(right[:2], "fe", 1), "ab c"]
        case "choice":
            found += [each for each in question.choices if each != right] + ["maybe", "yes and no", "?"]
        case "choices":
            names = right.split(", ")
            others = [each for each in question.choices if each not in names]
            found += [", ".join([*names, *others[:1]]), ", ".join(names[1:]) or others[-1], "nothing at all"]
        case "word":
            found += [f"{right}x", "none", right[::-1] if right != right[::-1] else "other"]
    return [each for each in found if each.lower() != right.lower()]


@each_lesson
def test_the_right_solution_is_accepted(number, laboratories, right_answers):
    """With the lab as it is when every task is done."""
    checked = check(lesson(number), laboratories[number], right_answers[number])
    assert [(mark.name, mark.remark) for mark in checked.marks if mark.state is State.WRONG] == []
    assert checked.ok
    assert all(mark.remark == "it came so" for mark in checked.marks if mark.state is State.PREDICTED)


@each_lesson
def test_without_answers_nothing_is_right(number, laboratories):
    """But the tasks, which are done."""
    marks = check(lesson(number), laboratories[number], {}).marks
    assert {mark.state for mark in marks if not mark.is_task} == {State.MISSING}
    assert {mark.state for mark in marks if mark.is_task} <= {State.RIGHT}


@each_lesson
def test_wrong_answers_are_rejected(number, laboratories, right_answers):
    """Three for each question, one at a time; no remark has the right answer in it."""
    right = right_answers[number]
    for question in lesson(number).questions:
        if question.predict:
            continue
        expected = laboratories[number].ask(question.answer)
        wrong = wrong_answers(question, right[question.name], [slip for slip, _ in expected.slips])
        assert len(set(wrong)) >= 3, question.name
        for answer in wrong:
            checked = check(lesson(number), laboratories[number], right | {question.name: answer})
            (mark,) = [mark for mark in checked.marks if mark.name == question.name]
            assert (mark.state, checked.ok) == (State.WRONG, False), (question.name, answer)
            # A choice's remark lists what may be chosen; a number of one digit may be that of something else.
            if question.kind in {"number", "bytes"} and len(right[question.name]) > 1:
                assert right[question.name] not in mark.remark


@each_lesson
def test_likely_mistakes_are_told_apart_from_the_right_answer(number, laboratories):
    """None of a question's slips is what it asks for, and each says something else than the others."""
    for question in lesson(number).questions:
        expected = laboratories[number].ask(question.answer)
        assert expected.value not in [slip for slip, _ in expected.slips], question.name
        assert len({said for _, said in expected.slips}) == len(expected.slips)


@each_lesson
def test_the_lab_that_is_given_has_no_task_done(number):
    """So that each of them has to be done."""
    found = lesson(number)
    tasks = tuple(step.model_copy(update={"questions": ()}) for step in found.steps)
    checked = check(found.model_copy(update={"steps": tasks}), Laboratory(found, found.lab()), {})
    assert {mark.word for mark in checked.marks} <= {"not done"}


def test_a_folder_is_checked_as_it_is_handed_in(solved_folder):
    """And not as another lesson's."""
    assert check_folder(lesson(1), solved_folder).ok
    with pytest.raises(LessonError, match="answers of lesson `1`, not of lesson 2"):
        check_folder(lesson(2), solved_folder)


def test_an_answer_follows_the_students_own_lab(solved_folder):
    """Longer pings make longer packets on the fabric: what was right is wrong then, and the sum is right."""
    lab, answers = solved_folder / "lab.yaml", solved_folder / ANSWERS
    lab.write_text(lab.read_text().replace("size: 500", "size: 700"))
    marks = {mark.name: mark for mark in check_folder(lesson(1), solved_folder).marks}
    assert (marks["outer"].state, marks["larger"].state) == (State.WRONG, State.WRONG)
    assert marks["outer"].remark == "It is asked of the lab with task larger done: do that first."
    answers.write_text(answers.read_text().replace('outer: "550"', "outer: 750"))
    marks = {mark.name: mark for mark in check_folder(lesson(1), solved_folder).marks}
    assert (marks["outer"].state, marks["larger"].state) == (State.RIGHT, State.WRONG)


def test_a_lab_without_what_is_asked_about_says_so(solved_folder):
    """The question is not right; nor does the check end."""
    lab = solved_folder / "lab.yaml"
    lab.write_text(lab.read_text().replace("name: hello", "name: hallo"))
    marks = {mark.name: mark for mark in check_folder(lesson(1), solved_folder).marks}
    assert "no traffic item hello" in marks["row"].remark
    assert marks["row"].state is State.WRONG
    assert marks["vni"].state is State.RIGHT
