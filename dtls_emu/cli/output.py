"""How every command prints: a table or text for people, JSON for programs, complaints on stderr.

On a terminal, tables and text fit its width. Elsewhere a row is one line with every column, for other programs;
COLUMNS is obeyed in both cases. Escape sequences are for terminals only, and not there when NO_COLOR is set.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dtls_emu.cli.streams import complain, say


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


__all__ = [
    "ForceOption",
    "JsonOption",
    "complain",
    "is_terminal",
    "print_json",
    "print_table",
    "print_text",
    "say",
    "width",
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Write over a file that is there already.")]

USUAL_WIDTH: Final = 80
"""Where a terminal does not say, and where COLUMNS is no number."""

LEAST_WIDTH: Final = 40
"""Nothing is laid out for less."""

_BOLD: Final = "\x1b[1m{}\x1b[0m"


def width() -> int | None:
    """Columns to print in; None: as many as it takes, for output that no terminal shows."""
    given = os.environ.get("COLUMNS", "")
    try:
        wanted = int(given)
    except ValueError:
        wanted = 0
    if wanted > 0:
        return max(wanted, LEAST_WIDTH)
    if sys.stdout.isatty():
        return max(_terminal_width() or USUAL_WIDTH, LEAST_WIDTH)
    return USUAL_WIDTH if given else None


def is_terminal() -> bool:
    """Whether stdout is a terminal that knows escape sequences."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


def print_json(document: Any) -> None:
    """Print one JSON document to stdout, in ASCII, so that it is UTF-8 whatever the locale."""
    say(json.dumps(document, indent=2))


def print_text(text: str) -> None:
    """Print a paragraph, broken at spaces where there is a width."""
    from dtls_emu.cli.table import wrap

    say("\n".join(wrap(text, width())))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, spare: Sequence[str] = ()
) -> None:
    """Print a table, and an empty line below it.

    Args:
        title: above it.
        columns: headings. One that begins with ``>`` is right-aligned (numbers).
        rows: as many cells each.
        spare: columns that may be left out where there is no room, the first one first.
    """
    from dtls_emu.cli.table import render, wrap

    room = width()
    above = wrap(title, room)
    if is_terminal() and not os.environ.get("NO_COLOR"):
        above = [_BOLD.format(line) for line in above]
    lines, omitted = render(columns, rows, width=room, spare=spare)
    below = wrap(f"(no room for: {', '.join(omitted)}; --json has everything)", room) if omitted else []
    say("\n".join([*above, *lines, *below, ""]))


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 0
