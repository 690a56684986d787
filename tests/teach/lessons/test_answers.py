"""The answers file: whatever stands in it, one line says what is wrong; and what is right is taken as people write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.teach.lessons import State, lesson
from dtls_emu.teach.lessons.answers import blank, judge, read_answers, written
from dtls_emu.teach.lessons.expected import Answer, Expected
from dtls_emu.teach.lessons.lesson import LessonError


QUESTIONS = {question.name: question for question in lesson(1).questions}
HEAD = "lesson: 1\nanswers:\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


def read(tmp_path, text):
    path = tmp_path / "answers.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_answers(path, lesson(1))


def test_a_blank_file_answers_nothing(tmp_path):
    """And is read without complaint."""
    assert read(tmp_path, blank(lesson(1))).given == {}


def test_what_is_written_is_read(tmp_path):
    """Every question of the lesson has its line."""
    answers = {name: f"answer {number}" for number, name in enumerate(QUESTIONS)}
    assert read(tmp_path, written(lesson(1), answers)).given == answers


def test_answers_stay_text(tmp_path):
    """What YAML would take for numbers of another base, dates or truth values."""
    text = HEAD + "  vni: 001389\n  read: yes\n  row: 0x10\n  port: 1_000\n  starts_at: 2026-01-01\n"
    assert read(tmp_path, text).given == {
        "vni": "001389",
        "read": "yes",
        "row": "0x10",
        "port": "1_000",
        "starts_at": "2026-01-01",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no answers file"),
        ("lesson: 1\n", "is no answers file"),
        ("- a\n- b\n", "is no answers file"),
        ("lesson: 1\nanswers: [a, b]\n", "is no answers file"),
        ("lesson: 1\nanswers: 5\n", ":2: answers: no questions below it"),
        ("lesson: 2\nanswers: {}\n", ":1: answers of lesson `2`, not of lesson 1"),
        ("answers: {}\n", "answers of lesson nothing, not of lesson 1"),
        ("lesson: [1]\nanswers: {}\n", "answers of lesson a list, not of lesson 1"),
        (HEAD + "  rwo: 4\n", ":3: answers.rwo: no question of lesson 1; did you mean `row`?"),
        (HEAD + "  row: {a: b}\n", "answers.row: a mapping is no answer"),
        (HEAD + "  row: [[1]]\n", "answers.row: a list is no answer"),
        (HEAD + "  row: 4\n  row: 5\n", "written twice"),
        (HEAD + f"  row: {'4' * 500}\n", "answers.row: longer than 200 letters"),
        (HEAD + "  row: !!python/object/apply:os.system [ls]\n", "the tag"),
        (HEAD + "  row: *x\n", "the alias `*x` has no anchor"),
        (HEAD + "  row: 'unfinished\n", "answers.yaml:"),
        (BOMB + HEAD, "more than 500000 keys and values"),
        ("[" * 100_000, "is larger than 64 KiB"),
        ("[" * 1000, "nested more than 32 levels deep"),
        ("x" * 100_000, "is larger than 64 KiB"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("lesson: 1\nanswers:\n  row: \0\n", "U+0000"),
    ],
)
def test_hostile_answers_are_one_line(tmp_path, text, said):
    """With the file, and what to do."""
    with pytest.raises(LessonError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_file_that_is_none_is_one_line(tmp_path):
    """A folder, nothing at all."""
    with pytest.raises(LessonError, match="there is none; `dtls-emu lesson start 1` makes one"):
        read_answers(tmp_path / "answers.yaml", lesson(1))
    with pytest.raises(LessonError, match="is a folder"):
        read_answers(tmp_path, lesson(1))


@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(lambda text: (HEAD + "  row: " + text).encode(errors="replace"))
)
def test_whatever_stands_in_it_is_read_or_refused(tmp_path_factory, data):
    """In one line; nothing else is raised."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    try:
        said, names = "", set(read_answers(path, lesson(1)).given)
    except LessonError as refused:
        said, names = str(refused), set()
    assert names <= set(QUESTIONS)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("starts_at", "50", 50),
        ("starts_at", "50 bytes", 50),
        ("starts_at", "50.0", 50),
        ("port", "4,789", 4789),
        ("vni", "0x001389", b"\0\x13\x89"),
        ("vni", "00:13:89", b"\0\x13\x89"),
        ("vni", "00 13 89", b"\0\x13\x89"),
        ("code", "nx", "NX"),
        ("tamper", "Works", "works"),
    ],
)
def test_an_answer_is_taken_as_people_write_it(name, text, right):
    """With a unit, separators, or other case."""
    assert judge(QUESTIONS[name], text, Expected(right)) == (State.RIGHT, "")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("row", "four", "`four` is no number"),
        ("row", "1e400", "is no number"),
        ("row", "nan", "is no number"),
        ("vni", "13 8", "is not bytes in hexadecimal"),
        ("tamper", "perhaps", "is none of: stopped, works"),
    ],
)
def test_an_answer_of_another_kind_is_wrong_and_says_so(name, text, said):
    """And what to write."""
    state, remark = judge(QUESTIONS[name], text, Expected(b"\0\x13\x89" if name == "vni" else 4))
    assert state is State.WRONG
    assert said in remark


def test_a_likely_mistake_gets_its_remark():
    """Any other gets none."""
    expected = Expected(50, ((22, "outer headers"),))
    assert judge(QUESTIONS["starts_at"], "22", expected) == (State.WRONG, "outer headers")
    assert judge(QUESTIONS["starts_at"], "23", expected) == (State.WRONG, "")


def test_a_prediction_is_never_wrong():
    """Whether it came so is said."""
    assert judge(QUESTIONS["read"], "yes", Expected("yes")) == (State.PREDICTED, "it came so")
    assert judge(QUESTIONS["read"], "no", Expected("yes"))[0] is State.PREDICTED


@given(st.sampled_from(sorted(QUESTIONS)), st.text(max_size=200))
def test_no_text_breaks_the_comparison(name, text):
    """Whatever the question -> raises nothing."""
    rights: dict[str, Answer] = {
        "number": 4,
        "bytes": b"\0\x13\x89",
        "word": "NX",
        "choice": "works",
        "choices": "a, b",
    }
    judge(QUESTIONS[name], text, Expected(rights[QUESTIONS[name].kind]))
