"""A document as HTML: a fragment for a notebook or a page of somebody else's, or a page of its own.

A page is one file: no script, nothing is loaded from anywhere. Whatever comes from a run is escaped.
"""

from __future__ import annotations

from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from dtls_emu.teach.blocks import Command, Facts, Heading, Ladder, Octets, Table, Text, Verdict


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.teach.blocks import Block, Message


__all__ = ["STYLE", "fragment", "page"]

COLOURS: Final = 6
"""Of layers, in turn: classes ``layer-0`` and so on."""

MAX_BYTES: Final = 512
"""Of a field that are shown; of a longer one the first, and how many follow."""

STYLE: Final = """
.explanation { --ink: #1b1f24; --paper: #fff; --faint: #57606a; --line: #d0d7de;
  --good: #116329; --bad: #a40e26; --c0: #0a5c7a; --c1: #7d2f8f; --c2: #1f6b2e; --c3: #7a4b00; --c4: #2f45a8; --c5: #a1262d; }
@media (prefers-color-scheme: dark) { .explanation { --ink: #e6edf3; --paper: #0d1117; --faint: #9aa4ae; --line: #30363d;
  --good: #56d364; --bad: #ff7b72; --c0: #6cc7e8; --c1: #dba3ea; --c2: #7ed491; --c3: #e6b860; --c4: #a5b4ff; --c5: #ff9a93; } }
.explanation { background: var(--paper); color: var(--ink); font: 1.05rem/1.5 system-ui, sans-serif; }
.explanation h2 { margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
.explanation table { border-collapse: collapse; margin: .5rem 0 1rem; display: block; overflow-x: auto; }
.explanation caption, .explanation .title { text-align: left; font-weight: 600; padding: .25rem 0; }
.explanation th, .explanation td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; }
.explanation thead th { border-bottom: 1px solid var(--line); }
.explanation .number { text-align: right; font-variant-numeric: tabular-nums; }
.explanation tr.marked td { font-weight: 700; border-left: .25rem solid var(--good); padding-left: .5rem; }
.explanation .hex, .explanation pre { font-family: ui-monospace, monospace; font-size: .95rem; overflow-wrap: anywhere; }
.explanation pre { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem; white-space: pre-wrap; }
.explanation .faint { color: var(--faint); }
.explanation .good { color: var(--good); font-weight: 600; }
.explanation .bad { color: var(--bad); font-weight: 600; }
.explanation .layer-0 { color: var(--c0); } .explanation .layer-1 { color: var(--c1); }
.explanation .layer-2 { color: var(--c2); } .explanation .layer-3 { color: var(--c3); }
.explanation .layer-4 { color: var(--c4); } .explanation .layer-5 { color: var(--c5); }
.explanation tr:hover .hex { text-decoration: underline; }
.explanation svg text { fill: currentColor; font: 14px ui-monospace, monospace; }
.explanation svg line { stroke: currentColor; }
@media print { .explanation table { display: table; } }
"""


PAGE_STYLE: Final = """
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 1.5rem; max-width: 72rem; }
@media (prefers-color-scheme: dark) { body { background: #0d1117; } }
"""
"""Of a page; a notebook has its own, which a fragment leaves alone."""


