"""A report as Markdown, and its tables as CSV."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.measure.rendering.report import Report
    from dtls_emu.measure.tables import Table


__all__ = ["as_csv", "as_markdown"]


def as_markdown(report: Report) -> str:
    """The whole report but its pictures, which are on the page."""
    lines = [f"# {_plain(report.title)}", "", *_paragraphs(report.answer)]
    lines += [f"> {_plain(each)}" for each in report.remarks]
    lines += ["", "## The run", "", *_table(report.run)]
    for part in report.parts:
        lines += ["", f"## {part.name.capitalize()}", "", f"*{_plain(part.question)}*", ""]
        lines += _paragraphs(part.readings)
        for table in part.tables:
            lines += [f"### {_plain(table.title)}", "", *_table(table), ""]
        lines += [f"Method: {_plain('; '.join(part.documents))}."]
    lines += ["", "## Environment", "", *_table(report.backends), "", *_table(report.environment)]
    lines += ["", "## Method", "", *_paragraphs(report.method)]
    return "\n".join(lines).rstrip("\n") + "\n"


def as_csv(table: Table) -> bytes:
    """A table for programs: a line of headings, then one for each row (RFC 4180), UTF-8."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(heading.removeprefix(">") for heading in table.columns)
    writer.writerows(table.rows)
    return file.getvalue().encode()


def _paragraphs(lines: Sequence[str]) -> list[str]:
    return [each for line in lines for each in (_plain(line), "")]


def _table(table: Table) -> list[str]:
    heads = [_cell(heading.removeprefix(">")) for heading in table.columns]
    rules = ["---:" if heading.startswith(">") else "---" for heading in table.columns]
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    return [f"| {' | '.join(row)} |" for row in (heads, rules, *rows)]


def _cell(text: str) -> str:
    return _plain(text).replace("|", r"\|")


def _plain(text: str) -> str:
    """Text of a result, which must not become markup; one line."""
    return re.sub(r"([\\*_<>\[\]#])", r"\\\1", " ".join(text.split()))
