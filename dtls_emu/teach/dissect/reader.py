"""A cursor over bytes that makes a field of everything that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.teach.blocks import Field, Layer


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = ["Reader", "TruncatedError", "counted"]


class TruncatedError(Exception):
    """The bytes end before a field does."""


class Reader:
    """Reads fields one behind the other, in network byte order.

    Fields:
        at: where the next one begins.
        end: where the bytes end.
        fields: what was read.
    """

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else min(end, len(data))
        self.fields: list[Field] = []

    @property
    def left(self) -> int:
        """Bytes that are still there."""
        return self.end - self.at

    def take(self, size: int) -> bytes:
        """The next bytes, without a field.

        Raises:
            TruncatedError: they are not there.
        """
        if size > self.left:
            raise TruncatedError
        self.at += size
        return self.data[self.at - size : self.at]

    def add(self, name: str, size: int, value: str, meaning: str = "") -> None:
        """A field of the next bytes whose value is known.

        Raises:
            TruncatedError: they are not there.
        """
        start = self.at
        self.take(size)
        self.fields.append(Field(name, start, self.at, value, meaning))

    def number(
        self,
        name: str,
        size: int,
        meaning: str | Callable[[int], str] = "",
        *,
        names: Mapping[int, str] | None = None,
        digits: bool = False,
    ) -> int:
        """A number.

        Args:
            name: of the field.
            size: bytes.
            meaning: what it says; or what to make of the number.
            names: of its values.
            digits: in hexadecimal.

        Raises:
            TruncatedError: it is not there.
        """
        start = self.at
        number = int.from_bytes(self.take(size))
        value = f"0x{number:0{2 * size}x}" if digits else str(number)
        if names is not None:
            value = f"{value} {names.get(number, '(unassigned here)')}"
        said = meaning(number) if callable(meaning) else meaning
        self.fields.append(Field(name, start, self.at, value, said))
        return number

    def octets(self, name: str, size: int, meaning: str = "", *, value: str = "") -> bytes:
        """Bytes that are no number.

        Raises:
            TruncatedError: they are not there.
        """
        start = self.at
        found = self.take(size)
        if size:
            self.fields.append(Field(name, start, self.at, value or counted(size), meaning))
        return found

    def rest(self, name: str, meaning: str = "") -> bytes:
        """Whatever is still there; as text, too, where it is some."""
        data = self.data[self.at : self.end]
        text = f', "{data.decode("ascii")}"' if data.isascii() and data.decode("ascii").isprintable() else ""
        return self.octets(name, self.left, meaning, value=counted(len(data)) + text)

    def layer(self, name: str, source: str) -> Layer:
        """What was read since the last one."""
        fields, self.fields = tuple(self.fields), []
        return Layer(name, source, fields)


def counted(size: int) -> str:
    """So many bytes, in words."""
    return "1 byte" if size == 1 else f"{size} bytes"
