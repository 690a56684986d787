"""`dtls-emu bench compare` and `replay`: what they print, when they fail, what they refuse."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.benchmark import benchmark
from dtls_emu.measure.plan import BenchPath, Plan
from dtls_emu.measure.result import Result


PLAN = Plan(
    1,
    suites=("throughput",),
    backends=("null",),
    paths=(BenchPath.MEMORY,),
    sizes=(256,),
    rounds=12,
    trial_s=0.001,
)


def run(*arguments):
    """The command."""
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A result, one that is twenty times slower, and one of another size."""
    folder = tmp_path_factory.mktemp("results")
    result = benchmark("two-vms", PLAN)
    slow = result.model_copy(
        update={
            "sections": [
                section.model_copy(
                    update={
                        "figures": [
                            figure.model_copy(update={"samples": [value / 20 for value in figure.samples]})
                            for figure in section.figures
                        ]
                    }
                )
                for section in result.sections
            ]
        }
    )
    start = result.start.model_copy(update={"plan": Plan(1, sizes=(64,))})
    result.write(folder / "a.json")
    slow.write(folder / "slow.json")
    result.model_copy(update={"start": start}).write(folder / "other.json")
    return folder


def test_a_result_compared_with_itself_passes(files):
    """Figures of passing cells are printed as well."""
    outcome = run("compare", files / "a.json", files / "a.json", "--fail-under", "0.5")
    assert outcome.exit_code == 0, outcome.output
    assert "rate of plain" in outcome.stdout
    assert "not resolvable (floor" in outcome.stdout
    assert "measure both with --repeat 5" in outcome.stdout.replace("\n", " ")


def test_what_is_certainly_slower_fails(files):
    """By the bound of the interval, with status 1 and one line; the baseline may be the second."""
    outcome = run("compare", files / "a.json", files / "slow.json", "--fail-under", "0.95")
    assert outcome.exit_code == 1
    assert "slower, FAILS" in outcome.stdout
    assert "1 of 2 figures are certainly below 0.95" in outcome.stderr
    swapped = run("compare", files / "slow.json", files / "a.json", "--baseline", files / "a.json", "--json")
    document = json.loads(swapped.stdout)
    assert document["baseline"].endswith("a.json")
    assert [row["verdict"] for row in document["figures"]] == ["slower", "faster"]


def test_unlike_runs_are_refused_unless_one_insists(files):
    """It says what differs, and with --anyway says it beside the table."""
    outcome = run("compare", files / "a.json", files / "other.json")
    assert isinstance(outcome.exception, DtlsEmuError)
    assert "sizes: 256 and 64" in str(outcome.exception)
    insisted = run("compare", files / "a.json", files / "other.json", "--anyway")
    assert insisted.exit_code == 0
    assert "Not alike: sizes: 256 and 64." in insisted.stdout


def test_false_alarms_are_printed(files):
    """Of the gate, on the run's own halves."""
    outcome = run("compare", files / "a.json", "--null", "--fail-under", "0.95")
    assert outcome.exit_code == 0, outcome.output
    assert "halves of one run, which are equal" in outcome.stdout
    document = json.loads(run("compare", files / "a.json", "--null", "--json").stdout)
    (alarms,) = document.values()
    assert (alarms["halves_of"], alarms["runs"]) == ("rounds", 200)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is not JSON"),
        ("[1]", "it has no format"),
        ('{"format": 1}', "has format 1; this version reads 2"),
        ('{"format": 2, "start": 5}', "start"),
        ("[" * 100_000, "it is not JSON"),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(tmp_path, files, content, message):
    """Whatever it is."""
    (tmp_path / "no.json").write_text(content)
    outcome = run("compare", files / "a.json", tmp_path / "no.json")
    assert isinstance(outcome.exception, DtlsEmuError)
    assert message in str(outcome.exception)
    assert "\n" not in str(outcome.exception)


def test_a_file_that_is_not_there_and_too_many_files(tmp_path, files):
    """One line each."""
    for arguments in (
        (tmp_path / "gone.json", files / "a.json"),
        (files / "a.json",),
        (files / "a.json", files / "slow.json", "--baseline", "b.json"),
        (tmp_path, files / "a.json"),
    ):
        outcome = run("compare", *arguments)
        assert isinstance(outcome.exception, DtlsEmuError), outcome.output


def test_a_run_is_repeated_with_its_own_settings(tmp_path, files):
    """The plan is the recorded one, the result a new one."""
    outcome = run("replay", files / "a.json", "--output", tmp_path / "again.json")
    assert outcome.exit_code == 0, outcome.output
    old, new = (
        Result.model_validate_json(path.read_text()) for path in (files / "a.json", tmp_path / "again.json")
    )
    assert new.start.plan == old.start.plan
    assert new.start.started > old.start.started


def test_exports_are_written_and_places_are_tried_first(tmp_path):
    """Tables, figures for a collector, and a stream of trials."""
    small = ("throughput", "--paths", "memory", "--sizes", "256", "--backends", "null", "--rounds", "1")
    outcome = run(
        *small,
        "--seconds",
        "0.002",
        "--json-stream",
        "--output",
        tmp_path / "r.json",
        "--csv",
        tmp_path / "tables",
        "--prometheus",
        tmp_path / "bench.prom",
    )
    assert outcome.exit_code == 0, outcome.output
    lines = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [line["suite"] for line in lines] == ["throughput"] * 3 + ["end"]
    assert (tmp_path / "tables" / "throughput-trials.csv").read_text().startswith("path,size,arm,round")
    assert "dtls_emu_bench_value" in (tmp_path / "bench.prom").read_text()
    again = run(*small, "--csv", tmp_path / "tables", "--output", tmp_path / "s.json")
    assert isinstance(again.exception, DtlsEmuError)
    assert "has tables already; --force" in str(again.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--until", "much"), "--until 'much': it takes a share such as 2%"),
        (("--until", "0%"), "it takes a share such as 2%"),
        (("--repeat", "2", "--json-stream"), "does not go with --repeat"),
        (("--calibrate", "1", "--rounds", "2", "--seconds", "0.001", "--paths", "memory"), "not one run had"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, message):
    """Before anything is measured, but for a calibration that cannot have intervals."""
    outcome = run(*arguments)
    assert isinstance(outcome.exception, DtlsEmuError)
    assert message in str(outcome.exception)


def test_a_calibration_prints_how_often_intervals_miss():
    """A row for each path and figure."""
    outcome = run(
        "--calibrate", "2", "--paths", "memory", "--sizes", "256", "--rounds", "6", "--seconds", "0.001"
    )
    assert outcome.exit_code == 0, outcome.output
    assert [line.split()[:3] for line in outcome.stdout.splitlines() if line.startswith("memory")] == [
        ["memory", "rate", "2"],
        ["memory", "cpu", "2"],
    ]
