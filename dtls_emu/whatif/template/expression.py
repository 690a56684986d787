"""The expression language of ARM templates: from `[concat(parameters('a'), 'b')]` to a tree.

::

    expression = operand { "." name | "[" expression "]" }
    operand    = text | number | name [ "." name ] "(" [ expression { "," expression } ] ")"
    text       = "'" { any character but "'", or "''" } "'"

Source: "Syntax and expressions in ARM templates".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from dtls_emu.lab.problems import shown
from dtls_emu.whatif.template.limits import MAX_DEPTH, MAX_EXPRESSION


__all__ = [
    "Call",
    "Constant",
    "Expression",
    "ExpressionError",
    "Item",
    "Member",
    "is_expression",
    "parse_expression",
]


class ExpressionError(ValueError):
    """A text in brackets is no expression. Says what is wrong and at which character."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A text or a number."""

    value: Any


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function.

    Fields:
        name: in lower case; of a template's own function with its namespace.
        arguments: not evaluated yet.
    """

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """`of.name`."""

    of: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Item:
    """`of[index]`."""

    of: Expression
    index: Expression


Expression = Constant | Call | Member | Item

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d{1,19}(?![\w.]))|(?P<name>[A-Za-z_]\w*)|(?P<mark>[().,\[\]]))",
    re.ASCII,
)
_WORDS: Final = {"true": True, "false": False, "null": None}


def is_expression(text: str) -> bool:
    """Whether a template's text is an expression and no plain text."""
    return text[:1] == "[" and text[-1:] == "]" and text[:2] != "[["


@lru_cache(maxsize=4096)  # a copy evaluates the same texts again and again
def parse_expression(text: str) -> Expression:
    """The tree of a text in brackets.

    Raises:
        ExpressionError: it is no expression, or a larger one than Azure takes.
    """
    if len(text) > MAX_EXPRESSION:
        raise ExpressionError(f"has {len(text)} characters; an expression has at most {MAX_EXPRESSION}")
    parser = _Parser(text[1:-1])
    found = parser.expression(0)
    parser.expect_end()
    return found


class _Parser:
    """Recursive descent, one token ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._kind = ""
        self._token = ""
        self._next()

    def _next(self) -> None:
        found = _TOKEN.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
            self._kind, self._token = str(found.lastgroup), found[str(found.lastgroup)]
        elif self._text[self._at :].strip():
            raise self._error(f"{shown(self._text[self._at :].strip()[:10])} is no part of an expression")
        else:
            self._kind, self._token = "end", ""

    def _error(self, what: str) -> ExpressionError:
        return ExpressionError(f"character {self._at + 1}: {what}")

    def _take(self, mark: str) -> None:
        if self._kind != "mark" or self._token != mark:
            raise self._error(f"{shown(self._token) if self._token else 'the end'} where `{mark}` should be")
        self._next()

    def _is(self, mark: str) -> bool:
        return self._kind == "mark" and self._token == mark

    def expect_end(self) -> None:
        """Nothing may follow."""
        if self._kind != "end":
            raise self._error(f"{shown(self._token)} behind the end of the expression")

    def expression(self, depth: int) -> Expression:
        """One expression and what is taken out of it."""
        if depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} levels inside each other")
        found = self._operand(depth)
        steps = 0
        while self._is(".") or self._is("["):
            steps += 1
            if depth + steps > MAX_DEPTH:
                raise self._error(f"more than {MAX_DEPTH} levels inside each other")
            if self._is("."):
                self._next()
                if self._kind != "name":
                    raise self._error("a name should follow `.`")
                found = Member(found, self._token)
                self._next()
            else:
                self._next()
                found = Item(found, self.expression(depth + 1))
                self._take("]")
        return found

    def _operand(self, depth: int) -> Expression:
        kind, token = self._kind, self._token
        if kind == "text":
            self._next()
            return Constant(token[1:-1].replace("''", "'"))
        if kind == "number":
            self._next()
            return Constant(int(token))
        if kind != "name":
            raise self._error(f"{shown(token) if token else 'the end'} where a value should be")
        self._next()
        name = token.lower()
        if self._is("."):
            self._next()
            name = f"{name}.{self._token.lower()}"
            if self._kind != "name":
                raise self._error("a function's name should follow its namespace")
            self._next()
        elif not self._is("(") and name in _WORDS:
            return Constant(_WORDS[name])
        return Call(name, self._arguments(depth))

    def _arguments(self, depth: int) -> tuple[Expression, ...]:
        self._take("(")
        found: list[Expression] = []
        while not self._is(")"):
            if found:
                self._take(",")
            found.append(self.expression(depth + 1))
        self._next()
        return tuple(found)
