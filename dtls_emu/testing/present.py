"""An assertion inside an expression, for tests that go on with what a function may not have found."""

from __future__ import annotations

from typing import TypeVar


__all__ = ["present"]

_Value = TypeVar("_Value")


def present(value: _Value | None) -> _Value:
    """The value, which must not be None.

    Raises:
        AssertionError: it is.
    """
    assert value is not None, "None, where there must be something"
    return value
