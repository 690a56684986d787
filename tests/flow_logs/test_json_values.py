"""Cutting a stream: the same values whatever the pieces, bounded memory, and a clear place for what is wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.flow_logs import json_values
from dtls_emu.flow_logs.errors import FlowLogError
from dtls_emu.flow_logs.json_values import MAX_DEPTH, cut_values


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text().filter(lambda key: key != "records"), JSON, max_size=4)


def cut(text, size=7):
    data = text if isinstance(text, bytes) else text.encode()
    return [
        json.loads(value) for _, value in cut_values(data[at : at + size] for at in range(0, len(data), size))
    ]


@given(st.lists(OBJECTS, max_size=4), st.integers(1, 40), st.booleans())
def test_records_come_out_as_they_went_in(objects, size, escaped):
    """Of a blob, of an array, and one a line, whatever the size of the pieces; texts may hold brackets and quotes."""
    dump = [json.dumps(each, ensure_ascii=escaped) for each in objects]
    assert cut('{"records": [' + ",\n".join(dump) + "]}", size) == objects
    assert cut("[" + ",".join(dump) + "]", size) == objects
    assert cut("\n".join(dump), size) == objects


def test_what_stands_beside_records_is_left_out():
    """Also when it has records of its own."""
    assert cut('{"x": {"records": 1}, "a": 2, "records": [{"b": 1}], "more": {"records": [{"c": 1}]}}') == [
        {"b": 1}
    ]


def test_a_byte_order_mark_is_skipped():
    """As Windows writes it."""
    assert cut(b'\xef\xbb\xbf{"a": 1}', 1) == [{"a": 1}]


def test_positions_are_those_of_the_stream():
    """So that an error leads to its place."""
    data = b'{"records":[{"a":1},{"b":2}]}'
    assert [position for position, _ in cut_values([data])] == [12, 20]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "byte 0: no JSON object: 'hello'"),
        ('{"a": 1', "byte 7: the file ends where `}` is due"),
        ('{"a": "x', "cut off"),
        ('{"a": 1]', "byte 7: `]` closes nothing"),
        ("]", "byte 0: `]` closes nothing"),
        ('{"records": [1, {"a": 1}]}', "byte 13: no JSON object"),
        ("{}\n12 eni-1 10.0.0.1\n", "byte 3: no JSON object"),
        ("[" * (MAX_DEPTH + 1), "nested more than"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, said):
    """In one line."""
    with pytest.raises(FlowLogError) as caught:
        cut(text)
    assert said in str(caught.value)


def test_a_value_that_never_ends_is_refused(monkeypatch):
    """Before it is all in memory, in a time that grows with its length alone."""
    monkeypatch.setattr(json_values, "MAX_VALUE", 10_000)
    read = 0

    def endless():
        nonlocal read
        yield b'{"a":"'
        while True:
            read += 1000
            yield b"x" * 1000

    with pytest.raises(FlowLogError, match="one value of more than"):
        list(cut_values(endless()))
    assert read <= 50_000


@given(st.binary(max_size=200), st.integers(1, 9))
def test_any_bytes_are_cut_or_refused(data, size):
    """Nothing else is raised -> raises nothing."""
    try:
        list(cut_values(data[at : at + size] for at in range(0, len(data), size)))
    except FlowLogError:
        return
