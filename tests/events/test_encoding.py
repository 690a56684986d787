"""Events as JSON: every kind comes back as it was, and what is none is refused."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu import vocabulary
from dtls_emu.events import (
    EVENTS,
    EventError,
    FlowId,
    Lost,
    Sealed,
    Sent,
    base,
    from_json,
    from_line,
    to_json,
    to_line,
)
from dtls_emu.vocabulary import DropReason


FINITE = st.floats(allow_nan=False, allow_infinity=False)
WORDS = vars(base) | vars(vocabulary)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    arguments = get_args(hint)
    if get_origin(hint) is tuple and arguments[1:] == (Ellipsis,):
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if get_origin(hint) is tuple:
        return st.tuples(*map(values, arguments))
    if arguments:
        return st.none() | values(arguments[0])
    if hint is FlowId:
        return events(FlowId)
    return FINITE if hint is float else st.from_type(hint)


def events(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any event of a kind."""
    hints = get_type_hints(kind, localns=WORDS)
    return st.builds(kind, **{field.name: values(hints[field.name]) for field in fields(kind)})


@pytest.mark.parametrize("name", EVENTS)
@settings(deadline=None)
@given(data=st.data())
def test_every_event_comes_back_from_json(name, data):
    """Also by way of a line of text, which has no line end in it."""
    event = data.draw(events(EVENTS[name]))
    assert from_json(to_json(event)) == event
    line = to_line(event)
    assert "\n" not in line
    assert from_line(line) == event
    assert type(from_line(line.encode())) is EVENTS[name]


def test_json_is_as_the_module_says():
    """Bytes as digits, words as they are, tuples as lists."""
    event = Sent(0.25, "h1", 2, 7, 3, ("192.0.2.1", 4789), ("192.0.2.2", 4789), 2, 0, 9_000, b"\x08\xff")
    assert to_json(event) == {
        "event": "sent",
        "time": 0.25,
        "host": "h1",
        "mark": 2,
        "packet": 7,
        "datagram": 3,
        "source": ["192.0.2.1", 4789],
        "destination": ["192.0.2.2", 4789],
        "length": 2,
        "tos": 0,
        "arrival": 9_000,
        "payload": "08ff",
    }


def test_names_are_stable():
    """A saved trace is read by later programs: a name that is missing here was renamed, and must not be."""
    assert set(EVENTS) >= {
        *("offered", "classified", "missed", "decided", "queued", "forwarded", "sealed"),
        *("sent", "lost", "duplicated", "damaged", "reordered", "marked"),
        *("received", "refused", "opened", "delivered", "dropped", "answered"),
        *("flight_sent", "flight_retransmitted", "flight_received", "state_changed", "rekeyed"),
        *("association_opened", "keys_requested", "port_opened", "port_closed"),
        *("flow_started", "flow_continued", "flow_ended", "lab_changed", "card_restarted"),
    }


def test_what_a_newer_program_adds_is_passed_over():
    """A field that is not known, and one with a default that is missing."""
    event = Sealed(1.0, "h1", 2, 7, "h2", (49152, 4788), 1, 3, 2)
    assert from_json(to_json(event) | {"colour": "blue"}) == event
    lost = from_json(
        {"event": "lost", "time": 1, "host": "h1", "mark": 2, "packet": 1, "datagram": 4, "reason": "lost"}
    )
    assert lost == Lost(1.0, "h1", 2, 1, 4, DropReason.LOST)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        "sealed",
        {},
        {"event": "exploded"},
        {"event": "port_closed", "time": 1.0, "host": "h1"},
        {"event": "port_closed", "time": "1", "host": "h1", "port": 4},
        {"event": "port_closed", "time": 1.0, "host": "h1", "port": True},
        {"event": "port_closed", "time": 1.0, "host": None, "port": 4},
        {"event": ["port_closed"], "time": 1.0, "host": "h1", "port": 4},
        {"event": "lost", "time": 1, "host": "h1", "mark": 2, "packet": 1, "datagram": 4, "reason": "tired"},
    ],
    ids=str,
)
def test_what_is_no_event_is_refused(wrong):
    """With an error of ours that shows it, whatever is wrong with it."""
    with pytest.raises(EventError, match="no event"):
        from_json(wrong)
    with pytest.raises(EventError):
        from_line(json.dumps(wrong)[:-1])
