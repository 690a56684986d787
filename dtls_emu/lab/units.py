"""Quantities as people write them: `5ms`, `1%`, `1Gbit/s`, `64KiB`. After validation: SI numbers.

A quantity always carries its unit, but for zero, so that `loss: 1` can mean neither 1 % nor always.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from dtls_emu.lab.problems import shown
from dtls_emu.lab.quantities import (
    BITS,
    BYTES,
    PERCENT,
    SECONDS,
    format_duration,
    format_probability,
    format_rate,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = [
    "ByteCount",
    "Duration",
    "Probability",
    "Rate",
    "parse_bytes",
    "parse_duration",
    "parse_probability",
    "parse_rate",
]

_MAX_LENGTH: Final = 100
"""Letters of a quantity; decimal arithmetic overflows at a million digits."""

_NUMBER: Final = r"\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?"

_MAX: Final = 10**15
"""More than any quantity of a lab; so that arithmetic on them stays finite."""


def parse_duration(value: object) -> float:
    """`5ms` and the like to seconds.

    Raises:
        ValueError: not a duration; says what to write.
    """
    return float(_parse(value, SECONDS, "a duration", "5ms"))


def parse_probability(value: object) -> float:
    """`1%` and the like to a probability, 0 to 1.

    Raises:
        ValueError: not a share, or over 100 %; says what to write.
    """
    probability = float(_parse(value, PERCENT, "a share", "1%"))
    if probability > 1:
        raise ValueError(f"{shown(value)} is more than 100%; write at most 100%")
    return probability


def parse_rate(value: object) -> float:
    """`1Gbit/s` and the like to bit/s.

    Raises:
        ValueError: not a rate; says what to write.
    """
    return float(_parse(value, BITS, "a rate", "100Mbit/s"))


def parse_bytes(value: object) -> int:
    """`64KiB`, `10MB` or a plain whole number to bytes.

    Raises:
        ValueError: not a number of bytes; says what to write.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, float) and value.is_integer() and 0 < value <= _MAX:  # such as 1e6
        raise ValueError(f"{shown(value)} is no whole number as it stands; write {int(value)}")
    count = _parse(value, BYTES, "a number of bytes", "10MB")
    if count != int(count):
        raise ValueError(f"{shown(value)} is not a whole number of bytes; write one, such as 10MB")
    return int(count)


def _parse(value: object, units: Mapping[str, Decimal], what: str, example: str) -> Decimal:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value == 0:
            return Decimal(0)
        raise ValueError(f"{shown(value)} has no unit; write {what} with its unit, such as {example}")
    is_short = isinstance(value, str) and len(value) <= _MAX_LENGTH
    match = re.fullmatch(rf"({_NUMBER})\s*(\S+)", str(value)) if is_short else None
    factor = _unit(match[2], units) if match else None
    if match is None or factor is None:
        spellings = ", ".join(unit for unit in units if unit.isascii())
        raise ValueError(f"{shown(value)} is not {what}; write one such as {example} (units: {spellings})")
    number = Decimal(match[1]) * factor
    if number > _MAX:
        raise ValueError(f"{shown(value)} is too much; write less, such as {example}")
    return number


def _unit(spelling: str, units: Mapping[str, Decimal]) -> Decimal | None:
    """A unit by its spelling, and by another case of it where only one unit can be meant."""
    if spelling in units:
        return units[spelling]
    alike = {factor for unit, factor in units.items() if unit.lower() == spelling.lower()}
    return alike.pop() if len(alike) == 1 else None


def _json_schema(units: Mapping[str, Decimal], examples: list[str | int], *, number: int | None = 0) -> Any:
    pattern = rf"^{_NUMBER}\s*({'|'.join(re.escape(unit) for unit in units)})$"
    plain = {"type": "integer", "minimum": 0} if number is None else {"const": number}
    return WithJsonSchema({"anyOf": [{"type": "string", "pattern": pattern}, plain], "examples": examples})


def _writer(write: Callable[[Any], str]) -> PlainSerializer:
    return PlainSerializer(write, return_type=str, when_used="json")


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    _writer(format_duration),
    _json_schema(SECONDS, ["5ms", "20us", "1s", 0]),
]
"""Seconds."""

Probability = Annotated[
    float,
    BeforeValidator(parse_probability),
    _writer(format_probability),
    _json_schema(PERCENT, ["1%", "0.1%", 0]),
]
"""0 to 1."""

Rate = Annotated[
    float,
    BeforeValidator(parse_rate),
    _writer(format_rate),
    _json_schema(BITS, ["1Gbit/s", "100Mbit/s", 0]),
]
"""bit/s; 0 means unlimited."""

ByteCount = Annotated[
    int,
    BeforeValidator(parse_bytes),
    _json_schema(BYTES, ["10MB", "64KiB", 1_000_000], number=None),
]
"""Bytes."""
