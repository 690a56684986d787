"""Sums: the kernel and Python count the same, whatever the lines are; groups, times and memory are bounded."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.flow_logs import tally as module
from dtls_emu.flow_logs.errors import FlowLogError
from dtls_emu.flow_logs.filtering import parse_filter
from dtls_emu.flow_logs.records import parse_record
from dtls_emu.flow_logs.tally import OTHERS, Tally
from dtls_emu.flow_logs.tuples import parse_tuple


BEGIN = "1663146003000,10.0.0.4,10.0.0.5,40000,443,6,O,B,X,0,0,0,0"
END = "1663146063000,10.0.0.4,10.0.0.5,40000,443,6,O,E,X,3,767,2,1580"
AGAIN = "1663146093000,10.0.0.4,10.0.0.5,40000,443,6,O,B,X,,,,"
LAST = "1663146123,10.0.0.4,10.0.0.5,40000,443,6,O,E,X,1,100,1,50"

FIELDS = (
    st.sampled_from(["1663146003599", "1663146003", "0", "99999999999999999", "", "x"]),
    st.sampled_from(["10.0.0.4", "10.0.0.5", "203.0.113.7", "fd00::1", "2001:db8::1", "10.0.0.256", ""]),
    st.sampled_from(["10.0.0.4", "192.168.1.1", "fd00::2", "a", '\\"']),
    st.sampled_from(["40000", "1", "65536", "", "-1"]),
    st.sampled_from(["443", "53", "", "70000"]),
    st.sampled_from(["6", "17", "256", "TCP"]),
    st.sampled_from(["I", "O", "X"]),
    st.sampled_from(["B", "C", "E", "D", "BC", ""]),
    st.sampled_from(["X", "NX", "NX_FALLBACK", "NX_FUTURE", "", "9"]),
    *[st.sampled_from(["0", "7", "1234567", "9223372036854775807", "99999999999", "", "1.5"])] * 4,
)
LINES = st.lists(st.tuples(*FIELDS).map(",".join) | st.text(max_size=20) | st.just(END), max_size=12)


def tallied(lines, wanted=None, **settings):
    tally = Tally(parse_filter(wanted) if wanted else None, **settings)
    record = {"flowLogVersion": 4, "flowRecords": {"flows": [{"flowGroups": [{"flowTuples": lines}]}]}}
    tally.add(parse_record(json.dumps(record, ensure_ascii=False)))
    tally.flush()
    return tally


def sums_of(lines):
    """Line by line, by the reader of single tuples."""
    sums: Counter[Any] = Counter()
    for line in lines:
        try:
            found = parse_tuple(line)
        except FlowLogError:
            sums["unreadable"] += 1
            continue
        key = (
            found.source,
            found.destination,
            found.protocol,
            found.destination_port,
            found.side,
            found.encryption,
        )
        sums[key, found.state] += 1
        sums[key, "bytes"] += found.bytes_sent + found.bytes_received
        sums[key, "packets"] += found.packets_sent + found.packets_received
    return +sums


def sums_in(tally):
    sums: Counter[Any] = Counter()
    for each in tally.groups():
        key = (
            each.source,
            each.destination,
            each.protocol,
            each.destination_port,
            each.side,
            each.encryption,
        )
        for name, number in zip("BCED", (each.begun, each.continued, each.ended, each.denied), strict=True):
            sums[key, name] += number
        sums[key, "bytes"] += each.nbytes
        sums[key, "packets"] += each.packets
    sums["unreadable"] = tally.unreadable
    return +sums


@settings(max_examples=150, deadline=None)
@given(LINES)
def test_sums_are_those_of_every_line_by_itself(lines):
    """Odd and broken ones among them, in any order."""
    tally = tallied(lines)
    assert sums_in(tally) == sums_of(lines)
    assert tally.lines == len(lines)


@settings(max_examples=40, deadline=None)
@given(LINES)
def test_a_filter_takes_what_it_takes_of_single_lines(lines):
    """Whether it asks for what a group has in common, or for more."""
    for text in ("Encryption=NX_ALL", "SrcPort=40000 && Protocol=TCP"):
        wanted = parse_filter(text)
        taken = [each for each in lines if len(each.split(",")) == 13 and wanted(each.split(","))]
        found = sums_in(tallied(lines, text))
        del found["unreadable"]
        expected = sums_of(taken)
        del expected["unreadable"]
        assert found == expected


def test_a_flow_may_begin_and_end_twice():
    """B,E,B,E under one key, as in real files; seconds and empty counters among milliseconds and numbers."""
    (group,) = tallied([BEGIN, END, AGAIN, LAST]).groups()
    assert (group.begun, group.ended, group.packets_sent, group.bytes_received) == (2, 2, 4, 1630)
    assert (group.first, group.last) == (1_663_146_003_000, 1_663_146_123_000)


def test_the_first_line_that_is_no_tuple_is_shown():
    """And the others are counted all the same."""
    tally = tallied(["one", END, "two"])
    assert (tally.unreadable, tally.lines) == (2, 3)
    assert tally.example == "a flow tuple of 1 fields; version 4 has 13: 'one'"


def test_beyond_the_groups_that_are_told_apart_sums_are_whole():
    """By status, side, and whether an end is public."""
    lines = [END.replace("10.0.0.5", f"10.0.1.{number}") for number in range(9)]
    lines.append(END.replace("10.0.0.5", "203.0.113.1"))
    tally = tallied(lines, most_groups=2)
    groups = list(tally.groups())
    assert not tally.is_complete
    assert sum(each.bytes_sent for each in groups) == 7670
    others = {each.is_public: each.ended for each in groups if each.source == OTHERS}
    assert sum(others.values()) + 2 + len(tally._odd) == 10
    assert others[True] == 1


def test_the_timeline_covers_any_span():
    """With wider bins where there would be too many."""
    lines = [
        END.replace("1663146063000", str(time)) for time in (10**11, 1_663_146_063_000, 253_402_300_799_999)
    ]
    tally = tallied(lines)
    assert sum(tally.bins().values()) == 3 * (767 + 1580)
    begins = sorted(number * tally.bin_width for number, _, _ in tally.bins())
    assert len(begins) == 3
    assert all(
        0 <= when - begin < tally.bin_width
        for when, begin in zip((10**11, 1_663_146_063_000), begins, strict=False)
    )


def test_tuples_that_are_no_texts_are_refused():
    """With what is there instead."""
    with pytest.raises(FlowLogError, match="no texts: '17"):
        tallied([17])


def test_counters_do_not_overflow(monkeypatch):
    """However large they are together."""
    monkeypatch.setattr(module, "BATCH", 1)
    large = END.replace("767", "9223372036854775807")
    (group,) = tallied([large] * 5).groups()
    assert group.bytes_sent == 5 * 9_223_372_036_854_775_807
