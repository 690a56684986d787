"""Values of an evaluated template: JSON, and what cannot be known.

An unknown value has a symbol: two with the same symbol are the same value, whatever it is. So a resource whose name is
a parameter without a value is still found by a reference that uses that parameter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dtls_emu.lab.problems import dotted


if TYPE_CHECKING:
    from dtls_emu.whatif.template.limits import Budget


__all__ = ["MISSING", "Partial", "Place", "Unknown", "is_known", "lookup", "member", "symbol_of"]

MAX_SYMBOL: Final = 400
"""Characters of a symbol; a longer one is the start of it and a digest of the rest."""

MISSING: Final = object()
"""There is no such member."""


class Place(NamedTuple):
    """Where something stands: a file, and the keys and positions that lead there."""

    file: str
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return f"{self.file}: {dotted(self.path)}" if self.path else self.file

    def at(self, *steps: str | int) -> Place:
        """A place inside it."""
        return Place(self.file, (*self.path, *steps))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that cannot be known.

    Fields:
        symbol: stands for the value; alone it decides whether two unknown values are the same.
        reason: why, and what would help; empty for what every deployment gets from Azure (its region, say).
        place: where it was asked for first.
    """

    symbol: str
    reason: str = field(default="", compare=False)
    place: Place = field(default=Place(""), compare=False)

    def of(self, symbol: str) -> Unknown:
        """What follows from it."""
        return Unknown(_short(symbol), self.reason, self.place)


class Partial(dict[str, Any]):
    """The declared part of a resource's state: a member that is not declared may exist all the same.

    Fields:
        beyond: what a member that is not here is.
    """

    def __init__(self, declared: dict[str, Any], beyond: Unknown) -> None:
        super().__init__(declared)
        self.beyond = beyond


def member(value: Any, name: str) -> Any:
    """A member of an object, by its name in any case; MISSING where there is none."""
    if not isinstance(value, dict):
        return MISSING
    if name in value:
        found = value[name]
    else:
        found, lower, length = MISSING, name.lower(), len(name)
        for key in value:
            if len(key) == length and key.lower() == lower:
                found = value[key]
                break
    if not isinstance(value, Partial):
        return found
    beyond = value.beyond.of(f"{value.beyond.symbol}.{name}")
    return beyond if found is MISSING else _partial(found, beyond)


def lookup(value: Any, *names: str, default: Any = None) -> Any:
    """What several members lead to, one inside the other; what comes behind something unknown is unknown."""
    for name in names:
        if isinstance(value, Unknown):
            return value.of(f"{value.symbol}.{name}")
        value = member(value, name)
        if value is MISSING or value is None:
            return default
    return value


def symbol_of(value: Any) -> str:
    """A text that stands for a value: itself, its JSON, or the symbol of what is unknown."""
    if isinstance(value, Unknown):
        return value.symbol
    if isinstance(value, str):
        return _short(value)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return str(value)
    return f"<{type(value).__name__} of {len(value)}>" if isinstance(value, dict | list) else "<lambda>"


def is_known(value: Any, budget: Budget) -> bool:
    """Whether nothing inside a value is unknown."""
    pending, seen = [value], set()
    while pending:
        budget.spend()
        each = pending.pop()
        if isinstance(each, Unknown | Partial):
            return False
        if isinstance(each, dict | list) and id(each) not in seen:
            seen.add(id(each))
            pending += each.values() if isinstance(each, dict) else each
    return True


def _partial(value: Any, beyond: Unknown) -> Any:
    """What is declared inside of what is declared in part."""
    if isinstance(value, dict):
        return Partial(value, beyond)
    return [_partial(item, beyond) for item in value] if isinstance(value, list) else value


def _short(text: str) -> str:
    if len(text) <= MAX_SYMBOL:
        return text

    return f"{text[:MAX_SYMBOL]}...{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
