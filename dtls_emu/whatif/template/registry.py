"""The functions of the expression language: how they are declared, called and refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.whatif.template.limits import MAX_TEXT


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dtls_emu.whatif.template.limits import Budget


__all__ = ["FUNCTIONS", "Function", "FunctionError", "function", "text_of_parts", "want"]


class FunctionError(ValueError):
    """A function cannot take these arguments. Says what it takes."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function.

    Fields:
        body: takes the budget and the arguments, gives the value.
        least, most: how many arguments there may be.
        looks_inside: it needs to know what lies inside of arrays and objects; the others only move it.
    """

    body: Callable[[Budget, list[Any]], Any]
    least: int
    most: int
    looks_inside: bool


FUNCTIONS: Final[dict[str, Function]] = {}
"""By name in lower case."""


def function(
    *names: str, least: int = 1, most: int = 1, looks_inside: bool = True
) -> Callable[[Callable[[Budget, list[Any]], Any]], Callable[[Budget, list[Any]], Any]]:
    """Declare a function of the language."""

    def declare(body: Callable[[Budget, list[Any]], Any]) -> Callable[[Budget, list[Any]], Any]:
        for name in names:
            FUNCTIONS[name.lower()] = Function(body, least, most, looks_inside)
        return body

    return declare


def want(value: Any, kind: type | tuple[type, ...], what: str) -> Any:
    """The value, if it is of that kind.

    Raises:
        FunctionError: it is not.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and not _takes_bool(kind)):
        raise FunctionError(f"takes {what}, not {_kind(value)}")
    return value


def text_of_parts(budget: Budget, parts: Iterable[str]) -> str:
    """One text of several.

    Raises:
        FunctionError: it would be too long.
    """
    found = list(parts)
    length = sum(map(len, found))
    if length > MAX_TEXT:
        raise FunctionError(f"would make a text of more than {MAX_TEXT} characters")
    budget.spend(1 + length // 64)
    return "".join(found)


def _kind(value: Any) -> str:
    kinds = ((bool, "a Boolean"), (str, "a text"), (int, "a number"), (list, "an array"), (dict, "an object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "nothing")


def _takes_bool(kind: type | tuple[type, ...]) -> bool:
    return kind is bool or (isinstance(kind, tuple) and bool in kind)
