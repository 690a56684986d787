"""An answer as a page: one file, no script, nothing loaded from anywhere. What comes from the files is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from dtls_emu.whatif.answer.answer import reason_of, said_of
from dtls_emu.whatif.report.diagram import LEGEND, diagram
from dtls_emu.whatif.report.parties import party_of


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dtls_emu.whatif.answer.answer import Answer
    from dtls_emu.whatif.answer.pairs import PairGroup


__all__ = ["page"]

MOST: Final = 500
"""Rows of a table."""

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --box: #f6f8fa; --faint: #57606a; --line: #d0d7de;
  --encrypted: #116329; --clear: #8a5a00; --dropped: #a40e26; --broken: #82071e; --unknown: #57606a; --denied: #57606a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --box: #161b22; --faint: #9aa4ae;
  --line: #3d444d; --encrypted: #56d364; --clear: #e3b341; --dropped: #ff7b72; --broken: #ffa198; --unknown: #9aa4ae;
  --denied: #9aa4ae; } }
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; } h2 { margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; overflow-wrap: anywhere; }
thead th { border-bottom: 1px solid var(--line); white-space: nowrap; }
tbody tr + tr td { border-top: 1px solid var(--line); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.faint { color: var(--faint); font-size: .9rem; }
.scroll { overflow-x: auto; }
.encrypted { --tone: var(--encrypted); } .clear { --tone: var(--clear); } .dropped { --tone: var(--dropped); }
.broken { --tone: var(--broken); } .unknown { --tone: var(--unknown); } .denied { --tone: var(--denied); }
.word { color: var(--tone); font-weight: 650; }
td:first-child > .word { white-space: nowrap; }
.totals { display: flex; flex-wrap: wrap; gap: .75rem; list-style: none; margin: 1rem 0; padding: 0; }
.totals li { border: 1px solid var(--line); border-left: .4rem solid var(--tone); border-radius: .4rem;
  background: var(--box); padding: .4rem .9rem; }
.totals b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } svg { display: block; width: 100%; max-height: 46rem; margin: 0 auto; }
svg text { fill: var(--ink); text-anchor: middle; font: 15px system-ui, sans-serif; }
svg .name { font-weight: 650; }
svg .small { font-size: 12.5px; paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
svg .network .small { stroke: none; }
svg .network > rect:first-of-type { fill: var(--box); stroke: var(--line); stroke-width: 1.5; }
svg .network.on > rect:first-of-type { stroke: var(--encrypted); stroke-width: 2.5; }
svg .network.open > rect:first-of-type { stroke-dasharray: 5 4; }
svg .share { fill: var(--tone); } svg .share.clear { fill-opacity: .75; }
svg .edge line { stroke: var(--tone, var(--line)); stroke-width: 3; }
svg .edge.clear line { stroke-dasharray: 10 6; } svg .edge.dropped line, svg .edge.broken line { stroke-dasharray: 3 5; }
svg .edge.unknown line, svg .edge.denied line, svg .edge.none line { stroke-dasharray: 1 6; stroke-linecap: round; }
svg .span circle { fill: var(--paper); stroke: var(--ink); stroke-width: 2; }
.legend { display: flex; flex-wrap: wrap; gap: 1.2rem; } .legend i { display: inline-block; width: 2.2rem;
  border-top: 3px solid var(--tone); vertical-align: middle; margin-right: .4rem; }
.legend .clear i { border-top-style: dashed; } .legend .dropped i, .legend .broken i, .legend .unknown i, .legend .denied i { border-top-style: dotted; }
@media print { body { max-width: none; } svg { max-height: none; } }
"""


def page(answer: Answer, title: str) -> str:
    """The whole page.

    Args:
        answer: to show.
        title: what it is about: names of files.
    """
    parts = [
        f"<h1>What if encryption is on?</h1>\n<p class='faint'>{escape(title)}; {escape(_asked(answer))}</p>",
        _totals(answer),
        f"<figure><div class='scroll'>{diagram(answer)}</div>{_legend()}</figure>",
        _section("What breaks", _breakages(answer), "Nothing that is known."),
        _section("What to do, what is worth most first", _advice(answer), "Nothing."),
        _section(
            "What becomes of the pairs", _pairs(answer), "There are no pairs of endpoints in the files."
        ),
        _section("What to do with VMs", _actions(answer), "Nothing."),
        _section("Also", _remarks(answer), ""),
        _section("What cannot be known from the files", _doubts(answer), "Everything that matters is known."),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>What if: {escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, parts))
        + "\n</main>\n</body>\n</html>\n"
    )


def _asked(answer: Answer) -> str:
    question = answer.question
    on = question.enable if isinstance(question.enable, str) else ", ".join(question.enable)
    networks = {"all": "all networks encrypted", "written": "as the files say"}.get(on, f"{on} encrypted")
    strict = question.enforcement or "enforcement as the files say, else AllowUnencrypted"
    return f"{networks}; {strict}; profile {question.profile}"


