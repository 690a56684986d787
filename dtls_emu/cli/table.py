"""Tables of text that fit a width without cutting a value.

In this order, until it fits: lines of text and headings are broken at spaces; columns without a value in any row are
left out; columns that may be spared are left out, and named below the table; texts go below their row; each row
becomes a block of lines, one for each column. Then a word longer than the width runs over it, whole.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

from dtls_emu.cli.streams import escaped


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


__all__ = ["render", "wrap"]

GAP: Final = 2
"""Spaces between two columns."""

READABLE: Final = 24
"""Columns that a text needs to be read easily; what is shorter is not broken."""

INDENT: Final = " " * 4
"""Of a text below its row."""

NOTHING: Final = frozenset({"", "-"})
NO_FIGURE: Final = NOTHING | {"0"}
RULE: Final = "─"


class _Column:
    """One column: its heading and cells, and how wide it must and would be."""

    def __init__(self, heading: str, cells: list[str]) -> None:
        self.is_number = heading.startswith(">")
        self.heading = heading.removeprefix(">")
        self.cells = cells
        widest = max((cell_len(line) for cell in cells for line in cell.split("\n")), default=0)
        self.natural = max(widest, cell_len(self.heading))
        least = max((cell_len(word) for word in self.heading.split()), default=0)
        if self.is_number:
            self.least = max(least, widest)
        else:
            words = max((cell_len(word) for cell in cells for word in cell.split()), default=0)
            self.least = max(least, words, min(widest, READABLE))

    @property
    def filled(self) -> int:
        """In how many rows it says something."""
        return sum(cell not in NOTHING for cell in self.cells)

    def is_empty(self, of: frozenset[str] = NOTHING) -> bool:
        """Whether every cell is one of those that say nothing."""
        return all(cell in of for cell in self.cells)


def render(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, width: int | None, spare: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Lay a table out.

    Args:
        columns: headings; one that begins with ``>`` is of numbers, which are right-aligned and never broken.
        rows: as many cells each, of one line or more.
        width: in columns of a terminal; None: as wide as it is.
        spare: headings of columns that may be left out, the first one first; those that hold nothing but zeros go
            before the others.

    Returns:
        Lines, and what was left out.
    """
    cells = [[_printable(cell) for cell in row] for row in rows]
    if width is None:
        cells = [[wrap(cell, None)[0] for cell in row] for row in cells]
    found = [_Column(heading, [row[index] for row in cells]) for index, heading in enumerate(columns)]
    shown, omitted = _choose(found, width, spare)
    below: list[_Column] = []
    while width is not None and _width(each.least for each in shown) > width:
        texts = [each for each in shown[1:] if not each.is_number]
        if not texts:
            return _blocks(found, len(cells), width), []
        # Where the fewest rows have one, the fewest rows take two lines.
        below.append(min(texts, key=lambda each: (each.filled, -each.least)))
        shown.remove(below[-1])
    below.sort(key=found.index)
    widths = _share_out(shown, width)
    lines = list(_split(shown, [each.heading for each in shown], widths, at_bottom=True))
    lines.append(RULE * _width(widths))
    for index in range(len(cells)):
        lines += _split(shown, [each.cells[index] for each in shown], widths)
        for each in below:
            lines += _labelled(each.heading, each.cells[index], width)
    return lines, omitted


def wrap(text: str, width: int | None) -> list[str]:
    """Break text at spaces, so that no line is longer than ``width`` unless a word is. At least one line.

    Lines that it has already are kept; without a width they become one, with commas in between.
    """
    if width is None:
        return [", ".join(text.split("\n"))]
    return [line for part in text.split("\n") for line in _wrap_line(part, width)]


def _wrap_line(text: str, width: int) -> list[str]:
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for word in text.split():
        line = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(line) <= width or not lines[-1]:
            lines[-1] = line
        else:
            lines.append(word)
    return lines


def _choose(
    columns: list[_Column], width: int | None, spare: Sequence[str]
) -> tuple[list[_Column], list[str]]:
    """Which columns are shown, and the headings of those that are not although they say something."""
    shown = list(columns)
    named = [each for heading in spare for each in columns if each.heading == heading.removeprefix(">")]
    candidates = [each for each in columns if each.is_empty()]
    candidates += [each for each in named if each.is_empty(NO_FIGURE)]
    candidates += named
    for each in dict.fromkeys(candidates):
        if width is None or _width(one.least for one in shown) <= width:
            break
        shown.remove(each)
    # The last one to go may have made room for others.
    for each in reversed(named):
        with_it = [one for one in columns if one in shown or one is each]
        if width is not None and each not in shown and _width(one.least for one in with_it) <= width:
            shown = with_it
    omitted = [each.heading for each in columns if each not in shown and not each.is_empty()]
    return shown, omitted


def _share_out(columns: list[_Column], width: int | None) -> list[int]:
    """The width of each column: what it must have, and of what is left over as much as it can use, in turn."""
    if width is None:
        return [each.natural for each in columns]
    widths = [each.least for each in columns]
    left = width - _width(widths)
    while left > 0:
        hungry = [index for index, each in enumerate(columns) if widths[index] < each.natural]
        if not hungry:
            break
        for index in hungry[:left]:
            widths[index] += 1
        left -= len(hungry[:left])
    return widths


def _width(widths: Iterable[int]) -> int:
    found = list(widths)
    return sum(found) + GAP * (len(found) - 1)


def _split(
    columns: list[_Column], cells: list[str], widths: list[int], *, at_bottom: bool = False
) -> Iterator[str]:
    """One row, on as many lines as it needs. No line ends in spaces."""
    parts = [wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
    if at_bottom:
        height = max(map(len, parts))
        parts = [[""] * (height - len(part)) + part for part in parts]
    for line in zip_longest(*parts, fillvalue=""):
        padded = (
            _pad(text, width, right=column.is_number)
            for text, width, column in zip(line, widths, columns, strict=True)
        )
        yield (" " * GAP).join(padded).rstrip()


def _labelled(heading: str, cell: str, width: int | None) -> list[str]:
    """A text below its row, indented; nothing where there is none."""
    if cell in NOTHING:
        return []
    room = None if width is None else width - len(INDENT)
    return [INDENT + line for line in wrap(f"{heading}: {wrap(cell, None)[0]}", room)]


def _blocks(columns: list[_Column], rows: int, width: int) -> list[str]:
    """Each row as lines of heading and value; a value longer than the line begins on the next one."""
    lines = []
    label = max(cell_len(each.heading) for each in columns) + GAP
    for index in range(rows):
        if index:
            lines.append("")
        for each in columns:
            if each.cells[index] in NOTHING:
                continue
            parts = wrap(each.cells[index], max(width - label, 1))
            if max(map(cell_len, parts)) > width - label:
                lines.append(each.heading)
                lines += [" " * GAP + part for part in wrap(each.cells[index], width - GAP)]
            else:
                lines += [
                    (_pad(each.heading if number == 0 else "", label) + part).rstrip()
                    for number, part in enumerate(parts)
                ]
    return lines


def _pad(text: str, width: int, *, right: bool = False) -> str:
    padding = " " * max(width - cell_len(text), 0)
    return padding + text if right else text + padding


def _printable(cell: str) -> str:
    """Without what would steer a terminal: names and reasons may come from files."""
    if cell.isprintable():
        return cell
    return "".join(
        each if each.isprintable() or each == "\n" else " " if each.isspace() else escaped(each)
        for each in cell
    )
