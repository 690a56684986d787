"""The blocks of an explanation: they say what is shown, not how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


__all__ = [
    "Block",
    "Command",
    "Facts",
    "Field",
    "Heading",
    "Ladder",
    "Layer",
    "Message",
    "Octets",
    "Table",
    "Text",
    "Verdict",
]


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of what follows, below the document's own."""

    text: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": "heading", "text": self.text}


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": "text", "text": self.text}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it, in one sentence.

    Fields:
        good: it is as the reader would wish: a record that verifies, a packet that fits.
        text: the sentence.
    """

    good: bool
    text: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": "verdict", "good": self.good, "text": self.text}


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, each pair on a line of its own."""

    pairs: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": "facts", "facts": dict(self.pairs)}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells.

    Fields:
        columns: headings; one that begins with ``>`` is of numbers, and right-aligned.
        rows: as many cells each.
        title: above it; may be empty.
        marked: numbers of rows that stand out.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    marked: frozenset[int] = frozenset()

    def as_dict(self) -> dict[str, Any]:
        """For JSON; a row as a mapping."""
        names = [name.removeprefix(">") for name in self.columns]
        return {
            "kind": "table",
            "title": self.title,
            "rows": [
                dict(zip(names, row, strict=True)) | ({"marked": True} if number in self.marked else {})
                for number, row in enumerate(self.rows)
            ],
        }


@dataclass(frozen=True, slots=True)
class Field:
    """Some bytes that mean one thing.

    Fields:
        name: as the standard calls it.
        start, stop: its bytes; a field of less than a byte shares one with its neighbours.
        value: what is there, for people: a number in its usual base, an address, a name.
        meaning: why it is there or what it says here; may be empty.
    """

    name: str
    start: int
    stop: int
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A header, or what a header announces.

    Fields:
        name: as the standard calls it.
        source: where it is defined.
        fields: in the order of their bytes.
    """

    name: str
    source: str
    fields: tuple[Field, ...]

    @property
    def start(self) -> int:
        """Its first byte."""
        return min((each.start for each in self.fields), default=0)

    @property
    def stop(self) -> int:
        """The byte behind its last."""
        return max((each.stop for each in self.fields), default=0)


@dataclass(frozen=True, slots=True)
class Octets:
    """Bytes, and what they mean.

    Fields:
        title: what they are.
        data: all of them.
        layers: from the outside in. Bytes that no layer speaks of are shown all the same.
    """

    title: str
    data: bytes
    layers: tuple[Layer, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON; bytes in hex."""
        return {
            "kind": "octets",
            "title": self.title,
            "data": self.data.hex(),
            "layers": [
                {
                    "name": layer.name,
                    "source": layer.source,
                    "fields": [
                        {
                            "name": each.name,
                            "start": each.start,
                            "stop": each.stop,
                            "value": each.value,
                            "meaning": each.meaning,
                        }
                        for each in layer.fields
                    ],
                }
                for layer in self.layers
            ],
        }


@dataclass(frozen=True, slots=True)
class Command:
    """What the reader types to find the same by himself.

    Fields:
        purpose: what it shows.
        lines: of a shell.
    """

    purpose: str
    lines: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": "command", "purpose": self.purpose, "lines": list(self.lines)}


@dataclass(frozen=True, slots=True)
class Message:
    """One arrow of a message sequence.

    Fields:
        time: seconds after the first.
        to_right: from the left end to the right one.
        text: what is sent.
        detail: sizes, numbers.
        lost: it did not arrive.
    """

    time: float
    to_right: bool
    text: str
    detail: str = ""
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Ladder:
    """A message sequence between two ends, drawn as a ladder, in order of time."""

    left: str
    right: str
    messages: tuple[Message, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": "ladder",
            "left": self.left,
            "right": self.right,
            "messages": [
                {
                    "time": each.time,
                    "from": self.left if each.to_right else self.right,
                    "text": each.text,
                    "detail": each.detail,
                    "lost": each.lost,
                }
                for each in self.messages
            ],
        }


Block = Heading | Text | Verdict | Facts | Table | Octets | Command | Ladder
