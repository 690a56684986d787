"""The pages of the lessons: every command is run as its page is made, and the page shows what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dtls_emu.teach.lessons import lesson, lessons
from dtls_emu.teach.lessons.solving import solve
from generate import PAGES
from generate.lessons import CommandError, _run, shown


DOCS = Path(__file__).parents[2] / "docs" / "lessons"

THOUGHT_OF = {
    1: ["outer"],
    2: ["added", "price"],
    3: ["hashed", "again", "first_ping"],
    4: ["nonce", "length", "additional"],
    5: ["segment", "fabric"],
    6: ["in_clear"],
    7: ["remembers", "size"],
    8: ["small_flows"],
}
"""By lesson, questions whose answer no command prints: it is a sum, or follows from what is seen."""


@pytest.fixture(autouse=True)
def attackers_are_seen(wire_watch):
    """Whoever watches the wire takes what an attacker puts there for the cards' own; that is his doing, not theirs."""
    yield
    wire_watch.violations.clear()
    wire_watch._compare()
    wire_watch.violations.clear()


@pytest.mark.parametrize("found", lessons(), ids=lambda found: found.name)
def test_a_lesson_has_its_page_and_every_command_on_it_works(found):
    """With the lab as a student has it at that step; what the commands print is there, and fits 80 columns."""
    page = (DOCS / f"{found.number}-{found.name}.md").read_text()
    assert page.startswith(f"# {found.number}. {found.title}\n")
    assert f"{{generated}} lesson-{found.number}" in page
    made = PAGES[f"lesson-{found.number}"]()
    assert made.startswith("## ")  # what stands before the first heading would end up behind the last section
    for step, outputs in zip(found.steps, shown(found.number), strict=True):
        for command, output in zip(step.run, outputs, strict=True):
            assert f"$ {command}\n{output.rstrip()}\n" in made
            assert output.strip()
            assert " validate " in command or max(map(len, output.splitlines())) <= 80, command
    assert all(question.name in made for question in found.questions)


@pytest.mark.parametrize("found", lessons(), ids=lambda found: found.name)
def test_what_is_asked_can_be_found(found):
    """In what the commands up to that step print; what has to be thought of or added up is named above."""
    solved = {each.question.name: each.answer for each in solve(found)}
    printed, hidden = "", []
    for step, outputs in zip(found.steps, shown(found.number), strict=True):
        printed += "\n".join(outputs)
        hidden += [
            question.name
            for question in step.questions
            if question.kind in {"number", "bytes", "word"}
            and not question.predict
            and solved[question.name]
            and not re.search(rf"(?<![\w.]){re.escape(solved[question.name])}(?![\w])", printed)
        ]
    assert set(hidden) <= set(THOUGHT_OF[found.number])


def test_no_page_gives_answers_away():
    """Hints and reasons are for those who ask for them."""
    for each in lessons():
        made = PAGES[f"lesson-{each.number}"]()
        for question in each.questions:
            assert question.why not in made
            assert not any(hint in made for hint in question.hints)


def test_every_lesson_is_in_the_list():
    """With its page."""
    listed = PAGES["lessons"]()
    assert re.findall(r"\((\S+)\.md\)", listed) == [f"{each.number}-{each.name}" for each in lessons()]


def test_a_command_that_fails_breaks_the_page(monkeypatch):
    """So that a lesson cannot go on about what is no longer there."""
    found = lesson(1)
    steps = tuple(step.model_copy(update={"run": ("dtls-emu run gone.yaml",)}) for step in found.steps)
    monkeypatch.setattr("generate.lessons.lesson", lambda _number: found.model_copy(update={"steps": steps}))
    with pytest.raises(CommandError, match="exit status 2"):
        shown.__wrapped__(1)
    assert _run("dtls-emu validate gone.yaml")[1] == 2
