"""A report as one page: no script, nothing is loaded from anywhere, whatever comes from a result is escaped."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.measure.rendering.plots import draw


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.measure.rendering.charts import Chart
    from dtls_emu.measure.rendering.report import Part, Report
    from dtls_emu.measure.tables import Table


__all__ = ["page"]

STYLE: Final = Path(__file__).with_name("style.css")

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a browser may do for the page: nothing but show it."""


def page(report: Report, files: Sequence[str] = ()) -> str:
    """The whole page.

    Args:
        report: what it says.
        files: names of tables that lie beside it as CSV.

    Raises:
        ReportUnavailableError: matplotlib is not installed.
    """
    beside = frozenset(files)
    parts = "\n".join(_part(part, beside) for part in report.parts)
    links = "".join(f'<li><a href="#{name}">{escape(text)}</a></li>' for name, text in _contents(report))
    remarks = "".join(f"<p>{escape(each)}</p>" for each in report.remarks)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(report.title)}</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<a class="skip" href="#answer">To the answer</a>
<header>
<h1>{escape(report.title)}</h1>
<nav aria-label="Contents"><ul>{links}</ul></nav>
</header>
<main>
<section id="answer" aria-label="The answer">
{_paragraphs(report.answer, "answer")}
{f'<div class="remarks" role="note" aria-label="Before you believe the figures">{remarks}</div>' if remarks else ""}
</section>
<section id="run" aria-labelledby="run-title">
<h2 id="run-title">The run</h2>
{_table(report.run, "run", beside, captioned=False)}
</section>
{parts}
<section id="environment" aria-labelledby="environment-title">
<h2 id="environment-title">Environment</h2>
{_table(report.backends, "backends", beside)}
{_table(report.environment, "environment", beside)}
</section>
<section id="method" aria-labelledby="method-title">
<h2 id="method-title">Method</h2>
{_paragraphs(report.method, "")}
</section>
</main>
</body>
</html>
"""


def _contents(report: Report) -> list[tuple[str, str]]:
    return [
        ("run", "The run"),
        *((f"suite-{part.name}", part.name) for part in report.parts),
        ("environment", "Environment"),
        ("method", "Method"),
    ]


def _part(part: Part, beside: frozenset[str]) -> str:
    name = f"suite-{part.name}"
    tables = "\n".join(
        _table(table, part.name if number == 1 else f"{part.name}-{number}", beside)
        for number, table in enumerate(part.tables, 1)
    )
    documents = "; ".join(part.documents)
    return f"""<section id="{name}" aria-labelledby="{name}-title">
<h2 id="{name}-title">{escape(part.name.capitalize())}</h2>
<p class="question">{escape(part.question)}</p>
{_paragraphs(part.readings, "")}
<div class="charts">{"".join(map(_figure, part.charts))}</div>
{tables}
<p class="faint">Method: {escape(documents)}.</p>
</section>"""


def _figure(chart: Chart) -> str:
    heads = ("series", chart.x_label or "of", "value", "from", "to", "n")
    rows = "".join(
        "<tr>" + "".join(f"<td{_number(at > 0)}>{escape(cell)}</td>" for at, cell in enumerate(row)) + "</tr>"
        for row in chart.rows
    )
    head = "".join(f'<th scope="col"{_number(at > 0)}>{escape(name)}</th>' for at, name in enumerate(heads))
    return f"""<figure>
<h3>{escape(chart.title)}</h3>
{draw(chart)}
<figcaption>{escape(chart.reading)}</figcaption>
<details><summary>The numbers of this picture</summary>
<div class="scroll" tabindex="0" role="region" aria-label="{escape(chart.title)}"><table>
<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>
</figure>
"""


def _table(table: Table, name: str, beside: frozenset[str], *, captioned: bool = True) -> str:
    numbers = [heading.startswith(">") for heading in table.columns]
    head = "".join(
        f'<th scope="col"{_number(right)}>{escape(heading.removeprefix(">"))}</th>'
        for heading, right in zip(table.columns, numbers, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{_number(right)}>{escape(cell)}</td>" for cell, right in zip(row, numbers, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{escape(table.title)}</caption>" if captioned else ""
    link = f'<p class="faint"><a href="{name}.csv">{name}.csv</a></p>' if name in beside else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}"><table>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{link}"
    )


def _paragraphs(lines: Sequence[str], kind: str) -> str:
    attribute = f' class="{kind}"' if kind else ""
    return "\n".join(f"<p{attribute}>{escape(line)}</p>" for line in lines)


def _number(right: bool) -> str:
    return ' class="number"' if right else ""
