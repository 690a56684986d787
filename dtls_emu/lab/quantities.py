"""The units of quantities in a lab file, and quantities written in them; `units` reads them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = [
    "BITS",
    "BYTES",
    "PERCENT",
    "SECONDS",
    "format_duration",
    "format_probability",
    "format_rate",
]

SECONDS: Final = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "\u00b5s": Decimal("1e-6"),  # the micro sign and the Greek letter look the same and both get typed
    "\u03bcs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "min": Decimal(60),
    "h": Decimal(3600),
}
BITS: Final = {
    spelling: Decimal(factor)
    for prefix, factor in (("", 1), ("k", 10**3), ("M", 10**6), ("G", 10**9))
    for spelling in (f"{prefix}bit/s", f"{prefix}bit")
}
BYTES: Final = {
    "B": Decimal(1),
    "kB": Decimal(10**3),
    "MB": Decimal(10**6),
    "GB": Decimal(10**9),
    "KiB": Decimal(2**10),
    "MiB": Decimal(2**20),
    "GiB": Decimal(2**30),
}
PERCENT: Final = {"%": Decimal("0.01")}


def format_duration(seconds: float) -> str:
    """Seconds as a lab file has them: `50us`, `2.5ms`, `24h`. Parsed again they are the same to the last bit."""
    return _format(seconds, SECONDS)


def format_probability(share: float) -> str:
    """A probability as a lab file has it: `1%`. Parsed again it is the same to the last bit."""
    return _format(share, PERCENT)


def format_rate(rate: float) -> str:
    """bit/s as a lab file has them: `200Mbit/s`. Parsed again they are the same to the last bit."""
    return _format(rate, BITS)


def _format(value: float, units: Mapping[str, Decimal]) -> str:
    """In the largest unit of which it has one at least; minutes and hours only where they are whole."""
    exact = Decimal(repr(value))
    fitting = [
        unit
        for unit, factor in units.items()
        if factor <= exact and unit.isascii() and not (unit in {"min", "h"} and exact % factor)
    ]
    base = next((unit for unit, factor in units.items() if factor == 1), next(iter(units)))
    unit = max(fitting, key=units.__getitem__, default=base if not value else next(iter(units)))
    return f"{(exact / units[unit]).normalize():f}{unit}"
