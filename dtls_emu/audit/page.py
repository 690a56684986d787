"""An audit as one self-contained HTML page: no script, nothing loaded, light or dark as the reader's system is."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from dtls_emu.audit.finding import iso_time
from dtls_emu.audit.plot import bytes_text, shares_svg, timeline_svg
from dtls_emu.audit.statuses import BY_CODE, KINDS, rows_of


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dtls_emu.audit.finding import Finding
    from dtls_emu.audit.findings import Audit
    from dtls_emu.audit.statuses import Kind


__all__ = ["MOST_ROWS", "audit_page"]

MOST_ROWS: Final = 200
"""Findings of a kind that are shown, the largest; a page of all kinds stays below a megabyte."""

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #ffffff; --soft: #5c5c5c; --rule: #d8d8d8;
  --clear: #d1495b; --dropped: #8d6cab; --unknown: #8a8a8a; --encrypted: #2e7d5b; --local: #7fb69a; --public: #c9a14a;
  --denied: #4f7cac; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181b; --soft: #a4a4a4; --rule: #3a3d42;
  --clear: #ef6f80; --dropped: #b394d4; --encrypted: #53b98a; --local: #8fcab0; --public: #dfbb6b; --denied: #7ba7d6; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.answer { font-size: 1.25rem; } p.soft, figcaption, td.soft { color: var(--soft); font-size: .9rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.end { overflow-wrap: anywhere; } .scroll { overflow-x: auto; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; } .grid { stroke: var(--rule); }
figure { margin: 1rem 0; }
"""


def audit_page(audit: Audit, title: str) -> str:
    """The page.

    Args:
        audit: what logs say.
        title: of what they are the logs.
    """
    return "".join(_page(audit, escape(title)))


def _page(audit: Audit, title: str) -> Iterator[str]:
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Was it encrypted? {title}</title><style>{_STYLE}</style></head><body>"
        f'<h1>Was it encrypted? {title}</h1><p class="answer">{escape(audit.answer)}</p>'
    )
    yield f'<p class="soft">{audit.lines:,} flow tuples of {audit.records:,} records.'
    if audit.unreadable:
        yield f" {audit.unreadable:,} lines are no flow tuples and are counted nowhere; the first: {escape(audit.example)}."
    if not audit.is_complete:
        yield " There are more pairs than are told apart; the rest is counted as <em>others</em>."
    yield "</p>"
    if audit.template:
        yield (
            f'<p class="soft">Measured against {escape(audit.template)}: {len(audit.unexpected):,} findings are worse '
            "than promised.</p>"
        )
    yield "".join(_overview(audit))
    for kind in audit.sums:
        yield "".join(_section(kind, [each for each in audit.findings if each.kind is kind]))
    yield "</body></html>\n"


def _overview(audit: Audit) -> Iterator[str]:
    yield (
        "<table><thead><tr><th>what became of it</th><th class=number>pairs</th><th class=number>flows</th>"
        "<th class=number>denied</th><th class=number>packets</th><th class=number>bytes</th></tr></thead><tbody>"
    )
    for kind, each in audit.sums.items():
        numbers = (each.pairs, each.flows, each.denied, each.packets)
        cells = "".join(f"<td class=number>{number:,}</td>" for number in numbers)
        yield f"<tr><td>{_swatch(kind)}{KINDS[kind]}</td>{cells}<td class=number>{bytes_text(each.nbytes)}</td></tr>"
    yield "</tbody></table>"
    shares, timeline = shares_svg(audit), timeline_svg(audit)
    if shares:
        yield f"<figure>{shares}<figcaption>All bytes, by what became of them; the colours are those above.</figcaption></figure>"
    if timeline:
        yield (
            f"<figure>{timeline}<figcaption>Bytes over time. A flow is counted when its log says so: at its end, and "
            "every five minutes; one that both its ends have logged is in it twice.</figcaption></figure>"
        )


def _section(kind: Kind, findings: Sequence[Finding]) -> Iterator[str]:
    yield f"<h2>{_swatch(kind)}{KINDS[kind]}</h2>"
    for code in sorted({each.code for each in findings}):
        status = BY_CODE.get(code)
        if status is None:
            yield f"<p><code>{escape(code)}</code>: not known to this version.</p>"
            continue
        rows = "; ".join(rows_of(code, kind))
        yield f'<p><code>{code}</code>: {status.meaning} {status.remedy} <span class="soft">Rows of the decision table: {rows}.</span></p>'
    has_promise = any(each.promised for each in findings)
    yield (
        "<div class=scroll><table><thead><tr><th>source</th><th>destination</th><th>status</th><th>ports</th>"
        "<th class=number>packets</th><th class=number>bytes</th><th>first, last seen (UTC)</th>"
        f"{'<th>promised</th>' if has_promise else ''}</tr></thead><tbody>"
    )
    for each in findings[:MOST_ROWS]:
        yield (
            f"<tr><td class=end>{escape(each.source)}</td><td class=end>{escape(each.destination)}</td>"
            f"<td>{escape(each.code)}</td><td>{escape(', '.join(each.services))}</td>"
            f"<td class=number>{_packets(each)}</td><td class=number>{bytes_text(each.nbytes)}</td>"
            f"<td class=soft>{iso_time(each.first)}<br>{iso_time(each.last)}</td>"
            f"{_promised(each) if has_promise else ''}</tr>"
        )
    yield "</tbody></table></div>"
    if len(findings) > MOST_ROWS:
        yield f'<p class="soft">{len(findings) - MOST_ROWS:,} smaller ones are left out; --json and --csv have them.</p>'


def _promised(finding: Finding) -> str:
    text = escape(finding.promised)
    return f"<td>{f'<strong>{text}: not kept</strong>' if finding.is_unexpected else text}</td>"


def _packets(finding: Finding) -> str:
    return f"{finding.denied:,} denied" if finding.denied and not finding.packets else f"{finding.packets:,}"


def _swatch(kind: Kind) -> str:
    return f'<span class="swatch" style="background: var(--{kind})"></span>'
