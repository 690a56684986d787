"""A run's events as a file that every view reads back: newline-delimited JSON in the shape of qlog.

The first line says what follows (`draft-ietf-quic-qlog-main-schema`, a sequential file)::

    {"file_schema": "urn:ietf:params:qlog:file:sequential", "serialization_format": "application/x-ndjson",
     "title": ..., "event_schemas": ["urn:dtls-emu:events:1"],
     "trace": {"title": ..., "common_fields": {"time_format": "relative_to_epoch", "reference_time": {...}},
               "vantage_point": {"type": "network"}, "lab": {...}, "seed": 1}}

and each other line is one event: its time in milliseconds, its name, and the other fields of
:mod:`dtls_emu.events`, bytes in hexadecimal::

    {"time": 0.35, "name": "dtls-emu:sealed", "data": {"host": "host-1", "epoch": 1, "number": 2, ...}}

qlog's own serialization has a record separator (0x1e) before each line (JSON-SEQ, RFC 7464): files with it are read,
and written without, so that a line is JSON for any tool. The lab's document is in the file: a view needs no other.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.capture.notebook import table
from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import EVENTS, EventError, from_json, name_of, to_json


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dtls_emu.events import Event


__all__ = [
    "EVENT_SCHEMA",
    "MAX_LINE",
    "Trace",
    "TraceFileError",
    "TraceRecorder",
    "encode_trace",
    "parse_trace",
]

EVENT_SCHEMA: Final = "urn:dtls-emu:events:1"
"""The number goes up when a field changes its meaning; new fields and events do not change it."""

FILE_SCHEMA: Final = "urn:ietf:params:qlog:file:sequential"
SERIALIZATION: Final = "application/x-ndjson"
PREFIX: Final = "dtls-emu:"

MAX_LINE: Final = 4 << 20
"""Bytes of a line. One super-packet of 64 KB in hexadecimal is a thirtieth of it."""

_SEPARATOR: Final = "\x1e"
_MILLISECONDS: Final = 1e3
_NANOSECONDS_A_MILLISECOND: Final = 1e6


class TraceFileError(DtlsEmuError):
    """A file is no trace, or one of another version, or damaged. Says in which line, and what is wrong."""


@dataclass(slots=True, repr=False)
class Trace:
    """The events of a run.

    Fields:
        title: what was run.
        lab: the lab's document, as JSON types; empty where it is not known, as of a run that is up.
        seed: of the run; None where there was none.
        events: in the order in which they happened.
    """

    title: str = ""
    lab: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    events: list[Event] = field(default_factory=list)

    def __repr__(self) -> str:
        """How much there is of it, in a line."""
        seconds = self.events[-1].time if self.events else 0.0
        return f"<Trace {self.title}: {len(self.events)} events in {seconds:.3f} s>"

    def _repr_html_(self) -> str:
        """What happened how often, at which host."""
        counts = Counter(map(name_of, self.events))
        hosts = sorted({event.host for event in self.events} - {""})
        by_host = Counter((name_of(event), event.host) for event in self.events)
        rows = [
            (name, *(by_host[name, host] for host in hosts), counts[name]) for name in EVENTS if counts[name]
        ]
        return table(repr(self), ("event", *hosts, "together"), rows)


class TraceRecorder(Trace):
    """A trace that is an observer: ``simulate(lab, observer=recorder)``, bytes of packets included."""

    wants_bytes = True

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)


def encode_trace(trace: Trace) -> Iterator[str]:
    """The lines of a trace's file, without their ends."""
    yield _dumps(
        {
            "file_schema": FILE_SCHEMA,
            "serialization_format": SERIALIZATION,
            "title": trace.title,
            "event_schemas": [EVENT_SCHEMA],
            "trace": {
                "title": trace.title,
                "common_fields": {
                    "time_format": "relative_to_epoch",
                    "reference_time": {"clock_type": "monotonic", "epoch": "unknown"},
                },
                "vantage_point": {"type": "network"},
                "lab": trace.lab,
                "seed": trace.seed,
            },
        }
    )
    for event in trace.events:
        data = to_json(event)
        name, time = data.pop("event"), data.pop("time")
        yield _dumps({"time": time * _MILLISECONDS, "name": f"{PREFIX}{name}", "data": data})


def parse_trace(lines: Iterable[str]) -> Trace:
    """The trace of a file's lines.

    Raises:
        TraceFileError: it is none; with the number of the line.
    """
    numbered = enumerate((line.removeprefix(_SEPARATOR) for line in lines), 1)
    first = next((line for _, line in numbered), None)
    if first is None:
        raise TraceFileError("the file is empty; write a trace with `dtls-emu trace LAB -o FILE`")
    trace = _parse_header(first)
    for number, line in numbered:
        if not line.strip():
            continue
        try:
            trace.events.append(_parse_event(line))
        except (EventError, ValueError, TypeError, KeyError, AttributeError) as error:
            said = str(error) or type(error).__name__
            raise TraceFileError(f"line {number}: no event of a trace: {said[:200]}") from error
    return trace


def _parse_header(line: str) -> Trace:
    try:
        header = json.loads(line)
        schemas = header["event_schemas"]
        about = header["trace"]
        found = Trace(str(header["title"]), dict(about["lab"]), about["seed"])
    except (ValueError, TypeError, KeyError) as error:
        raise TraceFileError(
            "line 1: not the header of a trace; write one with `dtls-emu trace LAB -o FILE`"
        ) from error
    if EVENT_SCHEMA not in schemas:
        raise TraceFileError(f"a trace of {', '.join(map(str, schemas))}; this version reads {EVENT_SCHEMA}")
    return found


def _parse_event(line: str) -> Event:
    if len(line) > MAX_LINE:
        raise ValueError(f"longer than {MAX_LINE} bytes")
    found = json.loads(line)
    # In nanoseconds, as the clock of a run counts: the same number again, whatever milliseconds did to it.
    seconds = round(found["time"] * _NANOSECONDS_A_MILLISECOND) / 1e9
    name = str(found["name"])
    if not name.startswith(PREFIX):
        raise ValueError(f"`{name}` is none of {PREFIX}...")
    return from_json({**found["data"], "event": name.removeprefix(PREFIX), "time": seconds})


def _dumps(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))
