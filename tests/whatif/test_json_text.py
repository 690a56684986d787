"""JSON with what Azure's tools add to it; and the line of everything in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.whatif.json_text import MAX_NESTING, JsonTextError, line_of, parse_json


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=5), inside, max_size=4),
    max_leaves=15,
)


def paths(value, path=()):
    """Every path of a value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inside in items:
        yield from paths(inside, (*path, step))


def at(value, path):
    for step in path:
        value = value[step]
    return value


@given(values)
def test_json_is_read_as_it_is(value):
    """Any value, however it is laid out."""
    assert parse_json(json.dumps(value, indent=1)) == value


@given(values)
def test_each_value_is_found_on_its_line(value):
    """The line begins with the value's key or text."""
    folded = {key.lower() for key in map(str, _keys(value))}
    if len(folded) != len(list(_keys(value))):
        return  # keys that differ in case only are one key to Azure
    text = json.dumps(value, indent=1)
    lines = text.splitlines()
    for path in paths(value):
        first = json.dumps(at(value, path), indent=1).splitlines()[0]
        assert first.rstrip("]}") in lines[line_of(text, path) - 1]


def _keys(value):
    if isinstance(value, dict):
        yield from value
    for inside in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(inside)


def test_comments_and_commas_too_many_are_taken():
    """As in the templates that people write; lines stay what they are."""
    text = '{ // a comment\n "a": [1, 2,], /* and\n another */ "url": "https://x//y",\n}'
    assert parse_json(text) == {"a": [1, 2], "url": "https://x//y"}
    assert line_of(text, ("url",)) == 3
    assert line_of(text, ("a", 1, "nothing")) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1"),
        ('{"a" 1}', "line 1"),
        ("NaN", "NaN is no JSON"),
        ("[" * 100_000 + "]" * 100_000, f"more than {MAX_NESTING} levels"),
        ("[" * (MAX_NESTING + 5) + "]" * (MAX_NESTING + 5), f"more than {MAX_NESTING} levels"),
        ("9" * 5000, "a number is too long"),
        ('{"a": "', "line 1"),
        ("/* no end", "line 1"),
    ],
)
def test_what_is_no_json_is_refused_in_a_line(text, said):
    """With the line in the file where there is one."""
    with pytest.raises(JsonTextError) as refused:
        parse_json(text)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 120


@given(st.text(max_size=40) | st.text('{}[]",:1 /*\n', max_size=40))
def test_any_text_is_read_or_refused(text):
    """A line is found in any, too."""
    refused = ""
    try:
        parse_json(text)
    except JsonTextError as error:
        refused = str(error)
    assert "\n" not in refused
    assert line_of(text, ("a", 0)) >= 1
