"""A trace's file gives back the events that were written, and what is none is refused with the line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.capture.trace_file import (
    EVENT_SCHEMA,
    Trace,
    TraceFileError,
    TraceRecorder,
    encode_trace,
    parse_trace,
)
from dtls_emu.events import Delivered, Queued
from dtls_emu.lab import load_lab
from dtls_emu.simulation import simulate


if TYPE_CHECKING:
    import random


@pytest.fixture(scope="module")
def recorded():
    recorder = TraceRecorder(title="lossy", lab={"vms": {}}, seed=3)
    simulate(load_lab("lossy"), observer=recorder)
    return recorder


def test_a_run_is_read_back_as_it_was(recorded):
    """Every event, with its time to the last bit and all bytes; and what the run was of."""
    found = parse_trace(encode_trace(recorded))
    assert found.events == recorded.events
    assert (found.title, found.lab, found.seed) == ("lossy", {"vms": {}}, 3)
    assert len(found.events) > 1000


def test_its_lines_have_the_shape_of_qlog(recorded):
    """A header that says what follows, then time in milliseconds, name and data."""
    lines = list(encode_trace(recorded))
    header = json.loads(lines[0])
    assert header["file_schema"] == "urn:ietf:params:qlog:file:sequential"
    assert header["event_schemas"] == [EVENT_SCHEMA]
    assert header["trace"]["vantage_point"] == {"type": "network"}
    for line in lines[1:200]:
        event = json.loads(line)
        assert set(event) == {"time", "name", "data"}
        assert event["name"].startswith("dtls-emu:")
    assert "\n" not in "".join(lines)


def test_a_file_with_record_separators_is_read_too(recorded):
    """As other writers of qlog have it (RFC 7464); empty lines are nothing."""
    lines = [f"\x1e{line}" for line in encode_trace(recorded)]
    assert parse_trace([*lines, "", " "]).events == recorded.events


@given(st.floats(0, 1e6))
def test_times_survive_milliseconds(seconds):
    """Nanoseconds are what a clock of a run counts."""
    time = round(seconds * 1e9) / 1e9
    event = Queued(time, "h", 1, 1, "p", 1)
    (found,) = parse_trace(encode_trace(Trace(events=[event]))).events
    assert found == event


GOOD = list(encode_trace(Trace("t", {}, 1, [Delivered(0.5, "h", 2, 1, "vm", 1, 3, (b"abc",))])))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "the file is empty"),
        (["hello"], "line 1: not the header of a trace"),
        (["[]"], "line 1: not the header of a trace"),
        ([GOOD[0].replace("events:1", "events:9")], "a trace of urn:dtls-emu:events:9; this version reads"),
        ([GOOD[0], GOOD[1][:-5]], "line 2: no event of a trace"),
        (
            [GOOD[0], GOOD[1], GOOD[1].replace("dtls-emu:", "quic:")],
            "line 3: no event of a trace: `quic:delivered`",
        ),
        ([GOOD[0], GOOD[1].replace("delivered", "invented")], "line 2: no event of a trace"),
        ([GOOD[0], "1"], "line 2: no event of a trace"),
        ([GOOD[0], GOOD[1].replace("616263", "zz")], "line 2: no event of a trace"),
    ],
)
def test_what_is_no_trace_is_refused_with_the_line(lines, said):
    """And what is wrong with it, on one line."""
    with pytest.raises(TraceFileError) as raised:
        parse_trace(lines)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.lists(st.text(max_size=80), max_size=4), st.randoms(use_true_random=False))
def test_any_lines_are_a_trace_or_refused(lines, rng: random.Random):
    """Damaged ones of our own among them."""
    damaged = list(GOOD[1])
    damaged[rng.randrange(len(damaged))] = rng.choice('{}":,x0')
    for each in ([*lines], [GOOD[0], *lines], [GOOD[0], "".join(damaged)]):
        refused = ""
        try:
            parse_trace(each)
        except TraceFileError as error:
            refused = str(error)
        assert not refused or "line" in refused or "empty" in refused or "trace of" in refused
