"""Events as JSON and back.

An event is an object with the name of the event under ``event``, which is its class's in snake case, and a key for each
field of the class: seconds as numbers, bytes as hexadecimal digits, enumerations by their values, tuples as lists, a flow
as an object of its own, absent values as null. Names are stable: fields may be added, with a default, never renamed.
:func:`from_json` ignores keys that it does not know, so that an older program reads a newer trace.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin, get_type_hints

from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import base, flows, packets, tunnels
from dtls_emu.events.base import FlowId
from dtls_emu.vocabulary import DropReason, FlowEncryption, Verdict


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.events.base import Event


__all__ = [
    "EVENTS",
    "EventError",
    "from_json",
    "from_line",
    "name_of",
    "to_json",
    "to_line",
]


class EventError(DtlsEmuError):
    """What should be an event is none: a trace file was damaged, or written by hand."""


EVENTS: Final[dict[str, type[Event]]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", each.__name__).lower(): each
    for each in (
        packets.Offered,
        packets.Classified,
        packets.Missed,
        packets.Decided,
        packets.Queued,
        packets.Forwarded,
        packets.Sealed,
        packets.Sent,
        packets.Lost,
        packets.Duplicated,
        packets.Damaged,
        packets.Reordered,
        packets.Marked,
        packets.Received,
        packets.Refused,
        packets.Opened,
        packets.Delivered,
        packets.Dropped,
        packets.Answered,
        tunnels.FlightSent,
        tunnels.FlightRetransmitted,
        tunnels.FlightReceived,
        tunnels.StateChanged,
        tunnels.AssociationOpened,
        tunnels.Rekeyed,
        tunnels.KeysRequested,
        tunnels.PortOpened,
        tunnels.PortClosed,
        flows.FlowStarted,
        flows.FlowContinued,
        flows.FlowEnded,
        base.LabChanged,
        base.CardRestarted,
    )
}
"""Every kind of event by its name, in the order of a packet's path, then tunnels, then flows."""

_NAMES: Final = {kind: name for name, kind in EVENTS.items()}


def name_of(event: Event) -> str:
    """The name of an event's kind, as in :data:`EVENTS`."""
    return _NAMES[type(event)]


def to_json(event: Event) -> dict[str, Any]:
    """An event in JSON's types, as the module says."""
    kind = type(event)
    data: dict[str, Any] = {"event": _NAMES[kind]}
    for name, is_plain in _fields(kind):
        value = getattr(event, name)
        data[name] = value if is_plain else _plain(value)
    return data


def from_json(data: Any) -> Event:
    """The event that :func:`to_json` made this of.

    Raises:
        EventError: it is none.
    """
    try:
        kind = EVENTS[data["event"]]
        given = {name: convert(data[name]) for name, convert in _converters(kind).items() if name in data}
        return kind(**given)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EventError(f"no event: {str(data)[:200]}: {error!r}") from error


def to_line(event: Event) -> str:
    """An event as one line of a newline-delimited JSON file, without its end."""
    return _ENCODER.encode(to_json(event))


def from_line(line: str | bytes) -> Event:
    """The event of one line.

    Raises:
        EventError: it is none.
    """
    try:
        data = json.loads(line)
    except ValueError as error:
        raise EventError(f"no JSON: {line[:200]!r}: {error}") from error
    return from_json(data)


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, FlowId):
        return {name: getattr(value, name) for name in FlowId.__slots__}
    return str(value) if isinstance(value, StrEnum) else value


_WORDS: Final = vars(base) | {each.__name__: each for each in (DropReason, FlowEncryption, Verdict)}
"""What the annotations of fields are made of."""

_CONVERTERS: Final[dict[type[Any], dict[str, Callable[[Any], Any]]]] = {}
_FIELDS: Final[dict[type[Any], tuple[tuple[str, bool], ...]]] = {}
"""Both are made on first use."""


def _fields(kind: type[Event]) -> tuple[tuple[str, bool], ...]:
    """The names of an event's fields, and whether JSON has their values as they are."""
    known = _FIELDS.get(kind)
    if known is None:
        hints = get_type_hints(kind, localns=_WORDS)
        known = tuple((field.name, hints[field.name] in {int, float, str, bool}) for field in fields(kind))
        _FIELDS[kind] = known
    return known


def _converters(kind: type[Any]) -> dict[str, Callable[[Any], Any]]:
    """From JSON to the type of each field, by its name."""
    known = _CONVERTERS.get(kind)
    if known is None:
        hints = get_type_hints(kind, localns=_WORDS)
        known = {field.name: _converter(hints[field.name]) for field in fields(kind)}
        _CONVERTERS[kind] = known
    return known


def _converter(hint: Any) -> Callable[[Any], Any]:
    if get_origin(hint) is tuple:
        return _tuple_converter(get_args(hint))
    options = get_args(hint)
    if options:  # X | None
        convert = _converter(options[0])
        return lambda value: None if value is None else convert(value)
    if hint is bytes:
        return bytes.fromhex
    if hint is FlowId:
        return lambda value: FlowId(
            **{name: convert(value[name]) for name, convert in _converters(FlowId).items()}
        )
    if hint is float:
        return lambda value: float(_checked((int, float), value))
    if issubclass(hint, StrEnum):
        words: Callable[[Any], Any] = hint
        return words
    return lambda value: _checked((hint,), value)


def _tuple_converter(items: tuple[Any, ...]) -> Callable[[Any], Any]:
    if len(items) == 2 and items[1] is Ellipsis:
        convert = _converter(items[0])
        return lambda value: tuple(convert(each) for each in value)
    converters = [_converter(item) for item in items]
    return lambda value: tuple(convert(each) for convert, each in zip(converters, value, strict=True))


def _checked(kinds: tuple[type, ...], value: Any) -> Any:
    """A value that JSON has as it is; True is no number."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{value!r} is no {kinds[0].__name__}")
    return value
