"""Checking: every lesson takes the right answers, and no wrong one; and gives nothing away."""

from __future__ import annotations

import pytest

from dtls_emu.teach.lessons import State, check_folder, lesson, lessons
from dtls_emu.teach.lessons.answers import read_answers
from dtls_emu.teach.lessons.checking import Laboratory, check
from dtls_emu.teach.lessons.expected import shown_answer
from dtls_emu.teach.lessons.lesson import ANSWERS


NUMBERS = [each.number for each in lessons()]
each_lesson = pytest.mark.parametrize("number", NUMBERS)


def right_answers(number, folder):
    """As the student's file has them."""
    return read_answers(folder / ANSWERS, lesson(number)).given


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
def test_the_right_solution_is_accepted(number, solved_folders):
    """As a student hands it in: files in a folder, and a run of its lab."""
    checked = check_folder(lesson(number), solved_folders[number])
    assert [(mark.name, mark.remark) for mark in checked.marks if mark.state is State.WRONG] == []
    assert checked.ok
    assert all(mark.remark == "it came so" for mark in checked.marks if mark.state is State.PREDICTED)


@each_lesson
def test_wrong_answers_are_rejected(number, solved_folders, laboratories):
    """Three for each question, one at a time; no remark has the right answer in it."""
    right = right_answers(number, solved_folders[number])
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
    """So that each of them has to be done; and without answers, none is right."""
    found = lesson(number)
    checked = check(found, Laboratory(found, found.lab()), {})
    assert [mark.name for mark in checked.marks if mark.state not in {State.WRONG, State.MISSING}] == []
    assert not checked.ok


@each_lesson
def test_other_lessons_answers_are_wrong_or_refused(number, solved_folders):
    """All of them: a student cannot hand in the same file twice."""
    other = lesson(number % len(NUMBERS) + 1)
    text = (solved_folders[number] / ANSWERS).read_text()
    with pytest.raises(Exception, match=f"answers of lesson `{number}`, not of lesson {other.number}"):
        check_folder(other, solved_folders[number])
    assert f"lesson: {number}" in text


def test_an_answer_follows_the_students_own_lab(tmp_path, solved_folders):
    """Longer pings make longer packets on the fabric: what was right is wrong then, and the sum is right."""
    folder = solved_folders[1]
    lab = (folder / "lab.yaml").read_text().replace("size: 500", "size: 700")
    (tmp_path / "lab.yaml").write_text(lab)
    (tmp_path / ANSWERS).write_text((folder / ANSWERS).read_text())
    marks = {mark.name: mark for mark in check_folder(lesson(1), tmp_path).marks}
    assert (marks["outer"].state, marks["larger"].state) == (State.WRONG, State.WRONG)
    (tmp_path / ANSWERS).write_text((folder / ANSWERS).read_text().replace('outer: "550"', "outer: 750"))
    marks = {mark.name: mark for mark in check_folder(lesson(1), tmp_path).marks}
    assert (marks["outer"].state, marks["larger"].state) == (State.RIGHT, State.WRONG)


def test_a_lab_without_what_is_asked_about_says_so(tmp_path, solved_folders):
    """The question is not right; nor does the check end."""
    folder = solved_folders[1]
    (tmp_path / "lab.yaml").write_text(
        (folder / "lab.yaml").read_text().replace("name: hello", "name: hallo")
    )
    (tmp_path / ANSWERS).write_text((folder / ANSWERS).read_text())
    marks = {mark.name: mark for mark in check_folder(lesson(1), tmp_path).marks}
    assert "no traffic item hello" in marks["row"].remark
    assert marks["row"].state is State.WRONG
    assert marks["vni"].state is State.RIGHT
