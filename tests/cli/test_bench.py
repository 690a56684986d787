"""`dtls-emu bench`: what it measures, prints and writes, and how it ends."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from dtls_emu.cli import bench as module
from dtls_emu.cli.app import app
from dtls_emu.cli.bench import EXIT_NOT_ACCOUNTED
from dtls_emu.cli.progress import _Lines
from dtls_emu.cli.streams import EXIT_INTERRUPTED
from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure import benchmark as runner
from dtls_emu.measure.plan import BenchPath, full_plan, quick_plan
from dtls_emu.measure.records.throughput import ThroughputSection
from dtls_emu.measure.result import Result
from dtls_emu.measure.suites.registry import SUITES
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.testing.present import present


SMALL = (
    "--quick",
    "--paths",
    "memory",
    "--sizes",
    "256",
    "--backends",
    "null, cryptography",
    "--rounds",
    "3",
    "--seconds",
    "0.005",
)


def bench(tmp_path, *arguments):
    """Run the command; its result file is in ``tmp_path``."""
    return CliRunner().invoke(app, ["bench", *arguments, "--output", str(tmp_path / "result.json")])


def plan(**choices):
    """The plan that options make."""
    defaults: dict[str, Any] = {
        "quick": False,
        "full": False,
        "suites": (),
        "sizes": None,
        "backends": None,
        "paths": None,
        "rounds": None,
        "seconds": None,
        "budget": None,
        "burst": 0,
        "flows": 1,
        "ip": 4,
        "perfect_link": False,
        "seed": 1,
    }
    return module._plan(**defaults | choices)


def test_prints_tables_the_reading_and_the_place_of_the_file(tmp_path):
    """The whole way on a shipped lab, with real cards in memory."""
    outcome = bench(tmp_path, *SMALL)
    assert outcome.exit_code == 0, outcome.output
    lines = [line.strip() for line in outcome.stdout.splitlines() if line.strip()]
    assert lines[0].startswith("memory: in memory, without sockets; one core")
    arms = [line.split()[1] for line in lines if line.startswith("256 ")]
    assert arms == ["plain", "plain-again", "null", "cryptography"]
    text = " ".join(lines)
    assert "At 256 bytes in memory, without sockets the cryptography tunnel carries " in text
    assert "fragments were rejected" in text
    assert lines[-1].startswith("Result file:")
    result = Result.model_validate_json((tmp_path / "result.json").read_text())
    assert (result.start.lab, result.start.plan.seed, result.end.stopped) == ("two-vms", 1, "complete")
    trials = present(result.section(ThroughputSection)).trials
    assert len(trials) == 3 * 4
    assert all(not trial.dropped for trial in trials)


def test_json_is_the_result_file_on_stdout(tmp_path):
    """Progress goes to stderr, so that stdout is one document."""
    outcome = bench(tmp_path, *SMALL, "--rounds", "1", "--json", "--seed", "9")
    assert outcome.exit_code == 0, outcome.output
    document = json.loads(outcome.stdout)
    assert document == json.loads((tmp_path / "result.json").read_text())
    assert document["start"]["plan"]["seed"] == 9
    assert document["start"]["environment"]["kernel"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sizes", "64,big"), "--sizes takes numbers such as 64,1400"),
        (("--sizes", "9999"), "size 9999 is not between"),
        (("--paths", "carrier-pigeon"), "--paths takes memory, udp, udp-single"),
        (("--backends", "rot13"), "no backend is called 'rot13'"),
        (("no-such-lab",), "'no-such-lab' is neither a suite (throughput, "),
        (("two-vms", "lossy"), "a benchmark is of one lab, not of two-vms and lossy"),
        (("lossy",), "--perfect-link measures without that"),
        (("--backends", ""), "--backends '': a value is missing"),
        (("--backends", "null,,openssl"), "a value is missing"),
        (("--backends", "null, null"), "backend null is named twice"),
        (("--sizes", ""), "--sizes takes numbers such as 64,1400"),
        (("throughput", "throughput"), "suite throughput is named twice"),
        (("--quick", "--full"), "choose one"),
        (("--flows", "5000"), "--flows takes 1 to 1024"),
        (("--burst", "65"), "--burst takes 1 to 64"),
    ],
)
def test_a_users_error_is_one_message(tmp_path, arguments, message):
    """Nothing is measured, and it says what to write."""
    outcome = bench(tmp_path, *arguments)
    assert isinstance(outcome.exception, DtlsEmuError)
    assert message in str(outcome.exception)
    assert not (tmp_path / "result.json").exists()


def test_packets_unaccounted_for_void_the_run(tmp_path, monkeypatch):
    """Loudly, with an exit code of its own, and without a file."""

    def void(*_, **__):
        raise AccountingError("udp, 64 bytes, plain: offered 10, delivered 9")

    monkeypatch.setattr("dtls_emu.measure.suites.throughput.run_trials", void)
    outcome = bench(tmp_path, *SMALL)
    assert outcome.exit_code == EXIT_NOT_ACCOUNTED
    assert "the run is void: udp, 64 bytes, plain: offered 10, delivered 9" in outcome.stderr
    assert not (tmp_path / "result.json").exists()


def test_interrupted_run_keeps_its_figures(tmp_path, monkeypatch):
    """Ctrl-C in the third round: two rounds are written and printed, and the exit code says so."""
    steps = iter(range(10_000))

    def interrupt(_self, _done, _total, what):
        if "round 3" in what and next(steps) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(_Lines, "__call__", interrupt)
    outcome = bench(tmp_path, *SMALL)
    assert outcome.exit_code == EXIT_INTERRUPTED
    assert "interrupted" in outcome.stderr
    result = Result.model_validate_json((tmp_path / "result.json").read_text())
    assert result.end.stopped == "interrupted"
    assert [section.suite for section in result.sections] == ["throughput"]
    assert len(present(result.section(ThroughputSection)).trials) == 2 * 4 + 1


def test_interrupted_before_the_first_trial_writes_nothing(tmp_path, monkeypatch):
    """There is nothing to keep."""

    def interrupt(_self, _done, _total, what):
        if "warm-up" in what:
            raise KeyboardInterrupt

    monkeypatch.setattr(_Lines, "__call__", interrupt)
    outcome = bench(tmp_path, *SMALL)
    assert outcome.exit_code == EXIT_INTERRUPTED
    assert not (tmp_path / "result.json").exists()


@pytest.fixture(scope="module")
def result():
    """A small one, of real cards in memory."""
    return runner.benchmark(
        "two-vms",
        plan(quick=True, paths="memory", sizes="256", backends="null,cryptography", rounds=1, seconds=0.005),
    )


@pytest.fixture
def quick_result(monkeypatch, result):
    """The work is over at once, with a result."""
    monkeypatch.setattr(runner, "benchmark", lambda *_, **__: result)
    return result


@pytest.fixture
def no_work(monkeypatch):
    """Nothing is to be measured."""
    monkeypatch.setattr(runner, "benchmark", lambda *_, **__: pytest.fail("it was measured"))


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("place", [".", "no/such/result.json", "there.json", "x" * 300])
def test_a_place_that_takes_no_result_is_refused_before_anything_is_measured(tmp_path, monkeypatch, place):
    """What is there is written over on request only."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("mine")
    outcome = CliRunner().invoke(app, ["bench", "--output", place])
    assert isinstance(outcome.exception, DtlsEmuError)
    assert (tmp_path / "there.json").read_text() == "mine"


