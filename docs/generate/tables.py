"""Markdown tables, and the text that may stand in their cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


__all__ = ["code", "prose", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A pipe table; its cells are Markdown already."""
    lines = [
        " | ".join(cell.replace("|", r"\|") for cell in line) for line in (head, ["---"] * len(head), *rows)
    ]
    return "".join(f"| {line} |\n" for line in lines)


def code(text: object) -> str:
    """As code."""
    return f"`{text}`"


def prose(text: str) -> str:
    """A description out of a docstring or a help text, on one line.

    References of reST become code, and what Markdown would read as emphasis or HTML is escaped outside of code.
    """
    text = re.sub(r":[a-z]+:`~?([^`]+)`", r"`\1`", " ".join(text.split())).replace("``", "`")
    parts = text.split("`")
    plain = [re.sub(r"([*_<>\[\]])", r"\\\1", part) if at % 2 == 0 else part for at, part in enumerate(parts)]
    return "`".join(plain)