def _totals(answer: Answer) -> str:
    items = "".join(
        f'<li class="{fate}"><b>{answer.pairs.total(fate):,}</b>pairs {escape(word)}</li>'
        for fate, word in LEGEND
        if answer.pairs.total(fate)
    )
    things = f'<li class="broken"><b>{len(answer.breakages)}</b>things break</li>' if answer.breakages else ""
    return f'<ul class="totals">{items}{things}</ul>'


def _legend() -> str:
    items = "".join(f'<span class="{fate}"><i></i>{escape(word)}</span>' for fate, word in LEGEND)
    return (
        f'<figcaption><div class="legend">{items}</div><span class="faint">A line has the colour of the worst that '
        "becomes of its pairs; the bar in a box is of the pairs within that network.</span></figcaption>"
    )


def _section(title: str, content: str, otherwise: str) -> str:
    if not content and not otherwise:
        return ""
    return f"<h2>{escape(title)}</h2>\n{content or f'<p>{escape(otherwise)}</p>'}"


def _breakages(answer: Answer) -> str:
    rows = []
    for each in answer.breakages:
        kind, before = ("broken", "") if each.certain else ("unknown", "may be: ")
        why = f'<span class="word {kind}">{before}{escape(each.why)}</span>'
        rows.append(
            [f"<b>{escape(each.what)}</b>", escape(each.network), why, _said(each.basis, each.source)]
        )
    return _table(["what", "network", "why", "source"], rows)


def _advice(answer: Answer) -> str:
    items = "".join(
        f"<li>{escape(each.text)}{f' <span class=faint>({each.pairs:,} pairs)</span>' if each.pairs else ''}</li>"
        for each in answer.advice
    )
    return f"<ol>{items}</ol>" if items else ""


def _pairs(answer: Answer) -> str:
    return _table(
        ["outcome", ">pairs", "between", "and", "why", "source"],
        [_pair_row(group, answer) for group in answer.pairs.groups],
    )


def _pair_row(group: PairGroup, answer: Answer) -> list[str]:
    row = group.ruling.row
    number = f"<br><span class='faint'>row {row.number}</span>" if row is not None else ""
    more = "≥ " if group.open_ended else ""
    routes = ", ".join(sorted(group.routes))
    return [
        f'<span class="word {group.ruling.fate}">{group.ruling.fate}</span>{number}',
        f"{more}{group.pairs:,}",
        f"{escape(group.first)}<br><span class='faint'>{escape(str(party_of(group.firsts, answer)))}</span>",
        f"{escape(group.second)}<br><span class='faint'>{escape(str(party_of(group.seconds, answer)))}</span>",
        f"{escape(reason_of(group))}<br><span class='faint'>{escape(routes)}</span>",
        _said(*said_of(group)),
    ]


def _actions(answer: Answer) -> str:
    rows = [
        [
            escape(each.text),
            f"{'≥ ' if each.open_ended else ''}{each.count:,}",
            f"{each.pairs:,}",
            escape(
                ", ".join(each.names[:10])
                + (f" and {len(each.names) - 10} more" if len(each.names) > 10 else "")
            ),
            _said(each.basis, each.source),
        ]
        for each in answer.actions
    ]
    return _table(["what", ">VMs", ">pairs", "which", "source"], rows)


def _remarks(answer: Answer) -> str:
    items = "".join(
        f"<li>{escape(each.text)}<br>{_said(each.basis, each.source)}</li>" for each in answer.remarks
    )
    return f"<ul>{items}</ul>" if items else ""


def _doubts(answer: Answer) -> str:
    mattering = [each for each in answer.estate.doubts if each.matters]
    rest = len(answer.estate.doubts) - len(mattering)
    rows = [[escape(each.what), escape(each.why), escape(str(each.place))] for each in mattering]
    more = (
        f"<p class='faint'>{rest} more could not be resolved, and nothing here depends on them.</p>"
        if rest
        else ""
    )
    return _table(["what", "why", "where"], rows) + more


def _said(basis: str, source: str) -> str:
    return f"<span class='faint'>{escape(f'[{basis}] ' if basis else '')}{escape(source)}</span>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    kept = list(rows)
    if not kept:
        return ""
    numbers = [column.startswith(">") for column in columns]
    heads = "".join(
        f'<th scope="col"{_class(number)}>{escape(column.removeprefix(">"))}</th>'
        for column, number in zip(columns, numbers, strict=True)
    )
    lines = "".join(
        "<tr>"
        + "".join(f"<td{_class(number)}>{cell}</td>" for cell, number in zip(row, numbers, strict=True))
        + "</tr>"
        for row in kept[:MOST]
    )
    more = f"<p class='faint'>and {len(kept) - MOST} more rows; JSON has all</p>" if len(kept) > MOST else ""
    return f"<div class='scroll'><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>{more}"


def _class(number: bool) -> str:
    return ' class="number"' if number else ""
