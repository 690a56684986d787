"""The result file: its schema is shipped and true, and nothing that judges it is missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from dtls_emu.measure.result import RESULT_SCHEMA, Result, result_path, result_schema


def test_shipped_schema_is_that_of_the_models():
    """Changed on purpose? Run ``python -m dtls_emu.measure.result``, and mind the version."""
    assert RESULT_SCHEMA.read_text() == result_schema()


def test_schema_pins_the_version_and_refuses_unknown_fields():
    """A reader can rely on both."""
    schema = json.loads(RESULT_SCHEMA.read_text())
    assert schema["properties"]["format"]["const"] == 2
    assert schema["additionalProperties"] is False


def test_file_round_trips(result, tmp_path):
    """What is written is read back equal, and no unfinished file stays behind."""
    path = tmp_path / "results" / "bench.json"
    result.write(path)
    assert Result.model_validate_json(path.read_text()) == result
    assert [entry.name for entry in path.parent.iterdir()] == ["bench.json"]


def test_file_holds_what_is_needed_to_judge_it(result):
    """Seed, environment, backends, offloads with reasons, and every trial raw."""
    document = json.loads(result.model_dump_json())
    start, end = document["start"], document["end"]
    assert document["format"] == 2
    assert start["plan"]["seed"] == 7
    assert start["environment"] == {"kernel": "6.1"}
    assert start["offloads"]["udp-single"]["udp_gso"] == {"on": False, "reason": "switched off"}
    assert [backend["detail"] for backend in start["backends"] if not backend["available"]] == [
        "not installed"
    ]
    (throughput,) = [each for each in document["sections"] if each["suite"] == "throughput"]
    assert len(throughput["trials"]) == 6 * len(throughput["cells"])
    assert all(
        trial["offered"] == trial["refused"] + trial["delivered"] + sum(trial["dropped"].values())
        for trial in throughput["trials"]
    )
    assert end["stopped"] == "complete"


def test_unknown_field_is_refused(result):
    """A typo in a file is no silent default."""
    document = result.model_dump()
    document["surprise"] = 1
    with pytest.raises(ValidationError, match="surprise"):
        Result.model_validate(document)


def test_default_name_is_the_time_of_start():
    """UTC, so that names sort by time whatever the zone."""
    assert result_path(datetime(2026, 11, 20, 13, 5, 9, tzinfo=UTC)) == Path(
        "results/bench-20261120T130509Z.json"
    )
