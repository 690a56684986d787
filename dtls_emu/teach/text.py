"""A document as text: for a terminal, with colours where it has them, and readable at 80 columns."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text as RichText

from dtls_emu.teach.blocks import Command, Facts, Heading, Ladder, Octets, Table, Text, Verdict


if TYPE_CHECKING:
    from rich.console import RenderableType

    from dtls_emu.teach.blocks import Block, Layer
    from dtls_emu.teach.document import Document


__all__ = ["render_text"]

USUAL_WIDTH: Final = 80

BYTES_A_LINE: Final = 8
"""Of a field: with its offset, its name and its value beside it, that fits 80 columns."""

MAX_LINES: Final = 4
"""Of a field's bytes; of a longer one the first lines are shown, and how many bytes follow."""

NARROW_LADDER: Final = 24
"""Columns between the ends of a ladder."""

COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue", "red")
"""Of layers, in turn. Each is readable on a dark and on a light background; names stand beside them."""


def render_text(
    document: Document, width: int | None = None, *, colour: bool = False, commands: bool = True
) -> str:
    """The whole document, without a line that is longer than ``width``.

    Args:
        document: what to show.
        width: columns; 80 where nobody says.
        colour: with escape sequences for colours.
        commands: with what the reader types to find the same; they are long.
    """
    file = StringIO()
    console = Console(
        file=file,
        width=width or USUAL_WIDTH,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(Styled(document.title, style="bold"))
    for block in document.blocks:
        if isinstance(block, Command) and not commands:
            continue
        if isinstance(block, Heading):
            console.print()
        for part in _parts(block):
            console.print(part, soft_wrap=False)
    return "\n".join(line.rstrip() for line in file.getvalue().split("\n")[:-1]) + "\n"


class Styled(RichText):
    """Text that steers no terminal: what comes from files and packets may hold anything."""

    def __init__(self, text: str = "", **style: Any) -> None:
        super().__init__("".join(map(_printable, text)), **style)


def _printable(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode("ascii")


def _parts(block: Block) -> list[RenderableType]:
    match block:
        case Heading():
            return [Styled(block.text, style="bold underline")]
        case Text():
            return [Styled(block.text)]
        case Verdict():
            return [
                Styled(
                    ("OK: " if block.good else "NO: ") + block.text,
                    style="bold green" if block.good else "bold red",
                )
            ]
        case Facts():
            return [_facts(block)]
        case Table():
            return _table(block)
        case Octets():
            return _octets(block)
        case Command():
            lines: list[RenderableType] = [Styled(f"To see for yourself {block.purpose}:")]
            return [
                *lines,
                *(Padding(Styled(line, style="bold", overflow="fold"), (0, 0, 0, 2)) for line in block.lines),
            ]
        case Ladder():
            return _ladder(block)


def _grid(*columns: str) -> Grid:
    """A table without lines; a column that begins with ``>`` is right-aligned."""
    grid = Grid(box=None, pad_edge=False, show_header=any(columns), header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        grid.add_column(
            name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold"
        )
    return grid


def _facts(block: Facts) -> RenderableType:
    grid = _grid("", "")
    for name, value in block.pairs:
        grid.add_row(Styled(name), Styled(value))
    return grid


def _table(block: Table) -> list[RenderableType]:
    grid = _grid(*block.columns)
    for number, row in enumerate(block.rows):
        grid.add_row(*map(Styled, row), style="bold" if number in block.marked else None)
    return [*([Styled(block.title, style="bold")] if block.title else []), grid]


def _octets(block: Octets) -> list[RenderableType]:
    grid = Grid(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    grid.add_column(justify="right", no_wrap=True, style="dim")
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    seen = 0
    for number, layer in enumerate(block.layers):
        style = COLOURS[number % len(COLOURS)]
        if layer.start > seen:
            _add_bytes(grid, block.data, seen, layer.start, Styled("(no field of a layer)"), "")
        grid.add_row("", "", Styled(_titled(layer), style=f"bold {style}"))
        for field in layer.fields:
            said = Styled.assemble((field.name, style), f": {field.value}" if field.value else "")
            if field.meaning:
                said.append(f"  {field.meaning}", style="dim")
            _add_bytes(grid, block.data, field.start, field.stop, said, style)
        seen = max(seen, layer.stop)
    if seen < len(block.data):
        _add_bytes(
            grid,
            block.data,
            seen,
            len(block.data),
            Styled("(no field of a layer)" if block.layers else ""),
            "",
        )
    return [Styled(f"{block.title} ({len(block.data)} bytes)", style="bold"), grid]


def _titled(layer: Layer) -> str:
    return f"{layer.name} ({layer.source})" if layer.source else layer.name


def _add_bytes(grid: Grid, data: bytes, start: int, stop: int, said: RichText, style: str) -> None:
    lines = [data[at : min(at + BYTES_A_LINE, stop)].hex(" ") for at in range(start, stop, BYTES_A_LINE)]
    if len(lines) > MAX_LINES:
        shown = (MAX_LINES - 1) * BYTES_A_LINE
        lines = [*lines[: MAX_LINES - 1], f"... {stop - start - shown} more"]
    grid.add_row(str(start), Styled("\n".join(lines), style=style), said)


def _ladder(block: Ladder) -> list[RenderableType]:
    """Each message is an arrow between two upright lines, its detail below it."""
    width = (
        max(NARROW_LADDER, *(len(each.text) + 6 for each in block.messages))
        if block.messages
        else NARROW_LADDER
    )
    grid = Grid(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    grid.add_column(justify="right", no_wrap=True, style="dim")
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold", style="dim")
    ends = block.left + " " * max(width + 2 - len(block.left) - len(block.right), 1) + block.right
    grid.add_row("", Styled(ends, style="bold"), "")
    for each in block.messages:
        grid.add_row(
            f"{each.time * 1000:.3f} ms",
            Styled(_arrow(each.text, width, each.to_right, each.lost), style="red" if each.lost else ""),
            each.detail,
        )
    return [grid]


def _arrow(text: str, width: int, to_right: bool, lost: bool) -> str:
    body = f" {text} ".center(width - 1, "─")
    if to_right:
        return f"│{body}{'✗' if lost else '▶'}│"
    return f"│{'✗' if lost else '◀'}{body}│"