@pytest.mark.usefixtures("no_work")
def test_a_default_place_that_cannot_be_made_is_found_before_anything_is_measured(tmp_path, monkeypatch):
    """A file has the name of the folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").touch()
    assert isinstance(CliRunner().invoke(app, ["bench"]).exception, DtlsEmuError)


def test_force_writes_over_what_is_there(tmp_path, quick_result):
    """As a whole."""
    (tmp_path / "result.json").write_text("old")
    outcome = bench(tmp_path, "--force")
    assert outcome.exit_code == 0, outcome.output
    assert Result.model_validate_json((tmp_path / "result.json").read_text()) == quick_result


@pytest.mark.usefixtures("quick_result")
def test_runs_of_the_same_second_have_files_of_their_own(tmp_path, monkeypatch):
    """The default name is the time's, and never collides."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dtls_emu.measure.result.datetime", SameSecond)
    names = []
    for _ in range(3):
        outcome = CliRunner().invoke(app, ["bench"])
        assert outcome.exit_code == 0, outcome.output
        names.append(outcome.stdout.splitlines()[-1].removeprefix("Result file: "))
    assert names == [f"results/bench-20260102T030405Z{more}.json" for more in ("", "-2", "-3")]
    assert {f"results/{each.name}" for each in (tmp_path / "results").iterdir()} == set(names)


