"""`dtls-emu lesson`: from the first command to a check that exits with 0; and everything that a student gets wrong."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError
from dtls_emu.teach.lessons import lesson, lessons
from dtls_emu.teach.lessons.answers import written
from dtls_emu.teach.lessons.solving import solve


@pytest.fixture(autouse=True)
def attackers_are_seen(wire_watch):
    """Whoever watches the wire takes what an attacker puts there for the cards' own; that is his doing, not theirs."""
    yield
    wire_watch.violations.clear()
    wire_watch._compare()
    wire_watch.violations.clear()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words, **environment):
    return CliRunner().invoke(app, ["lesson", *words], env=environment)


def refusal(*words):
    """What is printed beside exit status 2."""
    outcome = run(*words)
    assert isinstance(outcome.exception, DtlsEmuError), outcome.output
    return str(outcome.exception)


def solve_in(folder, number=2):
    """Do everything right in a folder."""
    found = lesson(number)
    (folder / "lab.yaml").write_text(found.lab_text(len(found.steps)))
    answers = {each.question.name: each.answer for each in solve(found)}
    (folder / "answers.yaml").write_text(written(found, answers))


def test_the_list_fits_80_columns():
    """Every lesson with its title; the same as JSON."""
    outcome = run("list", COLUMNS="80")
    assert outcome.exit_code == 0
    assert max(map(len, outcome.output.splitlines())) <= 80
    listed = json.loads(run("list", "--json").output)
    assert [each["title"] for each in listed] == [each.title for each in lessons()]
    assert all(each["title"] in outcome.output for each in listed)


@pytest.mark.parametrize("found", lessons(), ids=lambda found: found.name)
def test_what_start_prints_fits_80_columns_but_for_commands(here, found):
    """Those are to be copied, and stay on one line."""
    outcome = run("start", str(found.number), COLUMNS="80")
    assert outcome.exit_code == 0
    commands = {command for step in found.steps for command in step.run}
    lines = [line for line in outcome.output.splitlines() if line.strip() not in commands]
    assert max(map(len, lines)) <= 80
    assert all(command in outcome.output for command in commands)
    assert max(map(len, (here / f"lesson-{found.number}" / "answers.yaml").read_text().splitlines())) <= 80


def test_from_start_to_all_right(here):
    """In the folder that was made, or beside it."""
    outcome = run("start", "2")
    assert outcome.exit_code == 0
    folder = here / "lesson-2"
    assert {each.name for each in folder.iterdir()} == {"lab.yaml", "answers.yaml", "lesson.txt"}
    assert (folder / "lesson.txt").read_text() in outcome.output
    outcome = run("check", "2")
    assert outcome.exit_code == 1
    assert "not answered" in outcome.output
    solve_in(folder)
    outcome = run("check", "2")
    assert outcome.exit_code == 0, outcome.output
    assert "All right." in outcome.output


NOT_LINUX = """
import sys
for module in ("pyroute2", "dtls_emu.machine.linux", "dtls_emu.machine.netns", "dtls_emu.deploy"):
    sys.modules[module] = None
from dtls_emu.cli.app import app
for words in (["start", "2"], ["check", "2", "right"], ["hint", "2", "row"], ["solution", "1"]):
    assert not app(["lesson", *words], standalone_mode=False), words
"""


def test_lessons_need_nothing_of_linux(here):
    """What only Linux has cannot even be imported here."""
    (here / "right").mkdir()
    solve_in(here / "right")
    done = subprocess.run(
        [sys.executable, "-c", NOT_LINUX], cwd=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "All right." in done.stdout


def test_inside_the_folder_no_folder_is_named(here, monkeypatch):
    """Nor with its name."""
    run("start", "2", "mine")
    solve_in(here / "mine")
    assert run("check", "2", "mine").exit_code == 0
    monkeypatch.chdir(here / "mine")
    outcome = run("check", "2", "--json")
    assert outcome.exit_code == 0
    assert json.loads(outcome.output)["ok"] is True


def test_what_is_asked_after_a_task_is_wrong_before_it(here):
    """And the remark names the task."""
    run("start", "2")
    answers = here / "lesson-2" / "answers.yaml"
    answers.write_text(answers.read_text().replace("  first_ping:", "  first_ping: 160"))
    marks = {each["name"]: each for each in json.loads(run("check", "2", "--json").output)["marks"]}
    assert marks["first_ping"]["state"] == "wrong"
    assert "task far" in marks["first_ping"]["remark"]
    assert marks["slower"]["state"] == "not answered"


def test_a_wrong_answer_does_not_give_the_right_one_away(here):
    """It says which question it is, and where a hint is."""
    run("start", "2")
    solve_in(here / "lesson-2")
    answers = here / "lesson-2" / "answers.yaml"
    answers.write_text(answers.read_text().replace('price: "37"', "price: 87"))
    outcome = run("check", "2", COLUMNS="80")
    assert outcome.exit_code == 1
    assert "37" not in outcome.output
    assert "dtls-emu lesson hint 2 price" in outcome.output
    assert "1 wrong" in outcome.output


def test_nothing_is_overwritten_unasked(here):
    """Answers least of all."""
    run("start", "1")
    (here / "lesson-1" / "answers.yaml").write_text("lesson: 1\nanswers: {row: 4}\n")
    assert "lesson-1 has lab.yaml and answers.yaml and lesson.txt already" in refusal("start", "1")
    assert "row: 4" in (here / "lesson-1" / "answers.yaml").read_text()
    assert run("start", "1", "--force").exit_code == 0


def test_start_writes_through_no_link(here):
    """What somebody has put in the way stays as it is."""
    (here / "mine").write_text("precious")
    (here / "lesson-1").mkdir()
    (here / "lesson-1" / "lab.yaml").symlink_to(here / "mine")
    assert "already" in refusal("start", "1")
    assert run("start", "1", "--force").exit_code == 0
    assert (here / "mine").read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "99"), "there is no lesson 99"),
        (("check", "1"), "`dtls-emu lesson start 1` makes one"),
        (("check", "1", "nowhere"), "nowhere/answers.yaml: there is none"),
        (("check", "1", "--report", "r.csv"), "no folder in it has answers.yaml"),
        (("hint", "1", "rwo"), "lesson 1 asks nothing called rwo; did you mean `row`?"),
        (("hint", "1", "row", "9"), "there are 2 hints to row, and no hint 9"),
        (("solution", "1", "nowhere"), "cannot be read"),
        (("start", "1", "/dev/null/x"), "cannot write /dev/null/x"),
    ],
)
@pytest.mark.usefixtures("here")
def test_bad_input_is_one_line(words, said):
    """It says what to do."""
    told = refusal(*words)
    assert said in told
    assert "\n" not in told