def page(title: str, blocks: Iterable[Block]) -> str:
    """A whole page: one file that shows itself."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{PAGE_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{fragment(title, blocks, styled=False)}\n</main>\n</body>\n</html>\n"
    )


def fragment(title: str, blocks: Iterable[Block], *, styled: bool = True) -> str:
    """The document as one element.

    Args:
        title, blocks: of the document.
        styled: with its style sheet, for a place that has none.
    """
    style = f"<style>{STYLE}</style>" if styled else ""
    shown = "\n".join(map(_block, blocks))
    return f'<div class="explanation">{style}\n<h1>{escape(title)}</h1>\n{shown}\n</div>'


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h2>{escape(block.text)}</h2>"
        case Text():
            return f"<p>{escape(block.text)}</p>"
        case Verdict():
            word = "OK" if block.good else "NO"
            return f'<p class="{"good" if block.good else "bad"}">{word}: {escape(block.text)}</p>'
        case Facts():
            rows = "".join(
                f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
                for name, value in block.pairs
            )
            return f"<table><tbody>{rows}</tbody></table>"
        case Table():
            return _table(block)
        case Octets():
            return _octets(block)
        case Command():
            lines = escape("\n".join(block.lines))
            return f"<p>To see for yourself {escape(block.purpose)}:</p><pre>{lines}</pre>"
        case Ladder():
            return _ladder(block)


def _table(block: Table) -> str:
    numbers = [name.startswith(">") for name in block.columns]
    heads = "".join(
        f'<th scope="col"{_number(is_number)}>{escape(name.removeprefix(">"))}</th>'
        for name, is_number in zip(block.columns, numbers, strict=True)
    )
    rows = "".join(
        ('<tr class="marked">' if at in block.marked else "<tr>")
        + "".join(
            f"<td{_number(is_number)}>{escape(cell)}</td>"
            for cell, is_number in zip(row, numbers, strict=True)
        )
        + "</tr>"
        for at, row in enumerate(block.rows)
    )
    caption = f"<caption>{escape(block.title)}</caption>" if block.title else ""
    return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _number(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def _octets(block: Octets) -> str:
    rows: list[str] = []
    seen = 0
    for number, layer in enumerate(block.layers):
        colour = f"layer-{number % COLOURS}"
        if layer.start > seen:
            rows.append(_bytes_row(block.data, seen, layer.start, "", "(no field of a layer)", "", ""))
        source = f' <span class="faint">({escape(layer.source)})</span>' if layer.source else ""
        rows.append(
            f'<tr><td></td><th colspan="2" scope="rowgroup" class="{colour}">{escape(layer.name)}{source}</th></tr>'
        )
        rows += [
            _bytes_row(block.data, each.start, each.stop, colour, each.name, each.value, each.meaning)
            for each in layer.fields
        ]
        seen = max(seen, layer.stop)
    if seen < len(block.data):
        rows.append(_bytes_row(block.data, seen, len(block.data), "", "", "", ""))
    title = f'<p class="title">{escape(block.title)} ({len(block.data)} bytes)</p>'
    return f"{title}<table><tbody>{''.join(rows)}</tbody></table>"


def _bytes_row(data: bytes, start: int, stop: int, colour: str, name: str, value: str, meaning: str) -> str:
    shown = data[start : min(stop, start + MAX_BYTES)].hex(" ")
    if stop - start > MAX_BYTES:
        shown += f" ... {stop - start - MAX_BYTES} more"
    colon = ": " if value else ""
    said = f'<span class="{colour}">{escape(name)}</span>{colon}{escape(value)}'
    if meaning:
        said += f' <span class="faint">{escape(meaning)}</span>'
    return (
        f'<tr><td class="number faint">{start}</td><td class="hex {colour}">{shown}</td><td>{said}</td></tr>'
    )


_STEP: Final = 44
_LINE: Final = 18
_LEFT: Final = 110
_RIGHT: Final = 610
_WIDTH: Final = 1000
_DETAIL: Final = 44
"""Characters of a line beside the ladder."""


def _ladder(block: Ladder) -> str:
    """An SVG picture; its text can be searched, and is read out in order."""
    y = 60
    rungs = []
    for each in block.messages:
        lines = wrap(each.detail, _DETAIL)
        rungs.append(_rung(each, lines, y))
        y += max(_STEP, _LINE * len(lines) + 8)
    parts = [
        f'<text x="{_LEFT}" y="20" text-anchor="middle">{escape(block.left)}</text>',
        f'<text x="{_RIGHT}" y="20" text-anchor="middle">{escape(block.right)}</text>',
        *(f'<line x1="{x}" x2="{x}" y1="30" y2="{y - 10}" stroke-width="1"/>' for x in (_LEFT, _RIGHT)),
        *rungs,
    ]
    label = escape(f"Messages between {block.left} and {block.right}")
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {_WIDTH} {y}" width="100%">{"".join(parts)}</svg>'
    )


def _rung(message: Message, lines: list[str], y: int) -> str:
    start, stop = (_LEFT, _RIGHT) if message.to_right else (_RIGHT, _LEFT)
    if message.lost:
        stop = (start + stop) // 2
    back = -8 if stop > start else 8
    colour = ' class="bad"' if message.lost else ""
    detail = "".join(
        f'<tspan x="{_RIGHT + 12}" y="{y + 5 + _LINE * number}">{escape(line)}</tspan>'
        for number, line in enumerate(lines)
    )
    return (
        f"<g{colour}>"
        f'<text x="{_LEFT - 10}" y="{y + 5}" text-anchor="end">{message.time * 1000:.3f} ms</text>'
        f'<text x="{(_LEFT + _RIGHT) // 2}" y="{y - 8}" text-anchor="middle">{escape(message.text)}</text>'
        f'<line x1="{start}" y1="{y}" x2="{stop}" y2="{y}" stroke-width="2"/>'
        f'<path d="M {stop} {y} l {back} -5 v 10 z" fill="currentColor"/>'
        f"<text>{detail}</text></g>"
    )