class SameSecond(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz=None):
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=tz)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_result_that_cannot_be_written_is_printed_and_kept(tmp_path, monkeypatch, quick_result, arguments):
    """The disk is full when all is measured: a table or JSON, one line that says where the file is, no success."""
    monkeypatch.setattr("dtls_emu.files.results.tempfile.tempdir", str(tmp_path))
    outcome = CliRunner().invoke(app, ["bench", "--output", "/dev/full", *arguments])
    assert outcome.exit_code == 1
    (kept,) = tmp_path.iterdir()
    assert outcome.stderr == (
        f"dtls-emu: cannot write /dev/full: No space left on device; it is kept in {kept}\n"
    )
    assert Result.model_validate_json(kept.read_text()) == quick_result
    assert ('"sections"' if arguments else "plain-again") in outcome.stdout


def test_ctrl_c_between_two_parts_keeps_what_was_measured(tmp_path, monkeypatch):
    """While nothing else looks after it: the cards of the fragment mixes are being made."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dtls_emu.measure.suites.fragments.CardFragmentTestbed", interrupt)
    outcome = bench(tmp_path, *SMALL, "--rounds", "1")
    assert outcome.exit_code == EXIT_INTERRUPTED
    result = Result.model_validate_json((tmp_path / "result.json").read_text())
    assert result.end.stopped == "interrupted"
    assert len(present(result.section(ThroughputSection)).trials) == 4


def test_options_change_the_plan_they_name():
    """And leave the rest as quick or full has it."""
    assert plan() == full_plan(1)
    assert plan(ip=6, burst=8, flows=3, budget=60.0).ip_version == 6
    assert plan(quick=True, seed=4) == quick_plan(4)
    chosen = plan(quick=True, sizes="64,512", paths="udp,memory", backends="null", rounds=2)
    assert chosen.sizes == (64, 512)
    assert chosen.paths == (BenchPath.UDP, BenchPath.MEMORY)
    assert (chosen.backends, chosen.rounds, chosen.budget_s) == (("null",), 2, quick_plan(1).budget_s)


@pytest.mark.usefixtures("no_work")
def test_suites_are_listed_and_nothing_is_measured():
    """Their names, what they ask, and whose method they follow."""
    outcome = CliRunner().invoke(app, ["bench", "--list"])
    assert outcome.exit_code == 0
    assert all(name in outcome.stdout for name in SUITES)
    document = json.loads(CliRunner().invoke(app, ["bench", "--list", "--json"]).stdout)
    assert [each["name"] for each in document] == list(SUITES)


def test_one_suite_alone(tmp_path):
    """Named; a lab may be named beside it."""
    outcome = bench(tmp_path, "handshake", "two-vms", *SMALL, "--rounds", "1")
    assert outcome.exit_code == 0, outcome.output
    result = Result.model_validate_json((tmp_path / "result.json").read_text())
    assert [section.suite for section in result.sections] == ["handshake"]
    assert len(result.end.reading) == 1


def test_a_report_is_written_and_rendered_again(tmp_path, quick_result):
    """The result first; later the same page from it, and several side by side."""
    pytest.importorskip("matplotlib", reason="the report's pictures need matplotlib (PyPI)")
    folder = tmp_path / "report"
    outcome = CliRunner().invoke(app, ["bench", "--out", str(folder)])
    assert outcome.exit_code == 0, outcome.output
    assert f"Report: {folder}/report.html" in outcome.output
    result = folder / "result.json"
    assert Result.model_validate_json(result.read_text()) == quick_result
    again = tmp_path / "again"
    outcome = CliRunner().invoke(app, ["bench", "report", str(result), "--out", str(again)])
    assert outcome.exit_code == 0, outcome.output
    # The only difference: the result's own place.
    assert (again / "report.html").read_text() == (folder / "report.html").read_text()
    outcome = CliRunner().invoke(
        app, ["bench", "report", str(result), str(result), "--out", str(tmp_path / "both")]
    )
    assert outcome.exit_code == 0, outcome.output
    assert "2 runs" in (tmp_path / "both" / "report.md").read_text()


@pytest.mark.usefixtures("no_work")
def test_a_report_that_is_there_is_found_before_anything_is_measured(tmp_path):
    """It is written over on request only."""
    pytest.importorskip("matplotlib", reason="the report's pictures need matplotlib (PyPI)")
    (tmp_path / "report.html").write_text("mine")
    outcome = CliRunner().invoke(app, ["bench", "--out", str(tmp_path)])
    assert isinstance(outcome.exception, DtlsEmuError)
    assert (tmp_path / "report.html").read_text() == "mine"
