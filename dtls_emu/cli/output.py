"""How every command prints: a table for people, JSON for programs, complaints on stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console


__all__ = ["JsonOption", "complain", "console", "print_json", "print_table"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

PLAIN_WIDTH = 160
"""Columns assumed when stdout is no terminal, so that a table in a log is not folded at 80."""


def complain(message: str) -> None:
    """Print one error message to stderr."""
    typer.echo(f"dtls-emu: {message}", err=True)


def console() -> Console:
    """A rich console on stdout; plain when it is no terminal, and NO_COLOR is honoured."""
    from rich.console import Console

    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def print_json(document: Any) -> None:
    """Print one JSON document to stdout."""
    typer.echo(json.dumps(document, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. A column whose name starts with ``>`` is right-aligned (numbers)."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)
