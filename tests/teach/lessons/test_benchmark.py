"""Figures out of a result file: of one that the product writes, and of anything else that a student calls so."""

from __future__ import annotations

import json

import pytest

from dtls_emu.cli.app import app
from dtls_emu.teach.lessons.benchmark import read_benchmark
from dtls_emu.teach.lessons.lab_run import CannotAskError


def test_a_result_file_is_read_as_it_is_written(tmp_path, monkeypatch):
    """By the benchmark itself, two rounds of it."""
    monkeypatch.chdir(tmp_path)
    command = "bench throughput --quick --paths memory --sizes 1400 --rounds 2 --seconds 0.005"
    words = [*command.split(), "--backends", "cryptography,null", "--output", "bench.json"]
    assert not app(words, standalone_mode=False)
    found = read_benchmark(tmp_path / "bench.json")
    assert found.has(1400)
    assert not found.has(64)
    assert found.encrypted(1400).microseconds > 0
    written = json.loads((tmp_path / "bench.json").read_text())
    (cell,) = [each for each in written["sections"][0]["cells"] if each["arm"] == "cryptography"]
    assert found.encrypted(1400).rate == cell["ratio"]["value"]
    assert found.encrypted(1400).cpu == cell["cpu_ratio"]["value"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"start": 1}', "not json", '{"format": 2, "sections": []}', "[" * 9999]
)
def test_any_other_file_is_one_line(tmp_path, text):
    """And so is none at all."""
    path = tmp_path / "bench.json"
    with pytest.raises(CannotAskError, match=r"there is no bench\.json"):
        read_benchmark(path)
    path.write_text(text)
    with pytest.raises(CannotAskError, match="is no result file"):
        read_benchmark(path)


def test_what_is_concluded_from_it(right_answers):
    """The share of the fastest backend that encrypts, what of its CPU time is the cipher's, and which part is dearer."""
    found = right_answers[8]
    assert (found["rate"], found["surely"], found["cipher"], found["dearer"]) == (
        "0.46",
        "yes",
        "1.34",
        "cipher",
    )
