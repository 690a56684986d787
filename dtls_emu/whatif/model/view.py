"""A resource, or a part of one, however it is written: with `properties` as ARM has it, or flat as the CLI prints it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.whatif.errors import printable
from dtls_emu.whatif.template.values import MISSING, Place, Unknown, member, symbol_of


if TYPE_CHECKING:
    from dtls_emu.lab.prefixes import Prefix


__all__ = ["Asked", "View", "parent_of"]

_WORDS: Final = {"true": True, "false": False}


class Asked:
    """Unknown values that somebody asked for: those that an answer depends on."""

    def __init__(self) -> None:
        self.unknown: dict[tuple[str, str], tuple[Unknown, Place]] = {}

    def note(self, unknown: Unknown, place: Place) -> None:
        """Remember one; the first place counts."""
        self.unknown.setdefault((unknown.symbol, unknown.reason), (unknown, place))


@dataclass(frozen=True, slots=True)
class View:
    """One object.

    Fields:
        value: the object, or something unknown.
        place: of it.
        asked: where unknown values are noted.
        kind, id, name: of a resource; empty for a part.
        certain: a resource's being there depends on nothing unknown.
    """

    value: Any
    place: Place
    asked: Asked
    kind: str = ""
    id: str = ""
    name: str = ""
    certain: bool = True

    def raw(self, *names: str) -> Any:
        """What names lead to, through `properties` or not; MISSING where there is nothing."""
        value = self.value
        for name in names:
            if isinstance(value, Unknown):
                return value.of(f"{value.symbol}.{name}")
            inner = member(value, "properties")
            found = member(inner, name) if isinstance(inner, dict) else MISSING
            if isinstance(inner, Unknown):
                found = inner.of(f"{inner.symbol}.{name}")
            value = member(value, name) if found is MISSING else found
            if value is MISSING or value is None:
                return MISSING
        return value

    def known(self, *names: str) -> Any:
        """The same, but None where it is unknown, which is noted."""
        value = self.raw(*names)
        if isinstance(value, Unknown):
            self.asked.note(value, self.place)
            return None
        return value

    def text(self, *names: str, default: str = "") -> str | None:
        """A text; None where it is unknown."""
        value = self.known(*names)
        if value is MISSING:
            return default
        return value if value is None else printable(value if isinstance(value, str) else str(value))

    def symbol(self, *names: str) -> str:
        """A text, or the symbol of what is unknown; empty where there is nothing."""
        value = self.raw(*names)
        return "" if value is MISSING else printable(symbol_of(value))

    def flag(self, *names: str, default: bool = False) -> bool | None:
        """A Boolean, also one that is written as text; None where it is unknown."""
        value = self.known(*names)
        if value is MISSING:
            return default
        return (
            _WORDS.get(value.lower())
            if isinstance(value, str)
            else value
            if isinstance(value, bool)
            else None
        )

    def number(self, *names: str, default: int | None = None) -> int | None:
        """A number, also one that is written as text; None where it is unknown."""
        value = self.known(*names)
        if value is MISSING:
            return default
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
            return int(value)
        return value if type(value) is int and 0 <= value < 1 << 31 else None

    def parts(self, *names: str) -> list[View]:
        """The objects of an array; none where it is unknown, which is noted."""
        value = self.known(*names)
        if not isinstance(value, list):
            return []
        where = self.place.at(*names)
        return [
            View(item, where.at(index), self.asked)
            for index, item in enumerate(value)
            if isinstance(item, dict | Unknown)
        ]

    def texts(self, *names: str) -> list[str]:
        """The texts of an array; what is unknown in it is noted and left out."""
        value = self.known(*names)
        found = []
        for item in value if isinstance(value, list) else []:
            if isinstance(item, Unknown):
                self.asked.note(item, self.place.at(*names))
            elif isinstance(item, str):
                found.append(item)
        return found

    def prefixes(self, *names: str) -> tuple[Prefix, ...]:
        """The address prefixes of an array, or of a text; what is none is left out."""
        value = self.raw(*names)
        texts = [value] if isinstance(value, str) else self.texts(*names)
        found: list[Prefix] = []
        for text in texts:
            try:
                found.append(ip_network(text.strip(), strict=False))
            except ValueError:
                self.asked.note(Unknown(text[:40], "is no address prefix", self.place.at(*names)), self.place)
        return tuple(found)

    def reference(self, *names: str) -> str:
        """The id that an object with `id` holds, or a text itself; in lower case, empty where there is none."""
        value = self.raw(*names)
        if isinstance(value, dict):
            value = member(value, "id")
        return "" if value is MISSING or value is None else symbol_of(value).strip("/ ").lower()

    def tags(self) -> dict[str, str]:
        """The tags; those that are unknown are left out."""
        value = member(self.value, "tags")
        pairs = value.items() if isinstance(value, dict) else ()
        return {key.lower(): each.lower() for key, each in pairs if isinstance(each, str)}


def parent_of(reference: str, step: str) -> tuple[str, str]:
    """Of the id of a part, such as `.../virtualnetworks/v/subnets/s`, the id of the whole and the part's name."""
    head, found, tail = reference.rpartition(f"/{step}/")
    return (head, tail) if found else ("", "")