@pytest.mark.usefixtures("here")
def test_another_lessons_folder_is_refused():
    """With both numbers."""
    run("start", "1")
    assert "answers of lesson `1`, not of lesson 2" in refusal("check", "2", "lesson-1")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("count: 3", "count: 900000", "the lab sends 900,000 packets"),
        (
            "kind: ping, from: web, to: db, count: 3, interval: 10ms",
            "kind: pcap, from: web, rewrite: none, file: x",
            "x",
        ),
        ("count: 3", "count: many", "count"),
    ],
)
def test_a_lab_that_is_no_lessons_is_refused(here, old, new, said):
    """Before it is run."""
    run("start", "1")
    lab = here / "lesson-1" / "lab.yaml"
    assert old in lab.read_text()
    lab.write_text(lab.read_text().replace(old, new))
    assert said in refusal("check", "1")


def test_hints_come_one_at_a_time():
    """The first says that there is another."""
    listed = json.loads(run("hint", "1", "--json").output)
    assert listed[0]["name"] == "read"
    first = run("hint", "1", "starts_at").output
    assert "dtls-emu lesson hint 1 starts_at 2" in first
    second = run("hint", "1", "starts_at", "2").output
    assert first.splitlines()[0] not in second
    assert json.loads(run("hint", "1", "row", "--json").output)["of"] == 2


def test_the_solution_has_the_lab_and_every_answer(here):
    """Of a student's own lab where its folder is named."""
    outcome = run("solution", "1", COLUMNS="80")
    assert outcome.exit_code == 0
    assert (
        "+  - {name: hello, kind: ping, from: web, to: db, count: 3, interval: 10ms, size: 500}"
        in outcome.output
    )
    run("start", "1")
    lab = here / "lesson-1" / "lab.yaml"
    lab.write_text(lab.read_text().replace("interval: 10ms", "interval: 10ms, size: 900"))
    answers = json.loads(run("solution", "1", "lesson-1", "--json").output)["answers"]
    assert {each["name"]: each["answer"] for each in answers}["outer"] == "950"


def test_a_class_is_checked_into_a_table(here):
    """One student is right, one has a file that is none, one writes formulas; nobody is left out."""
    for name in ("ada", "bob", "eve"):
        run("start", "2", f"handed-in/{name}")
    solve_in(here / "handed-in" / "ada")
    (here / "handed-in" / "bob" / "answers.yaml").write_text("lesson: 1\nanswers: {}\n")
    solve_in(here / "handed-in" / "eve")
    eve = here / "handed-in" / "eve" / "answers.yaml"
    eve.write_text(
        eve.read_text().replace('student: ""', 'student: "=HYPERLINK(1)"').replace('row: "16"', "row: 4")
    )
    shutil.copytree(here / "handed-in" / "ada", here / "handed-in" / "moodle" / "lesson-2")
    outcome = run("check", "2", "handed-in", "--report", "results.csv", COLUMNS="80")
    assert outcome.exit_code == 1
    rows = {row["folder"]: row for row in csv.DictReader((here / "results.csv").read_text().splitlines())}
    assert set(rows) == {"ada", "bob", "eve", "moodle/lesson-2"}
    assert (rows["ada"]["all_right"], rows["ada"]["right"], rows["ada"]["row"]) == (
        "yes",
        rows["ada"]["of"],
        "right",
    )
    assert rows["bob"]["problem"].startswith("answers.yaml:1: answers of lesson `1`")
    assert (rows["eve"]["student"], rows["eve"]["row"]) == ("'=HYPERLINK(1)", "wrong")
    assert "is there already; --force" in refusal("check", "2", "handed-in", "--report", "results.csv")
    shutil.rmtree(here / "handed-in" / "bob")
    shutil.rmtree(here / "handed-in" / "eve")
    outcome = run("check", "2", "handed-in", "--report", "results.csv", "--force", "--json")
    assert outcome.exit_code == 0
    assert [each["folder"] for each in json.loads(outcome.output)] == ["ada", "moodle/lesson-2"]
